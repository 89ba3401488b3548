"""PostgreSQL that goes away, hangs, or leaves a commit in doubt while an order travels: one order, booked once.

The rows of the fault catalogue: F-086 (restarted immediately), F-087 (cut exactly at a commit), F-090 and F-093 (locks
and statements that take too long).
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from django.db import Error as DatabaseError
from django.db import connection, connections, transaction
from django.db.models import F

from tests.conftest import CommittedDatabase
from tests.faults.proxy import COMMIT, Proxy, Way
from tests.faults.world import World
from tests.servers import DatabaseServer
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.locks import ACCOUNT_CLASS, lock_account
from trading.models import Lease, Order, TaskAttempt

pytestmark = pytest.mark.faults
LONG = 30
# In the order in which a send makes them: the claim, the answer stored, the events and their cursor.
COMMITS = {"claim": 0, "answer": 1, "events": 2}


def heal(world: World, order: Order) -> None:
    """Let the time pass that leases and quarantines take, with a round of the watcher each time."""
    for _ in range(4):
        world.pass_time(order, LONG)
        Lease.objects.update(until=F("until") - timedelta(seconds=LONG))
        watch_once()


@pytest.fixture
def proxy(world: World, committed_db: CommittedDatabase, database_server: DatabaseServer) -> Iterator[Proxy]:
    """Django's way to the world's database, from here on."""
    line = Proxy(database_server.server.sockets / ".s.PGSQL.5432")
    through = replace(committed_db.urls, application=line.url(committed_db.urls.application))
    database_server.point_django_at(through, committed_db.name)
    try:
        yield line
    finally:
        line.close()
        database_server.point_django_at(committed_db.urls, committed_db.name)


@pytest.mark.parametrize("arrives", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("skip", COMMITS.values(), ids=COMMITS.keys())
def test_a_connection_that_is_cut_at_a_commit_costs_no_order_and_doubles_none(
    world: World, proxy: Proxy, skip: int, arrives: bool
) -> None:
    order = world.plan()
    cut = proxy.cut_at(COMMIT, skip=skip, arrives=arrives)
    with suppress(DatabaseError):
        send_order(order_id=order.pk)
    assert cut.is_set(), "nothing was tested"
    connection.close()
    heal(world, order)
    assert world.problems(order) == [] and len(world.posts(order)) == 1
    assert world.differences() == [] and not TaskAttempt.objects.exclude(dead_at=None).exists()


@pytest.mark.parametrize("arrives", [True, False], ids=["committed", "not committed"])
def test_a_decision_whose_commit_is_in_doubt_is_found_again_or_not_made(
    world: World, proxy: Proxy, arrives: bool
) -> None:
    before = Order.objects.count()
    commits = 2  # the paper account and the session come before the decision
    cut = proxy.cut_at(COMMIT, skip=commits, arrives=arrives)
    with pytest.raises(DatabaseError):
        world.plan()
    assert cut.is_set()
    connection.close()
    planned = Order.objects.filter(account=world.account, tag="ENTRY")
    assert planned.count() == (1 if arrives else 0), "all of the decision, or nothing"
    assert (Order.objects.count() > before) is arrives
    watch_once()
    assert [world.problems(order) for order in planned] == [[]] * planned.count()


def test_a_line_that_is_reset_slow_or_silent_in_one_direction_sends_nothing_twice(world: World, proxy: Proxy) -> None:
    order = world.plan()
    proxy.delay(0.01, Way.DOWN)
    send_order(order_id=order.pk)
    assert world.problems(order) == []
    proxy.heal()
    torn = world.plan()
    proxy.reset()
    with pytest.raises(DatabaseError):
        send_order(order_id=torn.pk)
    connection.close()
    send_order(order_id=torn.pk)
    assert world.problems(torn) == [] and len(world.posts(torn)) == 1
    silent = world.plan()
    proxy.hang(Way.DOWN)
    sender = threading.Thread(target=_send, args=(silent.pk,))
    sender.start()
    time.sleep(0.3)
    assert sender.is_alive() and world.posts(silent) == [], "nobody sends what nobody knows to be committed"
    proxy.cut(refuse=True)
    sender.join(5)
    proxy.heal()
    connection.close()
    heal(world, silent)
    assert world.problems(silent) == [] and len(world.posts(silent)) == 1


def _send(order_id: int) -> None:
    try:
        with suppress(DatabaseError):
            send_order(order_id=order_id)
    finally:
        connections.close_all()


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_a_lock_that_somebody_keeps_delays_its_account_alone(
    world: World, committed_db: CommittedDatabase, limit: str
) -> None:
    order = world.plan()
    with connection.cursor() as cursor:
        cursor.execute(f"SET {limit} = '300ms'")
    with psycopg.connect(committed_db.superuser_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s, %s)", [ACCOUNT_CLASS, world.account.pk])
        began = time.monotonic()
        with pytest.raises(DatabaseError):
            send_order(order_id=order.pk)
        watch_once()  # says what is wrong, and goes on
        assert time.monotonic() - began < 5
        order.refresh_from_db()
        assert order.state == "PLANNED" and world.posts(order) == []
        with transaction.atomic():
            lock_account(order.decision.account_id if order.decision is not None else 0)  # another account's is free
    watch_once()
    assert world.problems(order) == [] and len(world.posts(order)) == 1
    connection.close()


def test_postgresql_that_is_restarted_immediately_loses_nothing_and_the_workers_go_on(
    world: World, database_server: DatabaseServer, make_orders: Callable[[int], list[Order]]
) -> None:
    """As `pg_ctl restart -m immediate`: nobody is asked, and it recovers from its log."""
    worker = world.start_worker(name="desk")
    world.wait_for_worker(worker)
    orders = make_orders(4)
    for order in orders[:2]:
        world.send_task("orders.send", order.pk)
    world.wait(lambda: world.posts(orders[0]), 20, "the first is being sent")
    server = database_server.server
    assert server.process is not None
    server.process.send_signal(signal.SIGQUIT)
    server.process.wait(30)
    for order in orders:  # tasks that meet no database at all
        world.send_task("orders.send", order.pk)
    connections.close_all()
    server.start()
    back = time.monotonic()
    for order in orders:
        world.pass_time(order, LONG)
    world.sweeps_in = "orders"

    def done() -> bool:
        for order in orders:
            order.refresh_from_db()
            if order.state in ("SENDING", "UNKNOWN"):
                world.pass_time(order, LONG)
        return not any(world.problems(order) for order in orders)

    world.wait(done, 20, "all are sent")
    assert time.monotonic() - back < 10
    assert [len(world.posts(order)) for order in orders] == [1] * len(orders)
    assert world.differences() == []


@pytest.fixture
def make_orders(world: World) -> Callable[[int], list[Order]]:
    """So many committed, unsent orders."""
    return lambda number: [world.plan() for _ in range(number)]
