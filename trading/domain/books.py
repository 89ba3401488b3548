"""Lots first in, first out, as pure functions over one account's one instrument.

What always holds here: open lots all have the same side; a fill against them closes the oldest first and only what
is left opens a new lot (a flip closes everything, then opens the rest); the signed sum of open lots equals the signed
sum of all fills; each closing carries its profit, and with the open cost it adds up to what the fills paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from trading.domain.broker import Side
from trading.domain.money import ONE, ZERO


@dataclass(frozen=True, slots=True)
class OpenLot:
    """What is still open of one fill. `lot_id` is the caller's name for it."""

    lot_id: str
    side: Side
    quantity: Decimal
    price: Decimal


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


def net_quantity(open_lots: Sequence[OpenLot]) -> Decimal:
    """The signed quantity of the lots: above zero is long."""
    return sum((lot.quantity * lot.side.sign for lot in open_lots), ZERO)


def average_price(open_lots: Sequence[OpenLot]) -> Decimal | None:
    """The cost per unit of what is open, weighted by quantity; None when flat."""
    quantity = sum((lot.quantity for lot in open_lots), ZERO)
    if quantity == 0:
        return None
    return sum((lot.quantity * lot.price for lot in open_lots), ZERO) / quantity
