"""Limit entries that the market leaves behind, and ids that change with each move: one order, one booking."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.faults.places import ALPACA, OANDA, Place
from tests.faults.world import World
from trading.brokers.registry import SIMULATOR_ALPACA_KEY, SIMULATOR_ALPACA_SECRET
from trading.clock import now
from trading.domain.broker import Accepted, BrokerPrice, OrderType
from trading.engine.canceller import cancel_order
from trading.engine.chaser import chase
from trading.engine.connections import broker_for
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.failpoints import FailpointReached
from trading.models import Fill, Instrument, Order, OrderAlias
from trading.selectors.policies import policy_of
from trading.services.setup import ensure_version

pytestmark = pytest.mark.faults
TICKS = 5
ENDED = ("FILLED", "CANCELLED", "CANCELED", "REPLACED", "EXPIRED", "REJECTED")


@pytest.fixture(params=[OANDA, ALPACA], ids=["oanda", "alpaca"])
def world(make_world: Callable[..., World], request: pytest.FixtureRequest) -> World:
    """A desk at one of the brokers that give an order another id with another price."""
    return make_world(place=request.param)


def tick(place: Place) -> Decimal:
    return Instrument.objects.get(symbol=place.symbol).tick_size


def resting(world: World) -> Order:
    """A limit entry twenty ticks below the market, which may follow it for five."""
    planned = world.plan(type=OrderType.LIMIT, entry=world.place.bid - 20 * tick(world.place))
    assert planned.decision is not None
    paper = planned.decision.account
    policy = replace(policy_of(paper), chase_ticks=TICKS)
    paper.policy = ensure_version(kind="POLICY", name="chasing", body=policy.canonical)
    paper.save()
    order = send_order(order_id=planned.pk)
    assert order.state == "WORKING"
    return order


def at_broker(world: World) -> list[str]:
    """The ids of what rests at the broker beside legs that wait."""
    return [row["id"] for row in world.truth()["orders"] if row["status"] not in (*ENDED, "HELD")]


def ask_falls_to(world: World, price: Decimal) -> None:
    world.price(price - (world.place.ask - world.place.bid), price)


@pytest.mark.fault("F-045", broker="oanda")
@pytest.mark.fault("F-045", broker="alpaca")
def test_an_entry_follows_the_market_as_far_as_was_decided_and_fills_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = resting(world)
    first, began = order.broker_order_id, order.price or Decimal(0)
    monkeypatch.setenv("FAILPOINTS", "chase_after_response:raise")
    with pytest.raises(FailpointReached):
        chase(world.account)
    monkeypatch.delenv("FAILPOINTS")
    for _ in range(2):  # what was asked and not stored is asked again, and found done
        world.catch_up()
        world.pass_time(order, 5)
        chase(world.account)
    order.refresh_from_db()
    limit = began + TICKS * tick(world.place)
    assert (order.state, order.price) == ("WORKING", limit)
    assert at_broker(world) == [order.broker_order_id] and order.broker_order_id != first
    assert OrderAlias.objects.filter(order=order, broker_order_id=first).exists()
    world.pass_time(order, 5)
    assert chase(world.account) == 0, "no further than was decided"
    ask_falls_to(world, limit)
    world.catch_up()
    order.refresh_from_db()
    assert (order.state, Fill.objects.filter(order=order).count()) == ("FILLED", 1)
    assert world.differences() == []


def test_a_fill_that_comes_before_the_change_wins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    order = resting(world)
    broker = broker_for(world.account)
    prices = broker.prices

    def and_then_it_fills(instruments: Sequence[str]) -> Sequence[BrokerPrice]:
        quotes = prices(instruments)
        ask_falls_to(world, order.price or Decimal(0))
        return quotes

    monkeypatch.setattr(broker, "prices", and_then_it_fills)
    assert chase(world.account, broker) == 0
    broker.close()
    order.refresh_from_db()
    assert (order.state, Fill.objects.filter(order=order).count()) == ("FILLED", 1)
    assert not OrderAlias.objects.exists() and world.differences() == []


def test_an_entry_of_which_nobody_knows_at_which_price_it_rests_is_cancelled(world: World) -> None:
    order = resting(world)
    method = "PUT" if world.place.name == "oanda" else "PATCH"
    world.fault("drop", when="after", route=f"{method} *")
    assert chase(world.account) == 0
    world.pass_time(order, 10)
    watch_once()
    order.refresh_from_db()
    assert order.state == "CANCELLED" and at_broker(world) == [] and world.differences() == []


def test_a_cancel_that_crosses_a_change_reaches_the_order_that_took_its_place(world: World) -> None:
    order = resting(world)
    broker = broker_for(world.account)
    price = (order.price or Decimal(0)) + tick(world.place)
    changed = broker.replace(
        broker_order_id=order.broker_order_id, client_id=order.client_order_id, quantity=None, price=price.normalize()
    )
    assert isinstance(changed, Accepted) and at_broker(world) == [changed.broker_order_id]
    cancel_order(order_id=order.pk, reason="a test", broker=broker)
    world.pass_time(order, 10)
    watch_once()
    broker.close()
    order.refresh_from_db()
    assert (order.state, order.broker_order_id) == ("CANCELLED", changed.broker_order_id)
    assert at_broker(world) == []


def test_an_entry_that_has_not_filled_ends_with_its_time_out(world: World) -> None:
    planned = world.plan(type=OrderType.LIMIT, entry=world.place.bid - 20 * tick(world.place))
    Order.objects.filter(pk=planned.pk).update(good_till=now(world.account) + timedelta(seconds=2))
    order = send_order(order_id=planned.pk)
    assert order.state == "WORKING"
    time.sleep(2.2)
    for _ in range(2):
        watch_once()
        world.pass_time(order, 10)
    order.refresh_from_db()
    assert order.state in ("EXPIRED", "CANCELLED") and order.filled_quantity == 0
    assert at_broker(world) == [] and world.differences() == []


def patched(world: World, order_id: str, price: str) -> str:
    """Replace an order as a person would, at the broker; the new order's id."""
    answer = requests.patch(
        f"{world.simulator.alpaca_url}/v2/orders/{order_id}",
        headers={"APCA-API-KEY-ID": SIMULATOR_ALPACA_KEY, "APCA-API-SECRET-KEY": SIMULATOR_ALPACA_SECRET},
        json={"limit_price": price},
        timeout=5,
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return str(body["id"])


@pytest.mark.fault("F-045", broker="alpaca")
def test_a_fill_that_is_told_after_its_order_went_on_under_another_id_is_booked(
    make_world: Callable[..., World],
) -> None:
    world = make_world(place=ALPACA)
    planned = world.plan(type=OrderType.LIMIT, entry=Decimal("199.80"))
    order = send_order(order_id=planned.pk)
    second = patched(world, order.broker_order_id, "199.90")
    world.fault("partial_fill", route="*", quantity="2")
    world.fault("hide", route="*", what="fill", seconds=2)
    ask_falls_to(world, Decimal("199.90"))
    world.price(Decimal("200.00"), Decimal("200.02"))
    third = patched(world, second, "199.85")
    world.catch_up()
    order.refresh_from_db()
    assert (order.broker_order_id, order.filled_quantity) == (third, 0)
    time.sleep(2.2)
    world.catch_up()
    order.refresh_from_db()
    assert (order.state, order.filled_quantity) == ("PARTIAL", 2), "filled under its second id, which it had left"
    ask_falls_to(world, Decimal("199.85"))
    world.catch_up()
    order.refresh_from_db()
    assert (order.state, order.filled_quantity) == ("FILLED", 5) and world.differences() == []
