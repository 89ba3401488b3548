"""Answers to an order that are lost, spoiled, foreign or slow: one order at the broker, and bound to ours."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from tests.faults.standing import once, settle, state, wire_of
from tests.faults.world import World
from trading.domain.broker import OrderType
from trading.engine.connections import broker_for
from trading.engine.oco import look_after
from trading.engine.sender import send_order
from trading.models import BrokerMessage, Notification, Order

pytestmark = pytest.mark.faults

# (rows, action, arguments): after each the broker has the order, and the answer says nothing certain.
SPOILED: list[tuple[str, str, dict[str, Any]]] = [
    ("F-004", "status", {"status": 504, "times": 4}),
    ("F-009", "truncate", {"bytes": 30}),
    ("F-010", "redirect", {"status": 302, "location": "/v2/orders"}),
    ("F-010", "redirect", {"status": 308, "location": "/elsewhere"}),
    ("F-011", "status", {"status": 502, "body": ""}),
    ("F-011", "body", {"text": "", "content_type": "application/octet-stream"}),
    ("F-012", "status", {"status": 500, "keep": True}),
]


@pytest.mark.fault("F-004", "F-009", "F-010", "F-011", "F-012")
@pytest.mark.scenario("S-01", "S-12")
def test_whatever_the_answer_looked_like_the_order_is_bound_and_was_asked_for_once(standing: World) -> None:
    world, sent = standing, []
    for _, action, arguments in SPOILED:
        order = world.plan()
        world.fault(action, **arguments)
        send_order(order_id=order.pk)
        assert state(order) == "UNKNOWN", (action, arguments)
        world.simulator.delete("/faults")
        sent.append(order)
    settle(world, *sent)
    for order in sent:
        once(world, order)
    row = BrokerMessage.objects.filter(order=sent[-1], purpose="submit").get()
    assert row.status == 500, "what was answered is kept as it was"


@pytest.mark.fault("F-007", "F-008")
def test_an_answer_that_hangs_or_drips_is_given_up_at_the_deadline(standing: World) -> None:
    world = standing
    sent = {action: world.plan() for action in ("hang", "drip")}

    def send(order: Order) -> float:
        began = time.monotonic()
        try:
            send_order(order_id=order.pk)
        finally:
            connection.close()
        return time.monotonic() - began

    for action in sent:
        world.fault(action, seconds=60)
    with ThreadPoolExecutor(2) as pool:
        assert max(pool.map(send, sent.values())) < 5.0, "the deadline is of the whole exchange"
    assert {state(order) for order in sent.values()} == {"UNKNOWN"}
    world.simulator.delete("/faults")
    settle(world, *sent.values())
    for order in sent.values():
        once(world, order)


@pytest.mark.fault("F-018")
def test_the_answer_to_another_order_is_nobodys_and_people_are_told(standing: World) -> None:
    world = standing
    first, second = world.plan(), world.plan()
    send_order(order_id=first.pk)
    look_after(world.account)
    answer = BrokerMessage.objects.get(order=first, purpose="submit")
    world.fault("body", text=answer.response_body, content_type="application/json")
    send_order(order_id=second.pk)
    assert state(second) == "UNKNOWN" and second.broker_order_id == ""
    assert Notification.objects.filter(level="CRITICAL", text__contains=second.client_order_id).count() == 1
    settle(world, second)
    once(world, first)
    once(world, second)


@pytest.mark.fault("F-012", broker="alpaca")
@pytest.mark.fault("F-012", broker="kite")
@pytest.mark.fault("F-013", broker="oanda")
@pytest.mark.parametrize("status", [200, 500])
def test_a_resting_order_is_bound_too_under_another_status(standing: World, status: int) -> None:
    world = standing
    order = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away)
    world.fault("status", status=status, keep=True)
    send_order(order_id=order.pk)
    settle(world, order)
    assert state(order) == "WORKING" and len(world.copies(order)) == 1 == len(world.posts(order))


@pytest.mark.fault("F-014")
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}])
def test_too_many_requests_everywhere_lose_nothing_and_leave_room_for_a_cancel(
    standing: World, headers: dict[str, str]
) -> None:
    world = standing
    resting = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away)
    send_order(order_id=resting.pk)
    order = world.plan()
    # Kite's own words say that it has not looked at a request, which is why that one may leave again.
    body = '{"status":"error","error_type":"NetworkException","message":"Too many requests","data":null}'
    said = {"body": body} if world.place.name == "kite" else {}
    world.fault("rate_limit", when="before", route="*", times=3, seconds=1, headers=headers, **said)
    send_order(order_id=order.pk)
    assert state(order) == ("PLANNED" if said else "UNKNOWN")
    world.simulator.delete("/faults")
    broker = broker_for(world.account)
    began = time.monotonic()
    try:
        broker.cancel(broker_order_id=resting.broker_order_id, client_id=resting.client_order_id)
    finally:
        broker.close()
    assert time.monotonic() - began < 0.8, "a cancel does not wait for what polls must wait"
    time.sleep(1.1)
    settle(world, order, rounds=6)
    once(world, order, posts=2)


@pytest.mark.fault("F-015", "F-016")
def test_a_broker_that_cannot_be_reached_gets_nothing_until_it_can(
    standing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = standing
    reachable = world.account.endpoint
    wrong = {
        "refused": "http://127.0.0.1:9",
        "not TLS": reachable.replace("http://", "https://"),
        "no such name": "https://broker.invalid",
    }
    order = world.plan()
    before = len(world.rows("request"))
    try:
        for what, endpoint in wrong.items():
            world.account.endpoint = endpoint
            world.account.save(update_fields=["endpoint"])
            for _ in range(2):
                settle(world, order, rounds=1)
            assert state(order) in ("UNKNOWN", "PLANNED"), what
    finally:
        world.account.endpoint = reachable
        world.account.save(update_fields=["endpoint"])
    assert len(world.rows("request")) == before, "not a byte of a request arrived"
    settle(world, order)
    once(world, order)


@pytest.mark.fault("F-015")
@pytest.mark.scenario("S-34")
def test_a_run_without_a_broker_has_failed_and_finds_nothing_flat(standing: World) -> None:
    from reconciliation.engine.run import run_reconciliation
    from reconciliation.models import Run

    world = standing
    reachable = world.account.endpoint
    world.account.endpoint = "http://127.0.0.1:9"
    result = run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    world.account.endpoint = reachable
    assert (result.status, result.findings) == ("FAILED", None)


@pytest.mark.fault("F-017")
def test_a_kept_connection_that_the_broker_closed_never_makes_a_second_request(standing: World) -> None:
    world = standing
    broker = broker_for(world.account)
    orders: list[Order] = []
    try:
        for _ in range(2):
            order = world.plan()
            broker.identity()
            world.fault("reset", when="after", route=wire_of(world).history)
            send_order(order_id=order.pk, broker=broker)
            orders.append(order)
    finally:
        broker.close()
    settle(world, *orders)
    for order in orders:
        once(world, order)
