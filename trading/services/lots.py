"""Lots of an account, first in, first out: what an execution closes and opens, as rows for `ledger_post`.

What always holds: closes come before what is opened; nothing is written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trading.domain.books import OpenLot, apply_fill
from trading.domain.broker import Side
from trading.domain.money import STORED_STEP, ZERO, plain, round_to_step
from trading.models import Account, Instrument
from trading.selectors import books


@dataclass(frozen=True, slots=True)
class Matched:
    """What an execution does to the lots. `profit` is our own number for what it closes, in the quote currency."""

    lots: tuple[dict[str, str], ...]
    closes: tuple[dict[str, str], ...]
    profit: Decimal


def match(account: Account, instrument: Instrument, side: Side, quantity: Decimal, price: Decimal) -> Matched:
    """Match an execution with the account's open lots of the instrument, the oldest first."""
    standing = [
        OpenLot(str(lot.lot_id), Side.BUY if lot.side > 0 else Side.SELL, lot.quantity, lot.unit_cost)
        for lot in books.open_lots(account, instrument)
    ]
    after, closings = apply_fill(standing, side, quantity, price, multiplier=instrument.multiplier)
    profits = [round_to_step(closing.pnl_quote, STORED_STEP) for closing in closings]
    return Matched(
        lots=tuple(
            {
                "instrument_id": str(instrument.pk),
                "side": str(lot.side.sign),
                "quantity": plain(lot.quantity),
                "unit_cost": plain(lot.price),
            }
            for lot in after
            if lot.lot_id == "new"
        ),
        closes=tuple(
            {
                "lot_id": closing.lot_id,
                "quantity": plain(closing.quantity),
                "unit_price": plain(closing.close_price),
                "profit_quote": plain(profit),
            }
            for closing, profit in zip(closings, profits, strict=True)
        ),
        profit=sum(profits, ZERO),
    )
