"""An entry that two people corrected: reversed, and booked again with another amount."""

from __future__ import annotations

from decimal import Decimal

from django.db import transaction

from tests.trading.services import making
from trading.models import Entry, User
from trading.services import approvals
from trading.services.audit import Actor
from trading.services.ledger import Draft, post_many, reversal


@transaction.atomic
def correct(entry: Entry, amount: Decimal, proposer: User, approver: User) -> tuple[Entry, Entry]:
    """Reverse a deposit and book it with `amount`: the reversal and the replacement."""
    proposal = approvals.propose(
        kind="test.correction",
        account=entry.account,
        subject_type="trading.Entry",
        subject_id=entry.pk,
        subject_version=1,
        payload={
            "entries": [
                {"entry": "REVERSAL", "reverses": entry.pk},
                {"entry": "TRANSFER", "replaces": entry.pk, "amount": amount, "currency": "USD"},
            ]
        },
        reason="the bank says another amount",
        proposer=proposer,
        actor=Actor.of(proposer, via="admin"),
    )
    approvals.decide(
        proposal=proposal,
        approver=approver,
        verdict="APPROVE",
        payload_sha256=proposal.payload_sha256,
        subject_version=1,
        reason="seen on the bank's statement",
        actor=Actor.of(approver, via="admin"),
    )
    done = approvals.record_application(proposal=proposal, applied_by=approver, result={}, actor=making.TEST)
    taken_back = reversal(entry, application=done, at=entry.at, memo="wrong amount")
    again = Draft(
        entry.account,
        f"replacement:{entry.pk}",
        Entry.Kind.TRANSFER,
        entry.at,
        cash_event=entry.cash_event,
        application=done,
        replaces=entry,
    )
    again.move(commodity="USD", amount=amount, into="CASH", out_of="CAPITAL")
    first, second = post_many([taken_back, again])
    return first, second
