"""How large a trade may be, and what it made in units of its risk.

What always holds here: a size never risks more than the budget it was given: it is cut down to whole lots, to the
largest order and, where a position is paid for, to the share of the account that it may take; what does not reach the
smallest order is zero with a reason, never rounded up. Percentages are percent (0.5 means half a percent); the value of
a price step is converted into the account's currency by a rate that the caller names; without a rate there is no size.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trading.domain.instruments import InstrumentSpec
from trading.domain.money import HUNDRED, ONE, STORED_STEP, ZERO, floor_to_step, plain

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Size:
    """`units` to trade (zero: none, `reason` says why) and what they lose at the stop, in account currency."""

    units: Decimal
    risk_amount: Decimal
    reason: str


def position_size(
    equity: Decimal,
    risk_pct: Decimal,
    weight: Decimal,
    entry: Decimal,
    stop: Decimal,
    spec: InstrumentSpec,
    quote_to_account_rate: Decimal | None,
    *,
    max_value: Decimal | None = None,
) -> Size:
    """floor to lot( equity × risk % × weight / (|entry - stop| × multiplier × rate) ).

    `quote_to_account_rate` is what one unit of the quote currency is worth in the account's; None when it is not
    known, which gives no size. `max_value` is the most that the position may be worth, in account currency.
    """
    if quote_to_account_rate is None:
        return _none(f"there is no rate from {spec.quote} to the account's currency, so the risk cannot be computed")
    numbers = (equity, risk_pct, weight, entry, stop, quote_to_account_rate, ZERO if max_value is None else max_value)
    if not all(number.is_finite() for number in numbers):
        return _none("a number that is needed is not finite")
    distance = abs(entry - stop)
    if distance == 0:
        return _none("the stop lies on the entry, so the risk of one unit is zero")
    budget = equity * risk_pct / HUNDRED * weight
    if budget <= 0:
        return _none(f"the risk budget is {plain(budget)}")
    if quote_to_account_rate <= 0:
        return _none(f"the rate from {spec.quote} is {plain(quote_to_account_rate)}")
    risk_per_unit = distance * spec.multiplier * quote_to_account_rate
    affordable = budget / risk_per_unit
    most, why = spec.max_units, f"cut to the largest order of {plain(spec.max_units)}"
    if max_value is not None:
        room = max_value / (entry * spec.multiplier * quote_to_account_rate)
        if room < most:
            most, why = room, f"cut to a position worth {plain(max_value.quantize(CENT))}"
    units = floor_to_step(min(affordable, most), spec.lot_size)
    smallest = max(spec.min_units, spec.lot_size)
    if units < smallest:
        limit = f"the risk budget of {plain(budget)}" if affordable <= most else why.removeprefix("cut to ")
        wanted = plain(floor_to_step(min(affordable, most), Decimal("0.000001")))
        return _none(f"{limit} allows {wanted} units, the smallest order is {smallest:f}")
    reason = why if affordable > most else ""
    return Size(units, risk_amount(units, entry, stop, spec, quote_to_account_rate), reason)


def risk_amount(units: Decimal, entry: Decimal, stop: Decimal, spec: InstrumentSpec, rate: Decimal) -> Decimal:
    """What `units` lose between entry and stop, in account currency, zero or above."""
    return (units * abs(entry - stop) * spec.multiplier * rate).quantize(STORED_STEP)


def r_multiple(
    pnl: Decimal,
    entry_after_costs: Decimal,
    initial_stop: Decimal,
    size: Decimal,
    rate: Decimal,
    multiplier: Decimal = ONE,
) -> Decimal:
    """Profit in units of the risk taken: pnl / (|entry after costs - initial stop| × size), to 12 decimals.

    `pnl` is in account currency, `rate` converts the quote currency into it. The initial stop counts for ever: moving
    the stop later changes no denominator. Raises `ValueError` where there was no risk to divide by.
    """
    risk = abs(entry_after_costs - initial_stop) * size * multiplier * rate
    if risk <= 0:
        raise ValueError("R is not defined for a trade whose entry lies on its stop, or that has no size")
    return (pnl / risk).quantize(STORED_STEP)


def _none(reason: str) -> Size:
    return Size(ZERO, ZERO, reason)
