"""The same faults at Alpaca: its lists, look-ups, activities and websockets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .support import Process

ACCOUNT, KEY, SECRET = "SIMALPACA", "SIMKEY", "sim-alpaca-secret"
HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("faults")
    found = Process(directory, "--always-open", "--speed", "0", "--start", "2026-01-05T15:00:00Z")
    yield found
    found.stop()


@pytest.fixture
def process(running: Process) -> Process:
    running.control("DELETE", "/faults")
    running.control("POST", f"/accounts/{ACCOUNT}/reset")
    _price(running, "200.00", "200.02")
    return running


def _price(process: Process, bid: str, ask: str) -> None:
    process.control("POST", "/prices", {"instrument": "AAPL", "bid": bid, "ask": ask})


def _fault(process: Process, action: str, route: str = "*", times: int = 1, **args: Any) -> None:
    body = {"broker": "alpaca", "route": route, "action": action, "times": times, "when": "after", "args": args}
    process.control("POST", "/faults", body)


def _ask(process: Process, method: str, path: str, body: Any = None) -> requests.Response:
    where = f"http://127.0.0.1:{process.taken['alpaca']}/v2{path}"
    return requests.request(method, where, json=body, headers=HEADERS, timeout=5)


def _order(process: Process, **fields: Any) -> requests.Response:
    body = {"symbol": "AAPL", "qty": "10", "side": "buy", "type": "market", "time_in_force": "day", **fields}
    return _ask(process, "POST", "/orders", body)


def _activities(process: Process) -> list[str]:
    return [row["id"] for row in _ask(process, "GET", "/account/activities/FILL?direction=asc").json()]


def _wait(reached: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def socket(process: Process) -> Iterator[ClientConnection]:
    address = f"ws://127.0.0.1:{process.taken['alpaca']}/stream"
    with connect(address, close_timeout=1, ping_interval=0.2) as found:
        for message in (
            {"action": "auth", "key": KEY, "secret": SECRET},
            {"action": "listen", "data": {"streams": ["trade_updates"]}},
        ):
            found.send(json.dumps(message))
            found.recv(5)
        yield found


def _next(socket: ClientConnection, seconds: float = 5.0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(socket.recv(seconds))["data"]
    return found


def _until(socket: ClientConnection, event: str) -> list[dict[str, Any]]:
    """The messages up to this event."""
    found = [_next(socket)]
    while found[-1]["event"] != event:
        found.append(_next(socket))
    return found


def test_an_accepted_order_is_hidden(process: Process, socket: ClientConnection) -> None:
    _fault(process, "hide", "POST /v2/orders", seconds=60)
    placed = _order(process, client_order_id="hidden").json()
    assert placed["client_order_id"] == "hidden"
    assert _ask(process, "GET", f"/orders/{placed['id']}").status_code == 404
    assert _ask(process, "GET", "/orders:by_client_order_id?client_order_id=hidden").status_code == 404
    assert _ask(process, "GET", "/orders?status=all").json() == [] and _activities(process) == []
    assert _ask(process, "GET", "/positions/AAPL").json()["qty"] == "10", "the position includes it"
    assert _order(process, client_order_id="hidden").status_code == 422, "and its name is taken"
    with pytest.raises(TimeoutError):
        socket.recv(0.3)
    process.control("DELETE", "/faults")
    assert len(_activities(process)) == 1 and _ask(process, "GET", f"/orders/{placed['id']}").status_code == 200
    assert _until(socket, "fill")[-1]["order"]["id"] == placed["id"], "its messages come late"


def test_the_fill_of_a_stop_inside_the_engine_is_hidden(process: Process, socket: ClientConnection) -> None:
    exits = {"stop_loss": {"stop_price": "190"}, "take_profit": {"limit_price": "220"}}
    _order(process, order_class="bracket", time_in_force="gtc", **exits)
    _fault(process, "hide", what="fill", account=ACCOUNT, tag="STOP_LOSS")
    _price(process, "180.00", "180.02")
    truth = process.control("GET", f"/accounts/{ACCOUNT}")
    assert not truth["positions"] and len(_activities(process)) == 1
    assert _ask(process, "GET", "/positions").json() == []
    seen = _until(socket, "canceled")
    assert [one["event"] for one in seen].count("fill") == 1, "the entry's"
    process.control("DELETE", "/faults")
    assert _until(socket, "fill")[-1]["price"] == "180" and len(_activities(process)) == 2


def test_an_accepted_order_is_rejected_later(process: Process, socket: ClientConnection) -> None:
    _fault(process, "reject_later", "POST /v2/orders", seconds=0.8, reason="not today")
    placed = _order(process).json()
    assert placed["status"] in ("pending_new", "accepted", "new") and _activities(process) == []
    where = f"/orders/{placed['id']}"
    _wait(lambda: _ask(process, "GET", where).json()["status"] == "rejected")
    assert _until(socket, "rejected")[-1]["order"]["failed_at"]
    assert _ask(process, "GET", "/positions").json() == []


def test_pages_of_activities_and_positions(process: Process) -> None:
    _order(process)
    _order(process, qty="5")
    first, second = _activities(process)
    for action, expected in (
        ("duplicate", [first, first, second, second]),
        ("reorder", [second, first]),
        ("stale_page", [first]),
    ):
        _fault(process, action, "GET /v2/account/activities")
        assert _activities(process) == expected
    _order(process, qty="0")
    _fault(process, "stale_page", "GET /v2/positions")
    assert [row["qty"] for row in _ask(process, "GET", "/positions").json()] == ["10"], "a refusal changes nothing"
    _fault(process, "bad_value", "GET /v2/positions", path="*.qty", value="many")
    assert _ask(process, "GET", "/positions").json()[0]["qty"] == "many"
    assert _activities(process) == [first, second]


def test_an_expired_token(process: Process) -> None:
    _fault(process, "expire_token", seconds=0.8)
    answer = _order(process)
    assert answer.status_code == 401 and answer.json()["code"] == 40110000
    _wait(lambda: _ask(process, "GET", "/account").status_code == 200, 2)


def test_a_halt(process: Process) -> None:
    _fault(process, "halt", instrument="AAPL")
    placed = _order(process).json()
    _price(process, "201.00", "201.02")
    assert _ask(process, "GET", f"/orders/{placed['id']}").json()["filled_qty"] == "0"


@pytest.mark.parametrize("action", ["drop", "reset", "truncate"])
def test_an_open_socket_is_cut(process: Process, socket: ClientConnection, action: str) -> None:
    _fault(process, action, "GET /stream")
    with pytest.raises(ConnectionClosed):
        socket.recv(2)
    again = f"ws://127.0.0.1:{process.taken['alpaca']}/stream"
    with connect(again, close_timeout=1) as second:
        second.send(json.dumps({"action": "auth", "key": KEY, "secret": SECRET}))
        assert _next(second)["status"] == "authorized", "the place is free again"


def test_a_mute_socket_still_answers_pings(process: Process, socket: ClientConnection) -> None:
    _fault(process, "mute_stream", seconds=1.2)
    _order(process, client_order_id="unheard")
    assert socket.ping().wait(1)
    with pytest.raises(TimeoutError):
        socket.recv(0.3)
    time.sleep(1.0)
    _order(process, client_order_id="heard")
    assert {one["order"]["client_order_id"] for one in _until(socket, "fill")} == {"heard"}


def test_a_half_open_socket_answers_no_pings(process: Process, socket: ClientConnection) -> None:
    _fault(process, "hang", "GET /stream", seconds=1.0)
    time.sleep(0.1)
    _order(process)
    assert not socket.ping().wait(0.3)
    with pytest.raises(ConnectionClosed):
        socket.recv(2)


def test_messages_drip_come_twice_and_out_of_order(process: Process, socket: ClientConnection) -> None:
    _order(process)
    usual = [one["event"] for one in _until(socket, "fill")]
    _fault(process, "drip", "GET /stream", seconds=0.3)
    time.sleep(0.1)
    began = time.monotonic()
    _order(process)
    assert [one["event"] for one in _until(socket, "fill")] == usual and time.monotonic() - began > 0.25
    _fault(process, "duplicate", "GET /stream")
    _order(process)
    assert [one["event"] for one in _until(socket, "fill")] == [usual[0], *usual]
    _fault(process, "reorder", "GET /stream")
    _order(process)
    assert [_next(socket)["event"] for _ in usual] == [usual[1], usual[0], *usual[2:]]
