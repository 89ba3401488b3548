"""Lots first in, first out, as pure functions over one account's one instrument.

What always holds here: open lots all have the same side; a fill against them closes the oldest first and only what
is left opens a new lot (a flip closes everything, then opens the rest); the signed sum of open lots equals the signed
sum of all fills; each closing carries its profit, and with the open cost it adds up to what the fills paid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from trading.domain.broker import Side
from trading.domain.money import ONE, ZERO


@dataclass(frozen=True, slots=True)
class OpenLot:
    """What is still open of one fill. `lot_id` is the caller's name for it, `origin` that of what opened its units."""

    lot_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    origin: str = ""


@dataclass(frozen=True, slots=True)
class LotClosing:
    """A part of a lot that a fill closed. `pnl_quote` is its profit in the instrument's quote currency."""

    lot_id: str
    quantity: Decimal
    open_price: Decimal
    close_price: Decimal
    pnl_quote: Decimal


def apply_fill(
    open_lots: Sequence[OpenLot],
    side: Side,
    quantity: Decimal,
    price: Decimal,
    *,
    lot_id: str = "new",
    multiplier: Decimal = ONE,
) -> tuple[tuple[OpenLot, ...], tuple[LotClosing, ...]]:
    """The lots after a fill, oldest first, and what it closed. `lot_id` names the lot that it may open.

    Raises `ValueError` for a quantity that is not above zero and for open lots of both sides.
    """
    if not quantity.is_finite() or quantity <= 0:
        raise ValueError(f"a fill has a quantity above zero, not {quantity}")
    if len({lot.side for lot in open_lots}) > 1:
        raise ValueError("open lots of both sides cannot be netted first in, first out")
    if not open_lots or open_lots[0].side is side:
        return (*open_lots, OpenLot(lot_id, side, quantity, price)), ()
    remaining = quantity
    kept: list[OpenLot] = []
    closings: list[LotClosing] = []
    for lot in open_lots:
        closed = min(lot.quantity, remaining)
        if closed > 0:
            profit = (price - lot.price) * closed * lot.side.sign * multiplier
            closings.append(LotClosing(lot.lot_id, closed, lot.price, price, profit))
            remaining -= closed
        if closed < lot.quantity:
            kept.append(replace(lot, quantity=lot.quantity - closed))
    if remaining > 0:
        kept.append(OpenLot(lot_id, side, remaining, price))
    return tuple(kept), tuple(closings)


def own_profit(
    side: Side,
    opened: Sequence[tuple[Decimal, Decimal]],
    closed: Sequence[tuple[Decimal, Decimal]],
    *,
    multiplier: Decimal = ONE,
) -> Decimal:
    """What closes of (quantity, price) realise against openings of (quantity, price), each oldest first.

    `side` is that of the openings. What is closed beyond them realises nothing.
    """
    lots: tuple[OpenLot, ...] = tuple(OpenLot("own", side, quantity, price) for quantity, price in opened)
    profit = ZERO
    for quantity, price in closed:
        within = min(quantity, sum((lot.quantity for lot in lots), ZERO))
        if within > 0:
            lots, closings = apply_fill(lots, side.opposite, within, price, multiplier=multiplier)
            profit += sum((closing.pnl_quote for closing in closings), ZERO)
    return profit


def pooled_price(executions: Iterable[tuple[Side, Decimal, Decimal]]) -> Decimal | None:
    """The cost per unit of what is open when costs are averaged instead of matched; None when flat.

    `executions` are (side, quantity, price) in their order. Brokers of shares count so within a day: a reduction
    leaves the average, an addition moves it, and a flip begins anew.
    """
    held, average = ZERO, ZERO
    for side, quantity, price in executions:
        after = held + side.sign * quantity
        if held * side.sign >= 0:
            average = (average * abs(held) + price * quantity) / abs(after)
        elif after * held < 0:
            average = price
        held = after
    return average if held else None


def net_quantity(open_lots: Sequence[OpenLot]) -> Decimal:
    """The signed quantity of the lots: above zero is long."""
    return sum((lot.quantity * lot.side.sign for lot in open_lots), ZERO)


def average_price(open_lots: Sequence[OpenLot]) -> Decimal | None:
    """The cost per unit of what is open, weighted by quantity; None when flat."""
    quantity = sum((lot.quantity for lot in open_lots), ZERO)
    if quantity == 0:
        return None
    return sum((lot.quantity * lot.price for lot in open_lots), ZERO) / quantity
