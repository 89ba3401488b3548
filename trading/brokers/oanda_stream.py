"""OANDA's two streams, prices and transactions, as the port's items.

What always holds:
- the first item comes when OANDA has answered that it listens; a message of a type that is not known is passed over;
  one that is no JSON ends the stream, because nothing after it can be trusted;
- a transaction comes out as the very event that the history would give; one that cannot be read as such comes out
  without events, and so does a heartbeat that names a later transaction than the stream has told: the history decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from trading.brokers import fields, oanda_parse
from trading.brokers.budget import budget_for
from trading.brokers.errors import BadData
from trading.brokers.fields import Row
from trading.brokers.line_stream import LineStream, StreamCut
from trading.brokers.oanda_client import BURST, REQUESTS_PER_SECOND, RESERVED_FOR_REDUCING
from trading.brokers.oanda_events import event
from trading.brokers.transport import read_json, storable
from trading.brokers.wire import Exchange
from trading.domain.broker import BrokerNeedsLogin, BrokerPrice, BrokerUnreachable, Heartbeat, StreamNews

logger = logging.getLogger(__name__)

# OANDA streams from hosts of their own; everywhere else the streams are where the rest is.
STREAM_HOSTS = {
    "api-fxpractice.oanda.com": "stream-fxpractice.oanda.com",
    "api-fxtrade.oanda.com": "stream-fxtrade.oanda.com",
}
HEARTBEAT = "HEARTBEAT"
Item = TypeVar("Item")


class OandaStream(Generic[Item]):
    """An iterator of what one stream says. `close` closes the connection, from any thread."""

    def __init__(self, lines: LineStream, name: str, parse: Callable[[Row], Item | None], first: Item) -> None:
        self._lines = lines
        self._items = self._run(name, parse, first)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        return next(self._items)

    def close(self) -> None:
        """End it; a thread that waits for an item gets `StopIteration`."""
        self._lines.close()
        with suppress(ValueError):  # another thread waits inside: it has just been woken, and cleans up itself
            self._items.close()

    def _run(self, name: str, parse: Callable[[Row], Item | None], first: Item) -> Generator[Item, None, None]:
        answer = Exchange("GET", name, "", 0.0, status=200)
        try:
            for status, line in self._lines.lines():
                if status != 200:
                    raise _refused(name, status)
                if not line:
                    yield first
                    continue
                answer.body = line
                item = parse(read_json(answer))
                if item is not None:
                    yield item
        except (StreamCut, BadData) as error:
            raise BrokerUnreachable(
                f"{name} has ended: {error}. This says nothing about positions or money."
            ) from error


class OandaStreams:
    """Opens the streams of one account. `url` is the API's root without /v3."""

    def __init__(self, *, account_id: str, token: str, url: str) -> None:
        self._account_id = account_id
        self._token = token
        self._url = url.rstrip("/")
        self._budget = budget_for(
            f"{self._url} {account_id}", per_second=REQUESTS_PER_SECOND, burst=BURST, reserve=RESERVED_FOR_REDUCING
        )

    def prices(self, instruments: Sequence[str], *, silence_seconds: float) -> Iterator[BrokerPrice | Heartbeat]:
        """See `Broker.price_stream`; a price that makes no sense is left out and logged."""
        params = {"instruments": ",".join(instruments)}
        lines = self._open("pricing/stream", params, silence_seconds)
        return OandaStream(lines, f"OANDA's price stream of account {self._account_id}", _price_item, Heartbeat())

    def transactions(self, currency: Callable[[], str], *, silence_seconds: float) -> Iterator[StreamNews | Heartbeat]:
        """See `Broker.event_stream`; `currency` tells the account's, which transactions do not name."""
        lines = self._open("transactions/stream", {}, silence_seconds)
        parse = _Transactions(self._account_id, currency).item
        return OandaStream(lines, f"OANDA's transaction stream of account {self._account_id}", parse, Heartbeat())

    def _open(self, path: str, params: dict[str, str], silence_seconds: float) -> LineStream:
        return LineStream(
            url=f"{stream_url(self._url)}/v3/accounts/{self._account_id}/{path}",
            params=params,
            headers={"Authorization": f"Bearer {self._token}", "Accept-Datetime-Format": "RFC3339"},
            secrets=(self._token,),
            budget=self._budget,
            silence_seconds=silence_seconds,
        )


class _Transactions:
    """Transactions as news, with the newest id that this stream has spoken of."""

    def __init__(self, account_id: str, currency: Callable[[], str]) -> None:
        self._account_id, self._currency = account_id, currency
        self._newest = 0

    def item(self, row: Row) -> StreamNews | Heartbeat | None:
        if row.get("type") == HEARTBEAT:
            told = _number(row, "lastTransactionID")
            if told <= self._newest:
                return _heartbeat(row)
            self._newest = told
            return StreamNews(storable(dict(row)))
        if "id" not in row or row.get("accountID") != self._account_id:
            return None
        self._newest = max(self._newest, _number(row, "id"))
        try:
            return StreamNews(storable(dict(row)), (event(row, self._currency()),))
        except BadData as error:
            logger.warning("OANDA's transaction %.40r is left to the history: %s", row.get("id"), error)
            return StreamNews(storable(dict(row)))


def _price_item(row: Row) -> BrokerPrice | Heartbeat | None:
    if row.get("type") == HEARTBEAT:
        return _heartbeat(row)
    if row.get("type") != "PRICE":
        return None
    try:
        return oanda_parse.price(row)
    except BadData as error:
        logger.warning("an OANDA price of %.40r is left out: %s", row.get("instrument"), error)
        return None


def stream_url(url: str) -> str:
    """Where the streams of an API are."""
    host = urlsplit(url).hostname or ""
    return url.replace(host, STREAM_HOSTS[host], 1) if host in STREAM_HOSTS else url


def _heartbeat(row: Row) -> Heartbeat:
    try:
        return Heartbeat(fields.moment(row, "time"))
    except BadData:
        return Heartbeat()


def _number(row: Row, key: str) -> int:
    try:
        return int(oanda_parse.identifier(row, key))
    except BadData:
        return 0


def _refused(name: str, status: int) -> BrokerUnreachable:
    if status in (401, 403):
        return BrokerNeedsLogin(
            f"{name} is refused (status {status}): the key is not accepted. Put a valid OANDA_API_KEY in place; until "
            "then nothing is heard of this account, and its positions stay as they are."
        )
    return BrokerUnreachable(f"{name} cannot be opened (status {status}). The history is read instead.")
