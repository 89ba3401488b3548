"""Rich books for tests of the ledger: two accounts, every common kind of entry, two years, corrections included.

Everything goes through the product's services, under the application login.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction

from tests.trading.services import making, shares
from trading.domain.broker import BrokerEvent, Evidence
from trading.engine.messages import keep
from trading.models import (
    Account,
    Anchor,
    Application,
    Bar,
    CashEvent,
    ClosedDay,
    Entry,
    Mark,
    Order,
    Proposal,
    Rate,
    RiskEvent,
    User,
)
from trading.services import approvals, booking, ledger
from trading.services.settlement import settle_due
from trading.services.splits import book_split

D = Decimal
LATER = datetime(2027, 1, 1, 0, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Books:
    """A margin account and one of shares."""

    margin: Account
    shares: Account


def people() -> tuple[User, User]:
    """Ada, who proposes, and Bob, who approves."""
    made = [User.objects.filter(username=name).first() or User.objects.create_user(name) for name in ("ada", "bob")]
    return made[0], made[1]


def approved(account: Account, *entries: dict[str, Any]) -> Proposal:
    """A proposal to post these entries that Bob has approved; without any it is one for all kinds of units."""
    ada, bob = people()
    entries = entries or tuple(
        {"entry": str(kind)} for kind in Entry.NEEDS_APPROVAL if kind not in ("ADJUSTMENT", "REVERSAL")
    )
    proposal = approvals.propose(
        kind="test",
        account=account,
        subject_type="a test",
        subject_id=1,
        subject_version=1,
        payload={"entries": list(entries)},
        reason="because of a test",
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
    return proposal


def apply(proposal: Proposal) -> Application:
    """The one application of a proposal, in the transaction of whatever it allows."""
    return approvals.record_application(proposal=proposal, applied_by=None, result={}, actor=making.TEST)


@transaction.atomic
def adjust(account: Account, currency: str, amount: Decimal) -> CashEvent:
    """Move cash by an approved adjustment."""
    wanted = {"entry": "ADJUSTMENT", "currency": currency, "amount": f"{amount:f}"}
    application = apply(approved(account, wanted))
    return booking.adjust_cash(
        account=account, currency=currency, amount=amount, application=application, reason="test", actor=making.TEST
    )


@transaction.atomic
def reverse(entry: Entry, at: datetime | None = None) -> Entry:
    """Take back an entry that moved no lots, by an approved reversal."""
    application = apply(approved(entry.account, {"entry": "REVERSAL", "reverses": entry.pk}))
    return ledger.post(ledger.reversal(entry, application=application, at=at or entry.at, memo="taken back"))


def at(event: BrokerEvent, moment: datetime) -> BrokerEvent:
    """The same event at another time."""
    return replace(event, at=moment)


def make_books() -> Books:
    """Both accounts with their history; what is numbered from 500 on happened in 2027."""
    margin, held = making.make_account(), shares.make_share_account()
    long = making.make_entry(margin, quantity="2000")
    short = making.make_entry(margin, 2, symbol="XAUUSD", side="SELL", entry="2000", stop="2100", target="1900")
    making.receive(
        margin,
        making.cash_of(1, "TRANSFER", "100000"),
        making.fill_of(2, long, "1500", "1.1"),
        making.fill_of(3, long, "500", "1.10017", financing="-0.1234", commission="-1.5"),
        making.fill_of(4, short, "3", "2001.123"),
        making.cash_of(5, "FINANCING", "-3.00001"),
        making.cash_of(6, "FEE", "-0.33"),
        making.cash_of(7, "DIVIDEND", "12.5"),
    )
    leave = making.make_exit(margin, long, quantity="700", number=8)
    making.receive(margin, making.fill_of(8, leave, "700", "1.2", realised="70.000000000001"))
    reverse(Entry.objects.get(account=margin, kind="FEE"))
    adjust(margin, "USD", D("-0.07"))
    first, second = (shares.entry(held, number, quantity="10") for number in (1, 2))
    making.receive(
        held,
        making.cash_of(1, "TRANSFER", "50000"),
        shares.bought(2, first, "10", "100.01", commission="-1"),
        shares.bought(3, second, "3", "101.5"),
        making.cash_of(4, "DIVIDEND", "3.21"),
    )
    shares.put_clock(held, making.moment(86_400 * 3))
    settle_due(held)
    with transaction.atomic():
        application = apply(approved(held))
        split = {"account": held, "instrument": making.instrument("AAPL"), "actor": making.TEST}
        book_split(before=D(13), after=D(26), application=application, **split)
    making.receive(held, at(shares.bought(5, making.make_exit(held, first, quantity="9"), "9", "60"), LATER))
    making.receive(margin, at(making.cash_of(500, "TRANSFER", "-25000.25"), LATER))
    shares.put_clock(held, LATER.replace(day=20))
    settle_due(held)
    _what_else_is_kept(margin, long)
    return Books(margin, held)


def _what_else_is_kept(account: Account, order: Order) -> None:
    """A row in the other append-only tables."""
    common: dict[str, Any] = {"at": making.START, "instrument": making.instrument(), "source": "test"}
    prices = dict.fromkeys(("open", "high", "low", "close"), D("1.1"))
    for number in range(2):
        start = making.moment(300 * number)
        Bar.objects.create(**common, **prices, interval_seconds=300, start=start)
        Mark.objects.create(**common, account=account, price=D("1.1"), purpose="equity")
        Rate.objects.create(at=start, base="EUR", quote="USD", value=D("1.1"), source="test")
    RiskEvent.objects.create(at=making.START, account=account, kind="TEST", reason="a test")
    keep(order, "submit", [Evidence("POST", "/orders", "{}", 201, "{}", making.START, making.START)])
    with transaction.atomic():
        day = making.START.date() - timedelta(days=30)
        ClosedDay.objects.create(
            at=making.START, account=account, trading_day=day, application=apply(approved(account))
        )
    Anchor.objects.create(at=making.START, number=1, hash=bytes(32), sink="a test", seal="0" * 64)
