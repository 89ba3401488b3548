"""The trouble of one account, case or attempt stays its own: the others are watched, applied and run all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection, connections, transaction

from reconciliation import tasks
from reconciliation.engine import applications, overdue, stops
from reconciliation.engine import run as run_module
from reconciliation.engine.due import run_if_due
from reconciliation.engine.run import lease_key, run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.reconciliation.conftest import EURUSD, Desk, People
from trading.brokers.registry import BadConnection
from trading.clock import store_broker_clock
from trading.domain.broker import BrokerUnreachable
from trading.locks import lock_account
from trading.models import Account, Notification
from trading.services import leases
from trading.services.setup import ensure_account

BEGIN = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.fixture
def troubled(desk: Desk) -> Account:
    """An account that comes before the desk's in every round, at an address where nobody answers."""
    other = ensure_account(
        name="troubled",
        broker=Account.Broker.OANDA,
        environment=Account.Environment.SIMULATOR,
        external_id="troubled",
        currency="USD",
        endpoint="http://127.0.0.1:9",
    )
    store_broker_clock(account=desk.account, broker_at=BEGIN, speed=Decimal(0))
    return other


def breaks_for(account: Account, monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
    """What the module does under that name ends in an error nobody expected, for this account."""
    real = getattr(module, name)

    def broken(of: Account, *args: object, **more: object) -> object:
        if of.pk == account.pk:
            raise RuntimeError("nobody expected this")
        return real(of, *args, **more)

    monkeypatch.setattr(module, name, broken)


@pytest.mark.parametrize(
    ("module", "name"), [(overdue, "watch"), (tasks, "sweep"), (tasks, "due")], ids=["watch", "sweep", "due"]
)
def test_an_error_about_one_account_stops_no_other(
    desk: Desk, troubled: Account, monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    run_reconciliation(account=troubled, trigger=Run.Trigger.MANUAL)
    breaks_for(troubled, monkeypatch, module, name)
    seen: list[int] = []
    monkeypatch.setattr(tasks, "wake", lambda task, pk: seen.append(pk))
    monkeypatch.setattr(tasks, "run_if_due", lambda account: seen.append(account.pk))
    tasks.tick()
    assert desk.account.pk in seen


def test_a_tick_that_takes_too_long_ends(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_long(account: Account) -> int:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(tasks, "sweep", too_long)
    with pytest.raises(SoftTimeLimitExceeded):
        tasks.tick()


def approved(desk: Desk, people: People) -> Discrepancy:
    """A case with a resolution that two people want."""
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.reconcile()
    desk.reconcile()
    case = desk.case(state="OPEN")
    desk.approve(desk.propose(case, "book_fills", people.ada), people.bob)
    return case


def test_a_resolution_that_always_ends_in_an_error_is_given_up_after_three_attempts_and_told(
    desk: Desk, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved(desk, people)
    tried: list[int] = []

    def broken(*, proposal_id: int, actor: object) -> object:
        tried.append(proposal_id)
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(applications, "apply", broken)
    for _ in range(5):
        assert applications.sweep(desk.account) == 0
    assert len(tried) == 3
    assert Notification.objects.filter(key__startswith="dead:reconciliation.apply:", level="CRITICAL").exists()


def test_a_connection_that_contradicts_itself_keeps_stops_waiting_and_stops_nothing_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contradicts(account: Account) -> object:
        raise BadConnection("OANDA_ENV is both")

    monkeypatch.setattr(stops, "connected", contradicts)
    monkeypatch.setattr(stops, "_was_asked", lambda *args: False)
    monkeypatch.setattr(stops.json, "loads", lambda text: {"stops": [{"do": next(iter(stops.PURPOSE))}]})
    monkeypatch.setattr(stops.Application.objects, "filter", lambda **wanted: _One())
    assert stops.ask_for(desk.account) == 0


class _One:
    """One application, of which only the payload is asked."""

    class proposal:
        payload = ""

    def select_related(self, *names: str) -> _One:
        return self

    def order_by(self, *names: str) -> list[_One]:
        return [self]


def test_a_run_that_lost_its_lease_stores_no_failure(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(*args: object) -> object:
        key = lease_key(desk.account)
        with connection.cursor() as cursor:  # it has run out meanwhile
            cursor.execute("UPDATE trading_lease SET until = clock_timestamp() - interval '1s' WHERE key = %s", [key])
        assert leases.acquire(key=key, holder="another run", seconds=60) is not None
        raise BrokerUnreachable("no answer")

    monkeypatch.setattr(run_module, "_read_with_patience", overtaken)
    assert desk.reconcile().status == "BUSY"
    assert not Run.objects.exists()


def test_a_run_that_takes_longer_than_a_task_may_is_stored_as_failed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*args: object) -> object:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(run_module, "_read_with_patience", too_long)
    result = desk.reconcile()
    assert result.status == "FAILED"
    assert "longer than" in Run.objects.get().error


@pytest.mark.parametrize("tries", [2, 3, 7, 10])
def test_however_many_tries_the_policy_allows_a_run_fails_within_the_time_of_a_task(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    def unreachable(*args: object) -> object:
        asked.append(1)
        raise BrokerUnreachable("no answer")

    asked: list[int] = []
    slept: list[float] = []
    monkeypatch.setattr(run_module, "_read", unreachable)
    monkeypatch.setattr(run_module.time, "sleep", slept.append)
    policy = run_module.reconciliation_policy(desk.account)
    patient = type(policy)(**{**{n: getattr(policy, n) for n in policy.__slots__}, "max_retries": tries})
    monkeypatch.setattr(run_module, "reconciliation_policy", lambda account: patient)
    assert desk.reconcile("PERIODIC").status == "FAILED"
    assert len(asked) == tries and sum(slept) <= 40
    assert slept[:2] == [2.0, 4.0][: tries - 1], "the first waits stay what they were"


@contextmanager
def held_elsewhere(account: Account) -> Iterator[None]:
    """Another connection holds the account's lock, as a transaction that hangs does."""
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                lock_account(account.pk)
                held.set()
                let_go.wait(20)
        finally:
            connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(10)
        yield
    finally:
        let_go.set()
        holder.join()


def test_a_hanging_run_that_holds_its_account_does_not_keep_the_watch_from_telling(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_broker_clock(account=desk.account, broker_at=BEGIN, speed=Decimal(0))
    assert run_if_due(desk.account) is not None
    store_broker_clock(account=desk.account, broker_at=BEGIN + timedelta(minutes=5), speed=Decimal(0))
    moment = Run.objects.get().recorded_at + timedelta(minutes=5, seconds=41)
    monkeypatch.setattr(overdue, "wall_now", lambda: moment)
    with held_elsewhere(desk.account), connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'")
        try:
            assert overdue.watch_runs() == 1
        finally:
            cursor.execute("RESET lock_timeout")
    assert Notification.objects.filter(key__startswith="run-overdue:").count() == 1
