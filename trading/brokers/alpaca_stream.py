"""Alpaca's two websockets, trade updates and quotes, as the port's items.

What always holds:
- no proxy, no redirect, no second connection by itself: who listens decides when to connect again;
- the first item comes when Alpaca has said that it sends what we asked for;
- silence is broken by a ping of ours: a pong counts as a heartbeat, no pong within `silence_seconds` ends the stream;
- a trade update is told raw and without events: the id of its execution's activity is not in it, so the history has
  to be asked; words that are not known here never break the stream, what is no JSON ends it.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from trading.brokers import alpaca_parse
from trading.brokers.errors import BadData
from trading.brokers.fields import text
from trading.brokers.transport import read_document, storable
from trading.brokers.wire import CONNECT_SECONDS, Exchange
from trading.domain.broker import BrokerNeedsLogin, BrokerPrice, BrokerUnreachable, Heartbeat, StreamNews

logger = logging.getLogger(__name__)

OPEN_SECONDS = 5.0
LARGEST_FRAME = 1024 * 1024
UPDATES, FEED = "trade_updates", "iex"
# Alpaca's market data is streamed from a host of its own; everywhere else the streams are where the rest is.
STREAM_HOSTS = {"data.alpaca.markets": "stream.data.alpaca.markets"}
TOO_MANY_CONNECTIONS = 406
Item = TypeVar("Item")


class AlpacaStream(Generic[Item]):
    """An iterator of what one websocket says. `close` closes the connection, from any thread."""

    def __init__(
        self,
        *,
        name: str,
        url: str,
        secrets: tuple[str, ...],
        silence_seconds: float,
        greet: Callable[[_Socket], None],
        parse: Callable[[Any], Sequence[Item]],
        heartbeat: Item,
    ) -> None:
        self._name, self._url, self._secrets, self._silence = name, url, secrets, silence_seconds
        self._greet, self._parse, self._heartbeat = greet, parse, heartbeat
        self._guard: socket.socket | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._items = self._run()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        return next(self._items)

    def close(self) -> None:
        """End it; a thread that waits for an item gets `StopIteration`."""
        with self._lock:
            self._closed = True
            if self._guard is not None:
                with suppress(OSError):
                    self._guard.shutdown(socket.SHUT_RDWR)
        with suppress(ValueError):  # another thread waits inside: it has just been woken, and cleans up itself
            self._items.close()

    def _run(self) -> Generator[Item, None, None]:
        from websockets.exceptions import WebSocketException

        try:
            with self._connected() as connected:
                self._greet(connected)
                yield self._heartbeat
                while True:
                    said = connected.next(self._silence)
                    if said is None:
                        yield self._heartbeat
                    else:
                        yield from self._parse(said)
        except (OSError, WebSocketException, ValueError) as error:  # BadData is a ValueError
            if not self._closed:
                raise BrokerUnreachable(
                    f"{self._name} has ended: {self._said(error)}. It says nothing about positions or money."
                ) from error

    @contextmanager
    def _connected(self) -> Iterator[_Socket]:
        from websockets.sync.client import connect

        parts = urlsplit(self._url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)
        raw = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
        with self._lock:
            # A second handle: the first one is taken over, this one wakes whoever waits on it.
            self._guard = raw.dup()
            if self._closed:
                raw.close()
                raise OSError("it was closed before it was open")
        try:
            # With a socket of ours no redirect can be followed.
            with connect(
                self._url,
                sock=raw,
                proxy=None,
                compression=None,
                open_timeout=OPEN_SECONDS,
                ping_interval=None,
                close_timeout=0.5,
                max_size=LARGEST_FRAME,
            ) as connection:
                yield _Socket(connection, self._name)
        finally:
            raw.close()
            with self._lock:
                self._guard.close()
                self._guard = None

    def _said(self, error: Exception) -> str:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        for secret in self._secrets:
            said = said.replace(secret, "[secret]")
        return said


class _Socket:
    """An open websocket: JSON in, JSON out."""

    def __init__(self, connection: Any, name: str) -> None:
        self._connection, self.name = connection, name
        self._frame = Exchange("GET", name, "", 0.0, status=200)

    def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        self._connection.send(json.dumps(message))

    def reply(self) -> Any:
        """The next message, which must come soon."""
        return self._read(OPEN_SECONDS)

    def next(self, silence_seconds: float) -> Any | None:
        """The next message; None when there was none, but a pong. Raises TimeoutError without either."""
        with suppress(TimeoutError):
            return self._read(silence_seconds / 2)
        pong = self._connection.ping()
        if not pong.wait(silence_seconds / 2):
            raise TimeoutError(f"it was silent for {silence_seconds:g} s")
        return None

    def _read(self, seconds: float) -> Any:
        data = self._connection.recv(timeout=seconds)
        self._frame.body = data.encode() if isinstance(data, str) else data
        return read_document(self._frame)


class AlpacaStreams:
    """Opens the websockets of one account. `url` and `data_url` are the roots of the APIs without /v2."""

    def __init__(self, *, account_id: str, key: str, secret: str, url: str, data_url: str) -> None:
        self._account_id, self._key, self._secret = account_id, key, secret
        self._url, self._data_url = url.rstrip("/"), data_url.rstrip("/")

    def updates(self, *, silence_seconds: float) -> Iterator[StreamNews | Heartbeat]:
        """See `Broker.event_stream`: each update of an order, without events."""
        name = f"Alpaca's trade updates of account {self._account_id}"
        return AlpacaStream(
            name=name,
            url=f"{socket_url(self._url)}/stream",
            secrets=(self._secret, self._key),
            silence_seconds=silence_seconds,
            greet=self._listen,
            parse=_updates,
            heartbeat=Heartbeat(),
        )

    def prices(self, instruments: Sequence[str], *, silence_seconds: float) -> Iterator[BrokerPrice | Heartbeat]:
        """See `Broker.price_stream`: the best quotes of the feed that every account may read."""
        wanted = list(instruments)

        def greet(connected: _Socket) -> None:
            self._subscribe(connected, wanted)

        return AlpacaStream(
            name=f"Alpaca's price stream of account {self._account_id}",
            url=f"{socket_url(self._data_url)}/v2/{FEED}",
            secrets=(self._secret, self._key),
            silence_seconds=silence_seconds,
            greet=greet,
            parse=_prices,
            heartbeat=Heartbeat(),
        )

    def _listen(self, connected: _Socket) -> None:
        connected.say({"action": "authenticate", "data": {"key_id": self._key, "secret_key": self._secret}})
        told = _member(connected.reply(), "data")
        if told.get("status") != "authorized":
            raise _refused(connected.name, str(told.get("message", "")))
        connected.say({"action": "listen", "data": {"streams": [UPDATES]}})
        if UPDATES not in (_member(connected.reply(), "data").get("streams") or []):
            raise BadData("it does not send the updates that were asked for")

    def _subscribe(self, connected: _Socket, wanted: list[str]) -> None:
        _rows(connected.reply())  # that it is connected
        connected.say({"action": "auth", "key": self._key, "secret": self._secret})
        _check(connected.name, _rows(connected.reply()))
        connected.say({"action": "subscribe", "quotes": wanted})
        _check(connected.name, _rows(connected.reply()))


def socket_url(url: str) -> str:
    """Where the websockets of an API are."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    found = url.replace(host, STREAM_HOSTS[host], 1) if host in STREAM_HOSTS else url
    return "ws" + found.removeprefix("http")


def _updates(said: Any) -> list[StreamNews | Heartbeat]:
    if not isinstance(said, dict) or said.get("stream") != UPDATES:
        return []
    return [StreamNews(storable(said))]


def _prices(said: Any) -> list[BrokerPrice | Heartbeat]:
    found: list[BrokerPrice | Heartbeat] = []
    for row in _rows(said):
        if row.get("T") == "error":
            raise OSError(f"it says: {row.get('code')} {row.get('msg')}")
        if row.get("T") != "q":
            continue
        try:
            # Quotes come while the market is open; whether it is at this moment, the stream does not say.
            found.append(alpaca_parse.price(text(row, "S"), row, tradeable=True))
        except BadData as error:
            logger.debug("an Alpaca quote of %.40r is left out: %s", row.get("S"), error)
    return found


def _check(name: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row.get("T") == "error":
            raise _refused(name, str(row.get("msg", "")), too_many=row.get("code") == TOO_MANY_CONNECTIONS)


def _rows(said: Any) -> list[dict[str, Any]]:
    if not isinstance(said, list) or not all(isinstance(row, dict) for row in said):
        raise BadData("a message is not a list of objects")
    return said


def _member(said: Any, key: str) -> dict[str, Any]:
    found = said.get(key) if isinstance(said, dict) else None
    if not isinstance(found, dict):
        raise BadData(f"a message has no {key}")
    return found


def _refused(name: str, message: str, *, too_many: bool = False) -> BrokerUnreachable:
    if too_many or "limit" in message:
        return BrokerUnreachable(
            f"{name} cannot be opened ({message[:100]}): another program listens to this account, and Alpaca allows "
            "one. The history is read instead; end the other program to hear of things at once."
        )
    return BrokerNeedsLogin(
        f"{name} is refused: the key is not accepted. Put a valid ALPACA_API_KEY and ALPACA_SECRET_KEY in place; until "
        "then nothing is heard of this account, and its positions stay as they are."
    )
