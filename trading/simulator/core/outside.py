"""What happens from outside, whatever the dialect: which action a body names, and what it says.

What always holds here: what cannot be read is a ValueError with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

from .model import Account
from .numbers import decimals, number
from .world import World

Wire = dict[str, Any]


def happen(
    kinds: Mapping[str, Callable[[Account, Wire], Wire]],
    batch: AbstractContextManager[Any],
    account: Account,
    body: Wire,
    *,
    told_as: str,
) -> Wire:
    """Do the external action that a body names, within a batch; its events are named under `told_as`.

    Raises ValueError with a sentence.
    """
    kind = str(body.get("kind"))
    if kind not in kinds:
        raise ValueError(f"there is no external kind {kind}; there are: {', '.join(kinds)}")
    before = len(account.history)
    with batch:
        result = kinds[kind](account, body)
    return {**result, told_as: [row["id"] for row in account.history[before:]]}


def amount_in(account: Account, body: dict[str, Any]) -> Decimal:
    """The amount of the account's currency that an external action is about. Raises ValueError with a sentence."""
    currency = body.get("currency", account.currency)
    if currency != account.currency:
        raise ValueError(f"the account keeps {account.currency}, not {currency}")
    value = number(body.get("amount"))
    if value == 0 or decimals(value) > 4:
        raise ValueError("amount must not be zero and has at most four decimals")
    return value


def price_in(world: World, name: str, body: dict[str, Any], units: Decimal) -> Decimal:
    """The price that an external action names, or what trading `units` (signed) of an instrument costs now."""
    if body.get("price") is not None:
        price = number(body["price"])
        if price <= 0:
            raise ValueError("price must be above zero")
        return price
    quote = world.quote(name)
    if quote is None:
        raise ValueError(f"{name} has no price yet: give one")
    return quote.ask if units > 0 else quote.bid


def correction_in(body: dict[str, Any], price: Decimal, size: Decimal, most_decimals: int) -> tuple[Decimal, Decimal]:
    """The price and quantity that a corrected fill gets; what is not named stays."""
    price = number(body["price"]) if body.get("price") is not None else price
    size = number(body["quantity"]) if body.get("quantity") is not None else size
    if price <= 0 or size <= 0 or decimals(size) > most_decimals:
        raise ValueError("price and quantity must be above zero; to take a fill away, bust it")
    return price, size
