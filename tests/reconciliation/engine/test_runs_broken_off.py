"""A run that the broker breaks off with "too many requests": what was read is kept, and the run goes on later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection

from backoffice.verification import INVARIANTS, check
from reconciliation.engine import due as due_module
from reconciliation.engine.due import due, run_if_due
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from reconciliation.selectors.runs import WAIT, goes_on_at
from tests.faults.places import ALPACA, KITE, OANDA, Place
from tests.reconciliation.conftest import Desk
from tests.servers import Simulator
from trading.brokers.counting import counting, one_request, one_too_many
from trading.domain.broker import Broker, BrokerSnapshot
from trading.engine.connections import broker_for
from trading.models import Account, BrokerEvent, Restriction
from trading.services import cursors
from trading.services.inbox import INFLOW
from trading.services.setup import ensure_account

REQUESTS_OF_A_RUN = 30
ENDPOINTS = {"OANDA": "oanda_url", "ALPACA": "alpaca_url", "KITE": "kite_url"}


@dataclass
class Limited:
    """The real adapter; between the history and the state the broker has had too many requests."""

    real: Broker
    simulator: Simulator
    headers: dict[str, str]

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def snapshot(self) -> BrokerSnapshot:
        """Turned away, once the history was read."""
        body = {"broker": self.real.name, "route": "*", "action": "rate_limit", "times": 1000}
        self.simulator.post("/faults", {**body, "args": {"headers": self.headers}})
        return self.real.snapshot()


@pytest.fixture(params=[OANDA, ALPACA, KITE], ids=["oanda", "alpaca", "kite"])
def anywhere(
    request: pytest.FixtureRequest, committed_db: object, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Desk, Place]]:
    """An account of ours at each broker, with its first look behind it."""
    place: Place = request.param
    for name in ("OANDA_API_KEY", "OANDA_URL", "ALPACA_API_KEY", "ALPACA_URL", "KITE_API_KEY", "SIMULATOR_URL"):
        monkeypatch.delenv(name, raising=False)
    account = ensure_account(
        name=f"test-{place.broker.lower()}",
        broker=place.broker,
        environment=Account.Environment.SIMULATOR,
        external_id=place.account,
        currency=place.currency,
        endpoint=getattr(simulator, ENDPOINTS[place.broker]),
    )
    simulator.post("/prices", {"instrument": place.instrument, "bid": str(place.bid), "ask": str(place.ask)})
    desk = Desk(account, simulator, broker_for(account))
    assert desk.reconcile().ok
    yield desk, place
    simulator.delete("/faults")
    desk.broker.close()


def limited(desk: Desk, place: Place, retry_after: str = "1", trigger: str = Run.Trigger.PERIODIC) -> Run:
    """A run during which somebody has traded, and which the broker breaks off after its history."""
    desk.simulator.post(
        f"/accounts/{place.account}/external",
        {"kind": "trade", "instrument": place.instrument, "quantity": "10", "price": str(place.ask)},
    )
    port = Limited(desk.broker, desk.simulator, {"Retry-After": retry_after})
    result = run_reconciliation(account=desk.account, trigger=trigger, broker=port)  # type: ignore[arg-type]
    assert result.status == "INCOMPLETE", result.error
    return Run.objects.get(pk=result.run_id)


def test_what_was_read_is_kept_nothing_is_concluded_and_the_next_run_says_what_it_takes_up(
    anywhere: tuple[Desk, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, place = anywhere
    before, events = cursors.get(desk.account, INFLOW), BrokerEvent.objects.count()
    since = desk.simulator.journal()[-1]["seq"]
    run = limited(desk, place)
    asked = [row for row in desk.simulator.journal(since) if row["kind"] == "request"]
    assert run.requests == len(asked) <= REQUESTS_OF_A_RUN, "counted as the broker counts, and no storm"
    assert (run.cursor_from, run.cursor_to) == (before, cursors.get(desk.account, INFLOW)) and run.cursor_to != before
    assert BrokerEvent.objects.count() > events, "the history's progress is kept"
    assert run.findings == [] and not Discrepancy.objects.exists(), "and nothing is concluded"
    assert run.counts[WAIT] == 1 and "left alone for 1 s" in run.error and run.resumes is None
    desk.simulator.delete("/faults")
    monkeypatch.setattr(due_module, "wall_now", lambda: goes_on_at(run) - timedelta(milliseconds=1))
    assert due(desk.account) is None, "the quiet that was asked for is kept, whatever else is due"
    monkeypatch.setattr(due_module, "wall_now", lambda: goes_on_at(run))
    result = run_if_due(desk.account)
    assert result is not None and result.ok
    again = Run.objects.get(pk=result.run_id)
    assert (again.resumes, again.trigger, again.scheduled_for) == (run, "PERIODIC", None)
    assert again.cursor_from == run.cursor_to, "it goes on where the other was broken off"
    assert Discrepancy.objects.exists(), "now the trade is a difference"
    with connection.cursor() as cursor:
        assert all(check(cursor, each).ok for each in INVARIANTS if each.id in ("I-31", "I-32"))


@pytest.mark.parametrize("anywhere", [OANDA], indirect=True, ids=["oanda"])
def test_a_broker_that_does_not_say_how_long_is_left_alone_for_fifteen_seconds(anywhere: tuple[Desk, Place]) -> None:
    desk, place = anywhere
    run = limited(desk, place, retry_after="a while")
    assert run.counts[WAIT] == 15


@pytest.mark.parametrize("anywhere", [OANDA], indirect=True, ids=["oanda"])
def test_a_start_that_was_broken_off_keeps_entries_blocked_until_it_is_through(
    anywhere: tuple[Desk, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, place = anywhere
    run = limited(desk, place, trigger=Run.Trigger.STARTUP)
    assert Restriction.objects.filter(source="startup", lifted_at=None).count() == 1
    desk.simulator.delete("/faults")
    monkeypatch.setattr(due_module, "wall_now", lambda: goes_on_at(run))
    result = run_if_due(desk.account)
    assert result is not None and result.ok and Run.objects.get(pk=result.run_id).trigger == "STARTUP"


def test_only_what_leaves_inside_the_block_is_counted() -> None:
    one_request()
    with counting() as wire:
        one_request()
        one_request()
        assert not wire.too_many
        one_too_many()
        one_too_many(3.0)
        one_too_many(2.0)
    one_request()
    assert (wire.requests, wire.too_many, wire.retry_after) == (2, True, 3.0)
