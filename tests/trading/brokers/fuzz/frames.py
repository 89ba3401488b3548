"""Messages of the brokers' streams: taped from the simulator, and fed to an adapter's stream without a socket.

What always holds: everything above the line or frame is the product's own; a stream ends after its last message as a
cut one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any

from tests.trading.brokers.fuzz.tapes import Answer, Taped
from trading.brokers import alpaca_stream as alpaca
from trading.brokers import kite_stream as kite
from trading.brokers import oanda_stream as oanda
from trading.brokers.line_stream import LineStream, StreamCut
from trading.brokers.simulator_control import SimulatorControl
from trading.brokers.socket_stream import OpenSocket
from trading.domain.broker import BrokerPrice, Heartbeat, StreamNews

SILENCE = 4.0
# The number by which the ticker knows NSE:INFY.
KITE_TOKEN = 408065


def _taped(name: str, frames: Sequence[bytes]) -> Taped:
    answers = (Answer("STREAM", f"/{name}", 200, (), frame) for frame in frames)
    return Taped(name, {}, tuple(answers))


def tape_oanda(broker: Any, control: SimulatorControl, account: str) -> tuple[Taped, ...]:
    """A price line, a transaction and heartbeats of both streams."""
    heard: list[bytes] = []

    class Listening(LineStream):
        def lines(self) -> Iterator[tuple[int, bytes]]:
            for status, line in super().lines():
                if line:
                    heard.append(line)
                yield status, line

    original, oanda.LineStream = oanda.LineStream, Listening  # type: ignore[misc]
    try:
        with closing(broker.price_stream(["EUR_USD"], silence_seconds=SILENCE)) as stream:
            next(stream)
            control.set_price("EUR_USD", Decimal("1.10100"), Decimal("1.10110"))
            next(stream)
            next(stream)
        prices, heard[:] = list(heard), []
        with closing(broker.event_stream(silence_seconds=SILENCE)) as stream:
            next(stream)
            control.external(account, "trade", instrument="EUR_USD", quantity="10")
            control.external(account, "financing", currency="USD", amount="-1.37")
            for _ in range(3):
                next(stream)
        return _taped("price_stream", prices), _taped("event_stream", heard)
    finally:
        oanda.LineStream = original  # type: ignore[misc]


def tape_sockets(
    broker: Any, instrument: str, move: Callable[[], None], trade: Callable[[], None]
) -> tuple[Taped, ...]:
    """All messages of both websockets, greetings included; `move` makes the price change, `trade` an order."""
    heard: list[bytes] = []
    original = OpenSocket._read

    def listening(self: Any, seconds: float) -> Any:
        said = original(self, seconds)
        heard.append(self._frame.body)
        return said

    OpenSocket._read = listening  # type: ignore[method-assign]
    try:
        with closing(broker.price_stream([instrument], silence_seconds=SILENCE)) as stream:
            next(stream)
            move()
            while not isinstance(next(stream), BrokerPrice):
                pass
        prices, heard[:] = list(heard), []
        with closing(broker.event_stream(silence_seconds=SILENCE)) as stream:
            next(stream)
            trade()
            while not isinstance(next(stream), StreamNews):
                pass
        return _taped("price_stream", prices), _taped("event_stream", heard)
    finally:
        OpenSocket._read = original  # type: ignore[method-assign]


class _Lines:
    """Stands where `LineStream` stands."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._frames = frames

    def lines(self) -> Iterator[tuple[int, bytes]]:
        yield 200, b""
        for frame in self._frames:
            for line in frame.split(b"\n"):
                if line.strip():
                    yield 200, line
        raise StreamCut("the broker ended it")

    def close(self) -> None:
        pass


def oanda_stream(account: str, name: str, frames: Sequence[bytes]) -> Iterator[Any]:
    """OANDA's stream of that name over these lines."""
    lines: Any = _Lines(frames)
    if name == "price_stream":
        return oanda.OandaStream(lines, "the price stream", oanda._price_item, Heartbeat())
    parse = oanda._Transactions(account, lambda: "USD").item
    return oanda.OandaStream(lines, "the transaction stream", parse, Heartbeat())


class _Frames:
    """Stands where the websocket stands."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._frames = iter(frames)

    def send(self, message: str) -> None:
        pass

    def recv(self, timeout: float) -> bytes:
        frame = next(self._frames, None)
        if frame is None:
            raise OSError("the broker ended it")
        return frame


def alpaca_stream(account: str, name: str, frames: Sequence[bytes]) -> Iterator[Any]:
    """Alpaca's stream of that name over these messages."""
    streams = alpaca.AlpacaStreams(
        account_id=account,
        key="fuzz-key",
        secret="fuzz-secret",
        url="http://127.0.0.1:9",
        data_url="http://127.0.0.1:9",
    )
    stream: Any = (
        streams.prices(["AAPL"], silence_seconds=SILENCE)
        if name == "price_stream"
        else streams.updates(silence_seconds=SILENCE)
    )

    return _over(stream, frames)


def kite_stream(account: str, name: str, frames: Sequence[bytes]) -> Iterator[Any]:
    """Kite's stream of that name over these messages."""
    streams = kite.KiteStreams(account_id=account, key="fuzz-key", access_token="fuzz-token", url="ws://127.0.0.1:9")
    if name == "price_stream":
        return _over(streams.prices({KITE_TOKEN: "NSE:INFY"}, silence_seconds=SILENCE), frames)
    return _over(streams.updates(silence_seconds=SILENCE), frames)


def _over(stream: Any, frames: Sequence[bytes]) -> Iterator[Any]:
    """A websocket's stream without the websocket."""

    @contextmanager
    def connected() -> Iterator[Any]:
        yield OpenSocket(_Frames(frames), "the stream", stream._read)

    stream._connected = connected
    return iter(stream)
