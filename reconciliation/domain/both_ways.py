"""Accounts that hold an instrument long and short at once (a hedging account, or several products): what a net hides.

What always holds here: brokers net nothing between both sides of a hedging account, nor between products, so both must
agree; what strategies hold either way is told by their open trades, and the rest of our net is not theirs; our books
know no products, so of such a difference nothing is booked but fills.
"""

from __future__ import annotations

from decimal import Decimal

from reconciliation.domain.bad_data import Inspection
from reconciliation.domain.kinds import Kind
from reconciliation.domain.snapshots import BooksPosition, BooksSnapshot
from trading.domain.broker import Side
from trading.domain.money import ZERO

Ways = tuple[Decimal, Decimal]


def ways_of_books(position: BooksPosition, books: BooksSnapshot) -> Ways:
    """Units that our books hold long and short. An account that does not hedge holds one way only: the net."""
    long, short = ZERO, ZERO
    for holding in books.holdings if books.hedging else ():
        if holding.instrument == position.instrument and holding.side == Side.BUY:
            long += holding.quantity
        elif holding.instrument == position.instrument:
            short += holding.quantity
    rest = position.quantity - (long - short)
    return (long + rest, short) if rest > 0 else (long, short - rest)


def hidden_by_the_net(
    position: BooksPosition, books: BooksSnapshot, seen: Inspection, tolerance: Decimal
) -> tuple[Ways, Ways] | None:
    """Both ways at the broker and in our books, where either side holds both and they differ by more than dust."""
    rule = seen.rules[position.instrument]
    theirs, ours = seen.both_ways.get(position.instrument, (ZERO, ZERO)), ways_of_books(position, books)
    if not (min(theirs) > 0 or min(ours) > 0):
        return None
    apart = [there - here for there, here in zip(theirs, ours, strict=True)]
    if all(abs(units) <= tolerance or rule.is_dust(units) for units in apart):
        return None
    return theirs, ours


def shape_both_ways(theirs: Ways, ours: Ways) -> Kind:
    """A way that only the broker has is external, one that only we have a phantom."""
    pairs = list(zip(theirs, ours, strict=True))
    if any(there > 0 and here == 0 for there, here in pairs):
        return Kind.EXTERNAL_POSITION
    return Kind.PHANTOM_POSITION if any(here > 0 and there == 0 for there, here in pairs) else Kind.QUANTITY_MISMATCH
