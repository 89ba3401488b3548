"""The market: the price of every instrument at a moment, and its candles.

What always holds here: an instrument walks by itself until someone sets its price; from then on it is driven and its
price comes only from outside. Prices never look ahead of the time they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from .candles import Bar, Candle, Series, bucket
from .hours import Hours
from .instruments import INDIAN, INSTRUMENTS, SHARES
from .nse import IndianHours
from .numbers import at_second, moment, seconds_of
from .nyse import ShareHours
from .walk import STEP, walk_of

Cut = Callable[[str, int], tuple[int, int]]
EARLIEST = seconds_of(moment("2000-01-01T00:00:00Z"))


@dataclass(frozen=True, slots=True)
class Quote:
    """The best prices at a moment."""

    bid: Decimal
    ask: Decimal
    at: datetime

    @property
    def mid(self) -> Decimal:
        """Half way between bid and ask."""
        return (self.bid + self.ask) / 2

    def moved(self, change: Decimal) -> Quote:
        """The same spread, shifted."""
        return Quote(self.bid + change, self.ask + change, self.at)


@dataclass(slots=True)
class Driven:
    """An instrument whose price is set from outside. `walked` tells whether it has a past of its own before that."""

    since: datetime
    walked: bool
    bid: Decimal | None = None
    ask: Decimal | None = None
    at: datetime | None = None
    series: Series = field(default_factory=Series)


@dataclass(slots=True)
class MarketState:
    """What of the market must be kept to rebuild it: everything else follows from the seed."""

    seed: int
    driven: dict[str, Driven] = field(default_factory=dict)
    half_spreads: dict[str, Decimal] = field(default_factory=dict)


class Market:
    """Prices and candles of all instruments."""

    def __init__(self, state: MarketState, always_open: bool) -> None:
        self.state = state
        self._currency_hours, self.share_hours = Hours(always_open), ShareHours(always_open)
        self.indian_hours = IndianHours(always_open)
        self._walks = {name: walk_of(state.seed, item) for name, item in INSTRUMENTS.items()}
        self._last: dict[str, tuple[int, Quote]] = {}

    def hours_of(self, name: str) -> Hours:
        """When this instrument is traded."""
        if name in INDIAN:
            return self.indian_hours
        return self.share_hours if name in SHARES else self._currency_hours

    def half_spread(self, name: str) -> Decimal:
        """Half the distance between bid and ask."""
        return self.state.half_spreads.get(name, INSTRUMENTS[name].half_spread)

    def tradeable(self, name: str, at: datetime, extended: bool = False) -> bool:
        """Whether an order (one for extended hours too) can be filled now: the market is open and has a price."""
        driven = self.state.driven.get(name)
        priced = driven is None or driven.bid is not None
        hours = self.hours_of(name)
        return priced and (hours.is_extended(at) if extended else hours.is_open(at))

    def is_driven(self, name: str) -> bool:
        """Whether the price is set from outside."""
        return name in self.state.driven

    def quote(self, name: str, at: datetime) -> Quote | None:
        """The price in force at this moment; None while a driven instrument has not got one."""
        driven = self.state.driven.get(name)
        if driven is not None:
            if driven.bid is None or driven.ask is None or driven.at is None:
                return None
            return Quote(driven.bid, driven.ask, driven.at)
        second = seconds_of(self.hours_of(name).last_open(at))
        second -= second % STEP
        known = self._last.get(name)
        if known is None or known[0] != second:
            known = second, self.around(name, self._walks[name].mid(second), at_second(second))
            self._last[name] = known
        return known[1]

    def indication(self, name: str, at: datetime) -> Quote:
        """The price in force, or, for an instrument that waits for its first one, what the walk would say."""
        known = self.quote(name, at)
        if known is not None:
            return known
        second = seconds_of(at)
        return self.around(name, self._walks[name].mid(second), at)

    def around(self, name: str, mid: Decimal, at: datetime) -> Quote:
        """Bid and ask around a mid price, rounded to the instrument's decimals."""
        half, item = self.half_spread(name), INSTRUMENTS[name]
        return Quote(item.price(mid - half), item.price(mid + half), at)

    def drive(self, name: str, at: datetime, walked: bool = True) -> Driven:
        """Take an instrument out of the random walk; it keeps its last price until a new one is set."""
        driven = self.state.driven.get(name)
        if driven is None:
            last = self.quote(name, at) if walked else None
            driven = Driven(at, walked)
            if last is not None:
                driven.bid, driven.ask, driven.at = last.bid, last.ask, last.at
            self.state.driven[name] = driven
        return driven

    def ticks(self, name: str, after: datetime, until: datetime) -> Iterator[Quote]:
        """The walk's prices with after < time <= until, in order; none while the market is closed."""
        second = seconds_of(after)
        second += STEP - second % STEP
        last = seconds_of(until)
        walk, hours = self._walks[name], self.hours_of(name)
        while second <= last:
            at = at_second(second)
            if hours.is_open(at):
                yield self.around(name, walk.mid(second), at)
            second += STEP

    def candles(
        self,
        name: str,
        granularity: str,
        now: datetime,
        start: datetime | None,
        end: datetime | None,
        count: int,
        cut: Cut = bucket,
    ) -> list[Candle]:
        """Candles in order of time: the first `count` from `start` on, or the last `count` that begin before `end`.

        `cut` says which bucket of the granularity holds a second.
        """
        last = seconds_of(min(end, now) if end is not None else now)
        found: list[Candle] = []
        if start is not None:
            second = self._following(name, max(EARLIEST, seconds_of(start)))
            while second is not None and second <= last and len(found) < count:
                low, high = cut(granularity, second)
                self._collect(found, name, low, high, now, end)
                second = self._following(name, high)
            return found
        second = self._preceding(name, last)
        while second is not None and second >= EARLIEST and len(found) < count:
            low, high = cut(granularity, second)
            self._collect(found, name, low, high, now, end)
            second = self._preceding(name, low - 1)
        found.reverse()
        return found

    def _following(self, name: str, second: int) -> int | None:
        """The first second from here on where a price may be."""
        driven = self.state.driven.get(name)
        if driven is not None and (not driven.walked or second >= seconds_of(driven.since)):
            return driven.series.next_start(second)
        walked = seconds_of(self.hours_of(name).next_open(at_second(second)))
        if driven is not None and walked >= seconds_of(driven.since):
            return driven.series.next_start(second)
        return walked

    def _preceding(self, name: str, second: int) -> int | None:
        """The last second up to here where a price may be."""
        driven = self.state.driven.get(name)
        if driven is None:
            return seconds_of(self.hours_of(name).last_open(at_second(second)))
        found = driven.series.last_start(second)
        if driven.walked and (found is None or found < seconds_of(driven.since)):
            until = min(second, seconds_of(driven.since))
            return seconds_of(self.hours_of(name).last_open(at_second(until)))
        return found

    def _collect(
        self, found: list[Candle], name: str, low: int, high: int, now: datetime, end: datetime | None
    ) -> None:
        opens = at_second(low)
        if opens > now or (end is not None and opens >= end):
            return
        bar = self._bar(name, low, high, now)
        if bar is not None:
            price = INSTRUMENTS[name].price
            complete = at_second(high) <= now
            found.append(
                Candle(
                    opens, at_second(high), price(bar.open), price(bar.high), price(bar.low), price(bar.close),
                    bar.volume, complete,
                )
            )  # fmt: skip

    def _bar(self, name: str, low: int, high: int, now: datetime) -> Bar | None:
        driven = self.state.driven.get(name)
        result: Bar | None = None
        if driven is None or driven.walked:
            until = min(high, seconds_of(now) + 1)
            if driven is not None:
                until = min(until, seconds_of(driven.since))
            if low < until:
                for opens, closes in self.hours_of(name).overlap(at_second(low), at_second(until)):
                    walked = self._walks[name].range(seconds_of(opens), seconds_of(closes))
                    if walked is not None:
                        part = Bar(*walked)
                        if result is None:
                            result = part
                        else:
                            result.add(part)
        if driven is not None:
            set_from_outside = driven.series.between(low, high)
            if result is None or set_from_outside is None:
                return result or set_from_outside
            result.add(set_from_outside)
        return result
