"""Replacing a resting order at each broker: one order rests before and after, and our row goes on with it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.faults.world import World
from trading.domain.broker import Accepted, Broker, OrderType, Refused, Unknown
from trading.engine.canceller import cancel_order
from trading.engine.connections import broker_for
from trading.engine.sender import send_order
from trading.models import Order

pytestmark = pytest.mark.faults
ENDED = ("FILLED", "CANCELLED", "CANCELED", "REPLACED", "EXPIRED", "REJECTED")


@pytest.fixture
def order(any_world: World) -> Order:
    """A stop entry that rests far from the market."""
    planned = any_world.plan(type=OrderType.STOP, entry=any_world.place.ask + any_world.place.away / 2)
    found = send_order(order_id=planned.pk)
    assert found.state == "WORKING"
    return found


def working(world: World) -> list[tuple[str, Decimal]]:
    """What rests at the broker beside legs that wait: its id, and what it may still fill."""
    rows = [row for row in world.truth()["orders"] if row["status"] not in (*ENDED, "HELD")]
    return [(row["id"], Decimal(row["quantity"]) - Decimal(row["filled"])) for row in rows]


@pytest.mark.fault("F-045", broker="oanda")
@pytest.mark.fault("F-045", broker="alpaca")
def test_one_order_rests_before_and_after_and_ours_goes_on_with_it(any_world: World, order: Order) -> None:
    world, broker = any_world, broker_for(any_world.account)
    before, less = order.broker_order_id, order.quantity - 1
    if world.place.name == "alpaca":
        less = order.quantity  # the number of an order with legs cannot be changed there
    assert order.price is not None
    price = order.price + world.place.away / 10
    outcome = broker.replace(
        broker_order_id=before, client_id=order.client_order_id, quantity=less, price=price.normalize()
    )
    assert isinstance(outcome, Accepted), outcome
    assert (outcome.broker_order_id == before) == broker.capabilities.replace_keeps_id
    assert working(world) == [(outcome.broker_order_id, less)]
    world.catch_up()
    order.refresh_from_db()
    assert (order.state, order.broker_order_id) == ("WORKING", outcome.broker_order_id)
    cancel_order(order_id=order.pk, reason="a test", broker=broker)
    world.pass_time(order, 10)
    cancel_order(order_id=order.pk, reason="a test", broker=broker)
    order.refresh_from_db()
    assert order.state == "CANCELLED" and working(world) == []
    broker.close()


def changed(broker: Broker, order: Order, quantity: Decimal) -> object:
    assert order.price is not None
    return broker.replace(
        broker_order_id=order.broker_order_id, client_id=order.client_order_id, quantity=quantity, price=order.price
    )


def test_what_is_not_surely_changed_is_not_said_to_be(any_world: World, order: Order) -> None:
    world, broker = any_world, broker_for(any_world.account)
    method = "PATCH" if world.place.name == "alpaca" else "PUT"
    world.fault("drop", when="before", route=f"{method} *")
    assert isinstance(changed(broker, order, Decimal(2)), Unknown)
    world.fault("status", when="before", route=f"{method} *", status=503)
    assert isinstance(changed(broker, order, Decimal(2)), Unknown)
    assert working(world) == [(order.broker_order_id, order.quantity)]
    refused = changed(broker, order, Decimal(0))
    assert isinstance(refused, Refused) and refused.code == "INVALID_REQUEST"
    cancel_order(order_id=order.pk, reason="a test", broker=broker)
    ended = changed(broker, order, Decimal(2))
    assert isinstance(ended, Refused) and ended.code in ("ORDER_DOESNT_EXIST", "ORDER_HAS_ENDED")
    broker.close()
