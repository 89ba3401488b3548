"""The ladder of matching rules: in order, each takes from what the ones before it have left.

What always holds here: a rule never changes under its number and version; `RULES_VERSION` names the whole ladder, is
kept with every run, and changes with any rule; facts of different keys (instrument, side, product, currency) never
match; exact rules come before tolerant ones, ids before terms, one to one before sums. How each shape takes its facts
is said, and done, in `matching`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum

from trading.domain.canonical import canonical_json, sha256_hex
from trading.domain.money import ONE, ZERO


class Shape(StrEnum):
    """How many facts of each side a match of the rule may have."""

    ONE_TO_ONE = "1:1"
    ONE_TO_MANY = "1:N"
    MANY_TO_MANY = "N:M"
    BALANCE = "balance"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rung. `keys` are the fields of `Fact`, beside its key, that must be equal and, where text, not empty.

    `by_id`: the id alone says that two facts are the same; when other terms differ, that is told as a difference.
    `price_steps` is how far prices may be apart, in steps of the instrument's price. `amounts`: the cash moved must be
    equal, too; a rule that does not ask for it leaves movements of cash alone, which are nothing but their amount.
    """

    number: int
    name: str
    version: int
    shape: Shape
    keys: tuple[str, ...]
    by_id: bool = False
    price_steps: Decimal = ZERO
    amounts: bool = True


TERMS = ("quantity", "price", "amount")
RULES: tuple[Rule, ...] = (
    Rule(1, "the same id", 1, Shape.ONE_TO_ONE, ("external_id",), by_id=True),
    Rule(2, "the same client id and terms", 1, Shape.ONE_TO_ONE, ("client_id", *TERMS)),
    Rule(3, "the same day and terms", 1, Shape.ONE_TO_ONE, ("day", *TERMS)),
    Rule(4, "the same day and quantity, near in price", 1, Shape.ONE_TO_ONE, ("day", "quantity"), False, ONE, False),
    Rule(5, "one against an order's parts", 1, Shape.ONE_TO_MANY, ("broker_order_id",), False, ONE, False),
    Rule(6, "all of an order against all of it", 1, Shape.MANY_TO_MANY, ("broker_order_id",), False, ONE, False),
    Rule(7, "the balance of a day", 1, Shape.BALANCE, ("day",), False, ONE),
)
RULES_VERSION = sha256_hex(canonical_json([asdict(rule) for rule in RULES]))
