"""How many people must approve: more where more is at stake than the account's policy calls material."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group

from reconciliation.engine.applications import sweep
from reconciliation.models import Discrepancy
from reconciliation.services.approvals_needed import at_stake, needed
from reconciliation.services.payloads import preview
from tests.reconciliation.conftest import EURUSD, Desk, People
from trading.models import Application, Person, User
from trading.selectors.policies import policy_of
from trading.services.approvals import need_in_words, standing, still_needed
from trading.services.errors import RuleBroken
from trading.services.setup import ensure_version


def material(desk: Desk, amount: str) -> None:
    """The account's policy calls more than this material."""
    policy = replace(policy_of(desk.account), materiality=Decimal(amount))
    desk.account.policy = ensure_version(kind="POLICY", name=f"material-{amount}", body=policy.canonical)
    desk.account.save(update_fields=["policy"])


@pytest.fixture
def case(desk: Desk) -> Discrepancy:
    """Somebody's 1000 EURUSD at 1.1: 1,100 USD."""
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.reconcile()
    desk.reconcile()
    return desk.case(state="OPEN")


@pytest.fixture
def carol(people: People) -> User:
    """A third person."""
    made = User.objects.create_user("carol", password="x", person=Person.objects.create(name="Carol"), is_staff=True)
    made.groups.add(Group.objects.get(name="approver"))
    return made


@pytest.mark.parametrize(("limit", "wanted"), [("0", 1), ("1099.99", 2), ("1100", 1)])
def test_more_than_what_is_material_needs_two_approvals(
    desk: Desk, people: People, case: Discrepancy, limit: str, wanted: int
) -> None:
    material(desk, limit)
    assert desk.propose(case, "book_fills", people.ada).approvals_required == wanted


@pytest.mark.parametrize("action", ["book_fills", "flatten", "accept"])
def test_what_is_at_stake_is_what_the_payload_moves_or_leaves(desk: Desk, case: Discrepancy, action: str) -> None:
    assert at_stake(case, preview(case, action).payload) == 1100


def test_cash_is_at_stake_with_its_amount_and_its_sign_does_not_matter(desk: Desk) -> None:
    material(desk, "12.33")
    desk.external("silent_cash", currency="USD", amount="-12.34")
    desk.reconcile()
    desk.reconcile()
    case = desk.case(kind="CASH_UNEXPLAINED")
    for action in ("adjust", "accept"):
        payload = preview(case, action).payload
        assert (at_stake(case, payload), needed(case, payload)) == (Decimal("12.34"), 2)


@pytest.mark.parametrize(
    "entry",
    [
        {"entry": "SPLIT", "instrument": "EURUSD", "before": "10", "after": "20"},
        {"entry": "FEE", "currency": "XXX", "amount": "1"},
        {"entry": "EXTERNAL_FILL", "instrument": "NOBODY_KNOWS", "quantity": "1", "price": "1"},
    ],
)
def test_what_cannot_be_valued_is_material_once_there_is_a_limit(
    desk: Desk, case: Discrepancy, entry: dict[str, Any]
) -> None:
    payload = {"action": "adjust", "entries": [entry], "orders": []}
    assert needed(case, payload) == 1
    material(desk, "1000000")
    case.account.refresh_from_db()
    assert needed(case, payload) == 2


@pytest.mark.parametrize(
    ("entry", "stake"),
    [
        ({"entry": "ADOPTION", "price": "0.01"}, "1100"),
        ({"entry": "ADOPTION", "price": "1.2"}, "1200"),
        ({"entry": "ESTIMATE", "price": "0.01", "realised": "-500"}, "1600"),
        ({"entry": "FILL", "price": "1.1", "realised": "7", "financing": "-2", "commission": "-1"}, "1110"),
    ],
)
def test_a_low_price_makes_nothing_immaterial_and_the_cash_beside_the_units_counts(
    desk: Desk, case: Discrepancy, entry: dict[str, Any], stake: str
) -> None:
    payload = {"action": "x", "entries": [{"instrument": "EURUSD", "quantity": "1000", **entry}], "orders": []}
    assert at_stake(case, payload) == Decimal(stake)


def test_accepting_what_has_units_at_stake_and_no_number_is_material(desk: Desk, case: Discrepancy) -> None:
    payload = {"action": "accept", "entries": [], "orders": []}
    case.difference = None
    assert at_stake(case, payload) is None
    case.instrument = None
    assert at_stake(case, payload) == 0


def test_two_other_people_approve_each_is_told_who_is_missing_and_then_it_is_applied_once(
    desk: Desk, people: People, case: Discrepancy, carol: User
) -> None:
    material(desk, "1000")
    proposal = desk.propose(case, "book_fills", people.ada)
    assert need_in_words(proposal) == "It needs the approval of two more people."
    (told,) = [sentence for sentence in preview(case, "book_fills").sentences if "must approve" in sentence]
    assert told == "2 other people must approve it: more is at stake than the account's policy calls material."
    with pytest.raises(RuleBroken):
        desk.approve(proposal, people.adas_other_user)
    desk.approve(proposal, people.bob)
    assert (standing(proposal), still_needed(proposal)) == ("WAITING", 1)
    assert need_in_words(proposal) == "It needs the approval of one more person."
    with pytest.raises(RuleBroken, match="already"):
        desk.approve(proposal, people.bob)
    assert sweep(desk.account) == 0 and not Application.objects.exists()
    case.refresh_from_db()
    assert case.state == "PROPOSED"
    desk.approve(proposal, carol)
    assert need_in_words(proposal) == ""
    assert sweep(desk.account) == 1 and desk.agrees()
    assert Application.objects.count() == 1


def test_a_limit_that_was_lowered_since_is_asked_again_when_it_is_carried_out(
    desk: Desk, people: People, case: Discrepancy
) -> None:
    proposal = desk.propose(case, "book_fills", people.ada)
    desk.approve(proposal, people.bob)
    material(desk, "1000")
    assert sweep(desk.account) == 0 and not Application.objects.exists()
    case.refresh_from_db()
    assert case.state == "OPEN" and "more people must approve" in case.events.latest("sequence").reason
