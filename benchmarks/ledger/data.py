"""The same business for every ledger that is measured: fills of currency pairs at a desk of eight accounts.

What always holds: pure Python without any package, because the peer's process imports it too; entry number N is the
same in every ledger and in every run; every entry has two transfers (contracts move, commission is paid), which are
four postings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

ACCOUNTS = 8
CURRENCY = "USD"
CONTRACTS = ("EURUSD", "GBPUSD", "USDJPY", "EURGBP")
CASH, CAPITAL, COMMISSION, POSITION, MARKET = "CASH", "CAPITAL", "COMMISSION", "POSITION", "MARKET"
BEGIN = datetime(2026, 1, 31, tzinfo=UTC)
TRANSFERS_PER_ENTRY = 2
POSTINGS_PER_ENTRY = 2 * TRANSFERS_PER_ENTRY
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Book:
    """One account of the books: whose, of what kind, in what."""

    owner: int
    kind: str
    commodity: str


@dataclass(frozen=True, slots=True)
class Move:
    """One transfer between two books, by their places in `BOOKS`."""

    debit: int
    credit: int
    commodity: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Event:
    """One business event; `number` also names its fill."""

    number: int
    key: str
    owner: int
    at: datetime
    moves: tuple[Move, Move]


def _books() -> list[Book]:
    kinds = [(CASH, CURRENCY), (CAPITAL, CURRENCY), (COMMISSION, CURRENCY)]
    kinds += [(kind, contract) for contract in CONTRACTS for kind in (POSITION, MARKET)]
    return [Book(owner, kind, commodity) for owner in range(ACCOUNTS) for kind, commodity in kinds]


BOOKS: Sequence[Book] = tuple(_books())
PLACES = {book: place for place, book in enumerate(BOOKS)}


def events(first: int, count: int) -> list[Event]:
    """`count` events from number `first` on."""
    return [_event(number) for number in range(first, first + count)]


def batches(rows: Sequence[Event], size: int = BATCH) -> list[Sequence[Event]]:
    """The rows in pieces that are committed together."""
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]


def _event(number: int) -> Event:
    chance = Random(number)
    owner, contract = number % ACCOUNTS, chance.choice(CONTRACTS)
    sides = [PLACES[Book(owner, POSITION, contract)], PLACES[Book(owner, MARKET, contract)]]
    if chance.random() < 0.5:
        sides.reverse()
    at = BEGIN + timedelta(milliseconds=17 * number)
    return Event(
        number=number,
        key=f"fill:{owner + 1}:{at:%Y%m%d}-{number:09}",
        owner=owner,
        at=at,
        moves=(
            Move(sides[0], sides[1], contract, Decimal(chance.randrange(1, 500) * 100)),
            Move(
                PLACES[Book(owner, COMMISSION, CURRENCY)],
                PLACES[Book(owner, CASH, CURRENCY)],
                CURRENCY,
                Decimal(chance.randrange(1, 5000)) / 100,
            ),
        ),
    )


def total(rows: Sequence[Event]) -> str:
    """The sum of all amounts, as every ledger must give it back: equal work is checked, not believed."""
    return f"{sum((move.amount for row in rows for move in row.moves), Decimal(0)):.2f}"
