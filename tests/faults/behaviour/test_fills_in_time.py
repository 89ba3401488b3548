"""Fills that come before their answer, twice, out of order, in parts or late: each in the books once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from tests.faults.standing import apart, filled, once, read, settle, state, unread, watch_until, wire_of
from tests.faults.world import World
from trading.domain.broker import OrderType
from trading.engine.canceller import cancel_order
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Fill, Order

pytestmark = pytest.mark.faults


def resting(world: World) -> Order:
    """A limit entry below the market, at the broker."""
    order = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away / 4)
    assert send_order(order_id=order.pk).state == "WORKING"
    return order


@pytest.mark.fault("F-039")
@pytest.mark.scenario("S-17")
def test_a_fill_that_is_told_before_its_order_is_answered_is_booked_once(standing: World) -> None:
    world = standing
    order = world.plan()

    def send() -> None:
        try:
            send_order(order_id=order.pk)
        finally:
            connection.close()

    world.fault("hang", seconds=1.2)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        end = time.monotonic() + 3
        while not filled(order) and time.monotonic() < end and not sending.done():
            world.catch_up()
        assert filled(order) == order.quantity and not sending.done(), "told while the answer is on its way"
        sending.result()
    assert state(order) == "FILLED"
    once(world, order)


@pytest.mark.fault("F-040", "F-041")
def test_pages_out_of_order_and_with_rows_twice_book_each_fill_once(standing: World) -> None:
    world = standing
    for action in ("reorder", "duplicate"):
        order = unread(world)
        world.fault(action, route=wire_of(world).history, times=20)
        read(world)
        read(world)
        world.simulator.delete("/faults")
        read(world)
        once(world, order)


@pytest.mark.fault("F-042")
@pytest.mark.scenario("S-20")
def test_a_position_before_its_fill_is_no_posting_and_the_fill_then_is_one(standing: World) -> None:
    from reconciliation.engine.run import run_reconciliation
    from reconciliation.models import Run

    world = standing
    world.fault("hide", when="before", route="*", what="fill", page="end")
    order = world.plan()
    send_order(order_id=order.pk)
    before = Fill.objects.filter(account=world.account).count()
    run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    assert Fill.objects.filter(account=world.account).count() == before, "nothing is booked from a position"
    world.simulator.delete("/faults")
    watch_until(lambda: filled(order))
    once(world, order)


@pytest.mark.fault("F-043", "F-027")
def test_what_filled_before_a_cancel_stays_filled(any_world: World) -> None:
    world = any_world
    part = order_part(world)
    order = resting(world)
    price = order.price
    assert price is not None
    world.fault("partial_fill", when="before", route="*", quantity=str(part))
    spread = world.place.ask - world.place.bid
    world.price(price - 2 * spread, price - spread)
    world.catch_up()
    if state(order) == "PARTIAL":
        cancel_order(order_id=order.pk, reason="a test")
        for _ in range(3):
            world.pass_time(order, 30)
            watch_once()
    assert state(order) in ("CANCELLED", "FILLED")
    rows = [row["data"] for row in world.rows("fill") if row["data"]["order_id"] in world.copies(order)]
    assert filled(order) == sum(type(filled(order))(row["quantity"]) for row in rows) == order.filled_quantity
    assert apart(world) == []


def order_part(world: World) -> int:
    """A part of what a decision buys at this broker."""
    return 400 if world.place.name == "oanda" else 2


@pytest.mark.fault("F-044")
def test_a_cancel_that_comes_to_nothing_is_under_way_until_the_broker_says_its_end(standing: World) -> None:
    world = standing
    order = resting(world)
    world.fault("status", when="before", route=world.place.cancelling, times=3, status=503)
    cancel_order(order_id=order.pk, reason="a test")
    assert state(order) == "CANCELLING"
    for _ in range(2):
        world.pass_time(order, 30)
        watch_once()
        assert state(order) == "CANCELLING", "nothing said that it has ended"
    world.simulator.delete("/faults")
    for _ in range(3):
        world.pass_time(order, 30)
        watch_once()
    assert state(order) == "CANCELLED"
    assert Order.objects.filter(decision=order.decision, tag="ENTRY", account=world.account).count() == 1


@pytest.mark.fault("F-046")
def test_an_order_that_left_the_open_list_by_filling_is_found_in_the_history(standing: World) -> None:
    world = standing
    order = resting(world)
    price = order.price
    assert price is not None
    world.fault("status", when="before", route=wire_of(world).history, times=1000, status=503)
    spread = world.place.ask - world.place.bid
    world.price(price - 2 * spread, price - spread)
    watch_once()
    assert state(order) == "WORKING", "it is not listed any more, which says nothing"
    world.simulator.delete("/faults")
    watch_once()
    assert state(order) == "FILLED" and len(world.posts(order)) == 1
    assert apart(world) == []


@pytest.mark.fault("F-048")
def test_a_page_from_before_loses_nothing(standing: World) -> None:
    world = standing
    order = unread(world)
    world.fault("stale_page", when="before", route=wire_of(world).history, times=2)
    for _ in range(4):
        read(world)
    world.simulator.delete("/faults")
    read(world)
    once(world, order)


@pytest.mark.fault("F-049")
@pytest.mark.scenario("S-07")
def test_an_order_that_cannot_be_read_for_a_while_after_it_was_accepted_stays_ours(standing: World) -> None:
    world = standing
    order = world.plan()
    world.fault("hide", when="before", route=world.place.posting, seconds=2)
    send_order(order_id=order.pk)
    watch_once()
    assert state(order) in ("WORKING", "UNKNOWN", "FILLED") and len(world.posts(order)) == 1
    time.sleep(2.1)
    settle(world, order)
    once(world, order)


@pytest.mark.fault("F-053")
def test_what_the_broker_refuses_has_its_reason_and_is_not_sent_again(standing: World) -> None:
    world = standing
    order = world.plan()
    too_many = {"oanda": 9_000_000, "alpaca": 900_000, "kite": 90_000}  # of which Kite's risk system hears later
    Order.objects.filter(pk=order.pk).update(quantity=too_many[world.place.name])
    send_order(order_id=order.pk)
    for _ in range(2):
        world.pass_time(order, 30)
        watch_once()
    assert state(order) in ("REJECTED", "CANCELLED") and order.reason
    assert len(world.posts(order)) == 1 and filled(order) == 0
    world.fault("halt", when="before", route="*", seconds=600)
    halted = world.plan()
    send_order(order_id=halted.pk)
    watch_once()
    assert len(world.posts(halted)) == 1 and filled(halted) == 0
    assert state(halted) in ("REJECTED", "CANCELLED", "WORKING")
    if state(halted) == "WORKING":
        cancel_order(order_id=halted.pk, reason="a test")
