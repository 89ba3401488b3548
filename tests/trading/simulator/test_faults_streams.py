"""Faults on open streams: cut, half open, mute, out of order; open when the fault is ordered, or opened later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from .streaming import Listener
from .support import ACCOUNT, Process

STREAM = f"GET /v3/accounts/{ACCOUNT}/transactions/stream"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("faults")
    found = Process(directory, "--always-open", "--speed", "0", "--start", "2026-01-05T14:00:00Z")
    yield found
    assert found.stop() == 0


@pytest.fixture
def process(running: Process) -> Process:
    running.control("DELETE", "/faults")
    running.control("POST", f"/accounts/{ACCOUNT}/reset")
    running.control("POST", "/prices", {"instrument": "EUR_USD", "bid": "1.10000", "ask": "1.10010"})
    return running


def _fault(process: Process, action: str, route: str = STREAM, times: int = 1, **args: Any) -> None:
    body = {"broker": "oanda", "route": route, "action": action, "times": times, "when": "after", "args": args}
    process.control("POST", "/faults", body)


def _open(process: Process) -> Listener:
    listener = Listener(process, "/transactions/stream")
    listener.next("HEARTBEAT")
    return listener


def _left(process: Process) -> list[int]:
    return [fault["left"] for fault in process.control("GET", "/faults")["faults"]]


@pytest.mark.parametrize(("action", "error"), [("drop", IncompleteRead), ("reset", ConnectionResetError)])
@pytest.mark.parametrize("route", [STREAM, "*"])
def test_an_open_stream_is_cut(process: Process, action: str, error: type[Exception], route: str) -> None:
    listener = _open(process)
    _fault(process, action, route)
    assert isinstance(listener.wait_for_end(2), error)
    assert _left(process) == [0], "the fault is used up"
    again = _open(process)
    process.buy()
    again.next("ORDER_FILL")
    again.close()


def test_a_fault_for_requests_spares_the_streams_below_their_path(process: Process) -> None:
    listener = _open(process)
    _fault(process, "drop", f"GET /v3/accounts/{ACCOUNT}/transactions")
    process.buy()
    listener.next("ORDER_FILL")
    assert not listener.over and _left(process) == [1]
    listener.close()


def test_a_line_breaks_off_in_the_middle(process: Process) -> None:
    listener = _open(process)
    _fault(process, "truncate", bytes=20)
    assert isinstance(listener.wait_for_end(2), IncompleteRead)
    assert len(listener.rest) == 20 and listener.rest.startswith(b'{"type":"HEARTBEAT"')


def test_a_stream_that_opens_later_breaks_off_too(process: Process) -> None:
    _fault(process, "truncate")
    listener = Listener(process, "/transactions/stream")
    listener.wait_for_end(2)
    assert listener.rest and not listener.lines


def test_a_half_open_stream_says_nothing_until_it_ends(process: Process) -> None:
    listener = _open(process)
    _fault(process, "hang", seconds=0.6)
    began = time.monotonic()
    process.buy()
    listener.wait_for_end(3)
    assert time.monotonic() - began > 0.5 and not listener.messages()


def test_a_message_drips(process: Process) -> None:
    listener = _open(process)
    _fault(process, "drip", seconds=0.4)
    time.sleep(0.1)
    began = time.monotonic()
    process.buy()
    listener.next("MARKET_ORDER")
    assert time.monotonic() - began > 0.35
    listener.next("ORDER_FILL")
    listener.close()


def test_mute_streams_say_nothing_and_live_on(process: Process) -> None:
    first = _open(process)
    _fault(process, "mute_stream", "*")
    second = Listener(process, "/transactions/stream")
    process.buy()
    time.sleep(0.3)
    assert not first.messages() and not second.lines, "no heartbeat either, on old and new streams"
    process.control("DELETE", "/faults")
    process.buy("2000")
    for listener in (first, second):
        listener.next("ORDER_FILL")
        assert [row["units"] for row in listener.messages("ORDER_FILL")] == ["2000"], "what was said meanwhile is lost"
        listener.close()


def test_messages_come_twice_and_out_of_order(process: Process) -> None:
    listener = _open(process)
    _fault(process, "duplicate", times=2)
    process.buy()
    listener.wait(lambda: len(listener.lines) >= 5)
    assert [row["id"] for row in listener.messages()] == ["3", "3", "4", "4"]
    _fault(process, "reorder")
    process.buy()
    listener.wait(lambda: len(listener.lines) >= 7)
    assert [row["id"] for row in listener.messages()][4:] == ["6", "5"]
    _fault(process, "bad_value", path="units", value="NaN")
    process.buy()
    listener.wait(lambda: len(listener.lines) >= 9)
    assert [row["units"] for row in listener.messages()][6:] == ["NaN", "1000"]
    history = process.ask("GET", "/transactions/sinceid?id=2").json()["transactions"]
    assert [row["id"] for row in history] == ["3", "4", "5", "6", "7", "8"], "history is as it was"
    listener.close()


def test_the_opening_of_a_stream_meets_faults_like_any_request(process: Process) -> None:
    process.control("POST", "/faults", {"route": STREAM, "action": "status", "args": {"status": 503}})
    assert process.ask("GET", "/transactions/stream").status_code == 503
    process.control("POST", "/faults", {"action": "expire_token"})
    assert process.ask("GET", "/transactions/stream").status_code == 401


def test_a_fault_that_a_stream_used_up_stays_used_up(process: Process, tmp_path: Path) -> None:
    own = Process(tmp_path, "--always-open", "--state", str(tmp_path / "state"))
    try:
        listener = _open(own)
        _fault(own, "drop", times=2)
        listener.wait_for_end(2)
        own.kill()
        own.start()
        assert _left(own) == [1]
    finally:
        own.stop()


def test_it_ends_at_once_with_streams_open(tmp_path: Path) -> None:
    own = Process(tmp_path, "--always-open")
    listener = _open(own)
    address = f"ws://127.0.0.1:{own.taken['alpaca']}"
    with connect(f"{address}/stream", close_timeout=1), connect(f"{address}/v2/iex", close_timeout=1):
        began = time.monotonic()
        assert own.stop() == 0 and time.monotonic() - began < 3
    listener.wait_for_end(2)
