"""Shares end to end: a real simulator of Alpaca, trade-date cash on both sides, settlement on the broker's clock."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.reconciliation.conftest import People
from tests.reconciliation.engine.share_desk import AAPL, ShareDesk, verified
from trading.engine.settling import settle_all
from trading.models import CashEvent, Entry, Fill
from trading.selectors import books


@pytest.fixture
def desk(share_desk: ShareDesk) -> ShareDesk:
    """The account of shares."""
    return share_desk


def test_a_fresh_account_has_its_deposit_and_no_difference(desk: ShareDesk) -> None:
    result = desk.reconcile()
    assert result.ok and result.findings is not None, result.error
    assert result.findings.findings == () and desk.agrees()
    assert CashEvent.objects.get().kind == "TRANSFER"


def test_somebodys_purchase_is_booked_by_two_people_and_settles_on_the_brokers_clock(
    desk: ShareDesk, people: People
) -> None:
    desk.reconcile()
    desk.external("trade", instrument=AAPL, quantity="10", price="100.25")
    case = desk.opened()
    assert (case.kind, case.difference) == ("EXTERNAL_POSITION", 10)
    desk.resolve(case, "book_fills", people)
    assert desk.agrees()
    held = books.cash(desk.account)["USD"]
    assert [held.settled, held.unsettled] == [100000, Decimal("-1002.5")]
    assert settle_all() == 0, "its value date has not come"
    desk.wait_days(5)
    assert settle_all() == 1 and books.outstanding(desk.account) == [] and desk.agrees()
    assert Entry.objects.get(kind="SETTLEMENT").value_date == Fill.objects.get().settles_on
    assert desk.reconcile().ok and case.__class__.objects.get().state == "CLOSED"
    verified()


def test_cash_of_every_kind_is_booked_with_its_instrument_and_leaves_no_case(desk: ShareDesk) -> None:
    desk.reconcile()
    moved = [
        ("dividend", "7.5", AAPL), ("dividend", "-1.13", AAPL), ("fee", "-0.02", ""), ("fee", "0.01", AAPL),
        ("financing", "-3.4", ""), ("transfer", "500", ""), ("transfer", "-20.5", ""),
    ]  # fmt: skip
    for kind, amount, symbol in moved:
        desk.external(kind, currency="USD", amount=amount, **({"instrument": symbol} if symbol else {}))
    for _ in range(2):
        result = desk.reconcile()
        assert result.ok and result.findings is not None and result.findings.findings == ()
    rows = CashEvent.objects.order_by("id").select_related("instrument")[1:]
    told = [(r.kind.lower(), r.amount, r.instrument.symbol if r.instrument else "") for r in rows]
    assert told == [(kind, Decimal(amount), symbol) for kind, amount, symbol in moved] and desk.agrees()


def test_shares_sold_in_silence_are_closed_at_what_their_cash_brought(desk: ShareDesk, people: People) -> None:
    desk.reconcile()
    desk.external("trade", instrument=AAPL, quantity="10", price="100")
    desk.resolve(desk.opened(), "book_fills", people)
    desk.reconcile()
    desk.external("silent_position", instrument=AAPL, quantity="-10", price="104")
    desk.external("silent_cash", currency="USD", amount="1040")
    desk.reconcile()
    desk.reconcile()
    case = desk.case(state="OPEN", kind="PHANTOM_POSITION")
    desk.resolve(case, "close_at_estimate", people)
    close = Fill.objects.get(is_estimate=True)
    assert (close.price, close.realised) == (Decimal(104), Decimal(40)) and desk.agrees()
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == ()
    verified()


def test_shares_that_vanish_without_cash_leave_at_cost_and_move_none(desk: ShareDesk, people: People) -> None:
    desk.reconcile()
    desk.external("trade", instrument=AAPL, quantity="10", price="100")
    desk.resolve(desk.opened(), "book_fills", people)
    desk.reconcile()
    desk.external("silent_position", instrument=AAPL, quantity="-4", price="104")
    case = desk.opened()
    desk.resolve(case, "close_at_estimate", people)
    close = Fill.objects.get(is_estimate=True)
    assert (close.quantity, close.price, close.realised, close.settles_on) == (4, 100, 0, None) and desk.agrees()
    verified()


def test_shares_that_appear_are_taken_over_at_the_brokers_cost_and_move_no_cash(
    desk: ShareDesk, people: People
) -> None:
    desk.reconcile()
    desk.external("silent_position", instrument=AAPL, quantity="7", price="90")
    case = desk.opened()
    desk.resolve(case, "adopt_position", people)
    assert desk.agrees() and books.positions(desk.account)[AAPL].average_price == 90
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == ()
    verified()


def test_a_position_built_and_sold_in_parts_is_no_case_although_the_broker_averages(
    desk: ShareDesk, people: People
) -> None:
    desk.reconcile()
    for quantity, price in (("10", "100"), ("10", "110"), ("-5", "120")):
        desk.external("trade", instrument=AAPL, quantity=quantity, price=price)
    desk.resolve(desk.opened(), "book_fills", people)
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == () and desk.agrees()
    assert books.positions(desk.account)[AAPL].average_price != 105
    verified()


@pytest.mark.scenario("S-44")
def test_a_split_is_a_corporate_action_that_two_people_adjust_without_cash_or_profit(
    desk: ShareDesk, people: People
) -> None:
    desk.reconcile()
    desk.external("trade", instrument=AAPL, quantity="10", price="400")
    desk.resolve(desk.opened(), "book_fills", people)
    desk.reconcile()
    desk.external("split", instrument=AAPL, ratio="4")
    case = desk.opened()
    assert (case.kind, case.severity, case.difference) == ("CORPORATE_ACTION", "MEDIUM", 30)
    assert case.evidence["suggestion"] == "adjust" and "4 new for 1 old at the same total cost" in case.cause
    cash = books.cash(desk.account)
    desk.resolve(case, "adjust", people)
    assert desk.agrees() and books.cash(desk.account) == cash
    held = books.positions(desk.account)[AAPL]
    assert (held.quantity, held.average_price) == (40, 100)
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == ()
    verified()
