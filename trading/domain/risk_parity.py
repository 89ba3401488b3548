"""Risk parity: how the risk of a trade is weighted by symbol.

What always holds: weights are shares of one (they add up to 1 over the symbols that run), each between `floor` and
`cap` as far as that is possible; a symbol without a measured volatility takes the mean of the others, and with none
measured all are equal: a missing number never blocks a trade.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import Decimal

from trading.domain.money import ONE, ZERO

SHARE_STEP = Decimal("0.000001")


def shares(volatility: Mapping[str, Decimal | None], *, floor: Decimal, cap: Decimal) -> dict[str, Decimal]:
    """Shares proportional to 1/volatility, clamped to [floor, cap] and renormalised.

    `volatility` is the mean ATR in pips of each symbol over the lookback, None where it is not known.
    """
    names = sorted(volatility)
    if not names:
        return {}
    known = {name: value for name, value in volatility.items() if value is not None and value > 0}
    inverse = {name: ONE / value for name, value in known.items()}
    filler = sum(inverse.values(), ZERO) / len(inverse) if inverse else ONE
    raw = {name: inverse.get(name, filler) for name in names}
    total = sum(raw.values(), ZERO)
    clamped = {name: min(max(value / total, floor), cap) for name, value in raw.items()}
    after = sum(clamped.values(), ZERO)
    return {name: (value / after).quantize(SHARE_STEP) for name, value in clamped.items()}


class DailyVolatility:
    """The mean ATR in pips of one symbol over its last `days` finished trading days, session hours only."""

    def __init__(self, days: int) -> None:
        self._finished: deque[Decimal] = deque(maxlen=days)
        self._sum = ZERO
        self._count = 0

    def add(self, atr_pips: Decimal) -> None:
        """One bar's ATR, in pips."""
        self._sum += atr_pips
        self._count += 1

    def end_day(self) -> None:
        """The day is over: what it came to counts from now on. A day without bars counts for nothing."""
        if self._count:
            self._finished.append(self._sum / self._count)
        self._sum, self._count = ZERO, 0

    @property
    def mean(self) -> Decimal | None:
        """Over the finished days there are; None before the first."""
        return sum(self._finished, ZERO) / len(self._finished) if self._finished else None
