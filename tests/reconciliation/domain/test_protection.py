"""Protection in the comparison: a stop for all that is held, and none for what is not held any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.compare import reconcile
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Action, Kind, Severity
from reconciliation.domain.snapshots import BooksHolding, BooksOrder, BooksSnapshot
from tests.reconciliation.domain.sides import (
    AT,
    EXACT,
    FAILED,
    PARTIAL,
    D,
    books,
    broker,
    held,
    holding,
    kinds,
    one,
    order,
    position,
    working,
)
from trading.domain.broker import BrokerOrder, BrokerSnapshot, Side
from trading.domain.orders import OrderState, Tag

JUST_NOW, LONG_AGO = AT - timedelta(seconds=5), AT - timedelta(hours=1)


def stop(client_id: str = "ours", decision: int = 3, **more: Any) -> BooksOrder:
    """A stop of a decision in our books."""
    return order(client_id, **{"broker_order_id": f"b-{client_id}", "decision_id": decision, **more})


def entry(**more: Any) -> BooksOrder:
    """The entry of decision 3."""
    return stop("entry", **{"tag": Tag.ENTRY, "side": "BUY", "state": OrderState.WORKING, "order_id": 4, **more})


def shown(client_id: str = "ours", quantity: str | None = "1000", **more: Any) -> BrokerOrder:
    """The same stop at the broker."""
    return working(f"b-{client_id}", client_id, quantity=D(quantity) if quantity is not None else None, **more)


def protection(theirs: BrokerSnapshot, ours: BooksSnapshot) -> list[Finding]:
    """The findings about protection."""
    wanted = (Kind.UNPROTECTED_POSITION, Kind.PARTIAL_PROTECTION, Kind.OCO_ORPHAN)
    return [finding for finding in reconcile(theirs, ours, EXACT).findings if finding.kind in wanted]


# a stop for all that is held


def test_a_stop_for_a_part_of_what_is_held_is_one_critical_case_and_no_drift() -> None:
    theirs = broker(position(), orders=[shown(quantity="400")])
    finding = one(theirs, books(held(), orders=(stop(),), holdings=(holding(),)))
    assert (finding.kind, finding.key, finding.severity) == (Kind.PARTIAL_PROTECTION, "decision:3", Severity.CRITICAL)
    assert (finding.books_value, finding.broker_value, finding.evidence["missing"]) == (1000, 400, "600")
    assert "600 have no stop" in finding.cause
    assert finding.actions == (Action.RESIZE_STOP, Action.ACCEPT) and finding.suggestion is Action.RESIZE_STOP


def test_a_stop_that_has_filled_in_part_covers_only_what_it_may_still_fill() -> None:
    theirs = broker(position(quantity="700"), orders=[shown(filled=D(400))])
    ours = books(held(quantity="700"), orders=(stop(filled=D(400)),), holdings=(holding(quantity=D(700)),))
    assert one(theirs, ours).evidence["missing"] == "100"


def test_two_stops_and_an_exit_that_rest_cover_together() -> None:
    more = (stop("second"), stop("exit", tag=Tag.CLOSE))
    theirs = broker(position(), orders=[shown(quantity="400"), shown("second", "300"), shown("exit", "300")])
    guarded = holding(stop_client_ids=("ours", "second"))
    assert protection(theirs, books(held(), orders=(stop(), *more), holdings=(guarded,))) == []


@pytest.mark.parametrize(("trade", "found"), [("71", []), ("", [Kind.PARTIAL_PROTECTION])])
def test_a_stop_that_hangs_on_a_trade_there_covers_it_whoever_it_belongs_to(trade: str, found: list[Kind]) -> None:
    """It is a case of its own; a second part of an entry may have got it."""
    other = working("31", "", quantity=D(600), type="STOP_LOSS", trade_id=trade)
    theirs = broker(position(), orders=[shown(quantity="400"), other])
    ours = books(held(), orders=(stop(quantity=D(400)),), holdings=(holding(),))
    assert [finding.kind for finding in protection(theirs, ours)] == found


def two_trades(theirs: BrokerSnapshot) -> list[Finding]:
    """The findings about two trades of 1000 each, of which each has a stop for 400."""
    ours = books(
        held(quantity="2000"),
        orders=(stop(quantity=D(400)), stop("its", decision=8, quantity=D(400))),
        holdings=(holding(), BooksHolding(8, "EURUSD", "BUY", D(1000), ("its",), True)),
    )
    return protection(theirs, ours)


@pytest.mark.parametrize(("units", "found"), [("600", 1), ("1200", 0), ("500", 2)])
def test_a_stop_of_somebody_else_covers_its_units_once_and_not_for_every_trade(units: str, found: int) -> None:
    other = working("31", "", quantity=D(units), type="STOP_LOSS", trade_id="71")
    theirs = broker(position(quantity="2000"), orders=[shown(quantity="400"), shown("its", "400"), other])
    assert len(two_trades(theirs)) == found


@pytest.mark.parametrize(("there", "found"), [("1400", 1), ("800", 0), ("1500", 2)])
def test_units_that_the_broker_does_not_hold_excuse_one_trade_and_not_every_one(there: str, found: int) -> None:
    theirs = broker(position(quantity=there), orders=[shown(quantity="400"), shown("its", "400")])
    missing = [f for f in two_trades(theirs) if f.kind is Kind.PARTIAL_PROTECTION]
    assert len(missing) == found


def test_a_stop_of_another_decision_covers_nothing_here() -> None:
    theirs = broker(position(), orders=[shown("other")])
    found = protection(theirs, books(held(), orders=(stop("other", decision=9),), holdings=(holding(),)))
    assert [(finding.kind, finding.key) for finding in found] == [
        (Kind.OCO_ORPHAN, "order:other"),
        (Kind.UNPROTECTED_POSITION, "decision:3"),
    ]


def test_what_the_broker_does_not_hold_needs_no_stop_there() -> None:
    theirs = broker(position(quantity="400"), orders=[shown(quantity="400")])
    assert protection(theirs, books(held(), orders=(stop(),), holdings=(holding(),))) == []


@pytest.mark.parametrize("state", [OrderState.PLANNED, OrderState.SENDING])
@pytest.mark.parametrize(("since", "found"), [(JUST_NOW, []), (LONG_AGO, [Kind.PARTIAL_PROTECTION])])
def test_a_stop_that_is_on_its_way_counts_for_a_moment(state: OrderState, since: Any, found: list[Kind]) -> None:
    coming = stop("second", state=state, quantity=D(600), broker_order_id="", news_at=since)
    guarded = holding(stop_client_ids=("ours", "second"))
    theirs = broker(position(), orders=[shown(quantity="400")])
    ours = books(held(), orders=(stop(quantity=D(400)), coming), holdings=(guarded,))
    assert [finding.kind for finding in protection(theirs, ours)] == found


@pytest.mark.parametrize("part", [PARTIAL, FAILED])
def test_nothing_is_missing_from_a_list_that_is_not_complete(part: Any) -> None:
    for orders in ([], [shown(quantity="400")]):
        theirs = broker(position(), orders=orders, orders_part=part)
        assert protection(theirs, books(held(), orders=(stop(),), holdings=(holding(),))) == []


@pytest.mark.parametrize("part", [PARTIAL, FAILED])
@pytest.mark.parametrize("orders", [[], [shown(quantity="400")]])
def test_a_case_about_protection_is_not_cleared_by_a_run_that_could_not_see_the_positions(
    orders: list[BrokerOrder], part: Any
) -> None:
    ours = books(held(), orders=(stop(),), holdings=(holding(),))
    (finding,) = protection(broker(position(), orders=orders), ours)
    for unseen in ({"positions_part": part}, {"orders_part": part}):
        poorer = reconcile(broker(orders=orders, **unseen), ours, EXACT)
        assert finding.relies_on not in poorer.complete_parts
    assert finding.relies_on in reconcile(broker(position(), orders=orders), ours, EXACT).complete_parts


units = st.integers(1, 10).map(lambda n: D(n * 100))


@given(units, st.lists(units, max_size=4), units)
def test_what_is_missing_is_exactly_what_no_stop_covers(has: Decimal, stops: list[Decimal], there: Decimal) -> None:
    names = tuple(f"s{n}" for n in range(len(stops)))
    theirs = broker(position(quantity=str(there)), orders=[shown(n, str(q)) for n, q in zip(names, stops, strict=True)])
    ours = books(
        held(quantity=str(has)),
        orders=tuple(stop(name, quantity=q) for name, q in zip(names, stops, strict=True)),
        holdings=(holding(quantity=has, stop_client_ids=names),),
    )
    found = protection(theirs, ours)
    if not stops:
        assert [finding.kind for finding in found] == [Kind.UNPROTECTED_POSITION]
    elif sum(stops) + max(has - there, D(0)) >= has:
        assert found == []
    else:
        assert [(f.kind, f.evidence["missing"]) for f in found] == [
            (Kind.PARTIAL_PROTECTION, str((has - sum(stops)).normalize().__format__("f")))
        ]


# no stop for what is not held


@pytest.mark.parametrize("tag", [Tag.STOP, Tag.TP1, Tag.TP2])
@pytest.mark.parametrize("state", [OrderState.WORKING, OrderState.CANCELLED, OrderState.FILLED])
def test_a_leg_that_rests_while_nothing_is_held_is_a_critical_orphan(tag: Tag, state: OrderState) -> None:
    finding = one(broker(orders=[shown()]), books(orders=(stop(tag=tag, state=state),)))
    assert (finding.kind, finding.key, finding.severity) == (Kind.OCO_ORPHAN, "order:ours", Severity.CRITICAL)
    assert "it would open a position that nobody wants" in finding.cause
    assert finding.suggestion is Action.RESIZE_STOP


def test_a_leg_of_a_closed_trade_beside_another_trade_would_close_that_one() -> None:
    other = BooksHolding(8, "EURUSD", "BUY", D(1000), ("its",), True)
    theirs = broker(position(), orders=[shown(), shown("its")])
    finding = one(theirs, books(held(), orders=(stop(), stop("its", decision=8)), holdings=(other,)))
    assert (finding.kind, finding.key) == (Kind.OCO_ORPHAN, "order:ours") and "what others hold" in finding.cause


def test_a_leg_that_may_be_all_that_guards_units_of_nobody_is_left_alone() -> None:
    assert kinds(broker(position(), orders=[shown()]), books(orders=(stop(),))) == [Kind.EXTERNAL_POSITION]


@pytest.mark.parametrize("state", [OrderState.WORKING, OrderState.PARTIAL, OrderState.SENDING, OrderState.PLANNED])
def test_a_leg_that_waits_for_its_entry_is_no_orphan(state: OrderState) -> None:
    leg = stop(state=OrderState.PLANNED, rides_on_entry=True)
    theirs = broker(orders=[shown(), shown("entry", side=Side.BUY)])
    assert protection(theirs, books(orders=(entry(state=state), leg))) == []


def test_a_leg_whose_entry_the_broker_still_works_is_no_orphan_whatever_our_books_say() -> None:
    theirs = broker(orders=[shown(), shown("entry", side=Side.BUY)])
    assert protection(theirs, books(orders=(entry(state=OrderState.CANCELLED), stop()))) == []


@pytest.mark.parametrize(("since", "found"), [(JUST_NOW, []), (LONG_AGO, [Kind.OCO_ORPHAN])])
def test_a_leg_that_is_being_cancelled_is_left_alone_for_a_moment(since: Any, found: list[Kind]) -> None:
    ours = books(orders=(stop(state=OrderState.CANCELLING, news_at=since),))
    assert [finding.kind for finding in protection(broker(orders=[shown()]), ours)] == found


def test_a_leg_that_ended_here_and_rests_beside_the_one_that_took_its_place_is_an_orphan() -> None:
    guarded = holding(stop_client_ids=("ours", "second"))
    theirs = broker(position(), orders=[shown(), shown("second")])
    ours = books(held(), orders=(stop(state=OrderState.CANCELLED), stop("second")), holdings=(guarded,))
    finding = one(theirs, ours)
    assert (finding.kind, finding.key) == (Kind.OCO_ORPHAN, "order:ours") and "a second time" in finding.cause


def test_a_stop_that_ended_here_and_is_all_that_guards_the_trade_is_never_to_be_cancelled() -> None:
    ours = books(held(), orders=(stop(state=OrderState.CANCELLED),), holdings=(holding(),))
    assert kinds(broker(position(), orders=[shown()]), ours) == [Kind.STATUS_DRIFT]


@pytest.mark.parametrize("part", [PARTIAL, FAILED])
def test_that_nothing_is_held_is_not_concluded_from_positions_that_are_not_complete(part: Any) -> None:
    theirs = broker(orders=[shown()], positions_part=part)
    assert protection(theirs, books(orders=(stop(),))) == []


def test_a_leg_of_which_no_decision_is_known_is_left_alone() -> None:
    assert kinds(broker(orders=[shown()]), books(orders=(stop(decision_id=None),))) == []


def test_the_stops_of_both_sides_of_a_hedged_account_guard_their_own_side() -> None:
    long, short = holding(), BooksHolding(8, "EURUSD", "SELL", D(1000), ("its",), True)
    theirs = broker(position(), position(quantity="-1000"), orders=[shown(), shown("its", side=Side.BUY)])
    ours = books(orders=(stop(), stop("its", decision=8, side="BUY")), holdings=(long, short), hedging=True)
    assert protection(theirs, ours) == []


STATES = st.sampled_from(list(OrderState))


@given(STATES, STATES, st.sampled_from(list(Tag)), st.booleans(), st.booleans())
def test_no_leg_is_both_what_is_missing_and_what_is_too_much(
    leg_state: OrderState, entry_state: OrderState, tag: Tag, is_held: bool, is_there: bool
) -> None:
    """Whatever stands, nobody is told to cancel the very stop whose lack another case complains of."""
    theirs = broker(*([position()] if is_there else []), orders=[shown()])
    leg, guarded = stop(tag=tag, state=leg_state), holding()
    mine = books(
        *([held()] if is_held else []),
        orders=(leg, entry(state=entry_state)),
        holdings=(guarded,) if is_held else (),
    )
    found = protection(theirs, mine)
    assert len(found) <= 1
    if is_held and is_there and tag is Tag.STOP:
        assert found == []
    rides = replace(leg, state=OrderState.PLANNED, rides_on_entry=True)
    alive = entry(state=OrderState.WORKING)
    assert [f.kind for f in protection(theirs, replace(mine, orders=(rides, alive)))] in (
        [],
        [Kind.UNPROTECTED_POSITION],
    )
