"""Chasing: where a limit entry that the market has left behind should rest now. Pure functions.

What always holds here: a price moves towards the market only, never back; never further from the price that was decided
on than the ticks that its size and risk were measured with; and it is always on the tick, rounded to the side that pays
less or gets more.
"""

from __future__ import annotations

from decimal import Decimal

from trading.domain.broker import Side
from trading.domain.money import floor_to_step


def furthest(side: Side, decided: Decimal, *, tick: Decimal, most_ticks: int) -> Decimal:
    """The worst price at which an entry that was decided at `decided` may ever rest."""
    return decided + side.sign * most_ticks * tick


def next_price(
    side: Side, *, decided: Decimal, resting: Decimal, market: Decimal, tick: Decimal, most_ticks: int
) -> Decimal | None:
    """The price to which the order moves; None when it stays. `market` is what the other side asks, or bids, now."""
    if not (market.is_finite() and market > 0):
        return None
    limit = furthest(side, decided, tick=tick, most_ticks=most_ticks)
    wanted = min(market, limit) if side is Side.BUY else max(market, limit)
    # Down for a buyer, up for a seller.
    wanted = side.sign * floor_to_step(side.sign * wanted, tick)
    return wanted if (wanted - resting) * side.sign > 0 else None
