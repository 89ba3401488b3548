"""A queue that doubles, loses, shuffles, forgets and freezes: PostgreSQL is the record, one order for each decision.

The rows of the fault catalogue: F-072 (each task twice at once), F-073 (taken back while it runs), F-074 (30 % lost),
F-075 (shuffled), F-076 (flushed, restarted empty), F-077 (does not answer), F-078 (killed idle and at work), F-079
(full), F-080 (two beats), F-081 (poison), F-085 (forged).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import current_app

from backoffice.celery import app
from backoffice.desk import children, paths
from backoffice.desk.redis import RedisServer
from backoffice.settings import broker_url
from tests.conftest import CommittedDatabase
from tests.faults.task_layer import TaskLayer
from tests.faults.workers import Worker
from tests.faults.world import START, World, worker_environment
from tests.servers import Simulator
from trading.engine.watcher import watch_once
from trading.models import Notification, Order
from trading.services.attempts import LIMIT
from trading.wake import wake

pytestmark = pytest.mark.faults
RESUMES_SECONDS = 10
LONG = 30


def sent_once(world: World, orders: Sequence[Order], *, seconds: float = RESUMES_SECONDS) -> None:
    """All are at the broker and in the books once, within so many seconds, beside nothing else."""
    world.wait(lambda: not any(world.problems(order) for order in orders), seconds, "all are sent")
    assert [len(world.posts(order)) for order in orders] == [1] * len(orders)
    assert world.differences() == []


def workers(world: World, number: int, **more: Any) -> list[Worker]:
    """So many workers on the queue of orders."""
    started = [Worker(world.directory, world.environment, name=f"worker-{index}", **more) for index in range(number)]
    world.workers += started
    for worker in started:
        world.wait_for_worker(worker)
    return started


def test_tasks_that_come_twice_lost_shuffled_and_flushed_send_each_order_once(world: World, redis_url: str) -> None:
    workers(world, 2)
    orders = [world.plan() for _ in range(10)]
    layer = TaskLayer(world._celery, seed=5, twice=True, drop=0.3, shuffle=True)
    for order in orders[:6]:
        layer.send("orders.send", order.pk)
        layer.send("orders.watch")
    layer.deliver()
    assert layer.lost, "nothing was lost: choose another seed"
    for order in orders[6:]:
        layer.send("orders.send", order.pk)
    layer.deliver()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    world.sweeps_in = "orders"
    sent_once(world, orders, seconds=2 * RESUMES_SECONDS)


def test_messages_that_nobody_of_ours_wrote_do_nothing(world: World, redis_url: str) -> None:
    """No authority lies in the queue: a pickle is not opened, numbers of nothing and of legs send nothing."""
    workers(world, 1)
    order = world.plan()
    leg = Order.objects.get(rides_on=order, tag="STOP")
    trap = world.directory / "opened"
    world._celery.send_task("orders.send", args=[_Trap(trap)], queue="orders", serializer="pickle")
    for argument in (10**12, "1; DROP TABLE trading_order", {"id": order.pk}, None, leg.pk):
        world.send_task("orders.send", argument)
    world.send_task("orders.send", order.pk)
    sent_once(world, [order])
    assert not trap.exists() and world.posts(leg) == []


class _Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def test_a_task_that_is_taken_back_while_it_runs_is_done_once(world: World) -> None:
    """The queue gives a message to another worker after two seconds; the broker answers after two and a half."""
    workers(world, 2, app="tests.faults.impatient")
    orders = [world.plan() for _ in range(2)]
    world.fault("hang", times=len(orders), seconds=2.6)
    for order in orders:
        world.send_task("orders.send", order.pk)
    world.wait(lambda: all(world.posts(order) for order in orders), RESUMES_SECONDS, "both are under way")
    time.sleep(3)
    world.sweeps_in = "orders"
    sent_once(world, orders)


def test_an_order_that_kills_each_of_its_workers_is_put_aside_and_the_next_is_sent(world: World) -> None:
    """The real thing: the pool's process dies, its parent gives the message back, three times."""
    worker = world.start_worker(name="victim", failpoint="before_send:kill")
    world.wait_for_worker(worker)
    order = world.plan()
    for _ in range(LIMIT + 1):
        (world.directory / "victim.struck").unlink(missing_ok=True)
        world.send_task("orders.send", order.pk)
        world.wait(lambda: worker.struck, RESUMES_SECONDS, "it has died") if _ < LIMIT else time.sleep(1)
        for _round in range(4):
            world.pass_time(order, LONG)
            if order.state == "PLANNED":
                break
            watch_without_sending(world, order)
    assert Notification.objects.get(key=f"dead:orders.send:{order.pk}").level == "CRITICAL"
    assert world.posts(order) == []
    worker.kill()
    other = world.plan()
    watch_once()
    sent_once(world, [other])


def watch_without_sending(world: World, order: Order) -> None:
    """What the sweep does with an order in doubt, without the sending, which is the workers'."""
    from trading.engine.resolver import expire_lease, resolve_unknown

    expire_lease(order_id=order.pk)
    resolve_unknown(order_id=order.pk)
    order.refresh_from_db()


@pytest.fixture
def own_redis(tmp_path: Path, settings: Any) -> Iterator[RedisServer]:
    """A Redis that a test may freeze and kill; `wake` uses it."""
    server = RedisServer(tmp_path / "redis", paths.run_directory() / "own-redis", log="own-redis")
    server.start()
    others, before = current_app._get_current_object(), app.conf.broker_url
    app.set_current()
    app.conf.broker_url = broker_url(server.url)
    settings.REDIS_URL = server.url
    try:
        yield server
    finally:
        app.conf.broker_url = before
        others.set_current()
        if server.process is not None:
            server.process.send_signal(signal.SIGCONT)
        server.stop()


@pytest.fixture
def redis_world(
    committed_db: CommittedDatabase,
    own_redis: RedisServer,
    start_simulator: Callable[..., Simulator],
    tmp_path: Path,
) -> Iterator[World]:
    """A desk on that Redis."""
    environment = worker_environment(committed_db.urls.environment(), own_redis.url)
    world = World(start_simulator(*START), own_redis.url, environment, tmp_path)
    try:
        yield world
    finally:
        world.close()


def test_redis_that_freezes_dies_and_comes_back_empty_costs_time_only(
    redis_world: World, own_redis: RedisServer
) -> None:
    world = redis_world
    workers(world, 1)
    orders = [world.plan() for _ in range(4)]
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    wake("orders.send", orders[0].pk)
    assert time.monotonic() - began < 2.5, "whoever wakes a worker is not kept"
    watch_once()  # the sweep of anybody who is alive needs no Redis
    assert world.problems(orders[0]) == []
    for order in orders[1:2]:
        world.fault("hang", seconds=1.5)
        own_redis.process.send_signal(signal.SIGCONT)
        wake("orders.send", order.pk)
        world.wait(lambda sent=order: world.posts(sent), RESUMES_SECONDS, "the worker is at it")
    own_redis.process.kill()  # while that task runs
    own_redis.process.wait()
    shutil.rmtree(own_redis.data)
    own_redis.start()
    back = time.monotonic()
    wake("orders.send", orders[2].pk)
    world.sweeps_in = "orders"
    sent_once(world, orders, seconds=2 * RESUMES_SECONDS)
    assert time.monotonic() - back < RESUMES_SECONDS


def test_a_redis_that_is_full_or_refuses_us_keeps_nobody_and_the_sweep_sends(
    redis_world: World, own_redis: RedisServer
) -> None:
    world = redis_world
    with redis.Redis(unix_socket_path=str(own_redis.socket)) as client:
        for trouble in ("full", "a replica", "another password"):
            order = world.plan()
            if trouble == "full":
                client.config_set("maxmemory", "1")
            elif trouble == "a replica":
                client.config_set("maxmemory", "0")
                client.execute_command("REPLICAOF", "127.0.0.1", "9")
            else:
                client.execute_command("REPLICAOF", "NO", "ONE")
                client.config_set("requirepass", "another")
            began = time.monotonic()
            wake("orders.send", order.pk)
            assert time.monotonic() - began < 5
            order.refresh_from_db()
            assert order.state == "PLANNED", trouble
            [told] = Notification.objects.filter(key__startswith="queue-down:")
            assert told.level == "CRITICAL" and "queue does not take tasks" in told.text
            Notification.objects.all().delete()
            watch_once()
            sent_once(world, [order])
            app.pool.force_close_all()


def test_two_beats_ask_twice_and_each_order_is_sent_once(world: World) -> None:
    """Nobody is woken: only the sweep that both of them ask for finds the orders."""
    workers(world, 1)
    orders = [world.plan() for _ in range(3)]
    beats = []
    try:
        for number in range(2):
            log = os.open(world.directory / f"beat-{number}.log", os.O_WRONLY | os.O_CREAT, 0o600)
            beats.append(
                children.start(
                    [*(sys.executable, "-m", "celery", "--app", "backoffice.celery", "beat"), "--pidfile="],
                    log=log,
                    environment=world.environment,
                    directory=paths.PROJECT,
                )
            )
        sent_once(world, orders, seconds=3 * RESUMES_SECONDS)
        assert all(beat.poll() is None for beat in beats)
    finally:
        for beat in beats:
            children.stop(beat, (signal.SIGTERM, 3.0))
