"""What the risk gates look at, and what they answer.

What always holds here: plain values only; None in a `GateContext` means "not known", and so does a number that is
not finite; a `Verdict` carries every gate's answer, so a rejected signal can be explained later from it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from trading.domain.broker import OrderType, Side
from trading.domain.instruments import InstrumentSpec
from trading.domain.session_fields import RiskLimits
from trading.domain.windows import Window, is_trading_bar


class TradingState(StrEnum):
    """What an account (or strategy, or instrument) may do: the strictest live restriction."""

    OPEN = "OPEN"
    REDUCE_ONLY = "REDUCE_ONLY"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateContext:
    """Everything that decides about one signal. None means "not known" and rejects wherever it is needed.

    Percentages are percent of equity; amounts are in account currency; R figures are realised R of the account's
    trading day; `*_today` figures are of the day that `bar_start` belongs to.
    """

    strategy: str
    symbol: str
    side: Side
    order_type: OrderType
    entry: Decimal
    stop: Decimal
    target: Decimal
    bar_start: datetime
    # Trading state, and the reasons of the restrictions behind it.
    trading_state: TradingState | None
    halt_reasons: tuple[str, ...] = ()
    # When: windows of the strategy on this symbol.
    windows: tuple[Window, ...]
    is_trading: Callable[[datetime], bool] = field(default=is_trading_bar)
    # Drawdown lock.
    drawdown_lock_enabled: bool
    drawdown_locked: bool | None
    drawdown_pct: Decimal | None = None
    cooloff_until: datetime | None = None
    # News guard: the events whose padding holds now; None when there is no calendar to look at.
    news_guard_enabled: bool
    news_events: tuple[str, ...] | None
    # Data.
    indicators_ready: bool | None
    in_hole: bool | None
    price_at: datetime | None
    now: datetime
    price_age_limit: timedelta
    # Repetition and company. With `one_entry_per_symbol` the entries are the symbol's, of any strategy and direction.
    entries_today_this_way: int | None
    one_entry_per_symbol: bool
    bar_had_position: bool | None
    external_position: bool | None
    pending_order: bool | None
    # The day.
    limits: RiskLimits
    account_r_today: Decimal | None
    strategy_trades_today: int | None
    strategy_r_today: Decimal | None
    # Realised today and open now, in account currency.
    day_pnl: Decimal | None
    max_daily_loss_pct: Decimal
    trades_today: int | None
    max_trades_per_day: int
    # Price and size. `previous_close` is that of the bar before the signal's; `max_allocation` the share of equity that
    # a position may be worth if it is paid for.
    spec: InstrumentSpec
    last_price: Decimal | None
    previous_close: Decimal | None
    equity: Decimal | None
    per_trade_risk_pct: Decimal
    weight: Decimal | None
    quote_to_account_rate: Decimal | None
    max_allocation: Decimal
    # Caps.
    max_risk_per_trade_pct: Decimal
    daily_risk_pct: Decimal
    daily_risk_used_pct: Decimal | None
    max_heat_pct: Decimal
    heat_pct: Decimal | None
    max_symbol_risk_pct: Decimal
    symbol_risk_pct: Decimal | None
    open_positions: int | None
    open_on_symbol: int | None
    # What the account can still pay with, in its currency.
    available_cash: Decimal | None
    # Why what the strategy believes of its own position cannot be right; "" where it agrees or says nothing of it.
    position_fault: str = ""


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one gate said, with the numbers it looked at as plain text."""

    name: str
    passed: bool
    reason: str
    numbers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome. `units` and the risk figures are zero unless approved; heat is percent of equity."""

    approved: bool
    gates: tuple[GateResult, ...]
    units: Decimal
    risk_amount: Decimal
    risk_pct: Decimal
    heat_before: Decimal | None
    heat_after: Decimal | None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was rejected: "gate: reason" of each gate that failed."""
        return tuple(f"{gate.name}: {gate.reason}" for gate in self.gates if not gate.passed)
