"""Session files as tests need them, and signals as a strategy gives them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from trading.domain.broker import OrderType, Side
from trading.domain.instruments import BUILT_IN
from trading.domain.money import round_to_step
from trading.domain.session import SessionConfig, load_session
from trading.services.decisions import MarketView
from trading.strategies.base import SignalIntent

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
TEXT = """
portfolio:
  symbols: [{symbols}]
  interval: 5m
  source: auto
  venue: OANDA
  spreads: {{{spreads}}}
  warmup_days: 1
  session_start: "07:00"
  status_every_s: 180
  risk:
    global_daily_stop_r: -5.0
    max_open_positions: {max_open_positions}
    max_open_per_symbol: {max_open_per_symbol}
    per_strategy_daily_trades: {trades}
    per_strategy_daily_stop_r: -5.0
    per_strategy_daily_win_r: 60.0
  risk_parity: {{enabled: false, lookback_d: 20, floor: 0.15, cap: 0.60}}
  dd_lock: {{enabled: {dd_lock}, trailing_pct: 5.0, cooloff_min: 120}}
  news_guard: {{enabled: false, csv_path: news.csv, pad_before_m: 30, pad_after_m: 30}}
  budget: {{equity: {equity}, daily_risk_pct: {daily_risk_pct}, per_trade_risk_pct: {risk_pct}, per_strategy: {{}}}}

strategies:
  - name: orb
    params: {{retest: false, filter_min_or_pips: 2}}
    windows: [{{start: "07:05", end: "{window_end}"}}]
"""


def session_text(symbols: tuple[str, ...] = ("EURUSD", "XAUUSD"), **changes: Any) -> str:
    """The text of a session file."""
    values: dict[str, Any] = {
        "max_open_positions": 10,
        "max_open_per_symbol": 1,
        "trades": 100,
        "dd_lock": "true",
        "equity": 100000,
        "daily_risk_pct": 100,
        "risk_pct": 0.5,
        "window_end": "10:00",
        **changes,
    }
    spreads = ", ".join(f"{symbol}: 1.0" for symbol in symbols)
    return TEXT.format(symbols=", ".join(symbols), spreads=spreads, **values)


def make_session(symbols: tuple[str, ...] = ("EURUSD", "XAUUSD"), **changes: Any) -> SessionConfig:
    """The session of such a file."""
    return load_session(session_text(symbols, **changes))


def make_intent(
    symbol: str = "EURUSD", *, minutes: int = 5, side: Side = Side.BUY, day: datetime = MONDAY
) -> SignalIntent:
    """A signal of the bar that starts `minutes` after 07:00."""
    start = day + timedelta(hours=7, minutes=minutes)
    step = BUILT_IN[symbol].tick_size
    entry, distance = Decimal("1.1"), round_to_step(Decimal("0.01"), step)
    entry = round_to_step(entry, step)
    return SignalIntent(
        strategy="orb",
        symbol=symbol,
        side=side,
        order_type=OrderType.MARKET,
        entry=entry,
        stop=entry - side.sign * distance,
        target=entry + side.sign * distance,
        bar_start=start,
        bar_end=start + timedelta(minutes=5),
        features={"range_high": "1.09"},
        reason="a test",
    )


def make_view(intent: SignalIntent, **changes: Any) -> MarketView:
    """What the engine knows when everything is well."""
    known: dict[str, Any] = {
        "now": intent.bar_end,
        "last_price": intent.entry,
        "price_at": intent.bar_end,
        "in_hole": False,
        "indicators_ready": True,
        "bar_had_position": False,
        "equity": Decimal(100000),
        "weight": Decimal(1),
        "quote_rate": Decimal(1),
        "previous_close": intent.entry,
        "open_pnl": Decimal(0),
        "cash": Decimal(100000),
        **changes,
    }
    return MarketView(**known)
