"""The ticker: read by the client that Zerodha publishes, and frame by frame."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kiteconnect import KiteTicker
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from trading.simulator.kite.updates import checksum

from ..support import Process
from .support import (
    ACCOUNT,
    FUTURE,
    INFY,
    KEY,
    OPTIONS,
    RELIANCE,
    SECRET,
    TOKEN,
    buy,
    client,
    fresh,
    price,
    ticker_address,
    wait,
)

CLIENT = Path(__file__).with_name("ticker_client.py")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    found = Process(tmp_path_factory.mktemp("ticker"), *OPTIONS)
    yield found
    assert found.stop() == 0, "open connections do not keep it from ending"


@pytest.fixture
def process(running: Process) -> Process:
    fresh(running)
    price(running, "2900.00", "2900.10", "NSE:RELIANCE")
    return running


@contextlib.contextmanager
def _open(process: Process, key: str = KEY, token: str = TOKEN) -> Iterator[ClientConnection]:
    with connect(f"{ticker_address(process)}/?api_key={key}&access_token={token}", close_timeout=2) as socket:
        yield socket


def _say(socket: ClientConnection, action: str, value: Any) -> None:
    socket.send(json.dumps({"a": action, "v": value}))


def _next(socket: ClientConnection, kind: str, seconds: float = 5.0) -> Any:
    """The next message of a kind: "ticks" as the published client reads them, "beat", or a text frame's type."""
    end = time.monotonic() + seconds
    while True:
        data = socket.recv(max(0.01, end - time.monotonic()))
        if isinstance(data, str):
            message = json.loads(data)
            if message["type"] == kind:
                return message
        elif kind == ("beat" if len(data) == 1 else "ticks"):
            return data if kind == "beat" else KiteTicker("key", "token")._parse_binary(data)


def _nothing(socket: ClientConnection, kind: str, seconds: float = 0.6) -> None:
    with pytest.raises(TimeoutError):
        _next(socket, kind, seconds)


class Subprocess:
    """The published client, listening."""

    def __init__(self, process: Process, *instruments: int, token: str = TOKEN) -> None:
        command = [sys.executable, str(CLIENT), ticker_address(process), KEY, token, *map(str, instruments)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.heard: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.heard.append(json.loads(line))

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.heard if one["kind"] == kind]

    def stop(self) -> None:
        self.child.kill()
        self.child.wait(10)
        assert self.child.stdout is not None
        self.child.stdout.close()


def test_the_published_client_hears_ticks_orders_and_heartbeats(process: Process) -> None:
    listener = Subprocess(process, INFY, FUTURE)
    try:
        wait(lambda: listener.all("ticks"), 20)
        first = {tick["instrument_token"]: tick for one in listener.all("ticks") for tick in one["ticks"]}
        assert first[INFY]["last_price"] == 1500.05
        price(process, "1510.00", "1510.10")

        def changed() -> list[dict[str, Any]]:
            ticks = [tick for one in listener.all("ticks") for tick in one["ticks"]]
            return [tick for tick in ticks if tick["last_price"] == 1510.05]

        tick = wait(changed)[-1]
        assert (tick["mode"], tick["tradable"], tick["ohlc"]["high"] >= 1510.05) == ("full", True, True)
        assert (tick["depth"]["buy"][0]["price"], tick["depth"]["sell"][0]["price"]) == (1510.0, 1510.1)
        order = buy(process, tag="heard")
        update = wait(lambda: [one["data"] for one in listener.all("order") if one["data"]["status"] == "COMPLETE"])[0]
        assert (update["order_id"], update["tag"], update["filled_quantity"]) == (order, "heard", 1)
        assert update["checksum"] == checksum(order, update["order_timestamp"], SECRET)
        assert (update["user_id"], update["unfilled_quantity"]) == (ACCOUNT, 0)
        wait(lambda: listener.all("heartbeat"))
        assert not listener.all("error") and not listener.all("close")
    finally:
        listener.stop()


def test_the_published_client_is_refused_with_a_dead_token(process: Process) -> None:
    listener = Subprocess(process, INFY, token="dead")
    try:
        error = wait(lambda: listener.all("error"), 20)[0]
        assert "403" in error["reason"] and not listener.all("connect")
    finally:
        listener.stop()


def test_modes_choose_what_is_sent_and_unsubscribing_ends_it(process: Process) -> None:
    with _open(process) as socket:
        _say(socket, "subscribe", [INFY])
        (tick,) = _next(socket, "ticks")
        assert (tick["mode"], tick["last_price"]) == ("quote", 1500.05), "at once, and in quote mode at first"
        _say(socket, "mode", ["ltp", [INFY, RELIANCE]])
        ticks = _next(socket, "ticks")
        assert [(one["mode"], one["instrument_token"]) for one in ticks] == [("ltp", INFY), ("ltp", RELIANCE)]
        _nothing(socket, "ticks")
        price(process, "1501.00", "1501.10")
        (tick,) = _next(socket, "ticks")
        assert tick == {"tradable": True, "mode": "ltp", "instrument_token": INFY, "last_price": 1501.05}
        _say(socket, "unsubscribe", [INFY, 1])
        price(process, "1502.00", "1502.10")
        _nothing(socket, "ticks")
        price(process, "2950.00", "2950.10", "NSE:RELIANCE")
        assert _next(socket, "ticks")[0]["last_price"] == 2950.05


def test_there_is_a_heartbeat_though_nothing_happens(process: Process) -> None:
    with _open(process) as socket:
        assert _next(socket, "beat") == b"\x00"
        assert _next(socket, "beat", 4) == b"\x00"


@pytest.mark.parametrize(
    "said",
    ["nonsense", "[]", "7", '{"a":"dance","v":[1]}', '{"a":"subscribe","v":"408065"}', '{"a":"subscribe","v":[true]}',
     '{"a":"mode","v":["huge",[408065]]}', '{"a":"mode","v":[408065]}', '{"a":"subscribe"}'],
)  # fmt: skip
def test_what_cannot_be_read_is_answered_with_an_error(process: Process, said: str) -> None:
    with _open(process) as socket:
        socket.send(said)
        assert _next(socket, "error")["data"]
        _say(socket, "subscribe", [INFY, 12345])
        assert [tick["instrument_token"] for tick in _next(socket, "ticks")] == [INFY], "the connection lives on"


def test_every_change_of_an_order_is_told_to_each_connection_of_its_account_only(process: Process) -> None:
    other = process.control("POST", "/accounts", {"broker": "kite", "currency": "INR", "cash": "1000000"})
    key, token = other["credentials"]["api_key"], other["credentials"]["access_token"]
    with _open(process) as first, _open(process) as second, _open(process, key, token) as stranger:
        for socket in (first, second, stranger):
            _next(socket, "beat")
        order = buy(process, 5, order_type="LIMIT", price=1400)
        client(process).cancel_order("regular", order)
        for socket in (first, second):
            told = [_next(socket, "order")["data"] for _ in range(2)]
            assert [(one["order_id"], one["status"]) for one in told] == [(order, "OPEN"), (order, "CANCELLED")]
        _nothing(stranger, "order")


def test_a_wrong_token_and_a_fourth_connection_are_refused_before_they_open(process: Process) -> None:
    for key, token in ((KEY, "wrong"), ("wrong", TOKEN), ("", "")):
        with pytest.raises(InvalidStatus) as refused, _open(process, key, token):
            pass
        assert refused.value.response.status_code == 403
    with _open(process), _open(process), _open(process):
        with pytest.raises(InvalidStatus) as refused, _open(process):
            pass
        assert refused.value.response.status_code == 429

    def free() -> bool:
        with contextlib.suppress(InvalidStatus), _open(process):
            return True
        return False

    wait(free)
    rows = [row for row in process.rows("request") if row["path"].startswith("/ticker")]
    assert {403, 429, 101} <= {row["status"] for row in rows}
    assert not any(TOKEN in row["path"] for row in rows)


def test_a_token_that_dies_ends_an_open_connection(process: Process) -> None:
    with _open(process) as socket:
        _next(socket, "beat")
        process.control("POST", "/faults", {"broker": "kite", "action": "expire_token"})
        assert "Token" in _next(socket, "error")["data"]
        with pytest.raises(ConnectionClosed):
            _next(socket, "ticks")
    with pytest.raises(InvalidStatus) as refused, _open(process):
        pass
    assert refused.value.response.status_code == 403


def test_logging_out_ends_an_open_connection(process: Process) -> None:
    with _open(process) as socket:
        _next(socket, "beat")
        client(process).invalidate_access_token()
        assert "Token" in _next(socket, "error")["data"]
        with pytest.raises(ConnectionClosed):
            _next(socket, "ticks")


def test_what_is_hidden_is_told_late(process: Process) -> None:
    with _open(process) as socket:
        _next(socket, "beat")
        hide = {"broker": "kite", "route": "POST /orders", "action": "hide"}
        process.control("POST", "/faults", hide)
        order = buy(process)
        assert client(process).orders() == []
        _nothing(socket, "order", 0.4)
        process.control("DELETE", "/faults")
        assert [_next(socket, "order")["data"]["order_id"] for _ in range(2)] == [order, order]


def _fault(process: Process, action: str, **args: Any) -> None:
    body = {"broker": "kite", "route": "GET /ticker", "action": action, "args": args}
    process.control("POST", "/faults", body)


def test_a_mute_ticker_says_nothing_and_answers_pings(process: Process) -> None:
    with _open(process) as socket:
        _say(socket, "subscribe", [INFY])
        _next(socket, "ticks")
        _fault(process, "mute_stream")
        price(process, "1600.00", "1600.10")
        buy(process)
        with pytest.raises(TimeoutError):
            socket.recv(1)
        assert socket.ping().wait(5)
        process.control("DELETE", "/faults")
        assert _next(socket, "beat") == b"\x00"
        _nothing(socket, "order")


def test_updates_come_twice_or_out_of_order_or_with_a_wrong_value(process: Process) -> None:
    with _open(process) as socket:
        _next(socket, "beat")
        _fault(process, "duplicate")
        order = buy(process, order_type="LIMIT", price=1400)
        assert [_next(socket, "order")["data"]["status"] for _ in range(2)] == ["OPEN", "OPEN"]
        _fault(process, "reorder")
        client(process).modify_order("regular", order, price=1401)
        told = [_next(socket, "order")["data"]["status"] for _ in range(2)]
        assert told == ["OPEN", "MODIFIED"], "what came first comes after what came next"
        _fault(process, "bad_value", path="data.status", value="A BRAND NEW STATUS")
        buy(process, order_type="LIMIT", price=1402)
        assert _next(socket, "order")["data"]["status"] == "A BRAND NEW STATUS"


@pytest.mark.parametrize("action", ["drop", "reset", "truncate"])
def test_an_open_connection_is_cut(process: Process, action: str) -> None:
    with _open(process) as socket:
        _next(socket, "beat")
        _fault(process, action)
        with pytest.raises((ConnectionClosed, OSError)):
            while True:
                socket.recv(3)
