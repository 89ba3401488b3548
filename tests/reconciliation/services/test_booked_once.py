"""One difference is booked once: what was approved is checked against the books of the moment it is carried out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reconciliation.engine.applications import sweep
from reconciliation.models import Discrepancy
from reconciliation.services.payloads import preview
from tests.reconciliation.conftest import EURUSD, TEST, Desk, People
from trading.clock import now
from trading.domain.orders import Tag
from trading.engine.inflow import catch_up
from trading.engine.sender import send_order
from trading.models import Application, Decision, Entry, Instrument, Order, Signal
from trading.selectors import books
from trading.services.errors import RuleBroken
from trading.services.orders import plan_order
from trading.services.setup import ensure_policy

D = Decimal
GOLD = "XAU_USD"


def looked_at(desk: Desk) -> None:
    """Two complete runs: what they find is confirmed."""
    for _ in range(2):
        assert desk.reconcile().ok


def cash(desk: Desk) -> Decimal:
    return books.cash_balances(desk.account)["USD"]


def gone_with_its_cash(desk: Desk, people: People, *instruments: str) -> Decimal:
    """Positions that our books hold vanish at the broker, and 500 of cash come. Returns the broker's cash."""
    looked_at(desk)
    for instrument in instruments:
        desk.external("trade", instrument=instrument, quantity="1000", price="1.1")
    looked_at(desk)
    for instrument in instruments:
        desk.resolve(desk.case(key=instrument.replace("_", "")), "book_fills", people)
    assert desk.reconcile().live == 0
    for instrument in instruments:
        desk.external("silent_position", instrument=instrument, quantity="-1000")
    desk.external("silent_cash", currency="USD", amount="500")
    looked_at(desk)
    return D(desk.simulator.truth()["cash"]["USD"])


@pytest.mark.parametrize("adjusted_first", [False, True])
def test_cash_that_a_vanished_position_realised_is_not_adjusted_as_well(
    desk: Desk, people: People, adjusted_first: bool
) -> None:
    theirs = gone_with_its_cash(desk, people, EURUSD)
    estimate = desk.propose(desk.case(kind="PHANTOM_POSITION"), "close_at_estimate", people.ada)
    adjust = desk.propose(desk.case(kind="CASH_UNEXPLAINED"), "adjust", people.ada)
    for proposal in (adjust, estimate) if adjusted_first else (estimate, adjust):
        desk.approve(proposal, people.bob)
        sweep(desk.account)
    assert cash(desk) == theirs
    looked_at(desk)
    left = desk.case(state="OPEN") if adjusted_first else None
    if left is not None:
        assert "more than" in left.events.filter(kind="NOT_APPLIED").latest("sequence").reason
        desk.resolve(left, "close_at_estimate", people)
    assert desk.agrees()


def test_the_cash_of_one_event_is_not_the_profit_of_two_vanished_positions(desk: Desk, people: People) -> None:
    theirs = gone_with_its_cash(desk, people, EURUSD, GOLD)
    for case in Discrepancy.objects.filter(kind="PHANTOM_POSITION"):
        (entry,) = preview(case, "close_at_estimate").payload["entries"]
        assert D(entry["realised"]) == 0
    asked = [
        desk.propose(case, "close_at_estimate", people.ada, price=D("1.1"), realised=D(500))
        for case in Discrepancy.objects.filter(kind="PHANTOM_POSITION")
    ]
    for proposal in asked:
        desk.approve(proposal, people.bob)
        sweep(desk.account)
    assert cash(desk) == theirs and Application.objects.filter(proposal__in=asked).count() == 1


def test_more_than_the_unexplained_cash_cannot_be_proposed_as_realised(desk: Desk, people: People) -> None:
    gone_with_its_cash(desk, people, EURUSD)
    case = desk.case(kind="PHANTOM_POSITION")
    for realised in ("500.02", "-1"):
        with pytest.raises(RuleBroken, match="500"):
            desk.propose(case, "close_at_estimate", people.ada, realised=D(realised))
    assert D(preview(case, "close_at_estimate", realised=D(200)).payload["entries"][0]["realised"]) == 200


def test_no_profit_is_assumed_from_cash_that_is_about_to_be_adjusted(desk: Desk, people: People) -> None:
    gone_with_its_cash(desk, people, EURUSD)
    desk.propose(desk.case(kind="CASH_UNEXPLAINED"), "adjust", people.ada)
    (entry,) = preview(desk.case(kind="PHANTOM_POSITION"), "close_at_estimate").payload["entries"]
    assert D(entry["realised"]) == 0


@pytest.mark.parametrize("action", ["adopt_position", "flatten"])
def test_units_that_came_into_the_books_since_are_not_booked_again(desk: Desk, people: People, action: str) -> None:
    resting(desk, "100")
    looked_at(desk)
    desk.external("silent_position", instrument=EURUSD, quantity="100")
    looked_at(desk)
    proposal = desk.propose(desk.case(kind="EXTERNAL_POSITION"), action, people.ada, price=D("1.1"))
    desk.approve(proposal, people.bob)
    it_fills(desk, "100")
    assert sweep(desk.account) == 0
    assert books.positions(desk.account)["EURUSD"].quantity == 100
    case = desk.case(kind="EXTERNAL_POSITION")
    why = "by now" if action == "adopt_position" else "perhaps ours"
    assert case.state == "OPEN" and why in case.events.latest("sequence").reason
    assert desk.reconcile().ok and desk.agrees()


def test_a_part_that_was_closed_since_is_not_closed_again_at_an_estimate(desk: Desk, people: People) -> None:
    resting(desk, "40")
    looked_at(desk)
    desk.external("trade", instrument=EURUSD, quantity="-100", price="1.1")
    looked_at(desk)
    desk.resolve(desk.case(), "book_fills", people)
    desk.external("silent_position", instrument=EURUSD, quantity="40")
    looked_at(desk)
    proposal = desk.propose(desk.case(kind="QUANTITY_MISMATCH"), "close_at_estimate", people.ada, realised=D(0))
    desk.approve(proposal, people.bob)
    it_fills(desk, "40")
    assert sweep(desk.account) == 0 and not Entry.objects.filter(kind="ESTIMATE").exists()
    assert books.positions(desk.account)["EURUSD"].quantity == -60


def test_another_position_of_the_broker_is_another_difference(desk: Desk, people: People) -> None:
    looked_at(desk)
    desk.external("silent_position", instrument=EURUSD, quantity="100")
    looked_at(desk)
    case = desk.case(kind="EXTERNAL_POSITION")
    assert preview(case, "adopt_position").payload["entries"]
    Discrepancy.objects.filter(pk=case.pk).update(broker_value=D(90))
    case.refresh_from_db()
    with pytest.raises(RuleBroken, match="Run a reconciliation again"):
        preview(case, "adopt_position")


def planned(desk: Desk, units: str) -> Order:
    """An entry of ours that has not been sent, below the price."""
    account, at, version = desk.account, now(desk.account), ensure_policy()
    instrument = Instrument.objects.get(symbol="EURUSD")
    signal = Signal.objects.create(
        at=at, account=account, config_version=version, strategy="orb", instrument=instrument, bar_start=at, side="BUY",
        order_type="LIMIT", entry=D("1.05"), stop=D("1.01"), target=D("1.2"),
    )  # fmt: skip
    decision = Decision.objects.create(
        at=at, signal=signal, account=account, config_version=version, client_plan_id=f"plan-{signal.pk}",
        verdict="APPROVED", position_size=D(units), trading_day=at.date(),
    )  # fmt: skip
    return plan_order(
        account=account, intent=decision, instrument=instrument, quantity=D(units), at=at, actor=TEST, tag=Tag.ENTRY,
        side="BUY", type="LIMIT", price=D("1.05"),
    )  # fmt: skip


def resting(desk: Desk, units: str) -> None:
    """An entry of ours that rests at the broker."""
    assert send_order(order_id=planned(desk, units).pk, broker=desk.broker).state == "WORKING"


def it_fills(desk: Desk, units: str) -> None:
    """It fills, we hear of it late, and the broker holds what it showed before: the units of the case were these."""
    before = books.positions(desk.account)
    desk.simulator.post("/prices", {"instrument": EURUSD, "bid": "1.04000", "ask": "1.04000"})
    desk.external("silent_position", instrument=EURUSD, quantity=f"-{units}")
    catch_up(account=desk.account, broker=desk.broker)
    assert books.positions(desk.account) != before
