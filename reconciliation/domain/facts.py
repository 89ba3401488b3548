"""One execution or movement of cash of one side, as matching sees it, whoever told it: broker, books or a statement.

What always holds here: a fact names one account's instrument, side and product, and is never matched with one of
another; quantities are above zero and their direction is the side; money is signed, above zero comes in; a cash
movement has no instrument, no side and quantity zero; days are trading days of the account.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Fact:
    """A row of one side. `ref` is its own number there, unique within the side, and the only name a match uses.

    `amount` is what it moved of trade-date cash in `currency`; `product` is the broker's (CNC, MIS, NRML), "" where
    there is only one; ids are "" where that side does not know them. A term that one side does not know at all (a
    statement without fees) is left out of both before they are matched: zero, or "", on both sides.
    """

    ref: int
    external_id: str
    client_id: str
    broker_order_id: str
    instrument: str
    side: str
    product: str
    quantity: Decimal
    price: Decimal
    currency: str
    amount: Decimal
    at: datetime
    day: date

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What two facts must share to be the same: instrument, side, product and currency."""
        return self.instrument, self.side, self.product, self.currency

    @property
    def order_of_choice(self) -> tuple[date, datetime, str, int]:
        """Which of several equal candidates is taken first; both engines go by it (text by its code points)."""
        return self.day, self.at, self.external_id, self.ref


@dataclass(frozen=True, slots=True)
class Match:
    """Facts of both sides that are the same thing by a rule; what is left between them is broker − books.

    `rule` is the rule's number, refs are in rising order. `quantity` and `amount` are sums of the broker's facts less
    sums of ours. Of a match the quantity is zero, and the amount, too, unless its rule does not ask for amounts: then
    it is told, and whoever asked for the match judges it (a fee that differs).
    """

    rule: int
    broker: tuple[int, ...]
    books: tuple[int, ...]
    quantity: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Matched:
    """What became of all facts: each ref of each side is in exactly one of these, once, in rising order.

    `differing` are pairs with the same id and other terms: named as one difference, never as two missing ones.
    """

    matches: tuple[Match, ...]
    differing: tuple[Match, ...]
    only_broker: tuple[int, ...]
    only_books: tuple[int, ...]
