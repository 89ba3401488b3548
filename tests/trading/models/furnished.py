"""A row in every append-only table, made through the real services."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.db import models, transaction

from tests.trading.services import making
from trading.domain.broker import Evidence
from trading.engine.messages import keep
from trading.models import Anchor, Bar, ClosedDay, Mark, OrderAlias, Rate, RiskEvent, User
from trading.services import approvals

__all__ = ["facts", "furnish"]


def facts() -> Iterator[type[models.Model]]:
    """The append-only models of the trading app."""
    return (model for model in apps.get_app_config("trading").get_models() if getattr(model, "append_only", False))


@transaction.atomic
def furnish() -> None:
    """Make the rows."""
    account = making.make_account()
    entry = making.make_entry(account, quantity="1000")
    making.receive(account, making.cash_of(1, "TRANSFER", "100000"), making.fill_of(2, entry, "1000", "1.1"))
    leave = making.make_exit(account, entry, quantity="400")
    making.receive(account, making.fill_of(3, leave, "400", "1.2", realised="40"))
    OrderAlias.objects.create(at=making.START, account=account, order=entry, broker_order_id="before")
    exchange = Evidence("POST", "/orders", "{}", 201, "{}", making.START, making.START)
    keep(entry, "submit", [exchange])
    eurusd = making.instrument()
    prices: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), Decimal("1.1"))
    Bar.objects.create(
        at=making.START, source="test", instrument=eurusd, interval_seconds=300, start=making.START, **prices
    )
    Mark.objects.create(
        at=making.START, account=account, instrument=eurusd, price=Decimal("1.1"), source="test", purpose="equity"
    )
    Rate.objects.create(at=making.START, base="EUR", quote="USD", value=Decimal("1.1"), source="test")
    RiskEvent.objects.create(at=making.START, account=account, kind="TEST", reason="a test")
    ada, bob = (User.objects.create_user(name) for name in ("ada", "bob"))
    proposal = approvals.propose(
        kind="note",
        account=account,
        subject_type="trading.Account",
        subject_id=account.pk,
        subject_version=1,
        payload={"what": "nothing"},
        reason="to have a row",
        proposer=ada,
        actor=making.TEST,
    )
    approvals.decide(
        proposal=proposal,
        approver=bob,
        verdict="APPROVE",
        payload_sha256=proposal.payload_sha256,
        subject_version=1,
        actor=making.TEST,
    )
    application = approvals.record_application(proposal=proposal, applied_by=bob, result={}, actor=making.TEST)
    ClosedDay.objects.create(
        at=making.START, account=account, trading_day=making.START.date() - timedelta(days=30), application=application
    )
    Anchor.objects.create(at=making.START, number=1, hash=bytes(32), sink="a test", seal="0" * 64)
