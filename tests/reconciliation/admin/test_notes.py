"""What people do with a case beside deciding it: owner, labels, comments, relations, and doubt about its end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections

from backoffice.verification import INVARIANTS, check
from reconciliation.models import Discrepancy, DiscrepancyEvent
from reconciliation.services import notes, resolutions
from reconciliation.services.applying import apply
from tests.reconciliation.conftest import TEST, Desk, People
from tests.trading.admin.world import World
from trading.models import AuditEvent, Person, User
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

Compare = Callable[..., None]


def actor(user: User) -> Actor:
    return Actor.of(user, via="admin")


def steps(case: Discrepancy) -> list[DiscrepancyEvent]:
    return list(case.events.filter(kind__in=notes.STEPS).order_by("sequence"))


def whose(case: Discrepancy) -> str:
    case.refresh_from_db()
    return case.owner.username if case.owner is not None else ""


def nothing_wrong() -> None:
    """`verify` holds for cases and their trail."""
    with connection.cursor() as cursor:
        for one in INVARIANTS:
            if one.id in {"I-31", "I-32", "I-45c", "I-45e", "I-46", "P-05"}:
                assert not check(cursor, one).rows


def test_a_case_is_taken_given_on_and_released_and_each_is_told(case: Discrepancy, world: World) -> None:
    ada, bob = world.people["ada"], world.people["bob"]
    before = (case.state, case.version, case.proposal_id)
    notes.take(discrepancy_id=case.pk, person=ada, actor=actor(ada))
    assert whose(case) == "ada"
    with pytest.raises(RuleBroken, match="It is ada's"):
        notes.take(discrepancy_id=case.pk, person=bob, actor=actor(bob))
    with pytest.raises(RuleBroken, match="yours already"):
        notes.take(discrepancy_id=case.pk, person=ada, actor=actor(ada))
    with pytest.raises(RuleBroken, match="five characters"):
        notes.give(discrepancy_id=case.pk, to=bob, reason="  no ", person=ada, actor=actor(ada))
    notes.give(discrepancy_id=case.pk, to=bob, reason="knows the broker", person=ada, actor=actor(ada))
    assert whose(case) == "bob"
    with pytest.raises(RuleBroken, match="somebody else's"):
        notes.release(discrepancy_id=case.pk, reason="", person=ada, actor=actor(ada))
    notes.release(discrepancy_id=case.pk, reason="", person=bob, actor=actor(bob))
    assert whose(case) == ""
    with pytest.raises(RuleBroken, match="nobody's already"):
        notes.release(discrepancy_id=case.pk, reason="", person=bob, actor=actor(bob))
    case.refresh_from_db()
    assert (case.state, case.version, case.proposal_id) == before
    assert [(one.kind, one.details["owner_name"]) for one in steps(case)] == [
        ("ASSIGNED", "ada"), ("ASSIGNED", "bob"), ("ASSIGNED", "nobody"),
    ]  # fmt: skip
    assert all(one.from_state == one.to_state == "OPEN" for one in steps(case))
    told = AuditEvent.objects.filter(kind="discrepancy.assigned").order_by("id")
    assert [(one.actor_name, one.after["owner"]) for one in told] == [
        ("ada", "ada"), ("ada", "bob"), ("bob", "nobody"),
    ]  # fmt: skip
    nothing_wrong()


def test_nobody_is_given_a_case_who_could_not_decide_it(case: Discrepancy, world: World) -> None:
    ada, bob, charlie = (world.people[name] for name in ("ada", "bob", "charlie"))
    with pytest.raises(RuleBroken, match="charlie may neither propose nor approve"):
        notes.give(discrepancy_id=case.pk, to=charlie, reason="please look", person=ada, actor=actor(ada))
    bob.is_active = False
    bob.save()
    with pytest.raises(RuleBroken, match="bob may neither"):
        notes.give(discrepancy_id=case.pk, to=bob, reason="please look", person=ada, actor=actor(ada))
    assert not steps(case)


VERBS: dict[str, Callable[[Discrepancy, User], Any]] = {
    "take": lambda case, user: notes.take(discrepancy_id=case.pk, person=user, actor=actor(user)),
    "give": lambda case, user: notes.give(
        discrepancy_id=case.pk, to=user, reason="because of me", person=user, actor=actor(user)
    ),
    "release": lambda case, user: notes.release(discrepancy_id=case.pk, reason="", person=user, actor=actor(user)),
    "label": lambda case, user: notes.label(discrepancy_id=case.pk, add=["x"], person=user, actor=actor(user)),
    "comment": lambda case, user: notes.comment(discrepancy_id=case.pk, text="hello", person=user, actor=actor(user)),
    "relate": lambda case, user: notes.relate(
        discrepancy_id=case.pk, other_id=1, reason="the same", person=user, actor=actor(user)
    ),
    "reopen": lambda case, user: notes.reopen(
        discrepancy_id=case.pk, reason="not so sure", person=user, actor=actor(user)
    ),
}


@pytest.mark.parametrize("verb", VERBS)
def test_who_may_only_look_writes_nothing(verb: str, case: Discrepancy, world: World) -> None:
    events = case.events.count()
    with pytest.raises(RuleBroken, match="charlie may not work on cases"):
        VERBS[verb](case, world.people["charlie"])
    assert case.events.count() == events


def test_labels_are_small_words_kept_sorted_and_only_changes_are_steps(
    case: Discrepancy,
    world: World,
) -> None:
    bob = world.people["bob"]

    def label(**words: list[str]) -> list[str]:
        notes.label(discrepancy_id=case.pk, person=bob, actor=actor(bob), **words)
        case.refresh_from_db()
        return list(case.labels)

    assert label(add=["  Broker   Ticket ", "Fees", "fees", ""]) == ["broker ticket", "fees"]
    assert label(add=["dealing-desk"], remove=["FEES"]) == ["broker ticket", "dealing-desk"]
    with pytest.raises(RuleBroken, match="already"):
        label(add=["broker ticket"], remove=["never there"])
    for bad in ("<script>", "x" * 31, "a\x00b", "a,b"):
        with pytest.raises(RuleBroken, match="is no label"):
            label(add=[bad])
    with pytest.raises(RuleBroken, match="at most 10 labels"):
        label(add=[f"label {number}" for number in range(9)])
    assert [one.details["labels"] for one in steps(case)] == [
        ["broker ticket", "fees"], ["broker ticket", "dealing-desk"],
    ]  # fmt: skip
    assert AuditEvent.objects.filter(kind="discrepancy.labelled").count() == 2
    nothing_wrong()


def test_a_comment_stays_whole_and_moves_nothing_not_even_the_proposal(
    case: Discrepancy,
    world: World,
) -> None:
    ada, bob = world.people["ada"], world.people["bob"]
    made = resolutions.propose(
        discrepancy_id=case.pk, action="book_fills", reason="ticket 12", proposer=ada, actor=actor(ada)
    )
    text = "The broker's desk says:\r\n" + "x" * 900 + "\x00\x07"
    notes.comment(discrepancy_id=case.pk, text=text, person=bob, actor=actor(bob))
    for bad in ("", " \x00\n ", "x" * 2001):
        with pytest.raises(RuleBroken, match="nothing was written"):
            notes.comment(discrepancy_id=case.pk, text=bad, person=bob, actor=actor(bob))
    (step,) = steps(case)
    assert step.details["comment"] == "The broker's desk says:\n" + "x" * 900
    assert (step.from_state, step.to_state, step.actor) == ("PROPOSED", "PROPOSED", bob)
    case.refresh_from_db()
    assert (case.state, case.proposal) == ("PROPOSED", made)
    resolutions.approve(
        proposal_id=made.pk, approver=bob, payload_sha256=made.payload_sha256, subject_version=made.subject_version,
        actor=actor(bob),
    )  # fmt: skip
    assert not apply(proposal_id=made.pk, actor=actor(bob), applied_by=bob).refused
    nothing_wrong()


def test_two_cases_are_related_once_whichever_side_says_it(
    case: Discrepancy,
    compare: Compare,
    world: World,
) -> None:
    bob = world.people["bob"]
    compare("10700", times=2, cash=Decimal("5"))
    other = Discrepancy.objects.exclude(pk=case.pk).earliest("id")

    def relate(one: Discrepancy, two: int, reason: str = "the same trade") -> None:
        notes.relate(discrepancy_id=one.pk, other_id=two, reason=reason, person=bob, actor=actor(bob))

    relate(case, other.pk)
    for one, two, sentence in (
        (case, other.pk, "already"), (other, case.pk, "already"), (case, case.pk, "itself"),
        (case, 99_999, "no case 99999"),
    ):  # fmt: skip
        with pytest.raises(RuleBroken, match=sentence):
            relate(one, two)
    assert [one.details["related"] for one in steps(case)] == [other.pk] and not steps(other)
    nothing_wrong()


def test_a_cleared_case_that_a_person_reopens_is_a_suspicion_that_a_run_clears_again(
    case: Discrepancy,
    compare: Compare,
    world: World,
) -> None:
    bob = world.people["bob"]
    compare("10700", times=2, cash=Decimal("5"))
    case = Discrepancy.objects.get(commodity="USD", state="OPEN")
    with pytest.raises(RuleBroken, match="has not ended"):
        notes.reopen(discrepancy_id=case.pk, reason="not so sure", person=bob, actor=actor(bob))
    compare("10700")
    case.refresh_from_db()
    assert case.state == "CLEARED"
    notes.comment(discrepancy_id=case.pk, text="gone, but why?", person=bob, actor=actor(bob))
    with pytest.raises(RuleBroken, match="five characters"):
        notes.reopen(discrepancy_id=case.pk, reason="", person=bob, actor=actor(bob))
    version = case.version
    notes.reopen(discrepancy_id=case.pk, reason="the broker says otherwise", person=bob, actor=actor(bob))
    case.refresh_from_db()
    assert (case.state, case.times_reopened, case.closed_at, case.version) == ("SUSPECTED", 1, None, version + 1)
    with pytest.raises(RuleBroken, match="too recently"):
        resolutions.propose(
            discrepancy_id=case.pk, action="adjust", reason="books it twice", proposer=world.people["ada"],
            actor=actor(world.people["ada"]),
        )  # fmt: skip
    nothing_wrong()
    compare("10700")
    case.refresh_from_db()
    assert (case.state, case.times_reopened) == ("CLEARED", 1)
    nothing_wrong()


def test_an_accepted_difference_that_a_person_reopens_is_decided_anew_once_runs_confirm_it(
    case: Discrepancy,
    compare: Compare,
    world: World,
) -> None:
    ada, bob = world.people["ada"], world.people["bob"]
    made = resolutions.propose(
        discrepancy_id=case.pk, action="accept", reason="leave it so", proposer=ada, actor=actor(ada)
    )
    resolutions.approve(
        proposal_id=made.pk, approver=bob, payload_sha256=made.payload_sha256, subject_version=made.subject_version,
        actor=actor(bob),
    )  # fmt: skip
    apply(proposal_id=made.pk, actor=actor(bob), applied_by=bob)
    compare("10700")
    case.refresh_from_db()
    assert case.state == "CLOSED"
    notes.reopen(discrepancy_id=case.pk, reason="we do want to book it", person=ada, actor=actor(ada))
    compare("10700", times=2)
    case.refresh_from_db()
    assert (case.state, case.proposal) == ("OPEN", None)
    nothing_wrong()


def test_of_two_who_take_a_case_at_once_one_has_it(desk: Desk, people: People) -> None:
    carol = User.objects.create_user("carol", password="x", person=Person.objects.create(name="Carol"), is_staff=True)
    carol.groups.add(Group.objects.get(name="approver"))
    desk.external("silent_cash", currency="USD", amount="1")
    desk.reconcile()
    desk.reconcile()
    found = desk.case(state="OPEN")
    outcomes: Counter[str] = Counter()
    together = threading.Barrier(2, timeout=30)

    def take(user: User) -> None:
        try:
            together.wait()
            notes.take(discrepancy_id=found.pk, person=user, actor=TEST)
            outcomes["taken"] += 1
        except RuleBroken:
            outcomes["refused"] += 1
        finally:
            connections.close_all()

    threads = [threading.Thread(target=take, args=(user,)) for user in (people.bob, carol)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"taken": 1, "refused": 1}
    assert [one.sequence for one in found.events.order_by("sequence")] == list(range(1, found.events.count() + 1))
