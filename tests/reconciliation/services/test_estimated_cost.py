"""Units of which the broker does not say what they cost: taken over at the market's price, said to be an estimate."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from reconciliation.services.approvals_needed import at_stake
from reconciliation.services.payloads import preview
from tests.reconciliation.conftest import EURUSD, Desk, People
from tests.reconciliation.scenarios.showing import shows
from tests.reconciliation.services.test_approvals_needed import material
from trading.domain.broker import BrokerSnapshot
from trading.models import Fill

D = Decimal


def _without_cost(shown: BrokerSnapshot) -> BrokerSnapshot:
    positions = (replace(each, average_price=D(0), market_price=D("1.2")) for each in shown.positions)
    return replace(shown, positions=tuple(positions))


def test_units_without_a_known_cost_are_adopted_as_an_estimate_which_is_material(desk: Desk, people: People) -> None:
    desk.external("trade", instrument=EURUSD, quantity="100", price="1.1")
    desk.reconcile()
    desk.reconcile()
    desk.resolve(desk.case(), "book_fills", people)
    assert desk.reconcile().live == 0
    desk.external("silent_position", instrument="GBP_USD", quantity="1000", price="1.1")
    shows(desk, _without_cost)
    desk.reconcile()
    desk.reconcile()
    case = desk.case(state="OPEN")
    assert (case.key, case.kind, case.evidence["actions"]) == (
        "GBPUSD", "EXTERNAL_POSITION", ["adopt_position", "accept"],
    )  # fmt: skip
    seen = preview(case, "adopt_position")
    (entry,) = seen.payload["entries"]
    assert (entry["price"], entry["estimated"]) == ("1.2", True)
    assert "The broker does not say what it cost: the price is an estimate." in seen.sentences[0]
    assert preview(case, "adopt_position", price=D("0.01")).payload["entries"][0]["estimated"]
    assert at_stake(case, seen.payload) is None
    desk.resolve(case, "adopt_position", people)
    fill = Fill.objects.get(instrument__symbol="GBPUSD")
    assert (fill.price, fill.is_estimate) == (D("1.2"), True)
    assert desk.reconcile().live == 0


@pytest.mark.parametrize(("limit", "wanted"), [("0", 1), ("1000000", 2)])
def test_an_estimate_needs_two_approvals_wherever_there_is_a_limit(
    desk: Desk, people: People, limit: str, wanted: int
) -> None:
    desk.external("trade", instrument=EURUSD, quantity="100", price="1.1")
    desk.reconcile()
    desk.reconcile()
    desk.resolve(desk.case(), "book_fills", people)
    desk.external("silent_position", instrument="GBP_USD", quantity="1000", price="1.1")
    shows(desk, _without_cost)
    desk.reconcile()
    desk.reconcile()
    material(desk, limit)
    assert desk.propose(desk.case(state="OPEN"), "adopt_position", people.ada).approvals_required == wanted
