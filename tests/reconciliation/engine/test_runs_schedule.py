"""When runs happen: each slot of the schedule once, and soon after something has traded."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import connections

from backoffice.schedules import SCHEDULE
from reconciliation.engine.due import run_if_due
from reconciliation.models import Run
from reconciliation.tasks import tick
from tests.reconciliation.conftest import Desk
from tests.reconciliation.engine.share_desk import ShareDesk
from tests.reconciliation.scenarios.bound import fills, ours
from trading.clock import store_broker_clock
from trading.engine.inflow import catch_up
from trading.models import Fill

BEGIN = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
INTERVAL = timedelta(seconds=300)
WITHIN_SECONDS = 10.0


def at(desk: Desk, moment: datetime) -> None:
    """Set the account's clock, standing still."""
    store_broker_clock(account=desk.account, broker_at=moment, speed=Decimal(0))


def test_a_day_of_ticks_makes_one_periodic_run_in_every_slot_and_no_other(desk: Desk) -> None:
    ran_at = []
    for seconds in range(0, 1200, 100):
        at(desk, BEGIN + timedelta(seconds=seconds))
        if run_if_due(desk.account) is not None:
            ran_at.append(seconds)
    assert ran_at == [0, 300, 600, 900]
    slots = list(Run.objects.order_by("id").values_list("trigger", "scheduled_for"))
    assert slots == [("PERIODIC", BEGIN + number * INTERVAL) for number in range(4)]


def test_two_workers_that_find_the_same_slot_make_one_run_of_it(desk: Desk) -> None:
    at(desk, BEGIN)
    together = threading.Barrier(3)
    said: list[str] = []

    def work() -> None:
        try:
            together.wait()
            result = run_if_due(desk.account)
            said.append(result.status if result is not None else "NOTHING_DUE")
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert said.count("COMPLETE") == 1 and set(said) <= {"COMPLETE", "BUSY", "SKIPPED", "NOTHING_DUE"}, said
    assert Run.objects.count() == 1


def test_a_fill_is_reconciled_within_ten_seconds_and_once(share_desk: ShareDesk) -> None:
    desk = share_desk
    at(desk, desk.broker.now())
    desk.reconcile()
    while run_if_due(desk.account) is not None:
        pass  # everything that was due before
    took = []
    for number in (1, 2):
        order = ours(desk, "10", number=number)
        began = time.process_time()  # what it takes of a processor: the machine may be busy with others' tests
        fills(desk, order, "10")
        catch_up(account=desk.account, broker=desk.broker)
        assert Fill.objects.count() == number
        tick()
        took.append(time.process_time() - began)
        run = Run.objects.latest("id")
        assert (run.trigger, run.status) == ("POST_TRADE", "COMPLETE")
        tick()
        assert Run.objects.latest("id") == run, "once"
    # At worst the fill happens just after a sweep has read the history, and is booked just after a tick: no third wait.
    waits = sum(SCHEDULE[name]["schedule"] for name in ("orders to send and to watch", "reconciliations that are due"))
    assert waits + min(took) <= WITHIN_SECONDS, (waits, took)
