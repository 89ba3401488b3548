"""The same order more than once on its way: late, again, or under an id that is taken. One order at the broker."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
from django.db import transaction

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Run
from tests.faults.places import KITE, OANDA, PLACES
from tests.faults.standing import once, read, settle, state, watch_until, wire_of
from tests.faults.world import World
from trading.clock import now
from trading.domain.broker import OrderType
from trading.domain.orders import OrderState
from trading.engine.oco import look_after
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Fill, Notification, Order, Restriction
from trading.services import orders
from trading.services.audit import Actor
from trading.services.restrictions import REDUCE_ONLY, lift, trading_state

pytestmark = pytest.mark.faults
where_ids_are_known = pytest.mark.parametrize("standing_world", PLACES, indirect=True, ids=lambda place: place.name)


def sent_by_a_tester(world: World, body: dict[str, Any]) -> int:
    """The same request as ours once more, from another connection; its status."""
    path = world.place.posting.removeprefix("POST ")
    url = getattr(world.simulator, f"{world.place.name}_url") + path
    if world.place.name == "kite":
        return requests.post(f"{url}/regular", data=body, headers=wire_of(world).headers, timeout=5).status_code
    return requests.post(url, json=body, headers=wire_of(world).headers, timeout=5).status_code


def body_of(world: World, order: Order) -> dict[str, Any]:
    """What our adapter sent for this order."""
    text = world.posts(order)[-1]["data"]["body"]
    return dict(parse_qsl(text) if world.place.name == "kite" else json.loads(text))


@pytest.mark.fault("F-006")
def test_an_order_that_is_accepted_late_is_there_once_whenever_it_comes(standing: World) -> None:
    world = standing
    soon, late = world.plan(), world.plan()
    world.fault("late_accept", seconds=1)
    send_order(order_id=soon.pk)
    assert state(soon) == "UNKNOWN"
    watch_once()  # absent so far, which proves nothing
    watch_until(lambda: state(soon) == "FILLED")
    world.fault("late_accept", seconds=2.5)
    send_order(order_id=late.pk)
    settle(world, late)
    if world.place.name != "kite":  # which would not recognise a copy: there it only is looked for
        assert state(late) == "FILLED", "the quarantine is over: the same id was sent again"
    time.sleep(2.7)
    world.catch_up()
    rows = [row["data"] for row in world.rows("fill") if row["data"]["order_id"] in world.copies(late)]
    assert len(rows) == 1, "the late copy of it did nothing"
    settle(world, late)
    assert Fill.objects.filter(order=late).count() == 1
    once(world, soon, posts=1)
    assert world.differences() == []


@pytest.mark.fault("F-006")
def test_a_resting_order_that_is_accepted_late_is_there_once_too(standing: World) -> None:
    world = standing
    order = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away)
    world.fault("late_accept", seconds=1.5)
    send_order(order_id=order.pk)
    settle(world, order)
    time.sleep(1.7)
    world.catch_up()
    resting = [row for row in world.truth()["orders"] if row["client_id"] == order.client_order_id]
    alive = [row["id"] for row in resting if row["status"].upper() in ("PENDING", "NEW", "ACCEPTED", "OPEN")]
    assert state(order) == "WORKING" and alive == [order.broker_order_id]


@where_ids_are_known
@pytest.mark.fault("F-019", broker="oanda")
@pytest.mark.fault("F-019", broker="alpaca")
@pytest.mark.scenario("S-04")
def test_an_id_that_is_taken_by_our_own_earlier_send_is_that_order(standing: World) -> None:
    world = standing
    order = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away)
    world.fault("drop", when="after")
    send_order(order_id=order.pk)
    assert state(order) == "UNKNOWN"
    with transaction.atomic():  # as if every look-up had missed it
        orders.move(orders.locked(order.pk), OrderState.PLANNED, at=now(world.account), reason="a test")
    send_order(order_id=order.pk)
    assert state(order) == "WORKING" and {order.broker_order_id} == world.copies(order)


@where_ids_are_known
@pytest.mark.fault("F-019", broker="oanda")
@pytest.mark.fault("F-019", broker="alpaca")
def test_an_id_that_is_taken_by_an_order_with_other_terms_is_never_ours(standing: World) -> None:
    world = standing
    model = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away)
    send_order(order_id=model.pk)
    order = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away)
    text = json.dumps(body_of(world, model)).replace(model.client_order_id, order.client_order_id)
    body = json.loads(text.replace(f'"{_written(model)}"', '"3"'))
    for leg in ("takeProfitOnFill", "stopLossOnFill"):
        body.get("order", {}).pop(leg, None)
    for leg in ("take_profit", "stop_loss", "order_class"):
        body.pop(leg, None)
    assert sent_by_a_tester(world, body) < 300
    send_order(order_id=order.pk)
    for _ in range(3):
        world.pass_time(order, 30)
        watch_once()
    assert state(order) in ("UNKNOWN", "REJECTED") and order.broker_order_id == "", order.reason
    told = Notification.objects.filter(level="CRITICAL", text__contains=order.client_order_id)
    assert told.count() == 1, "people are told, once"
    assert len(world.posts(order)) <= 3


def _written(order: Order) -> str:
    """The order's quantity as it stands in its request."""
    return f"{order.quantity.normalize():f}"


@where_ids_are_known
@pytest.mark.fault("F-020", broker="oanda")
@pytest.mark.fault("F-020", broker="alpaca")
def test_a_request_that_arrives_twice_is_one_order(standing: World) -> None:
    world = standing
    order = world.plan()
    send_order(order_id=order.pk)
    status = sent_by_a_tester(world, body_of(world, order))
    world.catch_up()
    filled = [row for row in world.rows("fill") if row["data"]["order_id"] in world.copies(order)]
    assert len(filled) == 1, status
    assert state(order) == "FILLED" and Fill.objects.filter(order=order).count() == 1
    assert world.differences() == []
    resting = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away)
    send_order(order_id=resting.pk)
    sent_by_a_tester(world, body_of(world, resting))
    world.catch_up()
    assert state(resting) == "WORKING", "the copy's refusal is not ours"
    assert run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL).ok


@pytest.mark.fault("F-020", broker="kite")
@pytest.mark.parametrize("any_world", [KITE], indirect=True, ids=["kite"])
def test_a_request_that_arrives_twice_is_two_orders_where_nothing_knows_it_again_and_stops_the_account(
    any_world: World,
) -> None:
    world = any_world
    order = world.plan()
    send_order(order_id=order.pk)
    look_after(world.account)
    waiting = world.plan()
    assert sent_by_a_tester(world, body_of(world, order)) == 200
    read(world)
    watch_once()
    assert len(world.copies(order)) == 2 and state(order) == "FILLED"
    assert [fill.quantity for fill in Fill.objects.filter(account=world.account)] == [order.quantity], "the first one's"
    assert trading_state(world.account)[0] == REDUCE_ONLY and world.copies(waiting) == set()
    assert Notification.objects.filter(key=f"order-twice:{order.pk}", level="CRITICAL").count() == 1
    result = run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    assert result.ok and result.findings is not None
    assert "QUANTITY_MISMATCH" in {str(finding.kind) for finding in result.findings.findings}, result.findings


@pytest.mark.fault("F-020", broker="oanda")
@pytest.mark.parametrize("standing_world", [OANDA], indirect=True, ids=["oanda"])
def test_a_copy_that_the_broker_does_not_notice_is_a_grave_case_within_a_run(standing: World) -> None:
    """OANDA's guards go by ids: once the first one's trade is closed, the same request opens another."""
    world = standing
    order = world.plan()
    send_order(order_id=order.pk)
    world.price(world.place.bid - 3 * world.place.away, world.place.ask - 3 * world.place.away)
    world.catch_up()
    body = body_of(world, order)
    for leg in ("takeProfitOnFill", "stopLossOnFill"):
        body["order"].pop(leg)
    sent_by_a_tester(world, body)
    result = run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    assert result.ok and result.findings is not None
    kinds = {str(finding.kind): str(finding.severity) for finding in result.findings.findings}
    assert Fill.objects.filter(order=order).count() == 2 and kinds["OVERFILL"] == "CRITICAL", kinds
    assert trading_state(world.account)[0] == REDUCE_ONLY
    assert Notification.objects.filter(key=f"overfilled:{order.pk}", level="CRITICAL").count() == 1
    with pytest.raises(AssertionError, match="overfilled"):
        world.plan()
    for standing_one in Restriction.objects.filter(account=world.account, lifted_at=None):
        lift(restriction=standing_one, actor=Actor.system("a test"), reason="a person has looked")
