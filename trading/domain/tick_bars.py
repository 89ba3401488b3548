"""Bars from ticks: true open, high, low and close of the mids, closed by time as well as by the next tick.

What always holds:
- pure, no clock of its own: every moment is told, in the broker's time;
- a bar covers [start, end) on the grid of its interval; a tick exactly on a boundary belongs to the bar that begins;
- within a bar the order of arrival does not matter: the open is the earliest tick's price, the close the latest's, a
  tick that is told twice counts once; what is older than the last closed bar is dropped and counted as late;
- a bar is `whole` only if the stream listened without a break from its start, and said something after its end: what
  a stream did not see wholly is never passed off as a bar of the market;
- an interval without a tick gives no bar.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from trading.domain.bars import Bar

SETTLING = timedelta(seconds=1)
"""How much later than a bar's end another instrument's tick or a heartbeat must be to close it: ticks of different
instruments do not arrive in the strict order of their times."""
LONGEST_TICK_BAR = 3600
"""Seconds: hardly any stream is unbroken for longer; longer bars come from the broker's candles, at its own times."""


@dataclass(frozen=True, slots=True)
class ClosedBar:
    """A bar that is over. Only a `whole` one may stand for the market's."""

    bar: Bar
    whole: bool


@dataclass(slots=True)
class _Forming:
    """The bar that is still open; `seen` are its ticks."""

    start: datetime
    first_at: datetime
    last_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    seen: set[tuple[datetime, Decimal]] = field(default_factory=set)


class TickBars:
    """The bars of one symbol. Not for several threads at once."""

    def __init__(self, symbol: str, interval_seconds: int) -> None:
        self.symbol, self.interval_seconds = symbol, interval_seconds
        self.late = 0
        self._interval = timedelta(seconds=interval_seconds)
        self._forming: _Forming | None = None
        self._closed_until: datetime | None = None
        self._listening_since: datetime | None = None
        self._heard_until: datetime | None = None

    def listen(self, at: datetime) -> None:
        """The stream listens from this moment on: what it sees from here is unbroken until `broke`."""
        if self._closed_until is not None and at < self._closed_until:  # the broker's clock was put back
            self._forming = self._closed_until = None
        self._listening_since = self._heard_until = at

    def broke(self) -> None:
        """The stream was cut, or may have been: the bar that is forming will not be whole."""
        self._listening_since = None

    def tick(self, at: datetime, mid: Decimal) -> list[ClosedBar]:
        """Take a price in; returns the bar that it closes, if any."""
        if self._closed_until is not None and at < self._closed_until:
            self.late += 1
            return []
        self._hear(at)
        start = slot_of(at, self.interval_seconds)
        closed = self._close() if self._forming is not None and start > self._forming.start else []
        self._closed_until = start
        forming = self._forming
        if forming is None:
            self._forming = _Forming(start, at, at, mid, mid, mid, mid, {(at, mid)})
            return closed
        if (at, mid) in forming.seen:
            return closed
        forming.seen.add((at, mid))
        forming.high, forming.low = max(forming.high, mid), min(forming.low, mid)
        if at < forming.first_at:
            forming.first_at, forming.open = at, mid
        if at >= forming.last_at:
            forming.last_at, forming.close = at, mid
        return closed

    def hear(self, at: datetime) -> list[ClosedBar]:
        """The stream said something else (a heartbeat, another instrument's price) at the broker's moment `at`."""
        self._hear(at)
        over = self._forming is not None and at >= self._forming.start + self._interval + SETTLING
        return self._close() if over else []

    def timer(self, now: datetime) -> list[ClosedBar]:
        """Time passes on the account's clock: close what is over, if the stream was heard after it.

        Without that nobody knows whether a tick is missing: the bar waits, and what comes next decides.
        """
        if self._forming is None or self._heard_until is None:
            return []
        end = self._forming.start + self._interval
        return self._close() if self._heard_until >= end and now >= end + SETTLING else []

    def _hear(self, at: datetime) -> None:
        if self._heard_until is None or at > self._heard_until:
            self._heard_until = at

    def _close(self) -> list[ClosedBar]:
        forming = self._forming
        assert forming is not None
        end = forming.start + self._interval
        self._forming, self._closed_until = None, end
        heard = self._heard_until is not None and self._heard_until >= end
        listened = self._listening_since is not None and self._listening_since <= forming.start
        bar = Bar(
            symbol=self.symbol,
            start=forming.start,
            interval_seconds=self.interval_seconds,
            open=forming.open,
            high=forming.high,
            low=forming.low,
            close=forming.close,
            volume=Decimal(len(forming.seen)),
        )
        return [ClosedBar(bar, whole=heard and listened)]


def slot_of(at: datetime, interval_seconds: int) -> datetime:
    """The start of the interval that a moment is in, on the grid from midnight UTC."""
    epoch = int(at.timestamp() // 1)
    return datetime.fromtimestamp(epoch - epoch % interval_seconds, UTC)
