"""A year of the books as a beancount file, so that somebody else's program can add them up.

What always holds here: amounts are written exactly; every transfer is two postings of the same commodity; no tolerance
is left to the reader: transactions must balance, and every closing balance must equal ours, to the last digit; equal
books give an equal file. Names that beancount cannot spell are made legal, two never become one, and each keeps its
own name in the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from trading.domain.canonical import utc_text
from trading.domain.money import ZERO, plain

OPENING = "Equity:Opening-Balances"
# Which part of the balance sheet a kind of ledger account belongs to.
ROOTS = {
    "CASH": "Assets",
    "UNSETTLED": "Assets",
    "POSITION": "Assets",
    "CAPITAL": "Equity",
    "MARKET": "Equity",
    "TRADING": "Equity",
    "SUSPENSE": "Equity",
    "REALISED": "Income",
    "FINANCING": "Income",
    "DIVIDEND": "Income",
    "COMMISSION": "Expenses",
    "FEE": "Expenses",
    "TAX": "Expenses",
    "ROUNDING": "Expenses",
}
# What beancount reads as a value, not as a commodity.
RESERVED = {"TRUE", "FALSE", "NULL"}


class LedgerName(NamedTuple):
    """A ledger account in all its commodities: the account's own name, and the kind."""

    account: str
    kind: str


@dataclass(frozen=True, slots=True)
class Balance:
    """Debits less credits of one ledger account in one commodity."""

    of: LedgerName
    commodity: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Movement:
    """One transfer: `amount` (above zero) from the credited to the debited ledger account."""

    debit: LedgerName
    credit: LedgerName
    commodity: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry with its transfers; `day` is its trading day, `at` when it happened."""

    number: int
    kind: str
    key: str
    at: datetime
    day: date
    memo: str
    movements: tuple[Movement, ...]


@dataclass(frozen=True, slots=True)
class Journal:
    """A year of the books as they stood after entry `cut`: balances before it, its entries by day, balances after it.

    `closing` names every ledger account that was ever used until the year's end, those at zero included.
    """

    year: int
    cut: int
    opening: Sequence[Balance]
    entries: Iterable[JournalEntry]
    closing: Sequence[Balance]


def lines(journal: Journal) -> Iterator[str]:
    """The file, line by line, without line ends."""
    first, after = date(journal.year, 1, 1), date(journal.year + 1, 1, 1)
    accounts = _distinct({b.of.account for b in journal.closing}, legal_part)
    commodities = _distinct({b.commodity for b in journal.closing}, legal_commodity)

    def named(ledger: LedgerName) -> str:
        return f"{ROOTS.get(ledger.kind, 'Equity')}:{accounts[ledger.account]}:{ledger.kind.capitalize()}"

    def posting(account: str, amount: Decimal, commodity: str) -> str:
        return f"  {account}  {plain(amount)} {commodities[commodity]}"

    yield f"; The books of {journal.year} as they stood after entry {journal.cut}. Check with: bean-check"
    yield f'option "title" "The books of {journal.year}"'
    yield 'option "tolerance_multiplier" "0"'
    yield ""
    for code, legal in sorted(commodities.items()):
        yield f"{first} commodity {legal}"
        yield f"  name: {quoted(code)}"
    yield f"{first} open {OPENING}"
    held: dict[LedgerName, list[str]] = {}
    for balance in journal.closing:
        held.setdefault(balance.of, []).append(commodities[balance.commodity])
    for ledger, legals in sorted(held.items()):
        yield f"{first} open {named(ledger)} {' , '.join(sorted(legals))}"  # a one-letter commodity ends at a space
        yield f"  name: {quoted(ledger.account)}"
    opening = [balance for balance in journal.opening if balance.amount != ZERO]
    if opening:
        yield ""
        yield f'{first} * "Opening balances"'
        for balance in opening:
            yield posting(named(balance.of), balance.amount, balance.commodity)
            yield posting(OPENING, -balance.amount, balance.commodity)
    for entry in journal.entries:
        yield ""
        yield f"{entry.day} * {quoted(entry.memo or entry.kind)}"
        yield f"  entry: {entry.number}"
        yield f"  kind: {quoted(entry.kind)}"
        yield f"  key: {quoted(entry.key)}"
        yield f"  at: {quoted(utc_text(entry.at))}"
        for movement in entry.movements:
            yield posting(named(movement.debit), movement.amount, movement.commodity)
            yield posting(named(movement.credit), -movement.amount, movement.commodity)
    yield ""
    for balance in journal.closing:  # beancount compares before the transactions of a day
        yield f"{after} balance {named(balance.of)}  {plain(balance.amount)} ~ 0 {commodities[balance.commodity]}"


def _distinct(names: set[str], legal: Callable[[str], str]) -> dict[str, str]:
    """A legal name for each; where two would be one, the later in the alphabet gets a number."""
    made: dict[str, str] = {}
    for name in sorted(names):
        wanted = given = legal(name)
        number = 2
        while given in made.values():
            given, number = f"{wanted}-{number}", number + 1
        made[name] = given
    return made


def legal_part(name: str) -> str:
    """An account's name as a component of a beancount account: letters, digits and dashes, capital at first."""
    part = re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")
    return (part[:1].upper() + part[1:]) or "Account"


def legal_commodity(code: str) -> str:
    """A commodity's code as beancount spells it: capitals, digits and . _ - within; begins with a letter."""
    legal = re.sub(r"[^A-Z0-9._-]+", ".", code.upper()).strip("._-")
    return legal if legal[:1].isalpha() and legal not in RESERVED else f"X-{legal}".rstrip("-")


def quoted(text: str) -> str:
    """A string as beancount reads it back unchanged."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
