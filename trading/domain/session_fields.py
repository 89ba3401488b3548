"""The fields of a session file, as validated frozen dataclasses: names, types, bounds and defaults.

What always holds here: a field exists because something reads it; fractions are exact; percentages are percent; R
limits that stop trading are below zero as the file writes them (-5.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from trading.domain.settings_text import STRICT, Clock, Day, EndClock, Flag, Number, Text, Whole, Zone

INTERVALS: Mapping[str, int] = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14400, "1d": 86400}
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

NotBelowZero = Annotated[Number, Field(ge=0)]
AboveZero = Annotated[Number, Field(gt=0)]
BelowZero = Annotated[Number, Field(lt=0)]
Percent = Annotated[Number, Field(gt=0, le=100)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[Whole, Field(ge=1)]
Minutes = Annotated[Whole, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class RiskLimits:
    """Limits of one trading day, and of positions at one time."""

    global_daily_stop_r: BelowZero
    max_open_positions: Count
    max_open_per_symbol: Count
    per_strategy_daily_trades: Count
    per_strategy_daily_stop_r: BelowZero
    per_strategy_daily_win_r: AboveZero


@dataclass(frozen=True, config=STRICT)
class RiskParity:
    """Weights by inverse volatility over `lookback_d` days, each between `floor` and `cap`."""

    enabled: Flag = False
    lookback_d: Count = 20
    floor: Share = Decimal("0.15")
    cap: Share = Decimal("0.60")

    def __post_init__(self) -> None:
        """Refuse bounds that no weight can keep."""
        if self.floor > self.cap:
            raise ValueError("floor must not be above cap")


@dataclass(frozen=True, config=STRICT)
class DrawdownLock:
    """Entries are locked for `cooloff_min` once equity is `trailing_pct` percent below its peak."""

    enabled: Flag = False
    trailing_pct: Percent = Decimal(5)
    cooloff_min: Minutes = 120


@dataclass(frozen=True, config=STRICT)
class NewsGuard:
    """No entries from `pad_before_m` minutes before to `pad_after_m` after events of the calendar at `csv_path`."""

    enabled: Flag = False
    csv_path: Text = ""
    pad_before_m: Minutes = 30
    pad_after_m: Minutes = 30

    def __post_init__(self) -> None:
        """Refuse a guard without a calendar."""
        if self.enabled and not self.csv_path:
            raise ValueError("csv_path must name the calendar when the guard is enabled")


@dataclass(frozen=True, config=STRICT)
class Budget:
    """Money: opening `equity` of the paper account, and risk in percent of equity a day and a trade.

    `per_strategy` gives named strategies their own share of the daily percentage.
    """

    equity: AboveZero
    daily_risk_pct: Percent
    per_trade_risk_pct: Percent
    per_strategy: Mapping[Text, Percent] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a trade that may risk more than the whole day."""
        if self.per_trade_risk_pct > self.daily_risk_pct:
            raise ValueError("per_trade_risk_pct must not be above daily_risk_pct")


@dataclass(frozen=True, config=STRICT)
class Portfolio:
    """A profile: what is traded, at which costs, inside which limits.

    `tz` is the zone of `session_start` and of windows that name none; no window opens on `holidays`.
    """

    symbols: Annotated[tuple[Text, ...], Field(min_length=1)]
    interval: Literal["1m", "5m", "15m", "30m", "1h", "4h", "1d"]
    source: Literal["auto", "csv", "simulator", "oanda", "alpaca", "kite", "twelvedata", "finnhub"]
    venue: Literal["OANDA", "ALPACA", "KITE"]
    session_start: Clock
    risk: RiskLimits
    budget: Budget
    spreads: Mapping[Text, NotBelowZero] = Field(default_factory=dict)
    spread_pips: NotBelowZero | None = None
    commission_per_million: NotBelowZero = Decimal(0)
    warmup_days: Minutes = 3
    tz: Zone = "UTC"
    holidays: tuple[Day, ...] = ()
    status_every_s: Count = 180
    risk_parity: RiskParity = Field(default_factory=RiskParity)
    dd_lock: DrawdownLock = Field(default_factory=DrawdownLock)
    news_guard: NewsGuard = Field(default_factory=NewsGuard)


@dataclass(frozen=True, config=STRICT)
class WindowEntry:
    """A window as the file writes it; `weekdays` are those on which it opens, all when not given.

    `end` may be "24:00"; from "00:00" to "24:00" is all day.
    """

    start: Clock
    end: EndClock
    tz: Zone | None = None
    weekdays: tuple[Weekday, ...] = WEEKDAYS

    @property
    def weekday_numbers(self) -> frozenset[int]:
        """Monday is 0."""
        return frozenset(WEEKDAYS.index(name) for name in self.weekdays)


@dataclass(frozen=True, config=STRICT)
class StrategyEntry:
    """A strategy as the file writes it."""

    name: Text
    windows: tuple[WindowEntry, ...]
    params: dict[Text, Any] = Field(default_factory=dict)
