"""Working orders in the comparison: linked, missing, strange, double, drifted, and positions left without a stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciliation.domain.kinds import Kind, Severity
from tests.reconciliation.domain.sides import (
    D,
    books,
    broker,
    event,
    fill,
    held,
    holding,
    kinds,
    one,
    order,
    position,
    working,
)
from trading.domain.orders import OrderState


def test_a_working_order_of_nobody_we_know_is_external() -> None:
    finding = one(broker(orders=[working(client_id="theirs", identity="31")]), books())
    assert (finding.kind, finding.key) == (Kind.EXTERNAL_ORDER, "order:31")


def test_an_order_is_linked_by_the_brokers_id_when_the_client_id_is_missing() -> None:
    assert kinds(broker(orders=[working(client_id="")]), books(orders=(order(),))) == []


@pytest.mark.parametrize("state", [OrderState.WORKING, OrderState.PARTIAL, OrderState.CANCELLING, OrderState.UNKNOWN])
def test_an_order_that_a_complete_list_does_not_have_is_unconfirmed(state: OrderState) -> None:
    assert kinds(broker(), books(orders=(order(state=state),))) == [Kind.ORDER_UNCONFIRMED]


def test_an_order_whose_fill_waits_to_be_booked_is_not_also_unconfirmed() -> None:
    waiting = event(replace(fill(), client_id="ours"), ours=["7"])
    assert kinds(broker(position()), books(orders=(order(),), unposted=(waiting,))) == [Kind.MISSING_FILL]


@pytest.mark.parametrize("state", [OrderState.PLANNED, OrderState.SENDING, OrderState.FILLED, OrderState.CANCELLED])
def test_an_order_that_is_being_sent_or_has_ended_need_not_be_in_the_list(state: OrderState) -> None:
    assert kinds(broker(), books(orders=(order(state=state),))) == []


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        ({"state": OrderState.CANCELLED}, "it is CANCELLED here"),
        ({"state": OrderState.PLANNED}, "it is PLANNED here"),
        ({"price": D("1.08")}, "its price is 1.09 there and 1.08 here"),
        ({"quantity": D(900)}, "its quantity is 1000 there and 900 here"),
        ({"side": "BUY"}, "it is a SELL there and a BUY here"),
    ],
)
def test_an_order_that_differs_at_the_broker_has_drifted(ours: dict[str, Any], words: str) -> None:
    finding = one(broker(orders=[working()]), books(orders=(order(**ours),)))
    assert finding.kind is Kind.STATUS_DRIFT and words in finding.cause


def test_two_working_orders_for_one_of_ours_are_a_critical_duplicate() -> None:
    finding = one(broker(orders=[working("20"), working("21")]), books(orders=(order(),)))
    assert (finding.kind, finding.severity) == (Kind.DUPLICATE_ORDER, Severity.CRITICAL)


def test_an_order_filled_beyond_what_was_ordered_is_overfilled() -> None:
    ours = order(state=OrderState.FILLED, filled=D(1200))
    assert one(broker(), books(orders=(ours,))).kind is Kind.OVERFILL


def test_a_holding_whose_stop_is_gone_is_unprotected() -> None:
    gone = order(state=OrderState.CANCELLED)
    finding = one(broker(position()), books(held(), orders=(gone,), holdings=(holding(),)))
    assert (finding.kind, finding.severity) == (Kind.UNPROTECTED_POSITION, Severity.CRITICAL)


def test_a_holding_with_its_stop_at_the_broker_is_protected() -> None:
    theirs = broker(position(), orders=[working(quantity=None)])
    assert kinds(theirs, books(held(), orders=(order(),), holdings=(holding(),))) == []


def test_a_holding_that_the_broker_no_longer_has_is_a_phantom_and_not_also_naked() -> None:
    assert kinds(broker(), books(held(), holdings=(holding(),))) == [Kind.PHANTOM_POSITION]
