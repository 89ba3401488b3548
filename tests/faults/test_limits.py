"""Tasks that take too long, processes that are replaced, queues that are full: each order once, and nothing half done.

The rows of the fault catalogue: F-082 (the limit of time within a request, and within a wait for the database), F-083
(20,000 tasks of little weight), F-084 (a process for each task, forked beside an open connection).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from django.db import transaction

from backoffice import schedules
from backoffice.desk.run import WORKERS
from tests.faults.workers import HARD_SECONDS, Worker
from tests.faults.world import World
from trading.engine.watcher import watch_once
from trading.locks import lock_account
from trading.models import Order

pytestmark = pytest.mark.faults
MANY = 20_000
# What a driver says when two processes have used one connection.
SHARED = ("OperationalError", "InterfaceError", "lost synchronization", "server closed the connection", "DatabaseError")


def worker(world: World, **more: Any) -> Worker:
    """One worker on the queue of orders."""
    started = Worker(world.directory, world.environment, name="limited", **more)
    world.workers.append(started)
    world.wait_for_worker(started)
    return started


def found_again(world: World, orders: Sequence[Order]) -> None:
    """Leases and quarantines pass, the sweep goes round: all are at the broker and in the books once."""
    for _ in range(6):
        for order in orders:
            world.pass_time(order, 30)
        watch_once()
    assert [world.problems(order) for order in orders] == [[]] * len(orders)
    assert [len(world.copies(order)) for order in orders] == [1] * len(orders)
    assert world.differences() == []


def test_tasks_that_are_ended_by_their_limit_leave_nothing_half_done(world: World) -> None:
    limited = worker(world, app="tests.faults.hasty", concurrency=1)
    asking, waiting = world.plan(), world.plan()
    world.fault("hang", seconds=2.6)
    world.send_task("orders.send", asking.pk)
    world.wait(lambda: "SoftTimeLimitExceeded" in limited.log.read_text(), 20, "it was ended within its request")
    with transaction.atomic():
        lock_account(world.account.pk)
        world.send_task("orders.send", waiting.pk)
        time.sleep(HARD_SECONDS + 1)
    found_again(world, [asking, waiting])


def test_processes_that_end_after_each_task_share_no_connection(world: World) -> None:
    recycled = worker(world, app="tests.faults.recycled")
    orders = [world.plan() for _ in range(4)]
    for order in orders:
        world.send_task("orders.send", order.pk)
    world.wait(lambda: not any(world.problems(order) for order in orders), 60, "all are sent")
    assert [len(world.posts(order)) for order in orders] == [1] * len(orders) and world.differences() == []
    log = recycled.log.read_text()
    assert not [word for word in SHARED if word in log], log[-2000:]


def test_a_queue_full_of_other_work_keeps_no_order_waiting(world: World, redis_url: str) -> None:
    worker(world)
    world.send_task("slow.snapshot", queue="slow")
    with redis.Redis.from_url(redis_url) as client:
        [message] = client.lrange("slow", 0, -1)
        with client.pipeline(transaction=False) as pipeline:
            for _ in range(MANY // 1000):
                pipeline.lpush("slow", *[message] * 1000)
            pipeline.execute()
        order = world.plan()
        began = time.monotonic()
        world.send_task("orders.send", order.pk)
        world.wait(lambda: world.posts(order), 10, "it is sent")
        assert time.monotonic() - began < 5
        assert client.llen("slow") > MANY, "nobody of the orders' workers touches them"
    world.wait(lambda: not world.problems(order), 10, "and booked")


def test_what_may_take_long_has_a_process_of_its_own_on_the_desk() -> None:
    groups = [set(queues.split(",")) for queues, _ in WORKERS.values()]
    assert sorted(queue for group in groups for queue in group) == sorted(schedules.QUEUES)
    assert {"slow"} in groups
