"""Splits: what units and prices of before a split are in those of after it.

What always holds here: a split changes neither what units cost together nor what a close of them realises (up to the
rounding of what the books store); it changes the executions of a trade that held something when it happened, and of no
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from trading.domain.money import STORED_STEP, ZERO, round_to_step

# The largest number on either side of a ratio that is taken for a split: 3:2, 4:1, 1:50.
LARGEST = 100


@dataclass(frozen=True, slots=True)
class Execution:
    """A part of a trade's entry or exit; `price` in the quote currency."""

    at: datetime
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class Split:
    """At `at` the `before` units that an account held became `after`."""

    at: datetime
    before: Decimal
    after: Decimal

    def units(self, quantity: Decimal) -> Decimal:
        """A quantity of before, in units of after."""
        return round_to_step(quantity * self.after / self.before, STORED_STEP)

    def price(self, price: Decimal) -> Decimal:
        """A price of before, for a unit of after."""
        return round_to_step(price * self.before / self.after, STORED_STEP)


@dataclass(frozen=True, slots=True)
class TradeUnits:
    """A trade's executions in the units it has now, and the splits that it went through."""

    opened: tuple[Execution, ...]
    closed: tuple[Execution, ...]
    splits: tuple[Split, ...]

    def price(self, price: Decimal) -> Decimal:
        """A price from the trade's beginning (its stop), for a unit of now."""
        for split in self.splits:
            price = split.price(price)
        return price


def in_units_of_now(opened: Sequence[Execution], closed: Sequence[Execution], splits: Sequence[Split]) -> TradeUnits:
    """The executions of a trade after every split that came while it held something."""
    before, after, passed = list(opened), list(closed), []
    for split in sorted(splits, key=lambda each: each.at):
        if _held(before, split.at) > _held(after, split.at):
            before, after = _scaled(before, split), _scaled(after, split)
            passed.append(split)
    return TradeUnits(tuple(before), tuple(after), tuple(passed))


def split_ratio(
    *, before: Decimal, after: Decimal, price_before: Decimal, price_after: Decimal, tolerance: Decimal
) -> Fraction | None:
    """How many new units one old unit became, when two holdings look like before and after a split, else None.

    They are on the same side, the ratio is one of small whole numbers, and a new unit costs what the old cost says, up
    to `tolerance` (brokers round their averages).
    """
    if before * after <= 0 or before == after:
        return None
    ratio = Fraction(after) / Fraction(before)
    if max(ratio.numerator, ratio.denominator) > LARGEST:
        return None
    return ratio if abs(price_before * before / after - price_after) <= tolerance else None


def _held(executions: Sequence[Execution], moment: datetime) -> Decimal:
    return sum((each.quantity for each in executions if each.at < moment), ZERO)


def _scaled(executions: Sequence[Execution], split: Split) -> list[Execution]:
    return [
        replace(each, quantity=split.units(each.quantity), price=split.price(each.price))
        if each.at < split.at
        else each
        for each in executions
    ]
