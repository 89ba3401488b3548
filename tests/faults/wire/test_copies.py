"""The same order more than once on its way: late, again, or under an id that is taken. One order at the broker."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import requests
from django.db import transaction

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Run
from tests.faults.places import OANDA
from tests.faults.standing import once, settle, state, watch_until, wire_of
from tests.faults.world import World
from trading.clock import now
from trading.domain.broker import OrderType
from trading.domain.orders import OrderState
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Fill, Notification, Order
from trading.services import orders

pytestmark = pytest.mark.faults


def sent_by_a_tester(world: World, body: dict[str, Any]) -> int:
    """The same request as ours once more, from another connection; its status."""
    path = world.place.posting.removeprefix("POST ")
    url = getattr(world.simulator, f"{world.place.name}_url") + path
    return requests.post(url, json=body, headers=wire_of(world).headers, timeout=5).status_code


def body_of(world: World, order: Order) -> dict[str, Any]:
    """What our adapter sent for this order."""
    return dict(json.loads(world.posts(order)[-1]["data"]["body"]))


@pytest.mark.fault("F-006")
def test_an_order_that_is_accepted_late_is_there_once_whenever_it_comes(standing: World) -> None:
    world = standing
    soon, late = world.plan(), world.plan()
    world.fault("late_accept", seconds=1)
    send_order(order_id=soon.pk)
    watch_once()
    assert state(soon) == "UNKNOWN", "absent so far, which proves nothing"
    watch_until(lambda: state(soon) == "FILLED")
    world.fault("late_accept", seconds=2.5)
    send_order(order_id=late.pk)
    settle(world, late)
    assert state(late) == "FILLED", "the quarantine is over: the same id was sent again"
    time.sleep(2.7)
    world.catch_up()
    rows = [row["data"] for row in world.rows("fill") if row["data"]["order_id"] in world.copies(late)]
    assert len(rows) == 1, "the late copy of it did nothing"
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
    alive = [row["id"] for row in resting if row["status"] in ("PENDING", "NEW", "ACCEPTED", "new", "accepted")]
    assert state(order) == "WORKING" and alive == [order.broker_order_id]


@pytest.mark.fault("F-019", broker="oanda")
@pytest.mark.fault("F-019", broker="alpaca")
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


@pytest.mark.fault("F-020")
def test_a_request_that_arrives_twice_is_one_order_or_two_that_are_seen(standing: World) -> None:
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
    assert "CRITICAL" in kinds.values() or Fill.objects.filter(order=order).count() == 2, kinds
