"""Bars drawn by hand: four days on which the opening range strategy wins, loses, leaves by time and stays in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

FIRST_DAY = datetime(2024, 3, 4, tzinfo=UTC)
SESSION = """
portfolio:
  symbols: [EURUSD, USDJPY]
  interval: 5m
  source: auto
  venue: OANDA
  spreads: {EURUSD: 0.6, USDJPY: 0.6}
  warmup_days: 3
  status_every_s: 180
  session_start: "07:00"
  risk:
    global_daily_stop_r: -5.0
    max_open_positions: 1
    max_open_per_symbol: 1
    per_strategy_daily_trades: 3
    per_strategy_daily_stop_r: -2.0
    per_strategy_daily_win_r: 6.0
  budget: {equity: 100000, daily_risk_pct: 2.0, per_trade_risk_pct: 0.5}

strategies:
  - name: orb
    params: {retest: false, filter_min_or_pips: 2}
    windows: [{start: "07:05", end: "10:00"}]
"""
BAR = timedelta(minutes=5)
# What each day does after the breakout: pips a bar, or no breakout at all.
Days = tuple[tuple[str, Decimal, Decimal, tuple[str, ...]], ...]
PAIR_DAYS: Days = (
    ("EURUSD", Decimal("0.0001"), Decimal("1.1"), ("up", "none", "flat", "ends")),
    ("USDJPY", Decimal("0.01"), Decimal("150"), ("up", "down", "none", "ends quietly")),
)
# A share gains one day, loses on the next, and is held at the end.
SHARE_DAYS: Days = (("AAPL", Decimal("0.1"), Decimal("150"), ("up", "down", "ends")),)
SHARES = SESSION.replace("symbols: [EURUSD, USDJPY]", "symbols: [AAPL]").replace(
    "{EURUSD: 0.6, USDJPY: 0.6}", "{AAPL: 0.6}"
)


def write_session(folder: Path, text: str = SESSION) -> Path:
    """The session file of the world."""
    path = folder / "sessions.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def write_bars(folder: Path, drawn: Days = PAIR_DAYS) -> dict[str, Path]:
    """A file of bars for each symbol."""
    made = {}
    for symbol, pip, start, days in drawn:
        path = folder / f"{symbol}.csv"
        path.write_text("ts,open,high,low,close,volume\n" + "\n".join(_lines(pip, start, days)) + "\n")
        made[symbol] = path
    return made


def _lines(pip: Decimal, start: Decimal, days: tuple[str, ...]) -> list[str]:
    price, lines = start, []
    for number, kind in enumerate(days):
        day = FIRST_DAY + timedelta(days=number)
        for index in range(288):
            at = day + index * BAR
            clock = at.strftime("%H:%M")
            if kind.startswith("ends") and clock > "07:15":
                return lines
            step = _step(kind, clock)
            close = price + step * pip
            high, low = max(price, close) + pip / 5, min(price, close) - pip / 5
            if clock == "07:00":  # the opening range
                high, low = price + (6 if kind in ("up", "down", "flat", "ends") else 1) * pip, price - pip / 5
            lines.append(f"{at:%Y-%m-%dT%H:%M:%SZ},{price},{high},{low},{close},0")
            price = close
    return lines


def _step(kind: str, clock: str) -> Decimal:
    if clock < "07:00":
        return Decimal("0.1")
    if clock == "07:00" or kind in ("none", "ends quietly"):
        return Decimal(0) if clock != "07:00" else Decimal("0.5")
    if clock == "07:05":
        return Decimal(10)  # the breakout
    after = {"up": Decimal(3), "down": Decimal(-3)}
    return after.get(kind, Decimal(0)) if clock < "08:30" else Decimal(0)
