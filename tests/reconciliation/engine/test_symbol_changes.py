"""A share that its broker calls by another name from one day to the next: one case, and units that keep their cost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.reconciliation.conftest import TEST, People
from tests.reconciliation.engine.share_desk import AAPL, ShareDesk, verified
from trading.models import Entry, Fill, Instrument, Lot
from trading.selectors import books
from trading.services.errors import RuleBroken
from trading.services.symbol_changes import book_symbol_change

MSFT = "MSFT"


@pytest.fixture
def desk(share_desk: ShareDesk) -> ShareDesk:
    """The account of shares, with ten of one in two lots."""
    share_desk.reconcile()
    return share_desk


def renamed_at_the_broker(desk: ShareDesk, people: People) -> None:
    for quantity, price in (("6", "90"), ("4", "100")):
        desk.external("trade", instrument=AAPL, quantity=quantity, price=price)
    desk.resolve(desk.opened(), "book_fills", people)
    desk.reconcile()
    desk.external("silent_position", instrument=AAPL, quantity="-10", price="94")
    desk.external("silent_position", instrument=MSFT, quantity="10", price="94")


def test_the_same_units_under_another_name_are_one_case_and_keep_lots_and_cost(desk: ShareDesk, people: People) -> None:
    renamed_at_the_broker(desk, people)
    case = desk.opened()
    assert (case.kind, case.key, case.difference) == ("CORPORATE_ACTION", AAPL, -10)
    assert "as after a change of symbol" in case.cause and case.evidence["suggestion"] == "adjust"
    cash = books.cash(desk.account)
    desk.resolve(case, "adjust", people)
    assert books.cash(desk.account) == cash and list(books.positions(desk.account)) == [MSFT]
    lots = Lot.objects.filter(instrument__symbol=MSFT).order_by("id")
    assert [(lot.quantity, lot.unit_cost) for lot in lots] == [(6, 90), (4, 100)]
    before = Lot.objects.filter(instrument__symbol=AAPL).order_by("id")
    assert [(lot.origin_id, lot.opened_at) for lot in lots] == [(lot.fill_id, lot.opened_at) for lot in before]
    assert Entry.objects.filter(kind="SYMBOL_CHANGE", application__isnull=False).count() == 2 and desk.agrees()
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == ()
    verified()


def test_other_units_or_another_cost_are_two_cases_as_before(desk: ShareDesk, people: People) -> None:
    desk.external("trade", instrument=AAPL, quantity="10", price="100")
    desk.resolve(desk.opened(), "book_fills", people)
    desk.reconcile()
    desk.external("silent_position", instrument=AAPL, quantity="-10", price="100")
    desk.external("silent_position", instrument=MSFT, quantity="10", price="101")
    found = desk.reconcile().findings
    assert found is not None
    assert [(f.kind, f.key) for f in found.findings] == [("EXTERNAL_POSITION", MSFT), ("PHANTOM_POSITION", AAPL)]


def test_what_cannot_be_one_instrument_is_refused(desk: ShareDesk, people: People) -> None:
    desk.external("trade", instrument=AAPL, quantity="10", price="100")
    desk.resolve(desk.opened(), "book_fills", people)
    application = Fill.objects.get().application
    assert application is not None
    common = {"account": desk.account, "application": application, "actor": TEST}
    aapl, msft, eurusd = (Instrument.objects.get(symbol=symbol) for symbol in (AAPL, MSFT, "EURUSD"))
    for into, quantity in ((msft, Decimal(9)), (aapl, Decimal(10)), (eurusd, Decimal(10))):
        with pytest.raises(RuleBroken, match="Nothing was booked"):
            book_symbol_change(instrument=aapl, into=into, quantity=quantity, **common)
    assert Fill.objects.count() == 1
