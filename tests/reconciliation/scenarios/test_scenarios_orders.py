"""Scenarios of orders: what is not known yet is neither given up nor taken for something that looks like it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from reconciliation.engine.startup import block_entries_until_reconciled
from reconciliation.models import Discrepancy, Run
from tests.faults.places import KITE
from tests.faults.standing import settle, state, watch_until
from tests.faults.world import World
from tests.reconciliation.scenarios.telling import cases, outside, reconcile, told
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import AuditEvent, Fill, Order, Restriction, Trade

pytestmark = pytest.mark.faults
at_kite = pytest.mark.parametrize("any_world", [KITE], indirect=True, ids=["kite"])


@pytest.mark.scenario("S-07")
def test_a_restart_while_a_new_order_cannot_be_read_yet_gives_nothing_up_and_leaves_no_case(
    make_world: Callable[..., World],
) -> None:
    world = make_world(scope="")
    order = world.plan()
    world.fault("hide", when="before", route=world.place.posting, seconds=2)
    send_order(order_id=order.pk)
    assert block_entries_until_reconciled() == 1
    assert reconcile(world, Run.Trigger.STARTUP).status != "FAILED"
    watch_once()
    assert state(order) in ("WORKING", "UNKNOWN", "FILLED"), "never given up for an answer that lacks it"
    assert set(cases(world).values()) <= {"SUSPECTED"} and told() == []
    time.sleep(2.1)
    settle(world, order)
    assert reconcile(world).ok
    assert cases(world) == {} and not Restriction.objects.filter(account=world.account, lifted_at=None).exists()
    assert (world.problems(order), len(world.posts(order)), world.differences()) == ([], 1, [])


@at_kite
@pytest.mark.scenario("S-09")
def test_an_acknowledged_order_that_is_refused_a_moment_later_was_never_filled_and_gets_no_legs(
    any_world: World,
) -> None:
    world = any_world
    order = world.plan()
    world.fault("reject_later", when="before", seconds=1, reason="RMS: margin exceeds available funds")
    send_order(order_id=order.pk)
    assert state(order) == "WORKING" and not Trade.objects.filter(account=world.account).exists()
    time.sleep(1.1)
    watch_until(lambda: state(order) == "REJECTED")
    assert "margin exceeds" in order.reason and not Fill.objects.filter(account=world.account).exists()
    audited = AuditEvent.objects.filter(object_type="trading.Order", object_id=str(order.pk)).latest("id")
    assert (audited.level, audited.after) == ("WARNING", {"state": "REJECTED"}), "and people find it in the trail"
    watch_once()
    legs = Order.objects.filter(account=world.account, decision=order.decision).exclude(pk=order.pk)
    assert {leg.state for leg in legs} == {"CANCELLED"} and [world.posts(leg) for leg in legs] == [[]] * len(legs)
    assert reconcile(world).ok and cases(world) == {}


@at_kite
@pytest.mark.scenario("S-10")
def test_an_order_of_the_same_size_and_symbol_without_our_label_is_never_taken_for_ours(any_world: World) -> None:
    world = any_world
    order = world.plan()
    reconcile(world)
    outside(world, "trade", instrument=world.place.instrument, quantity=str(order.quantity), price=str(world.place.ask))
    world.fault("drop", when="before")
    send_order(order_id=order.pk)
    for _ in range(3):
        world.pass_time(order, 60)
        watch_once()
    assert (state(order), order.broker_order_id, len(world.posts(order))) == ("UNKNOWN", "", 1)
    for _ in range(2):
        assert reconcile(world).ok
    assert cases(world) == {"ORDER_UNCONFIRMED": "OPEN", "EXTERNAL_POSITION": "OPEN"}
    assert "the order was not ours" in Discrepancy.objects.get(kind="EXTERNAL_POSITION").cause
    assert not Fill.objects.filter(account=world.account).exists()
