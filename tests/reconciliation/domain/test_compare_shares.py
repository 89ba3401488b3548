"""Shares compared: trade-date cash on both sides, and fills not booked explain their whole payment."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from reconciliation.domain.compare import reconcile
from reconciliation.domain.kinds import Action, Kind
from trading.domain.broker import CashData, EventKind

from .sides import EXACT, books, broker, event, fill, held, one, position

D = Decimal


def test_a_payment_on_its_way_is_no_difference() -> None:
    assert (
        reconcile(
            broker(position("AAPL", "10", "100"), cash="99000"), books(held("AAPL", "10", "100"), cash="99000"), EXACT
        ).findings
        == ()
    )


def test_somebody_elses_purchase_explains_units_and_payment_in_one_case() -> None:
    theirs = broker(position("AAPL", "10", "100"), cash="99000")
    finding = one(theirs, books(unposted=(event(fill(quantity="10", price="100", symbol="AAPL")),)))
    assert finding.kind is Kind.EXTERNAL_POSITION and finding.explains == {"AAPL": 10, "USD": -1000}
    assert Action.BOOK_FILLS in finding.actions


def test_our_own_sale_that_is_not_booked_explains_what_it_brought() -> None:
    ours = books(
        held("AAPL", "10", "100"),
        cash="99000",
        unposted=(event(fill(quantity="-10", price="110", symbol="AAPL"), ours=("7",)),),
    )
    finding = one(broker(cash="100100"), ours)
    assert finding.kind is Kind.MISSING_FILL and finding.explains == {"AAPL": -10, "USD": 1100}


def test_cash_beyond_the_payment_is_still_unexplained() -> None:
    theirs = broker(position("AAPL", "10", "100"), cash="98990")
    answer = reconcile(theirs, books(unposted=(event(fill(quantity="10", price="100", symbol="AAPL")),)), EXACT)
    cash = next(finding for finding in answer.findings if finding.kind is Kind.CASH_UNEXPLAINED)
    assert cash.difference == -10 and all(line.holds for line in answer.proof)


def test_a_fill_without_a_name_of_ours_pays_when_it_has_a_value_date() -> None:
    paying = replace(fill(quantity="10", price="5", symbol="ZZZZ"), settles_on=date(2026, 3, 3))
    answer = reconcile(broker(cash="99950"), books(unposted=(event(paying),)), EXACT)
    (finding,) = answer.findings
    assert finding.kind is Kind.UNMAPPED_INSTRUMENT and finding.explains == {"USD": -50}
    assert all(line.holds for line in answer.proof)


def test_typed_cash_of_either_sign_is_a_case_of_its_own_with_its_instrument() -> None:
    for kind, named in (
        (EventKind.FINANCING, Kind.FINANCING_NOT_BOOKED),
        (EventKind.DIVIDEND, Kind.DIVIDEND_NOT_BOOKED),
        (EventKind.FEE, Kind.FEE_NOT_BOOKED),
        (EventKind.TRANSFER, Kind.TRANSFER_NOT_BOOKED),
    ):
        for amount in ("12.5", "-0.02"):
            moved = CashData("c1", kind, "USD", D(amount), "AAPL")
            finding = one(broker(cash=str(100000 + D(amount))), books(unposted=(event(cash=(moved,)),)))
            assert (finding.kind, finding.difference, finding.suggestion) == (named, D(amount), Action.BOOK_CASH)
            assert f"{kind} of {amount} USD for AAPL" in finding.cause


def test_a_cost_by_averaging_is_the_brokers_right_and_any_third_one_is_a_case() -> None:
    ours = replace(held("AAPL", "5", "110"), pooled_price=D(105))
    for theirs in ("110", "105", "105.01"):
        assert reconcile(broker(position("AAPL", "5", theirs)), books(ours), EXACT).findings == ()
    finding = one(broker(position("AAPL", "5", "107")), books(ours))
    assert (finding.kind, finding.difference) == (Kind.COST_BASIS, D(-3))
