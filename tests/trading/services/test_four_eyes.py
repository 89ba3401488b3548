"""Four eyes: two people decide, whatever path a row takes into the database, and it happens once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction

from tests.conftest import CommittedDatabase
from tests.trading.services.making import TEST
from trading.clock import wall_now
from trading.domain.canonical import sha256_hex
from trading.models import Application, Approval, AuditEvent, Person, Proposal, User
from trading.services import approvals
from trading.services.errors import RuleBroken

EMPTY = sha256_hex("{}")


@dataclass
class Cast:
    """Ada with two users, bob with two users, carol, and root, who is a superuser."""

    ada: User
    ada_two: User
    bob: User
    bob_two: User
    carol: User
    root: User


def make_cast() -> Cast:
    """Everybody."""
    ada, bob, carol = (Person.objects.create(name=name) for name in ("Ada", "Bob", "Carol"))

    def user(name: str, person: Person) -> User:
        return User.objects.create_user(name, person=person)

    return Cast(
        user("ada", ada), user("ada-two", ada), user("bob", bob), user("bob-two", bob), user("carol", carol),
        User.objects.create_superuser("root"),
    )  # fmt: skip


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def propose(proposer: User, *, required: int = 1) -> Proposal:
    """A proposal about nothing in particular."""
    return approvals.propose(
        kind="note",
        account=None,
        subject_type="a test",
        subject_id=1,
        subject_version=3,
        payload={"do": "this"},
        reason="because of a test",
        proposer=proposer,
        approvals_required=required,
        actor=TEST,
    )


def decide(proposal: Proposal, approver: User, verdict: str = "APPROVE", **changes: Any) -> Approval:
    """A verdict through the service."""
    seen = {"payload_sha256": proposal.payload_sha256, "subject_version": proposal.subject_version, **changes}
    return approvals.decide(proposal=proposal, approver=approver, verdict=verdict, reason="seen", actor=TEST, **seen)


def decide_by_orm(proposal: Proposal, approver: User, verdict: str = "APPROVE", **changes: Any) -> None:
    """A verdict through the ORM."""
    seen = {"payload_sha256": proposal.payload_sha256, "subject_version": proposal.subject_version, **changes}
    with transaction.atomic():
        Approval.objects.create(at=wall_now(), proposal=proposal, approver=approver, verdict=verdict, **seen)


def decide_in_sql(proposal: Proposal, approver: User, verdict: str = "APPROVE", **changes: Any) -> None:
    """A verdict in SQL, as the application login."""
    seen = {"payload_sha256": proposal.payload_sha256, "subject_version": proposal.subject_version, **changes}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO trading_approval (at, recorded_at, proposal_id, approver_id, verdict, payload_sha256,"
            " subject_version, reason) VALUES (now(), now(), %s, %s, %s, %s, %s, '')",
            [proposal.pk, approver.pk, verdict, seen["payload_sha256"], seen["subject_version"]],
        )


def apply(proposal: Proposal) -> Application:
    """Record the application through the service."""
    return approvals.record_application(proposal=proposal, applied_by=None, result={}, actor=TEST)


def apply_by_orm(proposal: Proposal) -> None:
    """Record the application through the ORM."""
    with transaction.atomic():
        Application.objects.create(at=wall_now(), proposal=proposal, result={})


def apply_in_sql(proposal: Proposal) -> None:
    """Record the application in SQL, as the application login."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO trading_application (at, recorded_at, proposal_id, result) VALUES (now(), now(), %s, '{}')",
            [proposal.pk],
        )


DECIDE = [decide, decide_by_orm, decide_in_sql]
APPLY = [apply, apply_by_orm, apply_in_sql]
Way = Callable[..., Any]


def refused(what: Way, *arguments: Any, match: str, **more: Any) -> None:
    """Refused, and no verdict and no application was added."""
    before = Approval.objects.count(), Application.objects.count(), AuditEvent.objects.count()
    with pytest.raises((RuleBroken, DatabaseError), match=match):
        what(*arguments, **more)
    assert (Approval.objects.count(), Application.objects.count(), AuditEvent.objects.count()) == before


@pytest.mark.parametrize("way", DECIDE)
@pytest.mark.parametrize("who", ["ada", "ada_two"])
def test_whoever_proposed_cannot_approve_with_any_user(cast: Cast, who: str, way: Way) -> None:
    refused(way, propose(cast.ada), getattr(cast, who), match="whoever proposed cannot approve")


@pytest.mark.parametrize("way", DECIDE)
def test_a_superuser_who_proposed_cannot_approve(cast: Cast, way: Way) -> None:
    refused(way, propose(cast.root), cast.root, match="whoever proposed cannot approve")


@pytest.mark.parametrize("way", DECIDE)
@pytest.mark.parametrize("change", [{"payload_sha256": EMPTY}, {"subject_version": 2}, {"subject_version": 4}])
def test_an_approval_is_of_what_was_seen(cast: Cast, change: dict[str, Any], way: Way) -> None:
    refused(way, propose(cast.ada), cast.bob, match="another payload or version", **change)


@pytest.mark.parametrize("way", DECIDE)
@pytest.mark.parametrize(("verdict", "by"), [("REJECT", "carol"), ("WITHDRAW", "ada")])
def test_nothing_is_approved_after_a_rejection_or_withdrawal(cast: Cast, verdict: str, by: str, way: Way) -> None:
    proposal = propose(cast.ada)
    decide(proposal, getattr(cast, by), verdict)
    refused(way, proposal, cast.bob, match="rejected or withdrawn")


@pytest.mark.parametrize("way", DECIDE)
def test_only_the_proposer_withdraws(cast: Cast, way: Way) -> None:
    proposal = propose(cast.ada)
    refused(way, proposal, cast.bob, "WITHDRAW", match="only the proposer withdraws")
    decide(proposal, cast.ada_two, "WITHDRAW")
    assert approvals.standing(proposal) == "WITHDRAWN"


@pytest.mark.parametrize("way", DECIDE)
def test_a_deactivated_user_decides_nothing(cast: Cast, way: Way) -> None:
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    refused(way, propose(cast.ada), cast.bob, match="deactivated")


@pytest.mark.parametrize("way", DECIDE)
def test_a_verdict_stands_once_given(cast: Cast, way: Way) -> None:
    proposal = propose(cast.ada, required=2)
    decide(proposal, cast.bob)
    refused(way, proposal, cast.bob, match="decided on this proposal already|one_verdict_per_user")
    refused(way, proposal, cast.bob, "REJECT", match="decided on this proposal already|one_verdict_per_user")


@pytest.mark.parametrize("way", DECIDE)
def test_a_verdict_is_one_of_three_words(cast: Cast, way: Way) -> None:
    refused(way, propose(cast.ada), cast.bob, "approve", match="verdict")


@pytest.mark.parametrize("way", APPLY)
def test_nothing_is_applied_without_approval(cast: Cast, way: Way) -> None:
    refused(way, propose(cast.ada), match="0 of 1 approvals")


@pytest.mark.parametrize("way", APPLY)
def test_one_person_with_two_users_is_one_approval(cast: Cast, way: Way) -> None:
    proposal = propose(cast.ada, required=2)
    decide(proposal, cast.bob)
    decide(proposal, cast.bob_two)
    assert approvals.standing(proposal) == "WAITING"
    refused(way, proposal, match="1 of 2 approvals")
    decide(proposal, cast.carol)
    assert approvals.approved(proposal)
    way(proposal)
    assert approvals.standing(proposal) == "APPLIED"


@pytest.mark.parametrize("way", APPLY)
def test_a_rejection_after_the_approval_still_stops_the_application(cast: Cast, way: Way) -> None:
    proposal = propose(cast.ada)
    decide(proposal, cast.bob)
    decide(proposal, cast.carol, "REJECT")
    assert approvals.standing(proposal) == "REJECTED"
    refused(way, proposal, match="rejected or withdrawn")


@pytest.mark.parametrize("way", APPLY)
def test_it_is_applied_exactly_once(cast: Cast, way: Way) -> None:
    proposal = propose(cast.ada)
    decide(proposal, cast.bob)
    way(proposal)
    refused(way, proposal, match="unique|already")


@pytest.mark.parametrize("way", DECIDE)
@pytest.mark.parametrize("verdict", ["APPROVE", "REJECT", "WITHDRAW"])
def test_nobody_decides_on_what_was_applied(cast: Cast, verdict: str, way: Way) -> None:
    proposal = propose(cast.ada)
    decide(proposal, cast.bob)
    apply(proposal)
    who = cast.ada if verdict == "WITHDRAW" else cast.carol
    refused(way, proposal, who, verdict, match="applied already")


def old_proposal(cast: Cast) -> Proposal:
    """A proposal whose time is over."""
    text = '{"do":"this"}'
    return Proposal.objects.create(
        at=wall_now() - timedelta(days=2),
        kind="note",
        subject_type="a test",
        subject_id=1,
        subject_version=1,
        payload=text,
        payload_sha256=sha256_hex(text),
        reason="an old one",
        proposer=cast.ada,
        expires_at=wall_now() - timedelta(seconds=1),
    )


@pytest.mark.parametrize("way", DECIDE)
def test_nothing_is_approved_after_its_time(cast: Cast, way: Way) -> None:
    proposal = old_proposal(cast)
    assert approvals.standing(proposal) == "EXPIRED"
    refused(way, proposal, cast.bob, match="has expired")


@pytest.mark.parametrize("way", APPLY)
def test_nothing_is_applied_after_its_time_even_if_it_was_approved_in_time(cast: Cast, way: Way) -> None:
    text = '{"do":"this"}'
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (database_now,) = cursor.fetchone()
    proposal = Proposal.objects.create(
        at=wall_now(), kind="note", subject_type="a test", subject_id=1, subject_version=1, payload=text,
        payload_sha256=sha256_hex(text), reason="a short one", proposer=cast.ada,
        expires_at=database_now + timedelta(milliseconds=300),
    )  # fmt: skip
    decide(proposal, cast.bob)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.35)")
    refused(way, proposal, match="has expired")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"payload_sha256": EMPTY}, "hash is not that of its payload"),
        ({"payload": '{"do":"that"}'}, "hash is not that of its payload"),
        ({"approvals_required": 0}, "at least one approval"),
        ({"reason": "  ok  "}, "needs a reason"),
        ({"expires_at": wall_now() + timedelta(hours=25)}, "within 24 hours"),
    ],
)
def test_a_proposal_that_does_not_hold_together_is_refused(cast: Cast, change: dict[str, Any], match: str) -> None:
    text = '{"do":"this"}'
    row: dict[str, Any] = {
        "at": wall_now(),
        "kind": "note",
        "subject_type": "a test",
        "subject_id": 1,
        "subject_version": 1,
        "payload": text,
        "payload_sha256": sha256_hex(text),
        "reason": "a good one",
        "proposer": cast.ada,
        "expires_at": wall_now() + timedelta(hours=1),
    }
    with pytest.raises(DatabaseError, match=match), transaction.atomic():
        Proposal.objects.create(**{**row, **change})
    assert Proposal.objects.create(**row).pk


def test_a_proposal_without_a_reason_is_refused_in_a_sentence(cast: Cast) -> None:
    with pytest.raises(RuleBroken, match="at least five characters"):
        approvals.propose(
            kind="note", account=None, subject_type="a test", subject_id=1, subject_version=1, payload={},
            reason=" ok ", proposer=cast.ada, actor=TEST,
        )  # fmt: skip


def test_what_two_people_did_is_audited_with_their_names(cast: Cast) -> None:
    proposal = propose(cast.ada)
    decide(proposal, cast.bob)
    apply(proposal)
    told = AuditEvent.objects.filter(object_id=str(proposal.pk), object_type="trading.Proposal").order_by("id")
    assert [event.kind for event in told] == ["proposal.made", "proposal.approve", "proposal.applied"]


def test_a_rejection_and_an_application_at_the_same_moment_never_both_stand(committed_db: CommittedDatabase) -> None:
    cast = make_cast()
    for _ in range(6):
        proposal = propose(cast.ada)
        decide(proposal, cast.bob)
        barrier = threading.Barrier(2)

        def at_once(what: Callable[[], object], barrier: threading.Barrier = barrier) -> None:
            try:
                barrier.wait()
                what()
            except RuleBroken:
                pass
            finally:
                connections.close_all()

        workers = [
            threading.Thread(target=at_once, args=(lambda p=proposal: apply(p),)),
            threading.Thread(target=at_once, args=(lambda p=proposal: decide(p, cast.carol, "REJECT"),)),
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        applied = Application.objects.filter(proposal=proposal).exists()
        rejected = proposal.approvals.filter(verdict="REJECT").exists()
        assert applied != rejected
