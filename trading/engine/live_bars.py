"""Which bars the live engine may act on: those of the price stream, those of the broker's candles, and when.

What always holds:
- a moment is acted on only when nothing earlier can still come for any symbol: every slot up to it has its bar, or was
  asked for, and answered, late enough; so a candle that is late at the boundary is waited for, and a slot in which a
  symbol did not trade delays the others by a few seconds only;
- while the price stream listens, the candles are asked for a slot only after the stream had its time;
- how far each symbol is settled is durable, and a bar that comes for a settled slot is not stored any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import takewhile

from trading.domain.bars import Bar as DomainBar
from trading.domain.broker import Broker
from trading.domain.tick_bars import LONGEST_TICK_BAR, slot_of
from trading.feeds.broker_candles import BrokerCandles
from trading.models import Account, Bar, Instrument
from trading.selectors.instruments import broker_symbol
from trading.services import cursors, heartbeats
from trading.services.market import bar_source, settled_cursor, store_bars

from .stream_bars import listening_since, prices_name

# All on the account's clock.
STREAM_GRACE = timedelta(seconds=5)
"""How long after its end a bar of a listening price stream is waited for before the candles are asked."""
CANDLE_GRACE = timedelta(seconds=10)
"""How long after its end a candle may still appear."""
ASK_EVERY = timedelta(seconds=60)
"""How often candles longer than an hour are asked for."""
LOOK_BACK = timedelta(days=7)
"""How far back the last asked time of those is overlapped."""


class LiveBars:
    """The bars of some symbols from one feed account, at one moment of the broker's clock."""

    def __init__(
        self,
        *,
        account: Account,
        broker: Broker,
        symbols: Sequence[str],
        interval_seconds: int,
        at: datetime,
        tz: str = "UTC",
    ) -> None:
        self._account, self._seconds, self._at = account, interval_seconds, at
        self._interval = timedelta(seconds=interval_seconds)
        self._source = bar_source(account)
        rows = Instrument.objects.filter(symbol__in=symbols)
        names = {row.symbol: broker_symbol(account, row) for row in rows}
        self._symbols = sorted(names)
        self._feed = BrokerCandles(broker, names, interval_seconds=interval_seconds, tz=tz)

    def fetch(self, *, oldest: datetime) -> list[datetime]:
        """Store what can be had now of all bars since `oldest`; returns how far each symbol is settled.

        Raises BrokerUnreachable or BadBars, and then what was fetched before stays.
        """
        if self._seconds > LONGEST_TICK_BAR:
            return [self._fetch_long(symbol, oldest) for symbol in self._symbols]
        details = heartbeats.lately(prices_name(self._account), within=timedelta(seconds=15))
        return [self._fetch_slots(symbol, oldest, listening_since(details)) for symbol in self._symbols]

    def ripe(self, *, after: datetime, settled: Sequence[datetime]) -> list[datetime]:
        """The starts of stored bars after a moment that may be acted on now, in order."""
        have = {symbol: self._stored(symbol, since=after) for symbol in self._symbols}
        starts = sorted(start for start in set().union(*have.values()) if start > after)
        long = self._seconds > LONGEST_TICK_BAR  # asked for in one go: what a symbol has leaves nothing before it open
        pairs = list(zip(self._symbols, settled, strict=True))
        return list(
            takewhile(
                lambda start: all(start < until or (long and start in have[symbol]) for symbol, until in pairs), starts
            )
        )

    def _fetch_slots(self, symbol: str, oldest: datetime, streaming_since: datetime | None) -> datetime:
        """Bars on the grid: settle slot by slot."""
        boundary = slot_of(self._at, self._seconds)
        known = self._settled(symbol)
        first = max(known or oldest, oldest)
        settled = self._over_stored(symbol, first)
        ask_until = boundary
        newest = boundary - self._interval
        if streaming_since is not None and streaming_since <= newest and self._at < boundary + STREAM_GRACE:
            ask_until = newest
        if settled < ask_until:
            bars, still_open = self._feed.read(symbol, since=settled, until=ask_until)
            store_bars(source=self._source, bars=bars)
            last = ask_until - self._interval
            got_last = any(bar.start == last for bar in bars)
            late = self._at < ask_until + CANDLE_GRACE and not got_last
            asked = last if late else ask_until
            if still_open is not None and self._at < still_open + self._interval + CANDLE_GRACE:
                asked = min(asked, still_open)
            settled = self._over_stored(symbol, max(settled, asked))
        if settled != known:
            self._settle(symbol, settled)
        return settled

    def _fetch_long(self, symbol: str, oldest: datetime) -> datetime:
        """Bars that begin when the venue says: nothing that begins an interval ago can still come."""
        asked = self._settled(symbol)
        if asked is None or self._at >= asked + ASK_EVERY:
            since = oldest if asked is None else max(oldest, asked - LOOK_BACK - self._interval)
            store_bars(source=self._source, bars=self._feed.read(symbol, since=since, until=self._at)[0])
            asked = self._at
            self._settle(symbol, asked)
        return asked - self._interval - CANDLE_GRACE

    def _over_stored(self, symbol: str, start: datetime) -> datetime:
        """The first slot from `start` on that has no stored bar."""
        have = self._stored(symbol, since=start)
        while start in have:
            start += self._interval
        return start

    def _stored(self, symbol: str, *, since: datetime) -> set[datetime]:
        rows = Bar.objects.filter(
            source=self._source, instrument__symbol=symbol, interval_seconds=self._seconds, start__gte=since
        )
        return set(rows.values_list("start", flat=True))

    def _settled(self, symbol: str) -> datetime | None:
        value = cursors.get(self._account, settled_cursor(symbol, self._seconds))
        return datetime.fromisoformat(value) if value else None

    def _settle(self, symbol: str, until: datetime) -> None:
        cursors.put(account=self._account, name=settled_cursor(symbol, self._seconds), value=until.isoformat())

    def slots(self, *, since: datetime) -> list[Mapping[str, DomainBar]]:
        """The stored bars from a moment on, those that begin together in one slot, in order."""
        rows = (
            Bar.objects.filter(
                source=self._source,
                start__gte=since,
                interval_seconds=self._seconds,
                instrument__symbol__in=self._symbols,
            )
            .select_related("instrument")
            .order_by("start", "instrument__symbol")
        )
        slots: dict[datetime, dict[str, DomainBar]] = {}
        for row in rows:
            symbol = row.instrument.symbol
            slots.setdefault(row.start, {})[symbol] = DomainBar(
                symbol, row.start, row.interval_seconds, row.open, row.high, row.low, row.close, row.volume
            )
        return [slots[start] for start in sorted(slots)]
