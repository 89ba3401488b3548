"""Alpaca's two websockets, trade updates and quotes, as the port's items.

What always holds: what `socket_stream` promises; the first item comes when Alpaca has said that it sends what we asked
for; a trade update is told raw and without events: the id of its execution's activity is not in it, so the history has
to be asked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from trading.brokers import alpaca_parse
from trading.brokers.errors import BadData
from trading.brokers.fields import text
from trading.brokers.socket_stream import OpenSocket, SocketStream
from trading.brokers.transport import storable
from trading.domain.broker import BrokerNeedsLogin, BrokerPrice, BrokerUnreachable, Heartbeat, StreamNews

logger = logging.getLogger(__name__)

UPDATES, FEED = "trade_updates", "iex"
# Alpaca's market data is streamed from a host of its own; everywhere else the streams are where the rest is.
STREAM_HOSTS = {"data.alpaca.markets": "stream.data.alpaca.markets"}
TOO_MANY_CONNECTIONS = 406


class AlpacaStreams:
    """Opens the websockets of one account. `url` and `data_url` are the roots of the APIs without /v2."""

    def __init__(self, *, account_id: str, key: str, secret: str, url: str, data_url: str) -> None:
        self._account_id, self._key, self._secret = account_id, key, secret
        self._url, self._data_url = url.rstrip("/"), data_url.rstrip("/")

    def updates(self, *, silence_seconds: float) -> Iterator[StreamNews | Heartbeat]:
        """See `Broker.event_stream`: each update of an order, without events."""
        name = f"Alpaca's trade updates of account {self._account_id}"
        return SocketStream(
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

        def greet(connected: OpenSocket) -> None:
            self._subscribe(connected, wanted)

        return SocketStream(
            name=f"Alpaca's price stream of account {self._account_id}",
            url=f"{socket_url(self._data_url)}/v2/{FEED}",
            secrets=(self._secret, self._key),
            silence_seconds=silence_seconds,
            greet=greet,
            parse=_prices,
            heartbeat=Heartbeat(),
        )

    def _listen(self, connected: OpenSocket) -> None:
        connected.say({"action": "authenticate", "data": {"key_id": self._key, "secret_key": self._secret}})
        told = _member(connected.reply(), "data")
        if told.get("status") != "authorized":
            raise _refused(connected.name, str(told.get("message", "")))
        connected.say({"action": "listen", "data": {"streams": [UPDATES]}})
        streams = _member(connected.reply(), "data").get("streams")
        if not isinstance(streams, list) or UPDATES not in streams:
            raise BadData("it does not send the updates that were asked for")

    def _subscribe(self, connected: OpenSocket, wanted: list[str]) -> None:
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
