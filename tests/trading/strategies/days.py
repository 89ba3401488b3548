"""Daily bars for the tests of swing strategies: a share that rises quietly, and a seeded one."""

import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from trading.domain.bars import DAY_SECONDS, Bar

NEW_YORK = "America/New_York"
FIRST_DAY = date(2012, 1, 2)
CENT = Decimal("0.01")


def midnight(day: date) -> datetime:
    """When a day's bar starts."""
    return datetime.combine(day, time(0), ZoneInfo(NEW_YORK)).astimezone(UTC)


def weekdays(count: int, first: date = FIRST_DAY) -> list[date]:
    """So many days from Monday to Friday."""
    days: list[date] = []
    day = first
    while len(days) < count:
        if day.weekday() < 5:
            days.append(day)
        day += timedelta(days=1)
    return days


def day_bar(day: date, prices: Iterable[Decimal], volume: int = 1000, symbol: str = "SPY") -> Bar:
    """A daily bar from open, high, low, close."""
    opening, high, low, close = prices
    return Bar(symbol, midnight(day), DAY_SECONDS, opening, high, low, close, Decimal(volume))


def rising(count: int, *, start: str = "100.00", step: str = "0.10", symbol: str = "SPY") -> list[Bar]:
    """Bars that close a step higher each day, half a dollar wide on either side, all of one volume."""
    bars, close = [], Decimal(start)
    for day in weekdays(count):
        half = Decimal("0.50")
        bars.append(day_bar(day, (close, close + half, close - half, close), symbol=symbol))
        close += Decimal(step)
    return bars


def then(bars: list[Bar], *closes: str, volume: int = 1000) -> list[Bar]:
    """Days that go on where `bars` end, closing at these prices, a dollar wide around them."""
    days = weekdays(len(bars) + len(closes))[len(bars) :]
    half = Decimal("0.50")
    following = []
    for day, text in zip(days, closes, strict=True):
        close = Decimal(text)
        following.append(day_bar(day, (close, close + half, close - half, close), volume, bars[0].symbol))
    return following


def random_days(seed: int, count: int, symbol: str = "SPY", start: str = "100.00") -> list[Bar]:
    """A random walk that drifts upward, with volumes of its own."""
    chance = random.Random(f"{symbol}{seed}")
    close, bars = Decimal(start), []
    for day in weekdays(count):
        opening = close
        close = max(CENT * 500, opening + CENT * chance.randint(-100, 125))
        high = max(opening, close) + CENT * chance.randint(0, 40)
        low = min(opening, close) - CENT * chance.randint(0, 40)
        bars.append(day_bar(day, (opening, high, low, close), chance.randint(500, 2000), symbol))
    return bars
