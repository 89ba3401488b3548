"""What waits for people: open differences with their age on the account's clock, approvals, last runs, the head."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from backoffice.digest.standing import Standing, standing_of
from reconciliation.models import Discrepancy, Run
from tests.trading.services import shares
from tests.trading.services.making import TEST, cash_of, receive
from trading.clock import store_broker_clock
from trading.models import Account, AuditEvent, Entry, Proposal, User
from trading.services import approvals

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)


@pytest.fixture
def account() -> Account:
    """An account whose clock stands at noon."""
    made = shares.make_share_account("standing")
    store_broker_clock(account=made, broker_at=NOON, speed=Decimal(0))
    return made


def run_at(account: Account, moment: datetime, status: str = "COMPLETE") -> Run:
    """A reconciliation that ended then."""
    return Run.objects.create(
        at=moment, account=account, trigger="MANUAL", started_at=moment, status=status, completeness=status,
        error="" if status == "COMPLETE" else "the broker did not answer",
    )  # fmt: skip


def case(account: Account, run: Run, name: str, state: str, since: datetime) -> Discrepancy:
    """A difference in that state."""
    return Discrepancy.objects.create(
        account=account, fingerprint=name.ljust(64, "0"), kind="CASH_UNEXPLAINED", key=name, severity="HIGH",
        state=state, cause="a test", first_run=run, last_run=run, first_seen_at=since, last_seen_at=since,
    )  # fmt: skip


def propose(account: Account | None, proposer: User, *, required: int = 1) -> Proposal:
    """Something that somebody wants."""
    return approvals.propose(
        kind="limits", account=account, subject_type="a test", subject_id=1, subject_version=1, payload={},
        reason="because of a test", proposer=proposer, approvals_required=required, actor=TEST,
    )  # fmt: skip


def decide(proposal: Proposal, approver: User, verdict: str) -> None:
    """Somebody's verdict."""
    approvals.decide(
        proposal=proposal, approver=approver, verdict=verdict, payload_sha256=proposal.payload_sha256,
        subject_version=1, actor=TEST,
    )  # fmt: skip


def waiting(standing: Standing) -> list[int]:
    return [one.number for one in standing.waiting]


def test_open_differences_have_their_age_and_suspicions_and_ended_ones_are_none(account: Account) -> None:
    run = run_at(account, NOON - timedelta(hours=5))
    for name, state in (("a", "SUSPECTED"), ("b", "CLOSED"), ("c", "CLEARED")):
        case(account, run, name, state, NOON - timedelta(days=2))
    older = case(account, run, "d", "PROPOSED", NOON - timedelta(hours=3, minutes=12))
    newer = case(account, run, "e", "OPEN", NOON - timedelta(minutes=5))
    standing = standing_of([account])
    assert [(one.number, one.age) for one in standing.cases] == [
        (older.pk, timedelta(hours=3, minutes=12)),
        (newer.pk, timedelta(minutes=5)),
    ]
    assert standing.oldest == timedelta(hours=3, minutes=12)


def test_a_proposal_waits_until_persons_enough_have_approved_or_one_has_refused(account: Account) -> None:
    ada, bob, charlie = (User.objects.create_user(name) for name in ("ada", "bob", "charlie"))
    one, two, refused, general = (
        propose(account, ada),
        propose(account, ada, required=2),
        propose(account, ada),
        propose(None, ada),
    )
    assert waiting(standing_of([account])) == [one.pk, two.pk, refused.pk, general.pk]
    decide(one, bob, "APPROVE")
    decide(two, bob, "APPROVE")
    decide(refused, bob, "REJECT")
    decide(general, ada, "WITHDRAW")
    assert waiting(standing_of([account])) == [two.pk]
    decide(two, charlie, "APPROVE")
    assert waiting(standing_of([account])) == []


def test_a_proposal_of_another_account_is_not_ours(account: Account) -> None:
    propose(shares.make_share_account("another"), User.objects.create_user("ada"))
    assert waiting(standing_of([account])) == []


def test_the_last_run_is_told_whatever_it_came_to(account: Account) -> None:
    (never,) = standing_of([account]).runs
    assert (never.status, never.at, never.age) == ("NONE", None, None)
    run_at(account, NOON - timedelta(hours=2))
    run_at(account, NOON - timedelta(minutes=5), "FAILED")
    (last,) = standing_of([account]).runs
    assert (last.status, last.age) == ("FAILED", timedelta(minutes=5))


def test_the_heads_are_the_last_entry_and_the_last_audit_event(account: Account) -> None:
    assert standing_of([account]).ledger_head == 0
    receive(account, cash_of(1, "TRANSFER", "100"))
    propose(account, User.objects.create_user("ada"))
    standing = standing_of([account])
    assert standing.ledger_head == Entry.objects.get().pk
    assert standing.audit_head == AuditEvent.objects.order_by("pk").last().pk  # type: ignore[union-attr]
