"""The ladder of matching rules: in order, each takes from what the ones before it have left.

What always holds here: a rule never changes under its number and version; `RULES_VERSION` names the whole ladder, is
kept with every run, and changes with any rule; facts of different keys (instrument, side, product, currency) never
match; exact rules come before tolerant ones, ids before terms, one to one before sums.
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
    """One rung. `keys` are the fields of `Fact`, beside its key, that must be equal and not empty.

    Tolerances are in steps of the instrument's quantity and price, and in seconds between both moments (0: same day).
    """

    number: int
    name: str
    version: int
    shape: Shape
    keys: tuple[str, ...]
    quantity_steps: Decimal = ZERO
    price_steps: Decimal = ZERO
    seconds: int = 0


RULES: tuple[Rule, ...] = (
    Rule(1, "the same id", 1, Shape.ONE_TO_ONE, ("external_id",)),
    Rule(2, "the same client id, quantity and price", 1, Shape.ONE_TO_ONE, ("client_id", "quantity", "price")),
    Rule(3, "the same day, quantity and price", 1, Shape.ONE_TO_ONE, ("day", "quantity", "price")),
    Rule(4, "the same day and quantity, the price within a step", 1, Shape.ONE_TO_ONE, ("day", "quantity"), ZERO, ONE),
    Rule(5, "one against the sum of an order's parts", 1, Shape.ONE_TO_MANY, ("broker_order_id",), ZERO, ONE),
    Rule(6, "all of an order against all of it", 1, Shape.MANY_TO_MANY, ("broker_order_id",), ZERO, ONE),
    Rule(7, "the balance of a day", 1, Shape.BALANCE, ("day",)),
)
RULES_VERSION = sha256_hex(canonical_json([asdict(rule) for rule in RULES]))
