"""Closed bars from a broker's candles.

What always holds: only bars that the broker calls complete come out, oldest first, valid by the same rules as a bar
file (see `trading.domain.bars`), and none that opens after one that is still open; so a bar never changes after it was
given out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import takewhile

from trading.domain.bars import BadBars, Bar, validate_bars
from trading.domain.broker import Broker, BrokerUnreachable
from trading.feeds.base import FeedError


class BrokerCandles:
    """A feed over `Broker.candles`, for bars of one interval.

    `instruments` names the broker's instrument for each of our symbols; daily bars start at midnight in `tz`.
    """

    def __init__(
        self, broker: Broker, instruments: Mapping[str, str], *, interval_seconds: int = 300, tz: str = "UTC"
    ) -> None:
        self._broker = broker
        self._instruments = dict(instruments)
        self._seconds, self._tz = interval_seconds, tz
        self.name = broker.name

    def bars(
        self, symbol: str, interval_seconds: int, *, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[Bar]:
        """See `Feed.bars`; `since` must be given, because a broker's history has no end."""
        if symbol not in self._instruments or interval_seconds != self._seconds or since is None:
            known = ", ".join(self._instruments)
            raise FeedError(
                f"{self.name} gives {self._seconds} s bars from a given time on, of: {known}. It was "
                f"asked for {interval_seconds} s bars of {symbol} since {since}."
            )
        try:
            return [bar for bar in self.closed_bars(symbol, since=since, until=until) if not until or bar.end <= until]
        except (BadBars, BrokerUnreachable) as error:
            raise FeedError(f"There are no bars of {symbol} from {self.name}: {error}") from error

    def closed_bars(self, symbol: str, *, since: datetime, until: datetime | None = None) -> tuple[Bar, ...]:
        """The closed bars of `symbol` that open in [since, until); without `until`, up to the broker's present.

        Raises as `read` does.
        """
        return self.read(symbol, since=since, until=until)[0]

    def read(
        self, symbol: str, *, since: datetime, until: datetime | None = None
    ) -> tuple[tuple[Bar, ...], datetime | None]:
        """The closed bars that open in [since, until), and the start of the first one that is still open, if any.

        Raises KeyError for a symbol that the feed was not given, `BrokerUnreachable` when the broker gives no usable
        answer, and `BadBars` for candles that contradict themselves.
        """
        instrument = self._instruments[symbol]
        candles = self._broker.candles(instrument, since=since, until=until, interval_seconds=self._seconds)
        still_open = next((candle.start for candle in candles if not candle.complete), None)
        bars = tuple(
            Bar(
                symbol=symbol,
                start=candle.start,
                interval_seconds=self._seconds,
                open=candle.open,
                high=candle.high,
                low=candle.low,
                close=candle.close,
                volume=candle.volume,
            )
            for candle in takewhile(lambda candle: candle.complete, candles)
        )
        validate_bars(bars, tz=self._tz)
        return bars, still_open
