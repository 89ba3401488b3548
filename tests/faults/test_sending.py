"""Answers that are lost, late or wrong while an order is sent: one order at the broker, and books equal to its own."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.faults.places import KITE, PLACES
from tests.faults.world import World
from trading.domain.broker import OrderType
from trading.engine.resolver import resolve_unknown
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Fill, Notification, Order, Trade
from trading.services.exits import plan_exit

pytestmark = pytest.mark.faults
QUARANTINE = 26


def watch_until(world: World, what: Any, seconds: float = 10) -> None:
    """Rounds of the watcher in this process until it is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        watch_once()
        time.sleep(0.2)


def state(order: Order) -> str:
    order.refresh_from_db()
    return str(order.state)


def settle(world: World, *orders: Order) -> None:
    """Whatever the fault was: wait past lease and quarantine, and let the watcher do its work."""
    for _ in range(4):
        for order in orders:
            world.pass_time(order, QUARANTINE + 1)
        watch_once()


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("drop", {}),
    ("reset", {}),
    ("status", {"status": 502}),
    ("status", {"status": 504, "body": '{"errorMessage": "Timeout waiting for response"}'}),
    ("status", {"status": 500, "body": "{}"}),
    ("status", {"status": 204}),
    ("redirect", {"status": 307, "location": "/elsewhere"}),
    ("rate_limit", {"seconds": 1}),
    ("truncate", {"bytes": 30}),
    ("body", {"text": "<html>maintenance</html>"}),
]
# Answers of each broker's own that say too little, or of another order.
ACCEPTED_AT: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "oanda": [
        ("status", {"status": 200}),
        ("body", {"path": "orderCreateTransaction.clientExtensions.id", "value": "somebody-elses"}),
        ("body", {"path": "orderCreateTransaction.units", "value": "999"}),
    ],
    "alpaca": [
        ("body", {"path": "client_order_id", "value": "somebody-elses"}),
        ("body", {"path": "status", "value": "a_brand_new_status"}),
        ("body", {"path": "qty", "value": "999"}),
    ],
    "kite": [
        ("body", {"path": "data.order_id", "value": "260114000000999"}),
        ("body", {"path": "data.order_id", "value": None}),
        ("body", {"path": "status", "value": "error"}),
    ],
}


@pytest.mark.fault("F-001", "F-002", "F-004", "F-009", "F-010", "F-011", "F-018")
@pytest.mark.scenario("S-01", "S-12")
def test_an_order_that_the_broker_accepted_is_bound_whatever_its_answer_looked_like(any_world: World) -> None:
    world, sent = any_world, []
    faults = ACCEPTED + ACCEPTED_AT[world.place.name]
    for action, arguments in faults:
        order = world.plan()
        world.fault(action, when="after", **arguments)
        send_order(order_id=order.pk)
        sent.append(order)
    time.sleep(1.1)  # what a 429 asks for
    settle(world, *sent)
    for order, fault in zip(sent, faults, strict=True):
        assert (world.problems(order), len(world.posts(order))) == ([], 1), fault
    assert world.differences() == []


NOT_ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("drop", {}),
    ("reset", {}),
    ("status", {"status": 502}),
    ("status", {"status": 504}),
    ("status", {"status": 404}),
    ("redirect", {"status": 302, "location": "/"}),
    ("rate_limit", {"seconds": 1}),
]


@pytest.mark.fault("F-003", "F-005", "F-010", broker="oanda")
@pytest.mark.fault("F-003", "F-005", "F-010", broker="alpaca")
@pytest.mark.parametrize("any_world", PLACES, indirect=True, ids=lambda place: place.name)
@pytest.mark.scenario("S-02")
def test_an_order_that_never_arrived_is_sent_again_with_the_same_id_once_the_quarantine_is_over(
    any_world: World,
) -> None:
    world, sent = any_world, []
    for action, arguments in NOT_ACCEPTED:
        order = world.plan()
        world.fault(action, when="before", **arguments)
        send_order(order_id=order.pk)
        assert state(order) == "UNKNOWN", action
        assert order.quarantine_until is not None and order.lease_until is not None
        assert order.quarantine_until - order.lease_until == timedelta(seconds=3 + 15), "from the last moment to send"
        world.pass_time(order, QUARANTINE - 8)
        sent.append(order)
    time.sleep(1.1)  # what a 429 asks for
    watch_once()
    assert {state(order) for order in sent} == {"UNKNOWN"}, "no quarantine is over"
    for order in sent:
        world.pass_time(order, 9)
    watch_once()
    assert {state(order) for order in sent} == {"PLANNED"}
    settle(world, *sent)
    for order, fault in zip(sent, NOT_ACCEPTED, strict=True):
        assert (world.problems(order), len(world.posts(order))) == ([], 2), fault
    assert world.differences() == []


@pytest.mark.fault("F-003", "F-005", "F-010", broker="kite")
@pytest.mark.parametrize("any_world", [KITE], indirect=True, ids=["kite"])
def test_where_nothing_would_recognise_a_copy_an_order_that_never_arrived_waits_for_people(any_world: World) -> None:
    world, sent = any_world, []
    for action, arguments in NOT_ACCEPTED:
        order = world.plan()
        world.fault(action, when="before", **arguments)
        send_order(order_id=order.pk)
        assert state(order) == "UNKNOWN", action
        sent.append(order)
    time.sleep(1.1)  # what a 429 asks for
    settle(world, *sent)
    for order, fault in zip(sent, NOT_ACCEPTED, strict=True):
        assert (state(order), len(world.posts(order)), world.copies(order)) == ("UNKNOWN", 1, set()), fault
        [told] = Notification.objects.filter(key=f"order-unknown:{order.pk}")
        assert told.level == "CRITICAL" and "not sent again by itself" in told.text
    assert world.differences() == []


@pytest.mark.fault("F-006", broker="oanda")
def test_an_order_that_appears_late_within_the_quarantine_is_found_and_not_sent_again(world: World) -> None:
    order = world.plan()
    world.fault("late_accept", seconds=3)
    send_order(order_id=order.pk)
    watch_once()
    assert state(order) == "UNKNOWN", "absent so far, which proves nothing"
    watch_until(world, lambda: state(order) == "FILLED")
    settle(world, order)
    assert world.problems(order) == [] and len(world.posts(order)) == 1


@pytest.mark.fault("F-006", broker="oanda")
@pytest.mark.scenario("S-02")
def test_orders_that_appear_after_the_quarantine_are_there_once_all_the_same(world: World) -> None:
    """The broker's last guards: it refuses a pending order's id, and the trade's id that we always send."""
    market, resting = world.plan(), world.plan(type=OrderType.LIMIT, entry=Decimal("1.09000"))
    for order in (market, resting):
        world.fault("late_accept", seconds=4)
        send_order(order_id=order.pk)
    settle(world, market, resting)
    assert (state(market), state(resting)) == ("FILLED", "WORKING")
    bound = market.broker_order_id
    world.wait(lambda: len(world.copies(market)) == 2, 8, "the late copy has arrived")
    time.sleep(0.5)
    world.catch_up()
    alive = [row for row in world.simulator.truth()["orders"] if (row["type"], row["status"]) == ("LIMIT", "PENDING")]
    assert [row["id"] for row in alive] == [resting.broker_order_id]
    assert state(resting) == "WORKING", "the refused copy is not the order, which the broker has still"
    assert (state(market), market.broker_order_id) == ("FILLED", bound)
    assert Fill.objects.filter(order=market).count() == 1 and world.differences() == []


def test_one_look_up_that_fails_keeps_the_order_from_being_sent_again(world: World) -> None:
    for path in ("orders/@", "transactions/sinceid", "trades/@"):
        order = world.plan()
        world.fault("drop", when="before")
        send_order(order_id=order.pk)
        route = f"GET /v3/accounts/{world.simulator.account}/{path}"
        world.fault("status", when="before", route=route, times=100, status=503)
        for _ in range(2):
            world.pass_time(order, QUARANTINE + 1)
            watch_once()
            assert state(order) == "UNKNOWN", path
        world.simulator.delete("/faults")
        settle(world, order)
        assert (world.problems(order), len(world.posts(order))) == ([], 2), path


def test_a_look_up_that_began_within_the_quarantine_does_not_end_it(world: World) -> None:
    """What it did not see can have come after its first question, and before the quarantine was over."""
    order = world.plan()
    world.fault("drop", when="before")
    send_order(order_id=order.pk)
    world.pass_time(order, QUARANTINE - 1)
    world.fault("hang", when="before", route=f"GET /v3/accounts/{world.simulator.account}/trades/@", seconds=2)
    resolve_unknown(order_id=order.pk)
    order.refresh_from_db()
    assert order.quarantine_until is not None and order.quarantine_until < order.updated_at, "it is over by now"
    assert order.state == "UNKNOWN"


def test_an_order_whose_trade_has_come_and_gone_before_anybody_looked_is_not_sent_again(world: World) -> None:
    order = world.plan()
    world.fault("drop")
    send_order(order_id=order.pk)
    world.simulator.post("/prices", {"instrument": "EUR_USD", "bid": "1.08000", "ask": "1.08010"})
    assert not any(Decimal(row["quantity"]) for row in world.simulator.truth()["positions"]), "stopped out"
    settle(world, order)
    assert state(order) == "FILLED" and len(world.posts(order)) == 1
    legs = {leg.tag: leg.state for leg in Order.objects.filter(rides_on=order)}
    assert legs == {"STOP": "FILLED", "TP1": "CANCELLED"}
    assert world.differences() == []


def test_the_closing_order_is_sent_once_too_when_its_answer_is_lost(world: World) -> None:
    entry = world.plan()
    send_order(order_id=entry.pk)
    trade = Trade.objects.get(account=world.account, decision=entry.decision)
    order = plan_exit(
        account=world.account,
        decision=trade.decision,
        exit_type="TIME",
        reason="a fault test",
        quantity=trade.open_quantity,
        at=world.broker_now(),
    )
    world.fault("reset")
    send_order(order_id=order.pk)
    watch_until(world, lambda: state(order) == "FILLED")
    settle(world, order)
    assert len(world.posts(order)) == 1
    trade.refresh_from_db()
    assert trade.state == "CLOSED" and world.differences() == []


@pytest.mark.fault("F-015", broker="oanda")
def test_nothing_is_sent_to_a_broker_that_cannot_be_reached_and_everything_once_it_can(world: World) -> None:
    order = world.plan()
    reachable, world.account.endpoint = world.account.endpoint, "http://127.0.0.1:9"
    world.account.save(update_fields=["endpoint"])
    for _ in range(5):
        watch_once()
        world.pass_time(order, QUARANTINE + 1)
    assert state(order) == "UNKNOWN" and "not sent" in order.reason
    world.account.endpoint = reachable
    world.account.save(update_fields=["endpoint"])
    settle(world, order)
    assert world.problems(order) == [] and len(world.posts(order)) == 1
