"""OANDA's streams on the wire: lines at once, cuts, silence, dripping, half-open connections, broken messages."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.trading.brokers.oanda_wire import ACCOUNT, SUMMARY, TIME, TOKEN, broker_at, filling, market, routes
from tests.trading.brokers.raw_server import RawServer, Request, answer, serving
from trading.brokers.oanda import OandaBroker
from trading.brokers.oanda_events import event
from trading.brokers.oanda_stream import stream_url
from trading.domain.broker import BrokerNeedsLogin, BrokerPrice, BrokerUnreachable, Heartbeat, StreamNews

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SILENCE = 0.4
Script = Callable[[socket.socket], None]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def line(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def price_line(bid: str = "1.10000", ask: str = "1.10010", **more: Any) -> bytes:
    depth = {"bids": [{"price": bid, "liquidity": 1}], "asks": [{"price": ask, "liquidity": 1}]}
    return line(**{"type": "PRICE", "time": TIME, "instrument": "EUR_USD", "tradeable": True, **depth, **more})


def heartbeat(**more: Any) -> bytes:
    return line(type="HEARTBEAT", time=TIME, **more)


def streaming(*pieces: bytes, then: Script = lambda connection: connection.close()) -> Callable[..., None]:
    """Answers a stream with these pieces, a chunk each, and then does something to the connection."""
    rest = routes({"GET /summary": SUMMARY})

    def behave(connection: socket.socket, request: Request) -> None:
        if not request.path.partition("?")[0].endswith("/stream"):
            rest(connection, request)
            return
        connection.sendall(HEAD)
        for piece in pieces:
            connection.sendall(chunk(piece))
        then(connection)

    return behave


def quiet(connection: socket.socket) -> None:
    """Half open: nothing more ever comes."""
    with suppress(OSError):
        connection.settimeout(20)
        connection.recv(1)


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[OandaBroker, RawServer]]]:
    opened = []

    def start(behaviour: Callable[..., None]) -> tuple[OandaBroker, RawServer]:
        context = serving(behaviour)
        opened.append((context, broker_at((server := context.__enter__()).url)))
        return opened[-1][1], server

    yield start
    for context, broker in opened:
        broker.close()
        context.__exit__(None, None, None)


def test_prices_and_heartbeats_come_as_they_are_sent(serve: Any) -> None:
    broker, server = serve(streaming(price_line(), heartbeat(), line(type="NEWS", text="?"), price_line(bid="1.0999")))
    stream = broker.price_stream(["EUR_USD", "XAU_USD"], silence_seconds=SILENCE)
    assert next(stream) == Heartbeat(), "the first item says that OANDA listens"
    at = datetime(2026, 1, 5, 10, 0, 0, 123456, tzinfo=UTC)
    assert next(stream) == BrokerPrice("EUR_USD", Decimal("1.10000"), Decimal("1.10010"), at, True)
    assert next(stream) == Heartbeat(at)
    assert next(stream).bid == Decimal("1.0999")
    with pytest.raises(BrokerUnreachable, match="ended"):
        next(stream)
    (request,) = server.requests
    assert request.path == f"/v3/accounts/{ACCOUNT}/pricing/stream?instruments=EUR_USD%2CXAU_USD"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_each_line_is_told_at_once_however_it_is_cut_into_pieces(serve: Any) -> None:
    told = threading.Event()
    data = price_line() + heartbeat()

    def dribble(connection: socket.socket) -> None:
        for start in range(0, len(data), 7):
            connection.sendall(chunk(data[start : start + 7]))
        assert told.wait(10), "both lines were told before the next byte came"
        connection.sendall(chunk(price_line(bid="1.05")))
        quiet(connection)

    broker, _ = serve(streaming(then=dribble))
    stream = broker.price_stream(["EUR_USD"], silence_seconds=5)
    assert [type(next(stream)) for _ in range(3)] == [Heartbeat, BrokerPrice, Heartbeat]
    told.set()
    assert next(stream).bid == Decimal("1.05")
    stream.close()


def drip(connection: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection.sendall(chunk(b" "))
            time.sleep(0.02)


@pytest.mark.parametrize("then", [quiet, drip])
def test_silence_ends_it_also_while_bytes_drip(serve: Any, then: Script) -> None:
    broker, _ = serve(streaming(heartbeat(), then=then))
    stream = broker.price_stream(["EUR_USD"], silence_seconds=SILENCE)
    next(stream), next(stream)
    began = time.monotonic()
    with pytest.raises(BrokerUnreachable, match="silent for 0.4 s"):
        next(stream)
    assert time.monotonic() - began < 3 * SILENCE


def test_a_broker_that_accepts_and_never_answers_is_given_up(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trading.brokers.line_stream.OPEN_SECONDS", 0.3)
    broker, _ = serve(lambda connection, request: quiet(connection))
    with pytest.raises(BrokerUnreachable):
        next(broker.event_stream(silence_seconds=20))


def test_half_a_line_at_the_cut_is_dropped(serve: Any) -> None:
    broker, _ = serve(streaming(price_line(), price_line()[:-9]))
    stream = broker.price_stream(["EUR_USD"], silence_seconds=SILENCE)
    assert len([next(stream), next(stream)]) == 2
    with pytest.raises(BrokerUnreachable):
        next(stream)


@pytest.mark.parametrize("broken", [b"{broken\n", b"[]\n", b'{"type": NaN}\n', b"\xff\n"])
def test_what_is_no_json_ends_it(serve: Any, broken: bytes) -> None:
    broker, _ = serve(streaming(broken, price_line()))
    stream = broker.price_stream(["EUR_USD"], silence_seconds=SILENCE)
    next(stream)
    with pytest.raises(BrokerUnreachable, match="ended"):
        next(stream)


def test_a_price_without_sense_is_left_out(serve: Any) -> None:
    broker, _ = serve(streaming(price_line(bid="2"), price_line(bid="NaN"), price_line()))
    stream = broker.price_stream(["EUR_USD"], silence_seconds=SILENCE)
    assert [type(next(stream)), next(stream).bid] == [Heartbeat, Decimal("1.10000")]


@pytest.mark.parametrize(
    ("status", "error"), [(401, BrokerNeedsLogin), (403, BrokerNeedsLogin), (503, BrokerUnreachable)]
)
def test_a_refusal_says_what_to_do_and_never_the_key(serve: Any, status: int, error: type[Exception]) -> None:
    broker, server = serve(lambda connection, request: connection.sendall(answer(status, {"errorMessage": TOKEN})))
    with pytest.raises(error) as raised:
        next(broker.event_stream(silence_seconds=SILENCE))
    assert TOKEN not in str(raised.value) and server.methods() == ["GET"]


def test_a_redirect_is_not_followed(serve: Any) -> None:
    elsewhere = RawServer(streaming(heartbeat()))
    try:
        location = f"Location: {elsewhere.url}/v3"
        broker, _ = serve(lambda connection, request: connection.sendall(answer(307, "", location)))
        with pytest.raises(BrokerUnreachable, match="307"):
            next(broker.event_stream(silence_seconds=SILENCE))
        assert elsewhere.requests == []
    finally:
        elsewhere.stop()


def test_transactions_come_out_as_the_events_that_the_history_gives(serve: Any) -> None:
    strange = {**market(12), "type": "SOMETHING_NEW"}
    messages = [market(10), filling(11), strange]
    broker, _ = serve(streaming(*(line(**message) for message in messages), line(**{**market(13), "accountID": "1"})))
    stream = broker.event_stream(silence_seconds=SILENCE)
    assert next(stream) == Heartbeat()
    for message in messages:
        assert next(stream) == StreamNews(message, (event(message, "USD"),))
    with pytest.raises(BrokerUnreachable):
        next(stream)


def test_what_cannot_be_read_or_was_not_told_means_ask_the_history(serve: Any) -> None:
    unreadable = {key: value for key, value in filling(11).items() if key != "price"}
    told = [heartbeat(lastTransactionID="10"), line(**unreadable), heartbeat(lastTransactionID="11")]
    broker, _ = serve(streaming(*told, heartbeat(lastTransactionID="12")))
    stream = broker.event_stream(silence_seconds=SILENCE)
    items = [next(stream) for _ in range(5)]
    assert [isinstance(item, StreamNews) for item in items] == [False, True, True, False, True]
    assert not any(item.events for item in items if isinstance(item, StreamNews))


def test_closing_wakes_a_thread_that_waits_and_leaves_no_connection(serve: Any) -> None:
    gone = threading.Event()

    def until_closed(connection: socket.socket) -> None:
        quiet(connection)
        gone.set()

    broker, _ = serve(streaming(heartbeat(), then=until_closed))
    stream = broker.price_stream(["EUR_USD"], silence_seconds=30)
    next(stream), next(stream)
    ended: list[str] = []
    thread = threading.Thread(target=lambda: ended.append(str(next(stream, "over"))))
    thread.start()
    time.sleep(0.05)
    stream.close()
    thread.join(2)
    assert ended == ["over"] and gone.wait(2)
    assert next(stream, "over") == "over"


def test_oandas_own_hosts_stream_from_hosts_of_their_own() -> None:
    assert stream_url("https://api-fxpractice.oanda.com") == "https://stream-fxpractice.oanda.com"
    assert stream_url("https://api-fxtrade.oanda.com") == "https://stream-fxtrade.oanda.com"
    assert stream_url("http://127.0.0.1:9101/x") == "http://127.0.0.1:9101/x"
