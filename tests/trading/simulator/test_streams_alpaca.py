"""Alpaca's websockets: read by the clients that Alpaca publishes, and frame by frame."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
import requests
from alpaca.data.live.stock import StockDataStream
from alpaca.trading.stream import TradingStream
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from .support import Process

ACCOUNT, KEY, SECRET = "SIMALPACA", "SIMKEY", "sim-alpaca-secret"
AUTHENTICATE = {"action": "authenticate", "data": {"key_id": KEY, "secret_key": SECRET}}
AUTH = {"action": "auth", "key": KEY, "secret": SECRET}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("sockets")
    found = Process(directory, "--always-open", "--speed", "0", "--start", "2026-01-05T15:00:00Z")
    yield found
    assert found.stop() == 0


@pytest.fixture
def process(running: Process) -> Process:
    running.control("DELETE", "/faults")
    running.control("POST", f"/accounts/{ACCOUNT}/reset")
    _price(running, "200.00", "200.02")
    return running


def _price(process: Process, bid: str, ask: str, name: str = "AAPL") -> None:
    process.control("POST", "/prices", {"instrument": name, "bid": bid, "ask": ask})


def _order(process: Process, **fields: Any) -> requests.Response:
    body = {"symbol": "AAPL", "qty": "10", "side": "buy", "type": "market", "time_in_force": "day", **fields}
    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    where = f"http://127.0.0.1:{process.taken['alpaca']}/v2/orders"
    return requests.post(where, json=body, headers=headers, timeout=5)


def _address(process: Process, path: str) -> str:
    return f"ws://127.0.0.1:{process.taken['alpaca']}{path}"


@pytest.fixture
def trading(process: Process) -> Iterator[ClientConnection]:
    with connect(_address(process, "/stream"), close_timeout=2) as socket:
        yield socket


def _ask(socket: ClientConnection, message: Any) -> Any:
    socket.send(json.dumps(message))
    return json.loads(socket.recv(5))


def test_both_forms_of_authentication_open_a_binary_stream(process: Process) -> None:
    for message in (AUTHENTICATE, AUTH):
        with connect(_address(process, "/stream"), close_timeout=2) as socket:
            socket.send(json.dumps(message))
            answer = socket.recv(5)
            assert isinstance(answer, bytes), "the paper endpoint sends binary frames"
            data = json.loads(answer)
            assert data == {"stream": "authorization", "data": {"status": "authorized", "action": message["action"]}}
            assert _ask(socket, LISTEN) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}


def test_a_wrong_key_is_told_so_and_hung_up_on(trading: ClientConnection) -> None:
    assert (
        _ask(trading, {"action": "listen", "data": {"streams": ["trade_updates"]}})["data"]["status"] == "unauthorized"
    )
    wrong = {"action": "authenticate", "data": {"key_id": KEY, "secret_key": "wrong"}}
    assert _ask(trading, wrong)["data"]["status"] == "unauthorized"
    with pytest.raises(ConnectionClosed):
        trading.recv(5)


def test_an_account_has_one_connection(process: Process, trading: ClientConnection) -> None:
    assert _ask(trading, AUTHENTICATE)["data"]["status"] == "authorized"
    with connect(_address(process, "/stream"), close_timeout=2) as second:
        refused = _ask(second, AUTHENTICATE)["data"]
        assert (refused["status"], refused["message"]) == ("unauthorized", "connection limit exceeded")
        with pytest.raises(ConnectionClosed):
            second.recv(5)
    assert _ask(trading, LISTEN)["stream"] == "listening", "the first one lives on"
    trading.close()

    def free() -> bool:
        with connect(_address(process, "/stream"), close_timeout=2) as third:
            return bool(_ask(third, AUTHENTICATE)["data"]["status"] == "authorized")

    _wait(free)


def test_what_is_no_message_is_answered_with_an_error(trading: ClientConnection) -> None:
    for text in ("[]", "nonsense", '{"action":"dance"}', '{"action":"listen","data":[]}'):
        trading.send(text)
        assert json.loads(trading.recv(5))["action"] == "error"


def test_an_opened_stream_is_in_the_journal(process: Process, trading: ClientConnection) -> None:
    _ask(trading, AUTHENTICATE)
    row = process.rows("request")[-1]
    assert (row["path"], row["status"], row["outcome"]) == ("/stream", 200, "stream")


def test_an_address_of_a_websocket_is_no_page(process: Process) -> None:
    assert requests.get(f"http://127.0.0.1:{process.taken['alpaca']}/stream", timeout=5).status_code == 426


def test_trade_updates_come_only_while_listening_and_are_not_replayed(
    process: Process, trading: ClientConnection
) -> None:
    _order(process)
    _ask(trading, AUTHENTICATE)
    _ask(trading, LISTEN)
    placed = _order(process, client_order_id="mine").json()
    seen = [json.loads(trading.recv(5))]
    while seen[-1]["data"]["event"] != "fill":
        seen.append(json.loads(trading.recv(5)))
    assert {one["stream"] for one in seen} == {"trade_updates"}
    assert {one["data"]["order"]["client_order_id"] for one in seen} == {"mine"}, "nothing of before"
    fill = seen[-1]["data"]
    assert (fill["order"]["id"], fill["qty"], fill["price"]) == (placed["id"], "10", "200.02")
    assert fill["execution_id"] and fill["position_qty"] == "20" and fill["order"]["status"] == "filled"


class Running:
    """A client of Alpaca's own in a thread, and what its handler got."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.seen = stream, list[Any]()
        self._thread = threading.Thread(target=stream.run, daemon=True)

    async def handle(self, data: Any) -> None:
        self.seen.append(data)

    def start(self) -> None:
        self._thread.start()
        _wait(lambda: self.stream._running)

    def stop(self) -> None:
        """Its own stop waits for a message that may never come: close the connection under it instead."""
        self.stream._should_run = False
        asyncio.run_coroutine_threadsafe(self.stream._ws.close(), self.stream._loop).result(5)
        self._thread.join(5)


def _wait(reached: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_the_real_client_reads_trade_updates(process: Process) -> None:
    client = Running(TradingStream(KEY, SECRET, paper=True, url_override=_address(process, "/stream")))
    client.stream.subscribe_trade_updates(client.handle)
    client.start()
    time.sleep(0.2)
    _order(process, client_order_id="real")
    _wait(lambda: any(str(one.event) == "fill" or getattr(one.event, "value", "") == "fill" for one in client.seen))
    client.stop()
    fill = client.seen[-1]
    assert fill.order.client_order_id == "real" and (fill.qty, fill.price, fill.position_qty) == (10.0, 200.02, 10.0)


def test_the_real_client_reads_quotes_trades_and_minute_bars(process: Process) -> None:
    client = Running(StockDataStream(KEY, SECRET, url_override=_address(process, "/v2/iex")))
    client.stream.subscribe_quotes(client.handle, "AAPL")
    client.stream.subscribe_trades(client.handle, "AAPL")
    client.stream.subscribe_bars(client.handle, "AAPL", "MSFT")
    client.start()
    _price(process, "210.00", "210.02")
    _price(process, "1.00", "1.02", "IBM")
    _wait(lambda: len(client.seen) >= 2)
    process.control("POST", "/clock", {"step": "60"})
    _wait(lambda: any(type(one).__name__ == "Bar" for one in client.seen))
    client.stop()
    by_kind = {type(one).__name__: one for one in client.seen if one.symbol == "AAPL"}
    quote, trade, bar = by_kind["Quote"], by_kind["Trade"], by_kind["Bar"]
    assert (quote.bid_price, quote.ask_price) == (210.0, 210.02) and trade.price == 210.01
    assert (bar.open, bar.high, bar.low, bar.close) == (200.01, 210.01, 200.01, 210.01)
    assert bar.timestamp.isoformat() == "2026-01-05T15:00:00+00:00" and bar.volume > 0


@pytest.fixture
def data(process: Process) -> Iterator[ClientConnection]:
    with connect(_address(process, "/v2/iex"), close_timeout=2) as socket:
        assert json.loads(socket.recv(5)) == [{"T": "success", "msg": "connected"}]
        yield socket


def test_market_data_in_json_and_its_errors(process: Process, data: ClientConnection) -> None:
    assert _ask(data, {"action": "subscribe", "quotes": ["AAPL"]})[0]["code"] == 401
    assert _ask(data, AUTH) == [{"T": "success", "msg": "authenticated"}]
    assert _ask(data, AUTH)[0]["code"] == 403
    assert _ask(data, {"action": "subscribe", "quotes": "AAPL"})[0]["code"] == 400
    assert _ask(data, {"action": "subscribe", "quotes": ["AAPL"], "bars": ["*"]})[0]["quotes"] == ["AAPL"]
    with connect(_address(process, "/v2/iex"), close_timeout=2) as second:
        second.recv(5)
        assert _ask(second, AUTH)[0] == {"T": "error", "code": 406, "msg": "connection limit exceeded"}
    _price(process, "220.00", "220.02")
    [quote] = json.loads(data.recv(5))
    assert (quote["T"], quote["S"], quote["bp"], quote["ap"]) == ("q", "AAPL", 220.0, 220.02)
    assert quote["t"].startswith("2026-01-05T15:0") and quote["t"].endswith("Z")
    assert _ask(data, {"action": "unsubscribe", "quotes": ["AAPL"]})[0]["quotes"] == []


def test_market_data_in_msgpack_and_a_wrong_key(process: Process) -> None:
    headers = {"Content-Type": "application/msgpack"}
    with connect(_address(process, "/v2/iex"), additional_headers=headers, close_timeout=2) as socket:
        assert msgpack.unpackb(socket.recv(5)) == [{"T": "success", "msg": "connected"}]
        socket.send(msgpack.packb({**AUTH, "secret": "wrong"}))
        assert msgpack.unpackb(socket.recv(5)) == [{"T": "error", "code": 402, "msg": "auth failed"}]
        with pytest.raises(ConnectionClosed):
            socket.recv(5)


def test_a_handshake_can_be_refused(process: Process) -> None:
    process.control("POST", "/faults", {"broker": "alpaca", "route": "GET /stream", "action": "rate_limit"})
    with pytest.raises(InvalidStatus) as refused:
        connect(_address(process, "/stream"))
    assert refused.value.response.status_code == 429
    process.control("POST", "/faults", {"broker": "alpaca", "action": "expire_token"})
    with connect(_address(process, "/stream"), close_timeout=2) as socket:
        assert _ask(socket, AUTHENTICATE)["data"]["status"] == "unauthorized"
