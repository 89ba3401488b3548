"""What a net, a rounding or an answer that leaves something out may hide, and what must never be mended by it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.compare import reconcile
from reconciliation.domain.kinds import Action, Confidence, Kind, Severity
from reconciliation.domain.policy import DefaultProposal, ReconciliationPolicy
from reconciliation.domain.snapshots import InstrumentRule
from tests.reconciliation.domain.sides import (
    EXACT,
    FAILED,
    RULES,
    D,
    books,
    broker,
    event,
    fill,
    held,
    holding,
    kinds,
    one,
    position,
)
from trading.domain.broker import BrokerPosition

EAGER = ReconciliationPolicy(default_proposal=DefaultProposal.FLATTEN_EXTERNAL)


def in_product(product: str, quantity: str) -> BrokerPosition:
    """Shares of one product."""
    return replace(position("AAPL", quantity, "150"), product=product)


# Both ways at once


def test_a_product_held_against_another_is_found_and_never_mended_by_the_net() -> None:
    theirs = broker(in_product("CNC", "10"), in_product("MIS", "-10"))
    finding = one(theirs, books(), EAGER)
    assert (finding.kind, finding.key, finding.actions) == (Kind.EXTERNAL_POSITION, "AAPL", (Action.ACCEPT,))
    assert "long 10 and short 10 of AAPL at once" in finding.cause
    ours = books(held("AAPL", "10", "150"))
    finding = one(theirs, ours, EAGER)
    assert (finding.kind, finding.difference, finding.actions) == (Kind.EXTERNAL_POSITION, D(-10), (Action.ACCEPT,))
    assert finding.explains == {"AAPL": -10}


def test_products_on_one_side_add_up() -> None:
    theirs = broker(in_product("CNC", "10"), in_product("MIS", "5"))
    assert kinds(theirs, books(held("AAPL", "15", "150"))) == []
    assert kinds(theirs, books(held("AAPL", "10", "150"))) == [Kind.QUANTITY_MISMATCH]


def test_both_sides_of_a_hedging_account_must_be_those_of_our_strategies() -> None:
    theirs = broker(position(), position(quantity="-1000"))
    finding = one(theirs, books(hedging=True))
    assert (finding.kind, finding.actions) == (Kind.EXTERNAL_POSITION, (Action.ACCEPT,))
    both = (holding(stop_planned=False), holding(decision_id=4, side="SELL", stop_planned=False))
    assert Kind.EXTERNAL_POSITION not in kinds(theirs, books(hedging=True, holdings=both))
    smaller = (both[0], replace(both[1], quantity=D(400)))
    assert Kind.QUANTITY_MISMATCH in kinds(theirs, books(held(quantity="600"), hedging=True, holdings=smaller))


def test_a_pair_that_only_our_strategies_hold_is_a_phantom_on_a_hedging_account_alone() -> None:
    both = (holding(stop_planned=False), holding(decision_id=4, side="SELL", stop_planned=False))
    finding = one(broker(), books(hedging=True, holdings=both), EAGER)
    assert (finding.kind, finding.actions) == (Kind.PHANTOM_POSITION, (Action.ACCEPT,))
    assert kinds(broker(), books(holdings=both)) == []


def test_what_the_broker_holds_both_ways_may_change_under_the_same_net_and_is_another_matter_then() -> None:
    first = one(broker(in_product("CNC", "10"), in_product("MIS", "-10")), books())
    second = one(broker(in_product("CNC", "20"), in_product("MIS", "-20")), books())
    assert first.substance != second.substance


def test_a_fill_on_its_way_into_our_books_hides_nothing_and_is_told_alone() -> None:
    theirs = broker(position(), position(quantity="-1000"))
    ours = books(held(), hedging=True, unposted=(event(fill("7", "-1000"), ours=["7"]),))
    assert kinds(theirs, ours) == [Kind.MISSING_FILL]


def test_fills_of_others_may_be_booked_although_both_ways_are_held() -> None:
    theirs = broker(in_product("CNC", "10"), in_product("MIS", "-10"), cash="101500")
    ours = books(held("AAPL", "10", "150"), unposted=(event(fill("7", "-10", "150", "AAPL")),))
    finding = one(theirs, ours, EAGER)
    assert finding.actions == (Action.BOOK_FILLS, Action.ACCEPT)
    assert finding.explains == {"AAPL": -10, "USD": 1500}


# Dust


@pytest.mark.parametrize(("quantity", "ours"), [("0.000000001", None), ("1000.999", "1000"), ("-0.5", None)])
def test_less_than_a_step_is_dust_no_case_and_named(quantity: str, ours: str | None) -> None:
    result = reconcile(broker(position(quantity=quantity)), books(*([held(quantity=ours)] if ours else [])), EAGER)
    assert result.findings == ()
    assert all(line.holds for line in result.proof)
    assert [note for note in result.notes if "dust" in note and "EURUSD" in note]


def test_dust_of_another_product_hides_nothing() -> None:
    theirs = broker(in_product("CNC", "10"), in_product("MIS", "-0.000001"))
    assert kinds(theirs, books(held("AAPL", "10", "150"))) == []


def test_a_whole_step_is_no_dust() -> None:
    assert kinds(broker(position(quantity="1")), books()) == [Kind.EXTERNAL_POSITION]
    assert kinds(broker(position(quantity="999")), books(held())) == [Kind.QUANTITY_MISMATCH]


@given(st.decimals("-3", "3", places=3), st.decimals("-3", "3", places=3))
def test_a_difference_in_units_is_a_case_or_named_as_dust_or_not_there(theirs: Decimal, ours: Decimal) -> None:
    shown = [position(quantity=str(theirs))] if theirs else []
    result = reconcile(broker(*shown), books(held(quantity=str(ours), price=None)), EXACT)
    assert bool(result.findings) == (abs(theirs - ours) >= 1)
    assert bool(result.notes) == (0 < abs(theirs - ours) < 1)
    assert all(line.holds for line in result.proof)


# More than may be held at all


def capped(cap: str) -> dict[str, InstrumentRule]:
    """The instruments, of which no more EURUSD than that may be held."""
    return {**RULES, "EURUSD": replace(RULES["EURUSD"], cap=D(cap))}


@pytest.mark.parametrize(("theirs", "kind"), [("66", Kind.OVERSIZE), ("-66", Kind.OVERSIZE), ("65", None)])
def test_more_than_may_be_held_at_all_is_critical_and_never_adopted(theirs: str, kind: Kind | None) -> None:
    ours = books(held(quantity="1"), instruments=capped("65"))
    finding = one(broker(position(quantity=theirs)), ours, EAGER)
    assert finding.kind is (kind or Kind.QUANTITY_MISMATCH)
    assert (finding.severity is Severity.CRITICAL) == (kind is not None)
    assert (Action.ADOPT_POSITION in finding.actions) == (kind is None)
    assert ("No more than 65 of it may be held at all" in finding.cause) == (kind is not None)


def test_what_is_too_much_may_be_flattened_down_to_what_our_books_hold() -> None:
    finding = one(broker(position(quantity="66")), books(held(quantity="1"), instruments=capped("65")), EAGER)
    assert (finding.actions, finding.suggestion) == ((Action.FLATTEN, Action.ACCEPT), Action.FLATTEN)


def test_an_oversize_that_our_books_hold_too_is_no_difference_and_one_that_shrinks_is_no_oversize() -> None:
    ours = books(held(quantity="80"), instruments=capped("65"))
    assert kinds(broker(position(quantity="80")), ours) == []
    assert kinds(broker(position(quantity="70")), ours) == [Kind.QUANTITY_MISMATCH]


# Cash


def test_a_complete_answer_that_leaves_out_our_currency_is_bad_data_and_never_offers_to_adjust() -> None:
    theirs = replace(broker(position()), cash={"EUR": D(5)})
    result = reconcile(theirs, books(held()), EXACT)
    by_kind = {each.kind: each for each in result.findings}
    assert by_kind[Kind.BAD_DATA].actions == (Action.ACCEPT,)
    assert by_kind[Kind.BAD_DATA].relies_on is Confidence.CASH
    assert "USD" not in {line.commodity for line in result.proof}
    assert not [each for each in result.findings if each.commodity == "USD"]


def test_an_account_without_any_cash_on_either_side_is_no_difference() -> None:
    assert kinds(replace(broker(), cash={}), books(cash="0")) == []


@pytest.mark.fault("F-104", broker="every")
def test_cash_below_zero_is_compared_as_any_other() -> None:
    assert kinds(broker(cash="-250.5"), books(cash="-250.5")) == []
    assert one(broker(cash="-250.5"), books(cash="-250")).difference == D("-0.5")


@pytest.mark.fault("F-103", broker="every")
@given(st.sampled_from(["0.000001", "-0.000001", "0.000000000001"]), st.integers(-(10**9), 10**9))
def test_the_smallest_drift_of_cash_is_found_however_large_the_balance(drift: str, cash: int) -> None:
    finding = one(broker(cash=str(cash + D(drift))), books(cash=str(cash)))
    assert (finding.kind, finding.difference) == (Kind.CASH_UNEXPLAINED, D(drift))


# Fills by their orders


def test_fills_are_told_by_their_order() -> None:
    parts = [replace(fill(str(n), price=price), broker_order_id="77") for n, price in enumerate(("1.1", "1.2", "1.1"))]
    finding = one(broker(position(quantity="3000")), books(unposted=(event(*parts),)))
    assert finding.cause.startswith(
        "3 fills of order 77 (EUR_USD BUY 3000 at 1.1 to 1.2) are in the broker's history and not in our books; "
        "the order was not ours."
    )


def test_fills_of_many_orders_are_told_by_the_first_three() -> None:
    parts = [replace(fill(str(n)), broker_order_id=str(n)) for n in range(5)]
    finding = one(broker(position(quantity="5000")), books(unposted=(event(*parts),)))
    assert "1 fill of EUR_USD BUY 1000 at 1.1 and 2 more orders are" in finding.cause


def test_fills_of_an_order_of_ours_say_how_many_of_it_are_missing() -> None:
    parts = [replace(fill(str(n)), client_id="ours") for n in (7, 8, 9)]
    ours = books(unposted=(event(*parts, ours=["7", "8", "9"]),))
    found = reconcile(broker(position(quantity="3000")), ours, EXACT).findings
    assert [each.key for each in found] == ["fill:7", "fill:8", "fill:9"]
    assert all(
        each.cause.startswith("3 fills of our order ours are in the broker's history and not in our books;")
        for each in found
    )


def test_fills_that_should_replace_something_in_our_books_are_missing_and_never_suggested() -> None:
    ours = books(held(), unposted=(event(fill()),))
    finding = one(broker(position()), ours, ReconciliationPolicy(default_proposal=DefaultProposal.ADOPT_BROKER))
    assert (finding.kind, finding.suggestion, finding.explains) == (Kind.MISSING_FILL, None, {})
    assert "should replace" in finding.cause


def test_positions_that_are_not_known_hide_nothing_both_ways() -> None:
    both = (holding(stop_planned=False), holding(decision_id=4, side="SELL", stop_planned=False))
    assert kinds(broker(positions_part=FAILED), books(hedging=True, holdings=both)) == []
