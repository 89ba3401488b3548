"""Positions that are one trade of the core at its average price, from flat to flat.

What always holds here: what closes is realised at the average price, to four decimals; what is left over opens anew.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from .model import Account, Trade
from .numbers import MONEY, ZERO


def shift(account: Account, trade: Trade | None, fresh: Trade, at: datetime) -> Decimal:
    """Change a position by what `fresh` holds, at its price; what that realises.

    `trade` is the position's open trade, if there is one. `fresh` itself becomes the position when nothing of it is
    needed to close what was there before it.
    """
    name, units, price, realised = fresh.instrument, fresh.units, fresh.price, ZERO
    if trade is not None and trade.units * units < 0:
        closed = min(abs(units), abs(trade.units)).copy_sign(trade.units)
        realised = (closed * (price - trade.price)).quantize(MONEY, rounding=ROUND_HALF_EVEN)
        trade.units -= closed
        trade.realised += realised
        trade.closed_units += abs(closed)
        trade.closed_value += abs(closed) * price
        account.realised += realised
        account.side(name, closed).realised += realised
        units += closed
        if not trade.is_open:
            trade.closed_at = at
            account.open_ids.remove(trade.id)
            trade = None
    if units and trade is not None:
        trade.price = (trade.price * trade.units + price * units) / (trade.units + units)
        trade.units += units
        trade.initial_units += units
    elif units:
        fresh.units = fresh.initial_units = units
        account.trades[fresh.id] = fresh
        account.open_ids.append(fresh.id)
    return realised


def restate(trade: Trade | None, old: tuple[Decimal, Decimal], new: tuple[Decimal, Decimal]) -> bool:
    """Give a fill that opened what is still there other (signed units, price); False when it is not there any more."""
    (old_units, old_price), (units, price) = old, new
    left = trade.units + units - old_units if trade is not None else ZERO
    if trade is None or trade.units * old_units <= 0 or left * old_units <= 0:
        return False
    cost = trade.price * trade.units + units * price - old_units * old_price
    trade.units, trade.price = left, cost / left
    trade.initial_units += units - old_units
    return True
