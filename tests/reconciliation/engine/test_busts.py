"""Executions that a broker takes back or corrects, end to end: seen, proposed, approved, booked, and closed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reconciliation.models import Discrepancy
from tests.reconciliation.conftest import People
from tests.reconciliation.engine.share_desk import AAPL, ShareDesk, books_hold, verified
from tests.trading.services import shares
from trading.models import AuditEvent, Entry, Fill, Order, Position, Trade
from trading.selectors import books

D = Decimal


def bought(desk: ShareDesk, people: People, quantity: str, price: str) -> Fill:
    """Somebody trades by hand, and two people book it."""
    desk.external("trade", instrument=AAPL, quantity=quantity, price=price)
    desk.resolve(desk.opened(), "book_fills", people)
    desk.reconcile()
    return Fill.objects.latest("id")


def only_case(desk: ShareDesk) -> Discrepancy:
    """The one live case: what the broker changed explains positions and cash as well."""
    desk.reconcile()
    desk.reconcile()
    return desk.case(state="OPEN")


def settled(desk: ShareDesk) -> None:
    """The next run finds nothing, and every invariant holds."""
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == (), result.findings
    assert not Discrepancy.objects.exclude(state__in=["CLOSED", "CLEARED"]).exists()
    assert desk.agrees()
    verified()


def test_a_busted_purchase_is_reversed_by_two_people_and_leaves_nothing(desk: ShareDesk, people: People) -> None:
    desk.reconcile()
    fill = bought(desk, people, "10", "100.25")
    desk.external("bust", fill_id=fill.external_id)
    case = only_case(desk)
    assert (case.kind, case.difference) == ("FILL_MISMATCH", -10)
    assert case.evidence["suggestion"] == "book_fills" and "took it back" in case.cause
    desk.resolve(case, "book_fills", people)
    entry = Entry.objects.get(fill=fill, kind="EXTERNAL_FILL")
    reversal = entry.reversals.get()
    assert (reversal.at, reversal.application is not None) == (entry.at, True)
    assert books.positions(desk.account) == {} and books.outstanding(desk.account) == []
    assert Position.objects.get().quantity == 0
    told = AuditEvent.objects.get(kind="entry.reversed")
    assert told.after["entry"] == reversal.pk and told.reason == "seen at the broker"
    settled(desk)


def own_entry(desk: ShareDesk, quantity: str, price: str) -> tuple[Order, str]:
    """An entry of ours that filled at the broker, and the broker's id of the execution."""
    order = shares.entry(desk.account, quantity=quantity, entry=price, stop="90", target="150")
    done = desk.external("trade", instrument=AAPL, quantity=quantity, price=price)
    Order.objects.filter(pk=order.pk).update(broker_order_id=done["order_id"])
    desk.reconcile()
    return Order.objects.get(pk=order.pk), done["fill_id"]


@pytest.mark.fault("F-051", broker="alpaca")
def test_a_busted_entry_of_ours_takes_its_trade_along_and_its_order_keeps_its_state(
    desk: ShareDesk, people: People
) -> None:
    desk.reconcile()
    order, fill_id = own_entry(desk, "10", "100")
    assert (order.state, order.filled_quantity) == ("FILLED", 10) and Trade.objects.get().state == "OPEN"
    desk.external("bust", fill_id=fill_id)
    desk.reconcile()
    desk.reconcile()
    desk.resolve(desk.case(state="OPEN", kind="FILL_MISMATCH"), "book_fills", people)
    order.refresh_from_db()
    assert (order.state, order.filled_quantity, order.average_price) == ("FILLED", 0, None)
    assert not Trade.objects.exists() and desk.agrees()
    desk.reconcile()
    assert not Discrepancy.objects.filter(state="OPEN").exists()
    books_hold()


def test_a_corrected_entry_of_ours_leaves_the_trade_at_the_price_that_counts(desk: ShareDesk, people: People) -> None:
    desk.reconcile()
    order, fill_id = own_entry(desk, "10", "100")
    desk.external("correct", fill_id=fill_id, price="101")
    desk.reconcile()
    desk.reconcile()
    desk.resolve(desk.case(state="OPEN", kind="FILL_MISMATCH"), "book_fills", people)
    order.refresh_from_db()
    trade = Trade.objects.get()
    assert (order.filled_quantity, order.average_price, trade.entry_price) == (10, 101, 101)
    assert Fill.objects.latest("id").order == order and Entry.objects.latest("id").kind == "FILL" and desk.agrees()
    books_hold()


@pytest.mark.scenario("S-21")
def test_a_correction_books_what_the_broker_says_now_in_the_place_of_what_stood(
    desk: ShareDesk, people: People
) -> None:
    desk.reconcile()
    fill = bought(desk, people, "10", "100")
    desk.external("correct", fill_id=fill.external_id, price="101", quantity="8")
    case = only_case(desk)
    assert (case.kind, case.difference) == ("FILL_MISMATCH", -2) and "corrected it to" in case.cause
    desk.resolve(case, "book_fills", people)
    instead = Fill.objects.latest("id")
    assert (instead.quantity, instead.price, instead.external_id) == (8, 101, f"{fill.external_id}~1")
    assert instead.entries.get().replaces == Entry.objects.get(fill=fill, kind="EXTERNAL_FILL")
    held = books.positions(desk.account)[AAPL]
    assert (held.quantity, held.average_price) == (8, 101)
    settled(desk)


def test_a_corrected_fill_that_is_busted_after_that_is_reversed_again(desk: ShareDesk, people: People) -> None:
    desk.reconcile()
    fill = bought(desk, people, "10", "100")
    desk.external("correct", fill_id=fill.external_id, price="99")
    desk.resolve(only_case(desk), "book_fills", people)
    desk.reconcile()
    desk.external("bust", fill_id=fill.external_id)
    desk.resolve(only_case(desk), "book_fills", people)
    assert Entry.objects.filter(kind="REVERSAL").count() == 2 and books.positions(desk.account) == {}
    settled(desk)


def test_a_bust_of_shares_that_were_sold_meanwhile_leaves_the_sale_short_with_no_profit(
    desk: ShareDesk, people: People
) -> None:
    desk.reconcile()
    fill = bought(desk, people, "10", "100")
    bought(desk, people, "-10", "110")
    assert -books.balances(desk.account, "REALISED")["USD"] == 100
    desk.external("bust", fill_id=fill.external_id)
    case = only_case(desk)
    desk.resolve(case, "book_fills", people)
    held = books.positions(desk.account)[AAPL]
    assert (held.quantity, held.average_price) == (-10, 110)
    assert books.balances(desk.account, "REALISED")["USD"] == 0 and desk.agrees()
    found = desk.reconcile().findings
    assert found is not None and [f.kind for f in found.findings] == ["COST_BASIS"], "the broker keeps another cost"
    verified()


def test_a_fill_busted_before_anybody_booked_it_is_no_case_at_all(desk: ShareDesk) -> None:
    desk.reconcile()
    done = desk.external("trade", instrument=AAPL, quantity="10", price="100")
    desk.reconcile()
    desk.external("bust", fill_id=done["fill_id"])
    desk.reconcile()
    assert not Discrepancy.objects.exclude(state="CLEARED").exists() and Fill.objects.count() == 0
    assert desk.agrees()


def test_a_fill_first_seen_as_corrected_is_a_fill(desk: ShareDesk, people: People) -> None:
    desk.reconcile()
    done = desk.external("trade", instrument=AAPL, quantity="10", price="100")
    desk.external("correct", fill_id=done["fill_id"], price="99")
    desk.resolve(desk.opened(), "book_fills", people)
    assert Fill.objects.get().price == 99
    settled(desk)


@pytest.fixture
def desk(share_desk: ShareDesk) -> ShareDesk:
    """The account of shares."""
    return share_desk
