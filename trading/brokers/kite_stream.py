"""Kite's ticker as the port's items: updates of orders from its text frames, prices from its binary ones.

What always holds: what `socket_stream` promises; the SDK's own ticker is not used (its reactor cannot be started twice
in a process). A frame of one byte is a heartbeat. An update of an order is told raw and without events: it says what
the order has come to, not by which trades, so the day's books are read. A packet that cannot be read is left out.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from trading.brokers.errors import BadData
from trading.brokers.fields import plausible
from trading.brokers.socket_stream import OpenSocket, SocketStream
from trading.brokers.transport import read_document, storable
from trading.brokers.wire import Exchange
from trading.domain.broker import BrokerPrice, BrokerUnreachable, Heartbeat, StreamNews

logger = logging.getLogger(__name__)

FULL, FULL_LENGTH = "full", 184
_HEADER = struct.Struct(">H")
_TOKEN = struct.Struct(">I")
# In a full packet: the exchange's time, then five levels of bids and five of offers.
_TIME_AT, _DEPTH_AT = 60, 64
_LEVEL = struct.Struct(">IIHxx")
_LEVELS = 5
# What a price is a whole number of, by the segment in a token's last byte: currencies have finer ones.
_DIVISORS = {3: Decimal(10_000_000), 6: Decimal(10_000), 12: Decimal(10_000)}
_HUNDREDTHS = Decimal(100)


class KiteStreams:
    """Opens the ticker of one account. `url` is its root."""

    def __init__(self, *, account_id: str, key: str, access_token: str, url: str) -> None:
        self._account_id, self._secrets = account_id, (access_token, key)
        asked = urlencode({"api_key": key, "access_token": access_token})
        self._url = f"{url.rstrip('/')}/?{asked}"

    def updates(self, *, silence_seconds: float) -> Iterator[StreamNews | Heartbeat]:
        """See `Broker.event_stream`: each update of an order of the whole account, without events."""

        def greet(connected: OpenSocket) -> None:
            """Updates of orders need not be asked for."""

        return SocketStream(
            name=f"Kite's ticker of account {self._account_id}",
            url=self._url,
            secrets=self._secrets,
            silence_seconds=silence_seconds,
            greet=greet,
            parse=_updates,
            heartbeat=Heartbeat(),
            login=self._login,
            read=_message,
        )

    def prices(self, names: Mapping[int, str], *, silence_seconds: float) -> Iterator[BrokerPrice | Heartbeat]:
        """See `Broker.price_stream`; `names` are the instruments by the number that the ticker knows them by."""

        def greet(connected: OpenSocket) -> None:
            connected.say({"a": "subscribe", "v": list(names)})
            connected.say({"a": "mode", "v": [FULL, list(names)]})

        def parse(said: Any) -> Sequence[BrokerPrice | Heartbeat]:
            return _prices(said, names)

        return SocketStream(
            name=f"Kite's price stream of account {self._account_id}",
            url=self._url,
            secrets=self._secrets,
            silence_seconds=silence_seconds,
            greet=greet,
            parse=parse,
            heartbeat=Heartbeat(),
            login=self._login,
            read=_message,
        )

    @property
    def _login(self) -> str:
        return (
            f"Kite needs a login: its ticker does not accept the access token of {self._account_id or 'the account'}. "
            "Log in at Kite and put the new token in KITE_ACCESS_TOKEN; until then nothing is heard of this account, "
            "and its positions stay as they are."
        )


def _message(frame: Exchange) -> Any:
    """A text frame as JSON, a binary one as its bytes: no JSON text begins with a byte below a space."""
    return read_document(frame) if frame.body[:1] > b"\x1f" else frame.body


def _updates(said: Any) -> list[StreamNews | Heartbeat]:
    if isinstance(said, dict):
        _check(said)
        if said.get("type") == "order":
            return [StreamNews(storable(said))]
    return [Heartbeat()]


def _prices(said: Any, names: Mapping[int, str]) -> list[BrokerPrice | Heartbeat]:
    if not isinstance(said, bytes):
        if isinstance(said, dict):
            _check(said)
        return [Heartbeat()]
    found: list[BrokerPrice | Heartbeat] = []
    for packet in _packets(said):
        try:
            found.append(price_of(packet, names))
        except BadData as error:
            logger.debug("a Kite packet is left out: %s", error)
    return found or [Heartbeat()]


def _check(said: Mapping[str, Any]) -> None:
    if said.get("type") == "error":
        raise BrokerUnreachable(f"Kite's ticker says: {said.get('data')!r:.200}. It is opened again.")


def _packets(frame: bytes) -> list[bytes]:
    """The packets of a frame: their number, then each after its length. Raises `BadData` when it ends too early."""
    if len(frame) < _HEADER.size:
        return []
    (count,), at = _HEADER.unpack_from(frame), _HEADER.size
    found = []
    for _ in range(count):
        if at + _HEADER.size > len(frame):
            raise BadData("a frame of the ticker ends in the middle")
        (length,) = _HEADER.unpack_from(frame, at)
        at += _HEADER.size
        if at + length > len(frame):
            raise BadData("a packet of the ticker ends in the middle")
        found.append(frame[at : at + length])
        at += length
    return found


def price_of(packet: bytes, names: Mapping[int, str]) -> BrokerPrice:
    """The best bid and offer of a full packet. Raises `BadData` for any other one."""
    if len(packet) != FULL_LENGTH:
        raise BadData(f"a packet of {len(packet)} bytes has no depth")
    (token,) = _TOKEN.unpack_from(packet)
    if token not in names:
        raise BadData(f"nobody asked for {token}")
    divisor = _DIVISORS.get(token & 0xFF, _HUNDREDTHS)
    bid, ask = (
        Decimal(_LEVEL.unpack_from(packet, _DEPTH_AT + first * _LEVEL.size)[1]) / divisor for first in (0, _LEVELS)
    )
    if not 0 < bid <= ask:
        raise BadData(f"{names[token]}: the bid is {bid} and the ask {ask}")
    (seconds,) = _TOKEN.unpack_from(packet, _TIME_AT)
    at = plausible(datetime.fromtimestamp(seconds, UTC), "the exchange's time")
    return BrokerPrice(names[token], bid, ask, at, True)
