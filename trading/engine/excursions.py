"""How far open trades go either way, seen in the bars that pass over them.

What always holds: only a bar that lies wholly within a trade's life counts, because a bar does not tell what came
first in it; the moments of entry and exit count by their fills. Bars are mids: what a trade could be left at is half
the spread worse. A second pass over the same bars keeps nothing new.
"""

from __future__ import annotations

from decimal import Decimal

from trading.domain.bars import Bar
from trading.domain.broker import Side
from trading.domain.money import plain
from trading.models import Account, Decision
from trading.services.excursions import keep_extremes, marked_range


class Excursions:
    """The range of prices that each open trade has seen so far."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], tuple[Decimal, Decimal]] = {}

    def see(self, bar: Bar, account: Account, decision: Decision, *, entry: Decimal, half_spread: Decimal) -> None:
        """Let a bar pass over a trade that was open from its beginning to its end; `entry` is its entry price."""
        long = Side(decision.signal.side) is Side.BUY
        shift = -half_spread if long else half_spread
        low, high = bar.low + shift, bar.high + shift
        lowest, highest = self._range(account, decision, entry)
        beyond = [price for price, is_new in ((low, low < lowest), (high, high > highest)) if is_new]
        if beyond:
            keep_extremes(
                account=account,
                decision=decision,
                prices=beyond,
                at=bar.end,
                source=f"{'bid' if long else 'ask'} of a {bar.interval_seconds} s bar: its mid {plain(shift)}",
            )
            self._seen[account.pk, decision.pk] = (min(low, lowest), max(high, highest))

    def _range(self, account: Account, decision: Decision, entry: Decimal) -> tuple[Decimal, Decimal]:
        key = (account.pk, decision.pk)
        if key not in self._seen:
            lowest, highest = marked_range(account, decision)
            self._seen[key] = (
                entry if lowest is None else min(entry, lowest),
                entry if highest is None else max(entry, highest),
            )
        return self._seen[key]
