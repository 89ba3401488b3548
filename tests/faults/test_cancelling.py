"""Cancels whose answers are lost, late or refused; and exits that must wait until their legs are gone."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from tests.faults.places import PLACES
from tests.faults.world import World
from trading.brokers.oanda import OandaBroker
from trading.clock import now
from trading.domain.broker import Broker, Capabilities, OrderType
from trading.domain.orders import OrderState
from trading.engine.canceller import cancel_order, half_cancelled
from trading.engine.connections import broker_for
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Fill, Order, Trade
from trading.services import orders
from trading.services.exits import plan_exit

pytestmark = pytest.mark.faults
where_legs_ride = pytest.mark.parametrize("any_world", PLACES, indirect=True, ids=lambda place: place.name)


def resting(world: World) -> Order:
    """A stop entry that rests at the broker, far from the market."""
    order = world.plan(type=OrderType.STOP, entry=world.place.ask + world.place.away / 2)
    assert send_order(order_id=order.pk).state == "WORKING"
    return order


def working(world: World) -> list[str]:
    """The broker's ids of what rests there."""
    ended = ("FILLED", "CANCELLED", "CANCELED", "REPLACED", "EXPIRED", "REJECTED")
    return [row["id"] for row in world.truth()["orders"] if row["status"] not in ended]


def deletes(world: World) -> list[dict[str, Any]]:
    method, _, path = world.place.cancelling.partition(" ")
    rows = [row["data"] for row in world.rows("request")]
    return [row for row in rows if row["method"] == method and row["path"].startswith(path)]


def test_a_resting_order_is_cancelled_once_and_its_legs_end_with_it(any_world: World) -> None:
    world = any_world
    order = resting(world)
    for _ in range(3):
        cancel_order(order_id=order.pk, reason="a test")
    order.refresh_from_db()
    assert order.state == "CANCELLED" and len(deletes(world)) == 1
    assert {leg.state for leg in Order.objects.filter(rides_on=order)} == {"CANCELLED"}
    assert working(world) == []


@pytest.mark.fault("F-044")
@pytest.mark.parametrize(
    ("action", "when", "arguments"),
    [
        ("drop", "before", {}),
        ("drop", "after", {}),
        ("status", "after", {"status": 502}),
        ("status", "before", {"status": 503}),
        ("reset", "after", {}),
    ],
)
def test_a_cancel_whose_answer_proves_nothing_is_asked_again_until_the_broker_says_it(
    any_world: World, action: str, when: str, arguments: dict[str, Any]
) -> None:
    world = any_world
    order = resting(world)
    route = world.place.cancelling
    world.fault(action, when=when, route=route, **arguments)
    cancel_order(order_id=order.pk, reason="a test")
    order.refresh_from_db()
    assert order.state in ("CANCELLING", "CANCELLED")
    world.pass_time(order, 10)
    watch_once()
    order.refresh_from_db()
    assert order.state == "CANCELLED" and half_cancelled() == []
    assert working(world) == []


@pytest.mark.fault("F-043", "F-044")
def test_an_order_that_fills_before_its_cancel_arrives_is_filled(any_world: World) -> None:
    world = any_world
    order = resting(world)
    world.fault("drop", when="before", route=world.place.cancelling)
    price = order.price or Decimal(0)
    cancel_order(order_id=order.pk, reason="a test")
    world.price(price, price + world.place.ask - world.place.bid)
    world.pass_time(order, 10)
    watch_once()
    order.refresh_from_db()
    assert order.state == "FILLED" and Fill.objects.filter(order=order).count() == 1
    assert world.differences() == []


def test_an_order_that_was_never_sent_is_cancelled_without_asking_anybody(any_world: World) -> None:
    world = any_world
    order = world.plan()
    cancel_order(order_id=order.pk, reason="a test")
    assert send_order(order_id=order.pk).state == "CANCELLED"
    assert world.posts(order) == [] and deletes(world) == []


class Reserving(OandaBroker):
    """An account whose resting legs reserve the units that they guard."""

    capabilities = Capabilities(
        native_bracket=True,
        idempotent_client_id=False,
        replace_keeps_id=False,
        hedging=False,
        fractional=False,
        legs_reserve_units=True,
    )


def reserving(world: World) -> Broker:
    """The account's adapter; at Alpaca legs reserve units by themselves."""
    broker = broker_for(world.account)
    if isinstance(broker, OandaBroker):
        broker.__class__ = Reserving
    assert broker.capabilities.legs_reserve_units
    return broker


def entered(world: World) -> tuple[Order, Order]:
    """A filled entry, and the exit that is planned for all of it."""
    entry = world.plan()
    send_order(order_id=entry.pk)
    entry.refresh_from_db()
    assert entry.state == "FILLED" and entry.decision is not None
    trade = Trade.objects.get(account=world.account, decision=entry.decision)
    closing = plan_exit(
        account=world.account,
        decision=entry.decision,
        exit_type="TIME",
        reason="a test",
        quantity=trade.open_quantity,
        at=now(world.account),
    )
    return entry, closing


@where_legs_ride
def test_an_exit_leaves_only_after_its_legs_are_known_to_be_gone(any_world: World) -> None:
    world = any_world
    entry, closing = entered(world)
    broker = reserving(world)
    assert send_order(order_id=closing.pk, broker=broker).state == "FILLED"
    legs = Order.objects.filter(rides_on=entry)
    assert {leg.state for leg in legs} == {"CANCELLED"}
    rows = [row for row in world.rows("order") if row["data"]["status"] in ("CANCELLED", "CANCELED", "FILLED")]
    ends = {row["data"]["id"]: row["seq"] for row in rows}
    closing.refresh_from_db()
    assert max(ends[leg.broker_order_id] for leg in legs) < ends[closing.broker_order_id]
    assert world.truth()["positions"] == [] and world.differences() == []


@where_legs_ride
def test_an_exit_waits_while_it_is_unknown_whether_a_leg_lives_and_goes_on_later(any_world: World) -> None:
    world = any_world
    entry, closing = entered(world)
    broker = reserving(world)
    world.fault("status", when="before", route=world.place.cancelling, times=50, status=503)
    assert send_order(order_id=closing.pk, broker=broker).state == "PLANNED"
    assert world.posts(closing) == []
    assert len(working(world)) == 2, "the stop and the target still guard the trade"
    world.simulator.delete("/faults")
    for leg in Order.objects.filter(rides_on=entry):
        world.pass_time(leg, 10)
    assert send_order(order_id=closing.pk, broker=broker).state == "FILLED"
    assert world.differences() == []


@where_legs_ride
def test_a_stop_that_fills_while_the_exit_waits_makes_the_exit_needless(any_world: World) -> None:
    world = any_world
    entry, closing = entered(world)
    stop = Order.objects.get(rides_on=entry, tag="STOP")
    price = stop.price or Decimal(0)
    world.price(price + world.place.bid - world.place.ask, price)
    done = send_order(order_id=closing.pk, broker=reserving(world))
    assert done.state == "CANCELLED" and "holds nothing any more" in done.reason
    assert world.posts(closing) == [], "an exit of what is gone would open a short"
    assert world.truth()["positions"] == [] and world.differences() == []


def test_the_sweep_ends_a_resting_order_whose_time_is_over_where_the_broker_does_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = resting(world)
    Order.objects.filter(pk=order.pk).update(good_till=now(world.account))
    time.sleep(0.01)
    watch_once()
    order.refresh_from_db()
    assert order.state == "WORKING", "this broker ends it by itself"
    monkeypatch.setattr(OandaBroker, "capabilities", Capabilities(True, False, False, False, False, good_till=False))
    watch_once()
    order.refresh_from_db()
    assert order.state == "CANCELLED" and working(world) == []


def test_that_an_order_began_does_not_end_its_cancel(any_world: World) -> None:
    """Its beginning may be read only after its cancel was asked for, and that says nothing about the cancel."""
    world = any_world
    order = world.plan(type=OrderType.STOP, entry=world.place.ask + world.place.away / 2)
    world.fault("status", when="before", route=world.place.history, times=50, status=503)
    assert send_order(order_id=order.pk).state in ("WORKING", "UNKNOWN")
    order.refresh_from_db()
    if order.state != "WORKING":
        with transaction.atomic():
            orders.move(orders.locked(order.pk), OrderState.WORKING, at=order.at, reason="a test")
    world.fault("drop", when="before", route=world.place.cancelling)
    cancel_order(order_id=order.pk, reason="a test")
    world.simulator.delete("/faults")
    world.catch_up()
    order.refresh_from_db()
    assert order.state == "CANCELLING"
    world.pass_time(order, 10)
    watch_once()
    order.refresh_from_db()
    assert order.state == "CANCELLED" and working(world) == []
