"""Streams against the real simulator: nothing lost, nothing doubled, everything found, whatever happens on the wire."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import OperationalError

from tests.conftest import CommittedDatabase
from tests.faults.places import ALPACA, OANDA, PLACES, Place
from tests.servers import Simulator
from tests.trading.engine.stream_desk import StreamDesk, wait
from trading.engine import stream_events, stream_listener, streams
from trading.engine.inflow import _only_reader, take
from trading.engine.streams import LOOK_SECONDS, Streams, events_name
from trading.models import Account, BrokerEvent, Fill, Heartbeat, Order
from trading.services import cursors, leases
from trading.services.inbox import INFLOW

FOUND_WITHIN = 10.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulator for all tests; its clock runs as the wall's."""
    process = Simulator.start(tmp_path_factory.mktemp("simulator"), ["--always-open", "--speed", "1"])
    yield process
    process.stop()


@pytest.fixture
def desk(
    committed_db: CommittedDatabase,
    running: Simulator,
    no_credentials: None,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[StreamDesk]:
    """An account whose streams can be listened to, at OANDA unless told; a broken one is opened again soon."""
    monkeypatch.setattr(stream_listener, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.2)
    opened = StreamDesk.open(running, getattr(request, "param", OANDA))
    yield opened
    opened.close()


at_both = pytest.mark.parametrize("desk", PLACES, indirect=True, ids=lambda place: place.name)


def test_what_happens_is_in_the_inbox_at_once_and_without_asking(
    desk: StreamDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_events, "CHECK_SECONDS", 600.0)
    desk.listen()
    wait(lambda: desk.history_reads() >= 3, 5, "read to its end after the connect, and after the first heartbeat")
    reads = desk.history_reads()
    for _ in range(3):
        desk.trade_elsewhere()
        wait(desk.is_current, 2, "the stream tells of a trade made elsewhere")
    assert desk.history_reads() == reads and desk.problems() == []


@at_both
def test_a_target_that_fills_at_the_broker_is_booked_by_the_stream_alone(desk: StreamDesk) -> None:
    desk.listen()
    order = desk.enter()
    desk.reach_target()
    target = Order.objects.get(rides_on=order, tag="TP1")
    wait(lambda: Fill.objects.filter(order=target).exists(), 3, "the target's fill")
    wait(lambda: Order.objects.get(rides_on=order, tag="STOP").state == "CANCELLED", 3, "its sibling is cancelled")
    assert Fill.objects.count() == 2 and desk.problems() == []


FAULTS: list[tuple[Place, str, dict[str, Any]]] = [
    (OANDA, "drop", {}),
    (OANDA, "reset", {}),
    (OANDA, "truncate", {}),
    (OANDA, "drip", {"seconds": 1}),
    (OANDA, "duplicate", {"times": 3}),
    (OANDA, "reorder", {"times": 2}),
    (OANDA, "bad_value", {"path": "units", "value": "NaN"}),
    (OANDA, "bad_value", {"path": "id", "value": "999999"}),
    (ALPACA, "reset", {}),
    (ALPACA, "truncate", {}),
    (ALPACA, "duplicate", {"times": 3}),
    (ALPACA, "reorder", {"times": 2}),
    (ALPACA, "bad_value", {"path": "data.order.status", "value": "a_brand_new_status"}),
]


@pytest.mark.fault("F-041", broker="oanda")
@pytest.mark.fault("F-041", broker="alpaca")
@pytest.mark.parametrize(
    ("desk", "action", "how"), FAULTS, indirect=["desk"], ids=lambda value: getattr(value, "name", None)
)
@pytest.mark.scenario("S-13", "S-14")
def test_no_fill_is_lost_or_doubled_whatever_the_stream_does(
    desk: StreamDesk, action: str, how: dict[str, Any]
) -> None:
    desk.listen()
    order = desk.enter()
    desk.fault(action, **how)
    desk.trade_elsewhere()
    desk.reach_target()
    began = time.monotonic()
    wait(desk.is_current, FOUND_WITHIN, "everything is found")
    assert time.monotonic() - began < FOUND_WITHIN
    wait(lambda: Fill.objects.filter(order__rides_on=order).count() == 1, 2, "the target's fill is booked")
    desk.trade_elsewhere()
    wait(desk.is_current, FOUND_WITHIN, "and the stream goes on")
    assert Fill.objects.count() == 2 and desk.problems() == []


@at_both
@pytest.mark.parametrize("action", ["mute_stream", "hang"])
@pytest.mark.scenario("S-16")
def test_what_a_silent_stream_keeps_back_is_found_and_the_stream_is_opened_again(
    desk: StreamDesk, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_events, "CHECK_SECONDS", 1.0)
    monkeypatch.setattr(stream_events, "SILENCE_SECONDS", 1.5)
    desk.listen()
    desk.fault(action, seconds=4)
    desk.trade_elsewhere()
    wait(desk.is_current, 3, "the history tells it")
    if desk.place is ALPACA and action == "mute_stream":
        return  # its pings are answered all the while: nothing says that the stream is not well
    connects = desk.health()["connects"]
    wait(lambda: desk.health()["errors"] and desk.health()["connects"] > connects, 8, "opened again")
    desk.trade_elsewhere()
    wait(desk.is_current, 3, "and so on")
    assert desk.problems() == []


def test_a_second_process_stands_by_and_takes_over(desk: StreamDesk) -> None:
    desk.listen()
    second = Streams(accounts=lambda: [desk.account], setups=list)
    second.start()
    try:
        wait(lambda: Heartbeat.objects.filter(name="streams", details__streams=[]).exists(), 5, "it has looked")
        assert desk.streams is not None
        desk.streams.stop()
        desk.streams.join()
        assert not leases.held(events_name(desk.account)) or desk.health()["connects"] == 1
        desk.trade_elsewhere()
        wait(desk.is_current, FOUND_WITHIN, "the second one listens now")
    finally:
        second.stop()
        second.join()


def test_new_accounts_are_heard_within_five_seconds_and_inactive_ones_no_more(desk: StreamDesk) -> None:
    assert LOOK_SECONDS <= 2.5, "two looks are enough"
    Account.objects.update(is_active=False)
    desk.streams = Streams()
    desk.streams.start()
    wait(lambda: Heartbeat.objects.filter(name="streams").exists(), 5, "it runs")
    Account.objects.update(is_active=True)
    wait(lambda: desk.health().get("connected"), 5, "the account is heard")
    Account.objects.update(is_active=False)
    wait(lambda: not leases.held(events_name(desk.account)), 5, "and let go")


def test_lost_database_connections_are_opened_again(desk: StreamDesk, committed_db: CommittedDatabase) -> None:
    desk.listen()
    with psycopg.connect(committed_db.superuser_url, autocommit=True) as superuser:
        superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [committed_db.name],
        )
    from django.db import connection

    connection.close()
    desk.trade_elsewhere()
    wait(desk.is_current, FOUND_WITHIN, "everything is found")
    assert desk.problems() == []


def test_a_reader_that_loses_its_connection_keeps_nobody_waiting(
    desk: StreamDesk, committed_db: CommittedDatabase
) -> None:
    """Otherwise all others waited until its lease had run out."""
    from django.db import connection

    with pytest.raises(OperationalError), _only_reader(desk.account, 0.0) as go_on:
        with psycopg.connect(committed_db.superuser_url, autocommit=True) as superuser:
            superuser.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
        go_on()
    with _only_reader(desk.account, 0.0):
        pass


def test_events_are_taken_only_when_they_follow_the_cursor(desk: StreamDesk) -> None:
    from trading.engine.connections import broker_for

    for _ in range(2):
        desk.trade_elsewhere()
    broker = broker_for(desk.account)
    events = broker.events_since("").events
    broker.close()
    assert take(account=desk.account, events=events[:1]) is None, "nothing was read before: the history begins"
    cursors.put(account=desk.account, name=INFLOW, value=events[0].external_id)
    assert take(account=desk.account, events=events[2:]) is None, "one is missing in between"
    assert BrokerEvent.objects.count() == 0
    for _ in range(2):
        received = take(account=desk.account, events=events[:3])
        assert received is not None
    assert BrokerEvent.objects.count() == 2 and cursors.get(desk.account, INFLOW) == events[2].external_id
