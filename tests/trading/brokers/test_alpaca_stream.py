"""Alpaca's websockets against the simulator, and against servers that do what they must not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from tests.servers import Simulator
from tests.trading.brokers.raw_server import answer, serving
from trading.brokers.alpaca_stream import AlpacaStreams, socket_url
from trading.brokers.registry import SIMULATOR_ALPACA_ACCOUNT, SIMULATOR_ALPACA_KEY, SIMULATOR_ALPACA_SECRET
from trading.brokers.simulator_control import SimulatorControl
from trading.domain.broker import BrokerNeedsLogin, BrokerPrice, BrokerUnreachable, Heartbeat, StreamNews

SILENCE = 1.0


def streams_at(url: str, secret: str = SIMULATOR_ALPACA_SECRET) -> AlpacaStreams:
    return AlpacaStreams(
        account_id=SIMULATOR_ALPACA_ACCOUNT, key=SIMULATOR_ALPACA_KEY, secret=secret, url=url, data_url=url
    )


@pytest.fixture
def streams(running: Simulator, control: SimulatorControl) -> AlpacaStreams:
    return streams_at(f"http://127.0.0.1:{running.ports['alpaca']}")


@pytest.fixture
def updates(streams: AlpacaStreams) -> Iterator[Any]:
    """Trade updates that are listened to."""
    with closing(streams.updates(silence_seconds=SILENCE)) as stream:  # type: ignore[type-var]
        assert next(stream) == Heartbeat(), "the first item says that Alpaca listens"
        yield stream


def trade(control: SimulatorControl) -> None:
    control.external(SIMULATOR_ALPACA_ACCOUNT, "trade", instrument="AAPL", quantity="1")


def fault(control: SimulatorControl, action: str, route: str = "GET /stream", **args: Any) -> None:
    control.add_fault(broker="alpaca", route=route, when="after", action=action, times=1, args=args)


def news(stream: Iterator[Any]) -> StreamNews:
    return next(item for item in stream if isinstance(item, StreamNews))


def test_updates_come_raw_and_without_events(updates: Any, control: SimulatorControl) -> None:
    trade(control)
    told = news(updates)
    assert told.events == () and told.raw["stream"] == "trade_updates" and told.raw["data"]["order"]["symbol"] == "AAPL"


def test_words_that_nobody_knows_do_not_break_it(updates: Any, control: SimulatorControl) -> None:
    fault(control, "bad_value", path="data.order.status", value="a_brand_new_status")
    trade(control)
    assert news(updates).raw["data"]["order"]["status"] == "a_brand_new_status"


def test_a_quiet_stream_gives_heartbeats_and_a_half_open_one_ends(updates: Any, control: SimulatorControl) -> None:
    assert next(updates) == Heartbeat()
    fault(control, "hang", seconds=20)
    began = time.monotonic()
    with pytest.raises(BrokerUnreachable, match="silent for 1 s"):
        for _ in range(5):
            next(updates)
    assert time.monotonic() - began < 5 * SILENCE


@pytest.mark.parametrize("action", ["drop", "reset", "truncate"])
def test_a_cut_is_an_error_that_says_so(updates: Any, control: SimulatorControl, action: str) -> None:
    fault(control, action)
    with pytest.raises(BrokerUnreachable, match="has ended"):
        for _ in range(10):
            next(updates)


def test_a_second_listener_is_told_why_it_may_not(updates: Any, streams: AlpacaStreams) -> None:
    with pytest.raises(BrokerUnreachable, match="another program listens") as refused:
        next(streams.updates(silence_seconds=SILENCE))
    assert not isinstance(refused.value, BrokerNeedsLogin)


def test_a_wrong_key_needs_a_person_and_never_shows(streams: AlpacaStreams, running: Simulator) -> None:
    wrong = streams_at(f"http://127.0.0.1:{running.ports['alpaca']}", secret="wrong-secret")
    for stream in (wrong.updates(silence_seconds=SILENCE), wrong.prices(["AAPL"], silence_seconds=SILENCE)):
        with pytest.raises(BrokerNeedsLogin) as refused:
            next(stream)
        assert "wrong-secret" not in str(refused.value) and SIMULATOR_ALPACA_KEY not in str(refused.value)


def test_quotes_are_exact_and_one_without_a_side_is_left_out(streams: AlpacaStreams, control: SimulatorControl) -> None:
    control.set_price("AAPL", Decimal("200.00"), Decimal("200.02"))
    with closing(streams.prices(["AAPL"], silence_seconds=SILENCE)) as stream:  # type: ignore[type-var]
        assert next(stream) == Heartbeat()
        fault(control, "bad_value", "GET /v2/iex", path="bp", value=0)
        control.set_price("AAPL", Decimal("205.00"), Decimal("205.02"))
        time.sleep(0.3)  # one quote a quarter of a second is sent
        control.set_price("AAPL", Decimal("201.10"), Decimal("201.13"))
        quote = next(item for item in stream if isinstance(item, BrokerPrice))
    assert (quote.instrument, quote.bid, quote.ask) == ("AAPL", Decimal("201.1"), Decimal("201.13"))


def test_closing_wakes_a_thread_that_waits(updates: Any) -> None:
    ended: list[str] = []
    thread = threading.Thread(target=lambda: ended.extend(str(item) for item in updates))
    thread.start()
    time.sleep(0.05)
    updates.close()
    thread.join(2)
    assert not thread.is_alive()


def test_a_redirect_is_not_followed() -> None:
    with serving(lambda c, r: c.sendall(answer(101, ""))) as elsewhere:
        location = f"Location: {elsewhere.url}/stream"
        with (
            serving(lambda c, r: c.sendall(answer(307, "", location))) as server,
            pytest.raises(BrokerUnreachable),
        ):
            next(streams_at(server.url).updates(silence_seconds=SILENCE))
        assert elsewhere.requests == []


def test_what_is_no_json_ends_it_before_it_is_believed() -> None:
    with serving(lambda c, r: c.sendall(b"nonsense\r\n\r\n")) as server, pytest.raises(BrokerUnreachable):
        next(streams_at(server.url).updates(silence_seconds=SILENCE))


def test_alpacas_own_hosts() -> None:
    assert socket_url("https://paper-api.alpaca.markets") == "wss://paper-api.alpaca.markets"
    assert socket_url("https://data.alpaca.markets") == "wss://stream.data.alpaca.markets"
    assert socket_url("http://127.0.0.1:9102") == "ws://127.0.0.1:9102"
