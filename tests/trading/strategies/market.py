"""Bars for the tests of strategies: a seeded market, and days with an opening range made by hand."""

import random
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from tests.trading.domain.making import at, bar
from trading.domain.bars import Bar
from trading.domain.windows import is_trading_bar

FIVE = timedelta(minutes=5)


def random_bars(seed: int, start: str, days: int, price: str = "1.38000") -> list[Bar]:
    """A random walk of five-minute bars over whole days, the weekend left out."""
    chance = random.Random(seed)
    moment, until = at(start), at(start) + timedelta(days=days)
    close = Decimal(price)
    bars = []
    while moment < until:
        if is_trading_bar(moment):
            opening = close
            close = opening + Decimal(chance.randint(-40, 40)) * Decimal("0.00001")
            high = max(opening, close) + Decimal(chance.randint(0, 20)) * Decimal("0.00001")
            low = min(opening, close) - Decimal(chance.randint(0, 20)) * Decimal("0.00001")
            bars.append(bar(moment, f"{opening} {high} {low} {close}"))
        moment += FIVE
    return bars


def rising_until(day: str, until: str, last: str = "1.38000", up: bool = True) -> list[Bar]:
    """Bars from midnight to `until` that rise (or fall) by a tenth of a pip each and close at `last`."""
    moment, end = at(f"{day} 00:00"), at(f"{day} {until}")
    count = int((end - moment) / FIVE)
    step = Decimal("0.00001") * (1 if up else -1)
    bars = []
    for index in range(count):
        close = Decimal(last) - step * (count - 1 - index)
        opening = close - step
        bars.append(bar(moment, f"{opening} {max(opening, close)} {min(opening, close)} {close}"))
        moment += FIVE
    return bars


def following(bars: list[Bar], *prices: str) -> list[Bar]:
    """Bars that go on where `bars` end, from "open high low close" texts."""
    moment: datetime = bars[-1].end
    return [bar(moment + index * FIVE, text) for index, text in enumerate(prices)]


def day_of(item: Bar) -> date:
    """The UTC day of a bar."""
    return item.start.date()


def clock(text: str) -> time:
    """`07:05` as a time of day."""
    return time.fromisoformat(text)
