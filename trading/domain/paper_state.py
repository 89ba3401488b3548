"""What the paper book remembers, and when a bar reaches a price.

What always holds here: prices are mids, costs come later; a bar that opens beyond a level is filled at its open, else
a touch of the level by the bar's low or high fills at the level; of a stop and a target in one bar the stop is first,
because the bar does not tell the order and the worse one is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from trading.domain.bars import Bar
from trading.domain.broker import OrderRequest, OrderType, ProtectiveLeg, Side


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """An open trade: what is left of one entry order. `price` is after costs.

    `filled_at` is the moment from which bars count for its bracket: bars that start there or later.
    """

    client_id: str
    instrument: str
    side: Side
    quantity: Decimal
    price: Decimal
    filled_at: datetime
    stop_loss: ProtectiveLeg | None
    take_profit: ProtectiveLeg | None
    label: str = ""

    @property
    def trade_id(self) -> str:
        """The broker's name for the trade."""
        return f"{self.client_id}:trade"

    @property
    def legs(self) -> tuple[ProtectiveLeg, ...]:
        """The bracket's live orders, the stop first."""
        return tuple(leg for leg in (self.stop_loss, self.take_profit) if leg is not None)

    def without(self, leg: ProtectiveLeg) -> OpenEntry:
        """The same trade with one leg taken away."""
        if leg == self.stop_loss:
            return replace(self, stop_loss=None)
        return replace(self, take_profit=None)


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """A resting order; `reference` is the mid when it was submitted, `closes` the entry that it may reduce."""

    request: OrderRequest
    submitted_at: datetime
    reference: Decimal
    closes: str = ""


def protective_fill(entry: OpenEntry, bar: Bar) -> tuple[ProtectiveLeg, Decimal, str] | None:
    """The leg that a bar fills, at which mid, and why; None when it reaches neither."""
    long = entry.side is Side.BUY
    stop, target = entry.stop_loss, entry.take_profit
    # A long trade's stop lies below (reached by falling) and its target above; a short one's the other way.
    if stop is not None and _beyond(bar.open, stop.price, upward=not long):
        return stop, bar.open, "STOP_LOSS"
    if target is not None and _beyond(bar.open, target.price, upward=long):
        return target, bar.open, "TAKE_PROFIT"
    if stop is not None and _touched(bar, stop.price, upward=not long):
        return stop, stop.price, "STOP_LOSS"
    if target is not None and _touched(bar, target.price, upward=long):
        return target, target.price, "TAKE_PROFIT"
    return None


def gap_or_touch(order: WorkingOrder, bar: Bar) -> Decimal | None:
    """The mid at which a bar fills a resting order; None when it does not reach it."""
    price = order.request.price
    if price is None:
        return None
    buying = order.request.side is Side.BUY
    if order.request.type is OrderType.STOP:
        upward = buying
    elif order.request.type is OrderType.LIMIT:
        upward = not buying
    else:
        upward = price > order.reference
    if _beyond(bar.open, price, upward=upward):
        return bar.open
    return price if _touched(bar, price, upward=upward) else None


def _beyond(opening: Decimal, level: Decimal, *, upward: bool) -> bool:
    return opening >= level if upward else opening <= level


def _touched(bar: Bar, level: Decimal, *, upward: bool) -> bool:
    return bar.high >= level if upward else bar.low <= level
