"""Bars for engines: a seeded market in which the opening range breaks on most days, and the files it is kept in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from trading.domain.bars import Bar
from trading.domain.instruments import BUILT_IN
from trading.domain.money import plain

FIVE = timedelta(minutes=5)
THURSDAY = datetime(2026, 3, 5, tzinfo=UTC)
# Thursday, Friday and Monday: a weekend lies between.
DAYS = tuple(THURSDAY + timedelta(days=n) for n in (0, 1, 4))
LAST_BAR = timedelta(hours=10, minutes=30)
STARTS = {"EURUSD": Decimal("1.10"), "XAUUSD": Decimal(2000), "GBPUSD": Decimal("1.30")}


# After the breakout: on to the target, back to the stop, or nowhere until the window is over.
AFTERWARDS = {"TP": 4, "SL": -4, "TIME": 0}


def make_bars(symbol: str, *, seed: int = 1, days: Sequence[datetime] = DAYS) -> list[Bar]:
    """Bars from midnight to 10:30 of each day, none on the weekend."""
    rng = random.Random(f"{symbol}{seed}")
    pip = BUILT_IN[symbol].pip_size
    price, bars = STARTS[symbol], []
    ends = [kind for _ in days for kind in rng.sample(sorted(AFTERWARDS), 3)]
    for day, end in zip(days, ends, strict=False):
        way = rng.choice((-1, 1))
        for number in range(int(LAST_BAR / FIVE)):
            at = day + number * FIVE
            close = price + (way * _drift(at - day, end) + Decimal(rng.randint(-1, 1))) * pip
            wick = 8 if at - day == timedelta(hours=7) else 1
            high = max(price, close) + (wick + Decimal(rng.randint(0, 9)) / 10) * pip
            low = min(price, close) - (wick + Decimal(rng.randint(0, 9)) / 10) * pip
            bars.append(Bar(symbol, at, 300, price, high, low, close, Decimal(rng.randint(1, 500))))
            price = close
    return bars


def _drift(clock: timedelta, end: str) -> int:
    """Pips a bar, in the day's direction."""
    if clock < timedelta(hours=5):
        return 0
    if clock <= timedelta(hours=7):
        return 1
    return 4 if clock < timedelta(hours=7, minutes=40) else AFTERWARDS[end]


def bar_line(bar: Bar) -> str:
    """A bar as a line of a file."""
    numbers = ",".join(plain(value) for value in (bar.open, bar.high, bar.low, bar.close, bar.volume))
    return f"{bar.start:%Y-%m-%dT%H:%M:%SZ},{numbers}"


def write_csv(path: Path, bars: Sequence[Bar]) -> Path:
    """A file of bars."""
    path.write_text("ts,open,high,low,close,volume\n" + "\n".join(bar_line(bar) for bar in bars) + "\n")
    return path
