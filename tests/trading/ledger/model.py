"""The books as a plain dictionary: what a person with a pencil would have, to compare the ledger with.

What always holds here: nothing is imported from the product but its names of sides; every rule is written down a
second time, as simply as it can be said.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

ZERO = Decimal(0)
Key = tuple[str, str, str]
Moved = dict[Key, Decimal]
# What a movement of cash stands against.
AGAINST = {
    "TRANSFER": "CAPITAL", "FINANCING": "FINANCING", "DIVIDEND": "DIVIDEND", "FEE": "FEE", "TAX": "TAX",
    "CONVERSION": "TRADING", "ADJUSTMENT": "SUSPENSE",
}  # fmt: skip


@dataclass
class Due:
    """What a fill of shares will pay (below zero) or receive on its value date."""

    fill: int
    on: date
    amount: Decimal


@dataclass
class Execution:
    """A fill of a margin instrument in its place in the broker's order: signed units and price."""

    fill: int
    place: int
    signed: Decimal
    price: Decimal


@dataclass
class Model:
    """Balances by account, kind and commodity; open lots by account and symbol as signed units and their price."""

    balances: defaultdict[Key, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    lots: defaultdict[tuple[str, str], list[list[Decimal]]] = field(default_factory=lambda: defaultdict(list))
    executions: defaultdict[tuple[str, str], list[Execution]] = field(default_factory=lambda: defaultdict(list))
    due: list[Due] = field(default_factory=list)

    def book(self, moved: Moved) -> None:
        """Add what an entry moved."""
        for key, amount in moved.items():
            self.balances[key] += amount

    def take_back(self, moved: Moved) -> None:
        """What a reversal moves."""
        self.book({key: -amount for key, amount in moved.items()})

    def cash(self, account: str, kind: str, currency: str, amount: Decimal) -> Moved:
        """Cash against the kind's own account."""
        return {(account, "CASH", currency): amount, (account, AGAINST[kind], currency): -amount}

    def margin_fill(
        self, account: str, symbol: str, signed: Decimal, realised: Decimal, financing: Decimal, commission: Decimal
    ) -> Moved:
        """Contracts, and cash by the broker's own numbers."""
        return {
            (account, "POSITION", symbol): signed,
            (account, "MARKET", symbol): -signed,
            (account, "CASH", "USD"): realised + financing + commission,
            (account, "REALISED", "USD"): -realised,
            (account, "FINANCING", "USD"): -financing,
            (account, "COMMISSION", "USD"): -commission,
        }

    def share_fill(
        self, account: str, symbol: str, signed: Decimal, price: Decimal, profit: Decimal, commission: Decimal
    ) -> Moved:
        """Units, what they pay against a receivable or payable, and the cost that a close gives up."""
        paid = -signed * price
        return {
            (account, "POSITION", symbol): signed,
            (account, "MARKET", symbol): -signed,
            (account, "UNSETTLED", "USD"): paid + commission,
            (account, "MARKET", "USD"): profit - paid,
            (account, "REALISED", "USD"): -profit,
            (account, "COMMISSION", "USD"): -commission,
        }

    def execute(self, account: str, symbol: str, signed: Decimal, price: Decimal) -> Decimal:
        """Take an execution to the lots, the oldest first; what it realises."""
        lots, profit = self.lots[account, symbol], ZERO
        while signed and lots and lots[0][0] * signed < 0:
            units = min(abs(signed), abs(lots[0][0])).copy_sign(lots[0][0])
            profit += (price - lots[0][1]) * units
            lots[0][0] -= units
            signed += units
            if not lots[0][0]:
                lots.pop(0)
        if signed:
            lots.append([signed, price])
        return profit

    def executed(self, account: str, symbol: str, fill: int, place: int, signed: Decimal, price: Decimal) -> None:
        """Remember a fill; the lots are those of the broker's order."""
        self.executions[account, symbol].append(Execution(fill, place, signed, price))
        self._walk(account, symbol)

    def forget(self, account: str, symbol: str, fill: int) -> None:
        """The lots as if a fill had never been."""
        self.executions[account, symbol] = [each for each in self.executions[account, symbol] if each.fill != fill]
        self._walk(account, symbol)

    def _walk(self, account: str, symbol: str) -> None:
        self.lots[account, symbol] = []
        for each in sorted(self.executions[account, symbol], key=lambda each: each.place):
            self.execute(account, symbol, each.signed, each.price)

    def split(self, account: str, symbol: str, ratio: Decimal) -> tuple[Decimal, Moved]:
        """All lots in new units at the same cost; the units before, and what moves."""
        lots = self.lots[account, symbol]
        before = sum((units for units, _ in lots), ZERO)
        self.lots[account, symbol] = [[units * ratio, price / ratio] for units, price in lots]
        more = before * ratio - before
        return before, {(account, "POSITION", symbol): more, (account, "MARKET", symbol): -more}

    def settle(self, account: str, day: date) -> int:
        """Pay what is due by a day; how many fills that were."""
        paid = [due for due in self.due if due.on <= day and due.amount]
        self.due = [due for due in self.due if due.on > day]
        for due in paid:
            self.book({(account, "CASH", "USD"): due.amount, (account, "UNSETTLED", "USD"): -due.amount})
        return len(paid)

    def held(self) -> dict[Key, Decimal]:
        """Every balance that is not zero."""
        return {key: amount for key, amount in self.balances.items() if amount}
