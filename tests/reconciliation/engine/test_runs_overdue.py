"""Runs that are due and that nobody makes: noticed by others within a minute, told once, and that it is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from backoffice.schedules import SCHEDULE
from reconciliation import tasks
from reconciliation.engine import overdue
from reconciliation.engine.due import run_if_due
from reconciliation.engine.run import lease_key
from reconciliation.engine.startup import block_entries_until_reconciled
from reconciliation.models import Run
from tests.reconciliation.conftest import Desk
from trading.clock import store_broker_clock, wall_now
from trading.models import AuditEvent, Notification, Restriction
from trading.services import leases

TOLD = ("run-overdue:", "run-resumed:")
LIMIT = timedelta(seconds=300) + overdue.GRACE
Later = Callable[[timedelta], None]


def at(desk: Desk, text: str) -> None:
    """Set the account's clock, standing still."""
    store_broker_clock(account=desk.account, broker_at=datetime.fromisoformat(text), speed=Decimal(0))


@pytest.fixture
def later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Later:
    """A desk that was looked at once and whose next run is due; gives what lets time pass since that look."""
    at(desk, "2026-03-02T10:04:00+00:00")
    assert run_if_due(desk.account) is not None
    at(desk, "2026-03-02T10:05:00+00:00")

    def passed(since_last_look: timedelta) -> None:
        moment = Run.objects.latest("id").recorded_at + since_last_look
        monkeypatch.setattr(overdue, "wall_now", lambda: moment)

    return passed


def told() -> list[str]:
    """What people were told of overdue runs, in order."""
    rows = Notification.objects.order_by("id")
    return [row.text for row in rows if row.key.startswith(TOLD)]


def test_it_is_noticed_within_a_minute_and_told_by_then_where_a_worker_is_left() -> None:
    tick, watch, alerts = (
        timedelta(seconds=SCHEDULE[name]["schedule"])
        for name in ("reconciliations that are due", "reconciliations that nobody runs", "alerts to people")
    )
    assert overdue.GRACE + tick + alerts <= timedelta(seconds=60)
    assert overdue.GRACE + watch <= timedelta(seconds=60)


def test_an_overdue_run_is_told_once_and_so_is_its_return(desk: Desk, later: Later) -> None:
    later(LIMIT - timedelta(seconds=1))
    assert not overdue.watch(desk.account) and told() == []
    later(LIMIT + timedelta(seconds=1))
    for _ in range(3):
        assert overdue.watch(desk.account)
    (text,) = told()
    assert text.startswith("test-oanda has not been compared with its broker since ") and overdue.NOBODY in text
    event = AuditEvent.objects.get(kind="reconciliation.stalled")
    assert event.level == "WARNING" and event.after["last_run"] == Run.objects.latest("id").pk
    assert run_if_due(desk.account) is not None
    for _ in range(2):
        assert not overdue.watch(desk.account)
    again = f"test-oanda is compared with its broker again: run {Run.objects.latest('id').pk} ended COMPLETE."
    assert told()[1:] == [again]
    assert AuditEvent.objects.filter(kind="reconciliation.resumed").count() == 1
    at(desk, "2026-03-02T10:10:00+00:00")
    later(LIMIT + timedelta(seconds=1))
    assert overdue.watch(desk.account) and len(told()) == 3, "another outage is told anew"


@pytest.mark.fault("F-110", broker="every")
def test_a_run_that_hangs_is_noticed_by_the_tick_which_starts_no_second_one(desk: Desk, later: Later) -> None:
    token = leases.acquire(key=lease_key(desk.account), holder="a run that hangs", seconds=60)
    later(LIMIT + timedelta(seconds=1))
    tasks.tick()
    (text,) = told()
    assert overdue.UNDER_WAY in text and Run.objects.count() == 1
    assert token is not None
    leases.release(key=lease_key(desk.account), token=token)
    tasks.tick()
    assert Run.objects.count() == 2
    overdue.watch_runs()
    assert len(told()) == 2


def test_a_worker_that_makes_no_runs_watches_them_too(desk: Desk, later: Later) -> None:
    later(LIMIT + timedelta(seconds=1))
    assert tasks.overdue() == 1 and len(told()) == 1
    assert SCHEDULE["reconciliations that nobody runs"]["options"]["queue"] == "slow"


def test_nothing_is_overdue_while_nothing_is_due(desk: Desk, later: Later) -> None:
    at(desk, "2026-03-02T10:04:59+00:00")
    later(timedelta(days=2))
    assert not overdue.watch(desk.account), "the account's clock stands still, as a market's does over night"


def test_a_desk_that_has_just_started_owes_its_runs_since_then(desk: Desk, later: Later) -> None:
    block_entries_until_reconciled()
    started = Restriction.objects.get(source="startup").recorded_at
    between = started - Run.objects.latest("id").recorded_at
    later(LIMIT + between / 2)
    assert not overdue.watch(desk.account), "the night before is nobody's outage"
    later(LIMIT + between * 2)
    assert overdue.watch(desk.account)


def test_an_account_that_was_never_looked_at_is_owed_a_run_since_it_was_opened(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not overdue.watch(desk.account)
    monkeypatch.setattr(overdue, "wall_now", lambda: wall_now() + LIMIT)
    assert overdue.watch(desk.account) and len(told()) == 1
