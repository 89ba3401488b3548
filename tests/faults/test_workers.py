"""Workers that freeze, race, die over the same order again and again, or are never woken."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.db import connections, transaction

from backoffice.celery import app
from backoffice.desk import paths
from backoffice.desk.redis import RedisServer
from backoffice.settings import broker_url
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Run
from tests.faults.world import World
from trading.clock import store_broker_clock
from trading.engine.resolver import resolve_unknown
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Notification, Order, Restriction, TaskAttempt
from trading.services.attempts import LIMIT
from trading.services.audit import Actor
from trading.services.restrictions import lift, restrict, trading_state
from trading.wake import wake

pytestmark = pytest.mark.faults
LONG = 30


def state(order: Order) -> str:
    order.refresh_from_db()
    return str(order.state)


def rounds(world: World, *orders: Order, times: int = 4) -> None:
    """Let the time pass that leases and quarantines take, with a round of the watcher each time."""
    for _ in range(times):
        for order in orders:
            world.pass_time(order, LONG)
        watch_once()


@pytest.mark.parametrize("point", ["claimed", "before_send", "after_response"])
def test_a_worker_that_froze_and_woke_up_after_its_lease_had_passed_sends_nothing(world: World, point: str) -> None:
    worker = world.start_worker(name="frozen", failpoint=f"{point}:stop")
    world.wait_for_worker(worker)
    order = world.plan()
    world.send_task("orders.send", order.pk)
    world.wait(lambda: worker.struck, 20, "the worker has frozen over the order")
    rounds(world, order)
    assert world.problems(order) == []
    worker.resume()
    time.sleep(2)
    assert world.problems(order) == [] and len(world.posts(order)) == 1
    assert world.differences() == []


@pytest.mark.scenario("S-05")
def test_workers_that_are_given_the_same_orders_at_once_send_each_once(world: World) -> None:
    workers = [world.start_worker(name=f"racer-{number}") for number in range(2)]
    for worker in workers:
        world.wait_for_worker(worker)
    orders = [world.plan() for _ in range(6)]
    for _ in range(5):
        for order in orders:
            world.send_task("orders.send", order.pk)
    for queue in ("orders", "orders"):
        world.send_task("orders.watch", queue=queue)
    world.wait(lambda: not any(world.problems(order) for order in orders), 20, "all are sent")
    time.sleep(1)
    assert [len(world.posts(order)) for order in orders] == [1] * len(orders)
    assert not TaskAttempt.objects.exists() and not Notification.objects.exists()


def test_an_order_that_kills_its_worker_again_and_again_is_left_alone_and_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, other = world.plan(), world.plan()
    monkeypatch.setenv("FAILPOINTS", "before_send:raise")
    rounds(world, order, other, times=3 * (LIMIT + 2))
    assert (state(order), order.attempt) == ("PLANNED", LIMIT)
    monkeypatch.delenv("FAILPOINTS")
    rounds(world, order, other)
    assert state(order) == "PLANNED" and world.posts(order) == []
    assert Notification.objects.get(key=f"dead:orders.send:{order.pk}").level == "CRITICAL"


def test_an_order_that_fails_does_not_keep_the_others_of_the_round_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = world.plan(), world.plan()
    monkeypatch.setenv("FAILPOINTS", "claimed:raise")
    monkeypatch.setenv("FAILPOINT_ONCE", str(tmp_path / "once"))
    watch_once()
    assert state(first) == "SENDING" and world.problems(second) == []
    rounds(world, first)
    assert world.problems(first) == [] and len(world.posts(first)) == 1


def test_sends_that_end_are_never_counted_against_an_order(world: World) -> None:
    order = world.plan()
    world.fault("status", when="before", times=LIMIT + 2, status=503)
    rounds(world, order, times=3 * (LIMIT + 3))
    assert world.problems(order) == [] and len(world.posts(order)) == LIMIT + 3
    assert not Notification.objects.exists()


def test_only_one_process_looks_for_an_order_at_a_time(world: World) -> None:
    order = world.plan()
    world.fault("drop", when="before")
    send_order(order_id=order.pk)
    world.fault("hang", when="before", route=f"GET /v3/accounts/{world.simulator.account}/orders/@", seconds=1)

    def look() -> None:
        try:
            resolve_unknown(order_id=order.pk)
        finally:
            connections.close_all()

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join()
    asked = [row for row in world.rows("request") if f"orders/@{order.client_order_id}" in row["data"]["path"]]
    assert len(asked) == 1
    assert state(order) == "UNKNOWN" and not TaskAttempt.objects.exists()


@pytest.fixture
def frozen_redis(tmp_path: Path, settings: Any) -> Iterator[None]:
    """Redis accepts connections and answers nothing; `wake` uses it."""
    server = RedisServer(tmp_path / "redis", paths.run_directory() / "frozen-redis", log="frozen-redis")
    server.start()
    assert server.process is not None
    others, before = current_app._get_current_object(), app.conf.broker_url
    app.set_current()
    app.conf.broker_url = broker_url(server.url)
    settings.REDIS_URL = server.url
    try:
        server.process.send_signal(signal.SIGSTOP)
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)
        app.conf.broker_url = before
        others.set_current()
        server.stop()


@pytest.mark.usefixtures("frozen_redis")
def test_a_redis_that_does_not_answer_fails_nobody_and_the_sweep_finds_the_order(world: World) -> None:
    begin = time.monotonic()
    with transaction.atomic():
        order = world.plan()
        wake("orders.send", order.pk)
    assert time.monotonic() - begin < 10, "committed and gone on without Redis"
    assert state(order) == "PLANNED"
    watch_once()
    assert world.problems(order) == []


def test_an_entry_that_was_committed_before_the_desk_started_again_waits_for_the_reconciliation(world: World) -> None:
    order = world.plan()
    put = restrict(
        account=world.account,
        level=Restriction.Level.REDUCE_ONLY,
        source="startup",
        reason="the desk has just started",
        actor=Actor.system("test"),
    )
    watch_once()
    assert state(order) == "PLANNED" and world.posts(order) == []
    lift(restriction=put, actor=Actor.system("test"), reason="reconciled")
    watch_once()
    assert world.problems(order) == []


@pytest.mark.parametrize("point", ["intent_committed", "claimed"])
def test_a_desk_that_died_before_the_send_sends_it_once_after_its_restart(
    make_world: Callable[..., World], point: str
) -> None:
    """The desk's own account: its workers block entries as they start, until a reconciliation is complete."""
    world = make_world(scope="")
    victim = world.start_worker(name="victim", failpoint=f"{point}:stop")
    world.wait_for_worker(victim)
    run_reconciliation(account=world.account, trigger=Run.Trigger.STARTUP)
    order = world.plan()
    world.send_task("orders.send", order.pk)
    world.wait(lambda: victim.struck, 20, "the worker is at the point")
    victim.kill()
    desk = world.start_worker(name="desk", queues="orders,reconciliation")
    world.wait_for_worker(desk)
    assert trading_state(world.account)[0] == "REDUCE_ONLY"
    world.sweeps_in = "orders"
    for _ in range(30):
        world.send_task("reconciliation.tick", queue="reconciliation")
        with suppress(AssertionError):
            world.wait(lambda: not world.problems(order), 2, "it is sent")
            break
        if order.state != "PLANNED":
            world.pass_time(order, LONG)
    assert world.problems(order) == [] and len(world.posts(order)) == 1
    assert trading_state(world.account)[0] == "OPEN" and world.differences() == []


def test_the_doubt_about_an_order_does_not_keep_that_order_from_being_sent_again(world: World) -> None:
    doubted, other = world.plan(), world.plan()
    restrict(
        account=world.account,
        instrument=doubted.instrument,
        level=Restriction.Level.REDUCE_ONLY,
        source="reconciliation",
        reason=f"ORDER_UNCONFIRMED order:{doubted.client_order_id}: no entries until the difference is resolved",
        actor=Actor.system("test"),
    )
    watch_once()
    assert world.problems(doubted) == []
    assert state(other) == "PLANNED", "it waits until the doubt has gone"


def test_an_order_that_waits_to_be_sent_again_ages_on_the_wall_where_the_brokers_clock_runs_fast(world: World) -> None:
    fresh, old = world.plan(), world.plan()
    Order.objects.filter(pk__in=[fresh.pk, old.pk]).update(attempt=1)
    Order.objects.filter(pk=old.pk).update(recorded_at=datetime.now(UTC) - timedelta(minutes=20))
    ahead = world.broker_now() + timedelta(minutes=20)
    store_broker_clock(account=world.account, broker_at=ahead, speed=Decimal(1))
    watch_once()
    assert world.problems(fresh) == []
    assert state(old) == "EXPIRED" and world.posts(old) == []


def test_an_entry_is_not_sent_once_trading_was_stopped(world: World) -> None:
    order = world.plan()
    for source in ("startup", "pause"):
        restrict(
            account=world.account,
            level=Restriction.Level.REDUCE_ONLY,
            source=source,
            reason="stopped",
            actor=Actor.system("test"),
        )
    watch_once()
    assert state(order) == "CANCELLED" and world.posts(order) == []
