"""What OANDA does to an account by itself: a margin close-out, and what its staff takes back or corrects by trades."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reconciliation.models import Discrepancy
from tests.reconciliation.conftest import EURUSD, Desk, People
from tests.reconciliation.engine.share_desk import verified
from trading.models import Entry, Fill
from trading.selectors import books


def opened(desk: Desk) -> Discrepancy:
    """The one case, once two complete runs have confirmed it."""
    desk.reconcile()
    desk.reconcile()
    return desk.case(state="OPEN")


def agreed(desk: Desk) -> None:
    """The next run finds nothing, and every invariant holds."""
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == () and desk.agrees()
    verified()


@pytest.mark.scenario("S-46")
def test_a_margin_closeout_is_named_and_booked_as_what_it_is(desk: Desk, people: People) -> None:
    desk.reconcile()
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.resolve(opened(desk), "book_fills", people)
    desk.reconcile()
    desk.external("closeout", instrument=EURUSD)
    case = opened(desk)
    assert case.kind == "PHANTOM_POSITION" and "margin close-out" in case.cause
    desk.resolve(case, "book_fills", people)
    entry = Entry.objects.get(kind="MARGIN_CLOSEOUT")
    assert entry.fill is not None and entry.fill.reason == "MARKET_ORDER_MARGIN_CLOSEOUT"
    assert entry.memo.startswith("the broker's margin close-out: SELL 1000")
    assert books.positions(desk.account) == {}
    agreed(desk)


@pytest.mark.fault("F-051", broker="oanda")
def test_a_bust_there_is_a_trade_of_the_brokers_and_nothing_is_reversed(desk: Desk, people: People) -> None:
    desk.reconcile()
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.resolve(opened(desk), "book_fills", people)
    desk.reconcile()
    desk.external("bust", fill_id=Fill.objects.get().external_id)
    case = opened(desk)
    assert case.kind == "PHANTOM_POSITION"
    desk.resolve(case, "book_fills", people)
    assert not Entry.objects.filter(kind="REVERSAL").exists() and books.positions(desk.account) == {}
    agreed(desk)


def test_a_correction_there_is_two_trades_of_the_brokers(desk: Desk, people: People) -> None:
    desk.reconcile()
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.resolve(opened(desk), "book_fills", people)
    desk.reconcile()
    desk.external("correct", fill_id=Fill.objects.get().external_id, price="1.099", quantity="900")
    desk.resolve(opened(desk), "book_fills", people)
    held = books.positions(desk.account)["EURUSD"]
    assert (held.quantity, held.average_price) == (900, Decimal("1.099")) and Fill.objects.count() == 3
    agreed(desk)
