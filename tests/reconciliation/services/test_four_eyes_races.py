"""Two approvers at the same moment, again and again: whatever is proposed has its effect once."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import connections

from reconciliation.models import Discrepancy
from reconciliation.services.applying import apply
from tests.reconciliation.conftest import TEST, Desk, People
from trading.models import Application, Approval, Entry, Person, Proposal, User
from trading.selectors import books
from trading.services.errors import RuleBroken

# The proof of a thousand is `FOUR_EYES_RACES=1000`.
RACES = int(os.environ.get("FOUR_EYES_RACES", "25"))


def copies(case: Discrepancy, number: int) -> Iterator[Discrepancy]:
    """So many more cases like it, one after the other: each is about the next dollar."""
    for copy in range(number):
        case.pk, case.fingerprint, case.key = None, f"{copy:064d}", f"USD {copy}"
        case.broker_value = None if case.broker_value is None else case.broker_value + (1 if copy else 0)
        case.save(force_insert=True)
        yield Discrepancy.objects.get(pk=case.pk)


@pytest.mark.scenario("S-76")
def test_two_approvers_at_the_same_moment_have_one_effect(desk: Desk, people: People) -> None:
    carol = User.objects.create_user("carol", password="x", person=Person.objects.create(name="Carol"), is_staff=True)
    carol.groups.add(Group.objects.get(name="approver"))
    desk.external("silent_cash", currency="USD", amount="1")
    desk.reconcile()
    desk.reconcile()
    cases, outcomes = copies(desk.case(state="OPEN"), RACES), Counter[str]()
    proposals: list[Proposal] = []
    together = threading.Barrier(2, timeout=30, action=lambda: proposals.append(_next(desk, cases, people.ada)))

    def decide(approver: User) -> None:
        try:
            for _ in range(RACES):
                together.wait()
                outcomes[_approve(desk, proposals[-1], approver)] += 1
        finally:
            connections.close_all()

    threads = [threading.Thread(target=decide, args=(user,)) for user in (people.bob, carol)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcomes.values()) == 2 * RACES and outcomes["applied"] >= RACES, outcomes
    assert Application.objects.count() == Entry.objects.filter(kind="ADJUSTMENT").count() == RACES
    assert books.balances(desk.account, "SUSPENSE") == {"USD": Decimal(-RACES)}
    assert Approval.objects.filter(verdict="APPROVE").count() <= 2 * RACES


def _next(desk: Desk, cases: Iterator[Discrepancy], proposer: User) -> Proposal:
    return desk.propose(next(cases), "adjust", proposer)


def _approve(desk: Desk, proposal: Proposal, approver: User) -> str:
    """Approve and carry out, as the page does; what came of it."""
    try:
        desk.approve(proposal, approver)
        done = apply(proposal_id=proposal.pk, actor=TEST, applied_by=approver)
    except RuleBroken:
        return "refused"
    return "applied" if done.application is not None else done.refused
