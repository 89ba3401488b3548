"""The Kite Connect v3 adapter: the port `Broker` for one account, on kiteconnect for requests and our own session.

What always holds: reads raise `BrokerUnreachable` (or its kinds) and never turn a bad answer into an empty one; writes
return an outcome and never raise (see `kite_orders.py`). Kite shows an account in several answers, so a snapshot is
made between two readings of the day, and counts as complete only when both are the same. Kite tells no time of its own:
a real one lives in the world's, a simulated one in that of its quotes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from trading.brokers import kite_history, kite_orders, kite_parse
from trading.brokers.cuts import cut, doubtful
from trading.brokers.errors import BadData
from trading.brokers.fields import Row, child, rows
from trading.brokers.kite_client import SIMULATOR_PACE, VENDOR_PACE, KiteClient
from trading.brokers.kite_events import Today, day_in, events_of
from trading.brokers.kite_lookup import Looking, order_by_client_id
from trading.brokers.kite_parse import CURRENCY, INDIA
from trading.brokers.kite_stream import KiteStreams
from trading.brokers.transport import storable
from trading.domain.broker import (
    AccountIdentity,
    BrokerCandle,
    BrokerInstrument,
    BrokerNeedsLogin,
    BrokerPosition,
    BrokerPrice,
    BrokerSnapshot,
    BrokerUnreachable,
    Capabilities,
    Completeness,
    EventPage,
    Heartbeat,
    LookupFailed,
    LookupOutcome,
    OrderRequest,
    Part,
    StreamNews,
    SubmitOutcome,
)

logger = logging.getLogger(__name__)

# The exchanges whose instruments are listed: shares, and derivatives on them.
EXCHANGES = ("NSE", "NFO")
CLOCK_INSTRUMENT = "NSE:INFY"
_INTERVALS = {
    60: "minute",
    180: "3minute",
    300: "5minute",
    600: "10minute",
    900: "15minute",
    1800: "30minute",
    3600: "60minute",
    86_400: "day",
}
# One answer covers at most so much time, of any interval.
_SPAN = timedelta(days=60)
# The numbers that the data call instruments by, as they were on a day: they are given anew every morning.
_tokens: dict[tuple[str, str], dict[str, int]] = {}


class KiteBroker:
    """One Kite account. `url` and `ticker_url` are the roots of the API and of the ticker.

    `account_id` is the user id; "" takes whatever user the token belongs to. `product` is what orders are placed as;
    "" means delivery for shares and NRML for derivatives.
    """

    capabilities = Capabilities(
        native_bracket=False,
        idempotent_client_id=False,
        replace_keeps_id=True,
        hedging=False,
        fractional=False,
        legs_reserve_units=True,
        good_till=False,
        resends_when_absent=False,
        day_orders=True,
    )

    def __init__(
        self,
        *,
        account_id: str,
        key: str,
        access_token: str,
        url: str,
        ticker_url: str,
        simulated: bool = False,
        product: str = "",
        name: str = "kite",
    ) -> None:
        self.name = name
        self._simulated, self._product = simulated, product
        pace = SIMULATOR_PACE if simulated else VENDOR_PACE
        self._client = KiteClient(account_id=account_id, key=key, access_token=access_token, url=url, pace=pace)
        self._streams = KiteStreams(account_id=account_id, key=key, access_token=access_token, url=ticker_url)

    def identity(self) -> AccountIdentity:
        """Who Kite says we are, which the caller compares with who we should be. It names no last event."""
        profile = self._client.read_object(lambda kite: kite.profile(), "the identity")
        user = profile.get("user_id")
        if not isinstance(user, str) or not user:
            raise BrokerUnreachable(self._client.sentence("the identity", "it names no user_id"))
        return AccountIdentity(account_id=user, currency=CURRENCY, hedging=False, last_event_id="")

    def now(self) -> datetime:
        """The world's time; a simulator's is that of its quotes."""
        if not self._simulated:
            return datetime.now(UTC)
        quotes = self._quotes([CLOCK_INSTRUMENT])
        try:
            return kite_parse.moment(child(quotes, CLOCK_INSTRUMENT), "timestamp")
        except BadData as error:
            raise self._unusable("the time", error) from error

    def instruments(self) -> Sequence[BrokerInstrument]:
        """All instruments of the exchanges that are used here; one that cannot be read is left out and logged."""
        self._client.check_account()
        found = []
        for exchange in EXCHANGES:
            for row in self._lines(exchange):
                try:
                    found.append(kite_parse.instrument(row))
                except BadData as error:
                    logger.warning("Kite instrument %.40r is left out: %s", row.get("tradingsymbol"), error)
        return found

    def snapshot(self) -> BrokerSnapshot:
        """Cash, positions and open orders of one moment; each part says how complete it is.

        `last_event_id` is the cursor of the day at that moment.
        """
        return cut(self._look)

    def order_by_client_id(self, client_id: str, *, since: str = "") -> LookupOutcome:
        """Look for an order among today's; `since` tells the day on which it was sent."""
        try:
            today = kite_parse.day_of(self.now())
        except BrokerUnreachable as error:
            return LookupFailed(str(error), ())
        return order_by_client_id(Looking(self._client), client_id, sent_on=day_in(since), today=today)

    def events_since(self, cursor: str) -> EventPage:
        """Everything that today shows and the cursor has not seen. Raises `BrokerWentBack` for a later day's cursor."""
        self._client.check_account()
        return kite_history.read(self._client, cursor, at=self.now())

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        """Place one order with exactly one POST."""
        return kite_orders.submit(self._client, request, product=self._product)

    def cancel(self, *, broker_order_id: str, client_id: str) -> SubmitOutcome:
        """Ask for the cancel of one order; see `kite_orders.cancel`."""
        return kite_orders.cancel(self._client, broker_order_id=broker_order_id, tag=client_id)

    def replace(
        self, *, broker_order_id: str, client_id: str, quantity: Decimal | None, price: Decimal
    ) -> SubmitOutcome:
        """Change what a resting order may still fill, and its price; see `kite_orders.replace`."""
        return kite_orders.replace(
            self._client, broker_order_id=broker_order_id, tag=client_id, quantity=quantity, price=price
        )

    def prices(self, instruments: Sequence[str]) -> Sequence[BrokerPrice]:
        """The best bids and offers now; an instrument without both is left out and logged."""
        if not instruments:
            return []
        quotes, found = self._quotes(instruments), []
        for name in instruments:
            try:
                found.append(kite_parse.price(name, child(quotes, name)))
            except BadData as error:
                logger.warning("a Kite price of %.40r is left out: %s", name, error)
        return found

    def candles(
        self, instrument: str, *, since: datetime, until: datetime | None = None, interval_seconds: int = 300
    ) -> Sequence[BrokerCandle]:
        """Bars of trades that open in [since, until), oldest first; without `until` up to Kite's present.

        The last one may be incomplete. Raises ValueError for an interval that Kite does not have.
        """
        if interval_seconds not in _INTERVALS:
            raise ValueError(f"Kite has no bars of {interval_seconds} s; it has those of {sorted(_INTERVALS)} s")
        now = self.now()
        question, interval = f"the bars of {instrument}", timedelta(seconds=interval_seconds)
        token, start, end = self._token(instrument), since, until or now
        found: list[BrokerCandle] = []
        try:
            while start < end:
                stop = min(start + _SPAN, end)
                body = self._history(token, start, stop, _INTERVALS[interval_seconds], question)
                listed = body.get("candles")
                if not isinstance(listed, list):
                    raise BadData("candles is missing or not a list")
                found.extend(kite_parse.candle(row, instrument, interval, now) for row in listed)
                start = stop
            found = [bar for index, bar in enumerate(found) if index == 0 or bar.start != found[index - 1].start]
            if any(later.start <= earlier.start for earlier, later in pairwise(found)):
                raise BadData("the bars are not in the order of time")
        except BadData as error:
            raise self._unusable(question, error) from error
        return [bar for bar in found if bar.start >= since and (until is None or bar.start < until)]

    def price_stream(self, instruments: Sequence[str], *, silence_seconds: float) -> Iterator[BrokerPrice | Heartbeat]:
        """Quotes as the ticker tells them; see the port."""
        names = {self._token(name): name for name in instruments}
        return self._streams.prices(names, silence_seconds=silence_seconds)

    def event_stream(self, *, silence_seconds: float) -> Iterator[StreamNews | Heartbeat]:
        """Updates of orders as the ticker tells them, without events; see the port."""
        return self._streams.updates(silence_seconds=silence_seconds)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _look(self) -> tuple[BrokerSnapshot, bool]:
        """The account as several answers show it, and whether the day's books stood still between them."""
        client, at = self._client, self.now()
        user = client.check_account()
        before = kite_history.read_today(client, at)
        cash, cash_part, margins = self._cash(before)
        positions, positions_part, listed = self._positions()
        after = kite_history.read_today(client, at)
        try:
            same, doubts = before.cursor == after.cursor, events_of(after).doubts
        except BadData as error:
            raise self._unusable("today's orders", error) from error
        resting = [row for row in after.orders if not _ended(row)]
        orders, orders_part = kite_parse.part(resting, lambda row: [kite_parse.order(row)])
        if not same or doubts:
            doubt = "; ".join(doubts)[:500] if same else "the account changed while it was read"
            cash_part, positions_part, orders_part = (
                doubtful(part, doubt) for part in (cash_part, positions_part, orders_part)
            )
        shown = BrokerSnapshot(
            account_id=user,
            currency=CURRENCY,
            at=at,
            last_event_id=after.cursor,
            cash=cash,
            cash_part=cash_part,
            positions=positions,
            positions_part=positions_part,
            orders=orders,
            orders_part=orders_part,
            raw=storable({"margins": margins, **listed, "orders": [dict(row) for row in resting]}),
            flags=_flags(margins),
        )
        return shown, same

    def _cash(self, today: Today) -> tuple[dict[str, Decimal], Part, Row]:
        margins: Row = {}
        try:
            margins = self._client.read_object(lambda kite: kite.margins(), "the balances")
            found = kite_history.cash_of(margins, today)
        except BrokerNeedsLogin:
            raise
        except (BadData, BrokerUnreachable) as error:
            return {}, Part(Completeness.FAILED, str(error)), margins
        completeness = Completeness.PARTIAL if found.doubt else Completeness.COMPLETE
        return {CURRENCY: found.now}, Part(completeness, found.doubt), margins

    def _positions(self) -> tuple[tuple[BrokerPosition, ...], Part, dict[str, list[Row]]]:
        try:
            shown = self._client.read_object(lambda kite: kite.positions(), "the positions")
            holdings = self._client.read_list(lambda kite: kite.holdings(), "the holdings")
            net = rows(shown, "net")
        except BrokerNeedsLogin:
            raise
        except (BadData, BrokerUnreachable) as error:
            return (), Part(Completeness.FAILED, str(error)), {}
        found, part = kite_parse.positions(net, holdings)
        return found, part, {"positions": net, "holdings": holdings}

    def _quotes(self, instruments: Sequence[str]) -> Row:
        names = list(instruments)
        return self._client.read_object(lambda kite: kite.quote(*names), "the prices", kind="quote")

    def _history(self, token: int, since: datetime, until: datetime, interval: str, question: str) -> Row:
        start, end = (at.astimezone(INDIA).replace(tzinfo=None) for at in (since, until))
        return self._client.read_object(
            lambda kite: kite.historical_data(token, start, end, interval), question, kind="history"
        )

    def _lines(self, exchange: str) -> list[dict[str, str]]:
        return self._client.read_lines(lambda kite: kite.instruments(exchange), f"the instruments of {exchange}")

    def _token(self, name: str) -> int:
        """The number that the market data know an instrument by. Raises `BrokerUnreachable`."""
        exchange = name.partition(":")[0]
        key = (self._client.url, f"{exchange} {kite_parse.day_of(datetime.now(UTC))}")
        if key not in _tokens:
            lines = self._lines(exchange)
            _tokens[key] = {
                f"{row.get('exchange')}:{row.get('tradingsymbol')}": int(number)
                for row in lines
                if (number := row.get("instrument_token", "")).isascii() and number.isdecimal() and len(number) < 12
            }
        if name not in _tokens[key]:
            raise BrokerUnreachable(f"Kite lists no instrument {name!r:.60} today: nothing was asked about it.")
        return _tokens[key][name]

    def _unusable(self, question: str, error: Exception) -> BrokerUnreachable:
        return BrokerUnreachable(self._client.sentence(question, str(error)))


def _flags(margins: Row) -> tuple[str, ...]:
    """The segment of shares, where it is switched off for this account."""
    equity = margins.get("equity")
    return ("equity_disabled",) if isinstance(equity, dict) and equity.get("enabled") is False else ()


def _ended(row: Row) -> bool:
    try:
        return kite_parse.has_ended(row)
    except BadData:
        return False  # it stays in the list, and makes its part incomplete
