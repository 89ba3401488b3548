"""What a strategy is: closed bars in, at most one signal a trading day out.

What always holds here: a strategy sees closed bars only, in order, and keeps what it needs in constant space, so that
a replay and a live run of the same bars give the same signals; it decides nothing about money (gates and sizes come
after it); bars of any break in the data start its indicators afresh, and after a hole it stays silent until they are
filled again. What it holds is not its own state: it is told, when it is asked whether to leave.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from trading.domain.bars import Bar, follows
from trading.domain.broker import OrderType, Side
from trading.domain.instruments import InstrumentSpec
from trading.domain.windows import Window, in_any_window


@dataclass(frozen=True, slots=True)
class SignalIntent:
    """What a strategy wants: an order with its stop and target, and what it saw.

    `entry` is the mid that the order aims at (for MARKET the signal bar's close), before costs. `features` are for
    people and for later study, as text; what a strategy believes of its own position is among them, named as
    `position_features` says, and is checked. The order may be placed from `bar_end` on. A strategy that rates its
    signals gives a `confidence` from 1 to 5, a `score` from 0 to 1, and what each part of it scored.
    """

    strategy: str
    symbol: str
    side: Side
    order_type: OrderType
    entry: Decimal
    stop: Decimal
    target: Decimal
    bar_start: datetime
    bar_end: datetime
    features: dict[str, str]
    reason: str
    confidence: int | None = None
    score: Decimal | None = None
    feature_scores: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Held:
    """A position of the strategy's own: its entry after costs, and the close of the bar that signalled it."""

    side: Side
    entry: Decimal
    since: datetime


class Strategy(ABC):
    """Base of all strategies, the user's own included.

    A subclass names itself, names its parameters (`Params`, a dataclass whose defaults are the strategy's own) and the
    tuned ones per (symbol, interval), and implements `evaluate`.
    """

    name: ClassVar[str]
    Params: ClassVar[type]
    TUNED: ClassVar[Mapping[tuple[str, str], Mapping[str, Any]]] = {}
    # What an exit that the strategy decides itself is called in the books.
    exit_type: ClassVar[str] = "STRATEGY"

    def __init__(
        self,
        *,
        symbol: str,
        params: Any,
        spec: InstrumentSpec,
        session_start: time,
        windows: Sequence[Window],
        tz: str = "UTC",
    ) -> None:
        self.symbol = symbol
        self.spec = spec
        self.session_start = session_start
        self.windows = tuple(windows)
        self.counters: Counter[str] = Counter()
        self._configure(params)
        self._zone = ZoneInfo(tz)
        self._last: Bar | None = None
        self._day: date | None = None
        self._signalled = False

    @abstractmethod
    def _configure(self, params: Any) -> None:
        """Take the parameters (an instance of `Params`) and make the indicators."""

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether every indicator has seen enough bars since the last break in the data."""

    @abstractmethod
    def evaluate(self, bar: Bar) -> SignalIntent | None:
        """Look at the next closed bar. Called for every bar, also outside the windows and after the day's signal."""

    def exit_reason(self, bar: Bar, held: Held) -> str:
        """Why to leave a position at the close of this bar, which `on_bar` has just taken in; "" to stay.

        Asked at each close of its symbol while the position is open. Stop and target rest at the broker meanwhile.
        """
        return ""

    @abstractmethod
    def begin_day(self) -> None:
        """Forget what belongs to the trading day that ended."""

    @abstractmethod
    def restart_indicators(self) -> None:
        """Forget every indicator: the next bar does not follow the last one."""

    def on_bar(self, bar: Bar) -> SignalIntent | None:
        """Take in the next closed bar; the signal that it gives, if any, the first of its trading day.

        Raises `ValueError` for a bar of another symbol and for one that does not come after the last.
        """
        if bar.symbol != self.symbol:
            raise ValueError(f"{self.name} on {self.symbol} was given a bar of {bar.symbol}")
        if self._last is not None:
            if bar.start <= self._last.start or (bar.start < self._last.end and not bar.is_daily):
                raise ValueError(f"{self.name} on {self.symbol}: the bar of {bar.start.isoformat()} is not a new one")
            if not follows(self._last, bar):
                self.restart_indicators()
        self._last = bar
        day = self.local_day(bar)
        if day != self._day:
            self._day = day
            self._signalled = False
            self.begin_day()
        intent = self.evaluate(bar)
        if intent is None or self._signalled:
            return None
        self._signalled = True
        self.counters["signals"] += 1
        return intent

    def reset_after_hole(self) -> None:
        """Bars are missing where this strategy looks: fill the indicators again before the next signal."""
        self.counters["holes"] += 1
        self.restart_indicators()

    def local_time(self, bar: Bar) -> time:
        """The bar's start on the clock of the strategy's zone."""
        return bar.start.astimezone(self._zone).time()

    def local_day(self, bar: Bar) -> date:
        """The trading day that the bar starts on: the date in the strategy's zone."""
        return bar.start.astimezone(self._zone).date()

    def in_window(self, bar: Bar) -> bool:
        """Whether the bar starts in one of the strategy's windows."""
        return in_any_window(self.windows, bar.start)
