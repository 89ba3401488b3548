"""What is left when a process dies between two of its steps: an exit that was planned, a migration that was begun.

The rows of the fault catalogue: F-069 (an exit between its plan and its sending, and one whose time ends), F-070 (a
migration; keys are not rotated by this version).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Run
from tests.faults.places import ALPACA
from tests.faults.standing import damaged, filled, once, read, state, unread, wire_of
from tests.faults.world import World
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.failpoints import FailpointReached
from trading.models import Notification, Order, OrderGroup, RiskEvent, TaskAttempt
from trading.services.attempts import send_key
from trading.services.exits import plan_exit

pytestmark = pytest.mark.faults
MakeWorld = Callable[..., World]


def exit_of(world: World, entry: Order) -> Order:
    """The exit of all that an entry has bought, planned and not sent."""
    entry.refresh_from_db()
    assert entry.decision is not None
    return plan_exit(
        account=world.account,
        decision=entry.decision,
        exit_type="CLOSE_WINDOW",
        reason="a test",
        quantity=entry.filled_quantity,
        at=world.broker_now(),
    )


def test_an_exit_that_nobody_is_left_to_send_is_found_and_sent_once(world: World) -> None:
    entry = world.plan()
    send_order(order_id=entry.pk)
    planned = exit_of(world, entry)
    assert exit_of(world, entry).pk == planned.pk, "the same wish is the same exit"
    for _ in range(3):
        world.pass_time(planned, 30)
        watch_once()
    planned.refresh_from_db()
    assert (planned.state, planned.exit_intent.state if planned.exit_intent else "") == ("FILLED", "FILLED")
    assert len(world.posts(planned)) == 1 and world.truth()["positions"] == [] and world.differences() == []


def test_an_exit_whose_time_ends_before_it_was_sent_says_so_aloud(world: World) -> None:
    entry = world.plan()
    send_order(order_id=entry.pk)
    planned = exit_of(world, entry)
    Order.objects.filter(pk=planned.pk).update(good_till=world.broker_now() - timedelta(minutes=1))
    for _ in range(2):
        watch_once()
    planned.refresh_from_db()
    assert (planned.state, planned.exit_intent.state if planned.exit_intent else "") == ("EXPIRED", "MISSED")
    [told] = Notification.objects.filter(key__startswith="exit-missed:")
    assert told.level == "CRITICAL" and "expired before it was filled" in told.text
    assert world.posts(planned) == []


def test_an_entry_says_what_it_waits_for_until_it_is_sent(world: World) -> None:
    held = world.plan()
    send_order(order_id=held.pk)
    group = OrderGroup.objects.get(decision=held.decision, account=world.account)
    OrderGroup.objects.filter(pk=group.pk).update(state=OrderGroup.State.UNSAFE)
    order = world.plan()
    send_order(order_id=order.pk)
    assert state(order) == "PLANNED" and order.reason == (
        f"waits: stop and target of another trade are not what they should be: group {group.pk} is UNSAFE"
    )
    OrderGroup.objects.filter(pk=group.pk).update(state=OrderGroup.State.OPEN)
    send_order(order_id=order.pk)
    assert state(order) == "FILLED" and not order.reason.startswith("waits")


def test_an_order_whose_end_the_events_tell_leaves_no_count_of_its_sends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = world.plan()
    monkeypatch.setenv("FAILPOINTS", "before_store:raise")
    with pytest.raises(FailpointReached):
        send_order(order_id=order.pk)
    monkeypatch.delenv("FAILPOINTS")
    assert state(order) == "SENDING" and TaskAttempt.objects.filter(key=send_key(order.pk)).exists()
    world.catch_up()
    assert world.problems(order) == [] and not TaskAttempt.objects.exists()


@pytest.mark.fault("F-021", "F-025", broker="alpaca")
def test_a_row_that_was_spoiled_once_is_booked_without_people_once_it_is_right(make_world: MakeWorld) -> None:
    world = make_world(place=ALPACA)
    wire, order = wire_of(world), unread(world)
    for value in ("NaN", None, "1_000"):
        with damaged(world, wire.history, f"{wire.fill}.{wire.price}", value):
            read(world)
        assert filled(order) == 0
    read(world)
    once(world, order)
    assert not RiskEvent.objects.filter(account=world.account, kind="EVENT_BODY_CHANGED").exists()
    assert run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL).live == 0


def test_every_migration_of_ours_is_one_transaction_so_that_one_that_was_begun_left_nothing(db: None) -> None:
    loader = MigrationLoader(connection)
    ours = [found for (label, _), found in loader.disk_migrations.items() if label in ("trading", "reconciliation")]
    assert len(ours) > 10 and connection.features.can_rollback_ddl
    assert [str(found) for found in ours if not found.atomic] == []
