"""The Alpaca v2 adapter: the port `Broker` for one account, on alpaca-py for requests and our session for the wire.

What always holds: reads raise `BrokerUnreachable` (or its kinds) and never turn a bad answer into an empty one; writes
return an outcome and never raise (see `alpaca_orders.py`). Times are Alpaca's own. Alpaca shows an account in several
answers, so a snapshot is made between two readings of the history, and counts as complete only when both are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from trading.brokers import alpaca_history, alpaca_orders, alpaca_parse, alpaca_replace
from trading.brokers.alpaca_client import SIMULATOR_PACE, VENDOR_PACE, AlpacaClient
from trading.brokers.alpaca_history import Cursor
from trading.brokers.alpaca_lookup import Looking, order_by_client_id
from trading.brokers.alpaca_parse import LegOf
from trading.brokers.alpaca_stream import AlpacaStreams
from trading.brokers.cuts import cut, doubtful
from trading.brokers.errors import BadData
from trading.brokers.fields import Row, currency, optional_text, text
from trading.brokers.transport import storable
from trading.domain.broker import (
    AccountIdentity,
    BrokerCandle,
    BrokerInstrument,
    BrokerNeedsLogin,
    BrokerOrder,
    BrokerPosition,
    BrokerPrice,
    BrokerSnapshot,
    BrokerUnreachable,
    Capabilities,
    Completeness,
    EventPage,
    Heartbeat,
    LookupOutcome,
    OrderRequest,
    Part,
    StreamNews,
    SubmitOutcome,
)

logger = logging.getLogger(__name__)

CANDLES_PER_PAGE = 10_000
CANDLE_PAGES = 50
# The feed that every account may read.
FEED = "iex"
# What of the account it may have blocked.
_FLAGS = ("account_blocked", "trading_blocked", "trade_suspended_by_user", "transfers_blocked")
_HOUR, _DAY = 3600, 86_400


class AlpacaBroker:
    """One Alpaca account. `url` and `data_url` are the roots of the trading and market data APIs without /v2.

    `account_id` is the account's number; "" takes whatever account the key belongs to. A `simulated` Alpaca has a clock
    of its own, and no limit of requests.
    """

    capabilities = Capabilities(
        native_bracket=True,
        idempotent_client_id=True,
        replace_keeps_id=False,
        hedging=False,
        fractional=False,
        legs_reserve_units=True,
        good_till=False,
    )

    def __init__(
        self,
        *,
        account_id: str,
        key: str,
        secret: str,
        url: str,
        data_url: str,
        simulated: bool = False,
        name: str = "alpaca",
    ) -> None:
        self.name = name
        self._simulated = simulated
        pace = SIMULATOR_PACE if simulated else VENDOR_PACE
        self._client = AlpacaClient(
            account_id=account_id, key=key, secret=secret, url=url, data_url=data_url, pace=pace
        )
        self._streams = AlpacaStreams(account_id=account_id, key=key, secret=secret, url=url, data_url=data_url)
        # Where this adapter last read the history up to: a snapshot is cut from there.
        self._cursor: Cursor | None = None

    def identity(self) -> AccountIdentity:
        """Who Alpaca says we are, which the caller compares with who we should be. It names no last event."""
        number, currency = self._client.account_facts(self._client.read("/account", "the identity"))
        return AccountIdentity(account_id=number, currency=currency, hedging=False, last_event_id="")

    def now(self) -> datetime:
        """Alpaca's time."""
        return self._time(alpaca_history.clock(self._client))

    def instruments(self) -> Sequence[BrokerInstrument]:
        """All shares that can be traded; one that cannot be read is left out and logged."""
        currency = self._client.check_account()
        wanted = {"status": "active", "asset_class": "us_equity"}
        found = []
        for row in self._client.read_list("/assets", "the instruments", wanted):
            try:
                if alpaca_parse.is_tradable(row):
                    found.append(alpaca_parse.instrument(row, currency))
            except BadData as error:
                logger.warning("Alpaca asset %.40r is left out: %s", row.get("symbol"), error)
        return found

    def snapshot(self) -> BrokerSnapshot:
        """Cash, positions and open orders of one moment; each part says how complete it is.

        `last_event_id` is the cursor of the history at that moment.
        """
        return cut(self._look)

    def order_by_client_id(self, client_id: str, *, since: str = "") -> LookupOutcome:
        """Look for an order; Alpaca knows client ids for ever, so `since` is not needed."""
        return order_by_client_id(Looking(self._client), client_id)

    def events_since(self, cursor: str) -> EventPage:
        """Everything that happened since the cursor ("" from the beginning), with an overlap of one to two days.

        Raises `BrokerWentBack` when Alpaca shows less than it has shown before.
        """
        currency = self._client.check_account()
        # The time only says how far back to read again, so a request is saved where that is the world's own.
        now = self.now() if self._simulated else datetime.now(UTC)
        reading = alpaca_history.read(self._client, Cursor.parse(cursor), now=now, currency=currency)
        self._cursor = Cursor.parse(reading.page.cursor)
        return reading.page

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        """Place one order with exactly one POST."""
        return alpaca_orders.submit(self._client, request)

    def cancel(self, *, broker_order_id: str, client_id: str) -> SubmitOutcome:
        """Ask for the cancel of one order; see `alpaca_orders.cancel`."""
        return alpaca_orders.cancel(self._client, broker_order_id=broker_order_id, known_client_id=client_id)

    def replace(
        self, *, broker_order_id: str, client_id: str, quantity: Decimal | None, price: Decimal
    ) -> SubmitOutcome:
        """Put another order in the place of a resting one; see `alpaca_replace`."""
        return alpaca_replace.replace(
            self._client, broker_order_id=broker_order_id, known_client_id=client_id, quantity=quantity, price=price
        )

    def prices(self, instruments: Sequence[str]) -> Sequence[BrokerPrice]:
        """The latest quotes; a share that nobody quotes is left out and logged."""
        if not instruments:
            return []
        try:
            tradeable = alpaca_parse.is_open(alpaca_history.clock(self._client))
            fields = {"symbols": ",".join(instruments), "feed": FEED}
            body = self._client.read("/stocks/quotes/latest", "the prices", fields, data_api=True)
            quotes = alpaca_parse.by_symbol(body, "quotes")
        except BadData as error:
            raise self._unusable("the prices", error) from error
        found = []
        for symbol in instruments:
            try:
                if symbol not in quotes:
                    raise BadData("there is no quote of it")
                found.append(alpaca_parse.price(symbol, quotes[symbol], tradeable=tradeable))
            except BadData as error:
                logger.warning("an Alpaca price of %.40r is left out: %s", symbol, error)
        return found

    def candles(
        self, instrument: str, *, since: datetime, until: datetime | None = None, interval_seconds: int = 300
    ) -> Sequence[BrokerCandle]:
        """Bars of trades that open in [since, until), oldest first; without `until` up to Alpaca's present.

        Alpaca has bars of minutes below an hour, of hours below a day, and of a day. The last one may be incomplete.
        """
        now = self.now()
        fields = {
            "symbols": instrument,
            "timeframe": _timeframe(interval_seconds),
            "start": _written(since),
            "end": _written(until or now),
            "limit": CANDLES_PER_PAGE,
            "adjustment": "raw",
            "feed": FEED,
            "sort": "asc",
        }
        found: list[BrokerCandle] = []
        try:
            for _ in range(CANDLE_PAGES):
                body = self._client.read("/stocks/bars", f"the bars of {instrument}", fields, data_api=True)
                listed = alpaca_parse.bars(body, instrument)
                interval = timedelta(seconds=interval_seconds)
                found.extend(alpaca_parse.candle(row, instrument, interval, now) for row in listed)
                token = optional_text(body, "next_page_token")
                if not token:
                    break
                fields["page_token"] = token
            else:
                raise BadData(f"they have more than {CANDLE_PAGES} pages")
            if any(later.start <= earlier.start for earlier, later in pairwise(found)):
                raise BadData("the bars are not in the order of time")
            if found and found[0].start < since:
                raise BadData(f"the first bar is older than {_written(since)}, which was asked for")
        except BadData as error:
            raise self._unusable(f"the bars of {instrument}", error) from error
        return [candle for candle in found if until is None or candle.start < until]

    def price_stream(self, instruments: Sequence[str], *, silence_seconds: float) -> Iterator[BrokerPrice | Heartbeat]:
        """Quotes as Alpaca tells them; see the port."""
        return self._streams.prices(instruments, silence_seconds=silence_seconds)

    def event_stream(self, *, silence_seconds: float) -> Iterator[StreamNews | Heartbeat]:
        """Updates of orders as Alpaca tells them, without events; see the port."""
        return self._streams.updates(silence_seconds=silence_seconds)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _look(self) -> tuple[BrokerSnapshot, bool]:
        """The account as several answers show it, and whether the history stood still between them."""
        at = self.now()
        currency = self._client.check_account()
        resting = alpaca_history.open_orders(self._client)
        start = self._cursor or alpaca_history.recent(at, resting)
        before = alpaca_history.read(self._client, start, now=at, currency=currency)
        account = self._client.read("/account", "the state")
        number, _ = self._client.account_facts(account)
        self._client.check_account()
        cash, cash_part = _cash(account)
        positions, positions_part, listed = self._positions()
        after = alpaca_history.read(self._client, start, now=at, currency=currency)
        orders, orders_part = _orders(resting, after.orders)
        same = before.page.cursor == after.page.cursor
        if not same or after.page.completeness is not Completeness.COMPLETE:
            doubt = after.page.reason or "the account changed while it was read"
            cash_part, positions_part, orders_part = (
                doubtful(part, doubt) for part in (cash_part, positions_part, orders_part)
            )
        shown = BrokerSnapshot(
            account_id=number,
            currency=currency,
            at=at,
            last_event_id=after.page.cursor,
            cash=cash,
            cash_part=cash_part,
            positions=positions,
            positions_part=positions_part,
            orders=orders,
            orders_part=orders_part,
            raw=storable({"account": account, "positions": listed, "orders": [each.raw for each in orders]}),
            flags=tuple(flag for flag in _FLAGS if account.get(flag) is True),
        )
        return shown, same

    def _positions(self) -> tuple[tuple[BrokerPosition, ...], Part, list[Row]]:
        try:
            listed = self._client.read_list("/positions", "the positions")
        except BrokerNeedsLogin:
            raise
        except BrokerUnreachable as error:
            return (), Part(Completeness.FAILED, str(error)), []
        found, part = alpaca_parse.part(listed, alpaca_parse.position)
        return found, part, listed

    def _time(self, clock: Row) -> datetime:
        try:
            return alpaca_history.clock_time(clock)
        except BadData as error:
            raise self._unusable("the time", error) from error

    def _unusable(self, question: str, error: Exception) -> BrokerUnreachable:
        return BrokerUnreachable(
            f"Alpaca's answer to {question} of account {self._client.account_id} cannot be used: {error}. "
            "This says nothing about positions or money; ask again."
        )


def _cash(account: Row) -> tuple[dict[str, Decimal], Part]:
    """Trade-date cash: it has moved for every execution, whether that has settled or not."""
    try:
        return {currency(account, "currency"): alpaca_parse.number(account, "cash")}, Part(Completeness.COMPLETE)
    except BadData as error:
        return {}, Part(Completeness.FAILED, str(error))


def _orders(resting: Sequence[Row], known: Sequence[tuple[Row, LegOf | None]]) -> tuple[tuple[BrokerOrder, ...], Part]:
    """What rests now: the orders of the history that have not ended, and those of the list that it does not reach."""
    listed = {text(row, "id"): (row, leg_of) for row, leg_of in known}
    for row in resting:
        listed.setdefault(text(row, "id"), (row, None))
    return alpaca_parse.part(
        listed.values(), lambda each: [] if alpaca_parse.has_ended(each[0]) else [alpaca_parse.order(*each)]
    )


def _timeframe(seconds: int) -> str:
    """Alpaca's word for bars of that length. Raises ValueError for one that it does not have."""
    for unit, name, most in ((_DAY, "Day", 1), (_HOUR, "Hour", 23), (60, "Min", 59)):
        if seconds > 0 and seconds % unit == 0 and seconds // unit <= most:
            return f"{seconds // unit}{name}"
    raise ValueError(f"Alpaca has no bars of {seconds} s; it has those of whole minutes, of whole hours, and of a day")


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
