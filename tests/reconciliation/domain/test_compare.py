"""The comparison is pure: its numbered invariants over any two sides, and each kind of difference by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.compare import reconcile
from reconciliation.domain.kinds import Action, Confidence, Kind, Severity, family
from reconciliation.domain.policy import DefaultProposal, ReconciliationPolicy
from reconciliation.domain.snapshots import BooksSnapshot, ChangedBody
from tests.reconciliation.domain.sides import (
    EXACT,
    FAILED,
    NAMES,
    PARTIAL,
    D,
    books,
    broker,
    event,
    fill,
    held,
    holding,
    kinds,
    movement,
    one,
    order,
    position,
    two_sides,
    working,
)
from trading.domain.broker import BrokerSnapshot, Completeness, EventKind

ABSENCES = {Kind.PHANTOM_POSITION, Kind.ORDER_UNCONFIRMED, Kind.UNPROTECTED_POSITION}


# 1 Determinism


@pytest.mark.fault("F-112", broker="every")
@given(two_sides(), st.randoms(use_true_random=False))
def test_the_same_inputs_in_any_order_give_the_same_findings(
    sides: tuple[BrokerSnapshot, BooksSnapshot], shuffler: random.Random
) -> None:
    theirs, ours = sides

    def mixed(rows: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(shuffler.sample(rows, len(rows)))

    other = reconcile(
        replace(theirs, positions=mixed(theirs.positions), orders=mixed(theirs.orders)),
        replace(
            ours,
            positions=mixed(ours.positions),
            orders=mixed(ours.orders),
            unposted=mixed(ours.unposted),
            instruments=dict(mixed(tuple(ours.instruments.items()))),
        ),
        EXACT,
    )
    assert reconcile(theirs, ours, EXACT).text() == other.text()


# 2 Completeness, 4 suspicion


@given(two_sides())
def test_nothing_is_called_absent_by_an_answer_that_is_not_complete(
    sides: tuple[BrokerSnapshot, BooksSnapshot],
) -> None:
    theirs, ours = sides
    listed = {p.instrument for p in theirs.positions}
    for finding in reconcile(theirs, ours, EXACT).findings:
        if theirs.positions_part.completeness is not Completeness.COMPLETE:
            assert finding.kind is not Kind.PHANTOM_POSITION
            if finding.relies_on is Confidence.POSITIONS and finding.instrument:
                assert NAMES[finding.instrument] in listed
        if theirs.orders_part.completeness is not Completeness.COMPLETE:
            assert finding.kind not in (Kind.ORDER_UNCONFIRMED, Kind.UNPROTECTED_POSITION)
        if theirs.cash_part.completeness is Completeness.FAILED:
            assert finding.kind is not Kind.CASH_UNEXPLAINED
        if theirs.positions_part.completeness is Completeness.FAILED:
            assert finding.relies_on is not Confidence.POSITIONS
        if theirs.orders_part.completeness is Completeness.FAILED:
            assert finding.relies_on is not Confidence.ORDERS


@pytest.mark.parametrize("part", [PARTIAL, FAILED])
def test_positions_that_are_missing_from_an_incomplete_answer_have_not_vanished(part: Any) -> None:
    assert kinds(broker(positions_part=part), books(held())) == []


def test_a_position_that_a_partial_answer_does_show_counts() -> None:
    assert kinds(broker(position(), positions_part=PARTIAL), books()) == [Kind.EXTERNAL_POSITION]


def test_an_answer_without_anything_is_not_believed() -> None:
    result = reconcile(broker(cash="0"), books(held()), EXACT)
    assert result.findings == () and result.completeness is Completeness.PARTIAL
    assert "not believed" in result.notes[0]


def test_one_side_of_a_hedged_pair_in_a_partial_answer_says_nothing_about_the_net() -> None:
    ours = books(held(quantity="100"), hedging=True)
    assert kinds(broker(position(quantity="600"), positions_part=PARTIAL), ours) == []
    held_both_ways = (
        holding(quantity=D(600), stop_planned=False),
        holding(decision_id=4, side="SELL", quantity=D(500), stop_planned=False),
    )
    whole = broker(position(quantity="600"), position(quantity="-500"))
    assert Kind.EXTERNAL_POSITION not in kinds(whole, replace(ours, holdings=held_both_ways))


# 3 One cut


@given(two_sides())
def test_sides_that_end_with_different_events_are_not_compared(sides: tuple[BrokerSnapshot, BooksSnapshot]) -> None:
    theirs, ours = sides
    result = reconcile(replace(theirs, last_event_id="10"), ours, EXACT)
    assert result.findings == () and result.proof == () and result.completeness is not Completeness.COMPLETE


# 6 and 7 One explanation for each part, and the proof


@given(two_sides())
def test_every_commodity_is_explained_to_the_last_digit(sides: tuple[BrokerSnapshot, BooksSnapshot]) -> None:
    for line in reconcile(*sides, EXACT).proof:
        assert line.unexplained == 0, line


@given(two_sides())
def test_a_case_is_found_at_most_once(sides: tuple[BrokerSnapshot, BooksSnapshot]) -> None:
    findings = reconcile(*sides, EXACT).findings
    keys = [(family(finding.kind), finding.key) for finding in findings]
    assert len(keys) == len(set(keys))


def test_a_fill_that_two_events_repeat_counts_once() -> None:
    finding = one(broker(position()), books(unposted=(event(fill("7")), event(fill("7"), identity=2))))
    assert finding.difference == 1000 and finding.evidence["unexplained"] == "0"


# 8 Equality


rows_held = st.lists(st.tuples(st.sampled_from(list(NAMES)), st.integers(-9, 9)), unique_by=lambda row: row[0])


@given(rows_held, st.integers())
def test_equal_sides_give_no_finding_and_a_proof_of_zero(rows: list[tuple[str, int]], cash: int) -> None:
    theirs = broker(*(position(s, str(n)) for s, n in rows if n), cash=str(cash), orders=[working()])
    ours = books(*(held(s, str(n)) for s, n in rows), cash=str(cash), orders=(order(),))
    result = reconcile(theirs, ours, EXACT)
    if theirs.completeness is Completeness.COMPLETE and result.completeness is Completeness.COMPLETE:
        assert result.findings == () and all(line.holds for line in result.proof)
        assert result.linked == 1


# Positions, each kind by hand


def test_a_position_that_only_the_broker_has_is_external() -> None:
    finding = one(broker(position()), books())
    assert (finding.kind, finding.severity, finding.difference) == (Kind.EXTERNAL_POSITION, Severity.HIGH, 1000)
    assert finding.actions == (Action.ADOPT_POSITION, Action.FLATTEN, Action.ACCEPT)
    assert "no fill that explains it" in finding.cause


def test_an_external_trade_is_one_case_with_its_fill_and_its_cash() -> None:
    unposted = event(fill(realised="-3.5"))
    finding = one(broker(position(), cash="99996.5"), books(unposted=(unposted,)))
    assert finding.kind is Kind.EXTERNAL_POSITION
    assert finding.explains == {"EURUSD": 1000, "USD": D("-3.5")}
    assert finding.actions == (Action.BOOK_FILLS, Action.FLATTEN, Action.ACCEPT)
    assert finding.cause.startswith(
        "1 fill of EUR_USD BUY 1000 at 1.1 is in the broker's history and not in our books; the order was not ours."
    )


def test_a_position_that_only_we_have_is_a_phantom_that_may_be_closed_at_an_estimate() -> None:
    finding = one(broker(), books(held()))
    assert (finding.kind, finding.difference) == (Kind.PHANTOM_POSITION, -1000)
    assert finding.actions == (Action.CLOSE_AT_ESTIMATE, Action.ACCEPT)


def test_a_phantom_whose_closing_fill_is_found_is_resolved_by_the_fill_alone() -> None:
    closing = event(fill(quantity="-1000", realised="12"))
    finding = one(broker(cash="100012"), books(held(), unposted=(closing,)))
    assert finding.kind is Kind.PHANTOM_POSITION and finding.actions == (Action.BOOK_FILLS, Action.ACCEPT)


def test_opposite_sides_are_critical() -> None:
    finding = one(broker(position(quantity="-500")), books(held()))
    assert (finding.kind, finding.severity, finding.difference) == (Kind.SIDE_MISMATCH, Severity.CRITICAL, -1500)


@pytest.mark.parametrize(("quantity", "severity"), [("1050", Severity.MEDIUM), ("2000", Severity.HIGH)])
def test_a_quantity_mismatch_is_as_grave_as_it_is_large(quantity: str, severity: Severity) -> None:
    finding = one(broker(position(quantity=quantity)), books(held()))
    assert (finding.kind, finding.severity) == (Kind.QUANTITY_MISMATCH, severity)


def test_what_no_fill_explains_is_said_and_the_fills_come_first() -> None:
    finding = one(broker(position(quantity="1500")), books(unposted=(event(fill()),)))
    assert finding.evidence["unexplained"] == "500" and finding.actions == (Action.BOOK_FILLS, Action.ACCEPT)
    assert "500 units without any fill" in finding.cause


def test_a_round_trip_of_somebody_else_is_one_missing_fill_case() -> None:
    trips = (event(fill("7")), event(fill("8", "-1000", "1.09", realised="-10"), identity=2))
    finding = one(broker(cash="99990"), books(unposted=trips))
    assert (finding.kind, finding.key, finding.explains) == (Kind.MISSING_FILL, "EURUSD", {"USD": -10})


@pytest.mark.parametrize("wish", list(DefaultProposal))
def test_a_fill_that_arrives_for_what_was_estimated_is_missing_and_its_booking_is_never_suggested(
    wish: DefaultProposal,
) -> None:
    ours = books(held(), unposted=(event(fill()),))
    finding = one(broker(position()), ours, ReconciliationPolicy(default_proposal=wish))
    assert (finding.kind, finding.suggestion) == (Kind.MISSING_FILL, None)


def test_a_fill_of_our_own_order_is_named_as_ours_and_taken_out_of_the_position() -> None:
    finding = one(broker(position()), books(unposted=(event(fill(), ours=["7"]),)))
    assert (finding.kind, finding.key) == (Kind.MISSING_FILL, "fill:7")
    assert finding.explains == {"EURUSD": 1000}


def test_fills_are_evidence_of_their_own_when_the_positions_are_not_known() -> None:
    finding = one(broker(positions_part=FAILED), books(unposted=(event(fill()),)))
    assert (finding.kind, finding.relies_on) == (Kind.MISSING_FILL, Confidence.HISTORY)


@pytest.mark.parametrize(("price", "found"), [("1.10001", []), ("1.10002", [Kind.COST_BASIS])])
def test_an_average_price_may_differ_by_the_tolerance_and_no_more(price: str, found: list[Kind]) -> None:
    assert kinds(broker(position(price=price)), books(held(price="1.1"))) == found


def test_a_quantity_within_the_tolerance_of_the_policy_is_no_difference() -> None:
    loose = ReconciliationPolicy(quantity_steps=D(5))
    assert kinds(broker(position(quantity="1005")), books(held()), loose) == []
    assert kinds(broker(position(quantity="1006")), books(held()), loose) == [Kind.QUANTITY_MISMATCH]


# Cash


@pytest.mark.parametrize(("cash", "found"), [("100000.01", []), ("100000.02", [Kind.CASH_UNEXPLAINED])])
def test_cash_may_differ_by_the_tolerance_and_no_more(cash: str, found: list[Kind]) -> None:
    assert kinds(broker(cash=cash), books(), ReconciliationPolicy(cash_default=D("0.01"))) == found


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (EventKind.FINANCING, Kind.FINANCING_NOT_BOOKED),
        (EventKind.DIVIDEND, Kind.DIVIDEND_NOT_BOOKED),
        (EventKind.FEE, Kind.FEE_NOT_BOOKED),
        (EventKind.TRANSFER, Kind.TRANSFER_NOT_BOOKED),
        (EventKind.TAX, Kind.TAX_NOT_BOOKED),
        (EventKind.CONVERSION, Kind.CONVERSION_NOT_BOOKED),
    ],
)
def test_typed_cash_that_is_not_booked_is_named_by_its_type(kind: EventKind, found: Kind) -> None:
    finding = one(broker(cash="99998.5"), books(unposted=(event(cash=[movement(kind)]),)))
    assert (finding.kind, finding.difference) == (found, D("-1.5"))
    assert finding.actions[0] is Action.BOOK_CASH and finding.suggestion is Action.BOOK_CASH


# History and bad data


def test_an_event_that_came_again_with_another_body_is_a_fill_mismatch() -> None:
    finding = one(broker(), books(changed=(ChangedBody("4", "aa", "bb"),)))
    assert (finding.kind, finding.key) == (Kind.FILL_MISMATCH, "event:4")


def test_a_busted_fill_explains_position_and_cash_and_is_booked_by_its_own_case() -> None:
    was = fill(realised="5")
    finding = one(broker(), books(held(), cash="100005", changed=(ChangedBody("7", "aa", "bb", 3, undone=(was,)),)))
    assert (finding.kind, finding.key, finding.instrument) == (Kind.FILL_MISMATCH, "event:7", "EURUSD")
    assert finding.difference == -1000 and finding.explains == {"EURUSD": -1000, "USD": -5}
    assert finding.actions == (Action.BOOK_FILLS, Action.ACCEPT) and finding.suggestion is Action.BOOK_FILLS
    assert "took it back" in finding.cause and finding.event_ids == (3,)


def test_a_corrected_fill_explains_the_rest_and_what_it_does_not_explain_is_a_case_of_its_own() -> None:
    change = ChangedBody("7", "aa", "bb", 3, undone=(fill(),), instead=(fill(quantity="800"),))
    ours = books(held(), changed=(change,))
    assert kinds(broker(position(quantity="800")), ours) == [Kind.FILL_MISMATCH]
    assert kinds(broker(position(quantity="700")), ours) == [Kind.FILL_MISMATCH, Kind.QUANTITY_MISMATCH]
    strict = ReconciliationPolicy(backfill_enabled=False)
    assert one(broker(position(quantity="800")), ours, strict).actions == (Action.ACCEPT,)


def test_a_conversion_that_is_not_booked_explains_both_its_currencies() -> None:
    moved = replace(movement(EventKind.CONVERSION, "-1000"), counter_currency="EUR", counter_amount=D("924.17"))
    theirs = broker(cash="99000")
    theirs = replace(theirs, cash={**theirs.cash, "EUR": D("924.17")})
    finding = one(theirs, books(unposted=(event(cash=[moved]),)))
    assert finding.explains == {"USD": -1000, "EUR": D("924.17")}


def test_an_instrument_without_a_name_of_ours_is_unmapped_and_explains_its_cash() -> None:
    foreign = event(fill(symbol="TRY_ZAR", realised="4"))
    finding = one(broker(position("TRY_ZAR"), cash="100004"), books(unposted=(foreign,)))
    assert (finding.kind, finding.key, finding.explains) == (Kind.UNMAPPED_INSTRUMENT, "TRY_ZAR", {"USD": 4})


@pytest.mark.parametrize(
    "theirs",
    [
        broker(position(), position()),
        broker(position(), position(quantity="-1000")),
        broker(replace(position(), quantity=D(0))),
        broker(replace(position(), average_price=D(-1))),
        broker(orders=[working(), working(price=D(1))]),
    ],
)
def test_data_that_contradicts_itself_is_named_and_nothing_else_is_concluded(theirs: BrokerSnapshot) -> None:
    assert kinds(theirs, books(orders=(order(),) if theirs.orders else ())) == [Kind.BAD_DATA]


@pytest.mark.fault("F-105", broker="every")
def test_another_currency_than_ours_is_bad_data() -> None:
    assert kinds(broker(currency="EUR"), books()) == [Kind.BAD_DATA]


# Proposals by policy


@pytest.mark.parametrize(
    ("wish", "suggestion"),
    [
        (DefaultProposal.ASK, None),
        (DefaultProposal.ADOPT_BROKER, Action.BOOK_FILLS),
        (DefaultProposal.FLATTEN_EXTERNAL, Action.FLATTEN),
    ],
)
def test_the_policy_chooses_what_is_suggested_first(wish: DefaultProposal, suggestion: Action | None) -> None:
    ours = books(unposted=(event(fill()),))
    assert one(broker(position()), ours, ReconciliationPolicy(default_proposal=wish)).suggestion is suggestion


def test_what_the_policy_forbids_is_not_offered() -> None:
    strict = ReconciliationPolicy(backfill_enabled=False, mark_unknown_closed=False)
    assert Action.BOOK_FILLS not in one(broker(position()), books(unposted=(event(fill()),)), strict).actions
    assert one(broker(), books(held()), strict).actions == (Action.ACCEPT,)


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_flattening_is_offered_only_where_it_leaves_what_our_books_hold(ours: int, theirs: int) -> None:
    shown = [position(quantity=str(theirs))] if theirs else []
    for finding in reconcile(broker(*shown), books(held(quantity=str(ours))), EXACT).findings:
        if Action.FLATTEN in finding.actions:
            assert abs(ours) < abs(theirs) and ours * theirs >= 0


@given(two_sides())
def test_no_absence_is_found_against_a_failed_broker(sides: tuple[BrokerSnapshot, BooksSnapshot]) -> None:
    theirs = replace(sides[0], positions_part=FAILED, orders_part=FAILED, cash_part=FAILED)
    assert not ABSENCES & {finding.kind for finding in reconcile(theirs, sides[1], EXACT).findings}
