"""What an execution or a movement of cash moves in the books: amounts between kinds of ledger account.

What always holds: this is the one place that says so; booking posts these moves and a preview shows them; nothing is
read or written here, so a row need not be stored to ask about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trading.domain.broker import Side
from trading.domain.money import ZERO
from trading.domain.settlement import payment
from trading.models import Fill, LedgerAccount

Kind = LedgerAccount.Kind


@dataclass(frozen=True, slots=True)
class Move:
    """`amount` of a commodity into one kind of ledger account, out of another; below zero it goes the other way."""

    commodity: str
    amount: Decimal
    into: str
    out_of: str


def of_fill(fill: Fill, *, realised: Decimal | None = None, rounding: Decimal = ZERO) -> list[Move]:
    """The moves of an execution, zero amounts left out.

    A margin instrument moves contracts, and cash by what was realised. A cash instrument is paid: what is held stands
    in MARKET at cost, which takes in what was paid and gives up what a close realises (`realised`, the fill's own
    number when left out) and what is lost in rounding (`rounding`), so that it is zero when nothing is held.
    """
    account, instrument = fill.account, fill.instrument
    signed = fill.quantity if fill.side == Side.BUY else -fill.quantity
    moves = [Move(instrument.symbol, signed, Kind.POSITION, Kind.MARKET)]
    if instrument.is_margin:
        cash = Kind.CASH
        moves.append(Move(account.currency, fill.realised, Kind.CASH, Kind.REALISED))
    else:
        cash = Kind.UNSETTLED
        paid = payment(Side(fill.side), fill.quantity, fill.price, multiplier=instrument.multiplier)
        by = Kind.UNSETTLED if fill.settles_on is not None else Kind.CAPITAL
        moves.append(Move(account.currency, paid, by, Kind.MARKET))
        moves += of_cost(account.currency, fill.realised if realised is None else realised, rounding)
    moves.append(Move(account.currency, fill.financing, cash, Kind.FINANCING))
    moves.append(Move(account.currency, fill.commission, cash, Kind.COMMISSION))
    return [move for move in moves if move.amount != 0]


def of_cost(currency: str, realised: Decimal, rounding: Decimal) -> list[Move]:
    """The moves of what a close of a cash instrument realises and of what rounding leaves over, zero left out."""
    moves = [
        Move(currency, realised, Kind.MARKET, Kind.REALISED),
        Move(currency, rounding, Kind.ROUNDING, Kind.MARKET),
    ]
    return [move for move in moves if move.amount != 0]


def of_cash(
    currency: str,
    amount: Decimal,
    other: str,
    *,
    counter_currency: str = "",
    counter_amount: Decimal | None = None,
) -> list[Move]:
    """The moves of cash that is not an execution, against the kind of ledger account `other`.

    A conversion has a second side in `counter_currency`: each currency moves against its own trading account, so that
    no transfer mixes two of them.
    """
    moves = [Move(currency, amount, Kind.CASH, other)]
    if counter_amount is not None:
        moves.append(Move(counter_currency, counter_amount, Kind.CASH, other))
    return [move for move in moves if move.amount != 0]
