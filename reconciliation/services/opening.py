"""What taking over an account with a past posts: one entry a position, the fills of its history, and its cash.

What always holds: each position is adopted at the cost that people saw, which stays the same until they have decided;
adoptions come before the fills of the history, as the units were there first; cash that nothing explains goes to the
suspense account, where it stands until somebody can say what it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from reconciliation.domain.kinds import Kind
from reconciliation.models import Discrepancy
from reconciliation.selectors.opening import has_not_begun
from trading.domain.money import STORED_STEP, ZERO, parse_decimal, plain
from trading.services.errors import RuleBroken

from . import remaining

PRICE_OF = "price "
"""A parameter of the proposal begins so: the price of which instrument."""


def is_opening(row: Discrepancy) -> bool:
    """Whether the case is about the opening balance of an account."""
    return row.kind == Kind.OPENING_BALANCE


def parameters(row: Discrepancy, price: Decimal | None, realised: Decimal | None) -> dict[str, str]:
    """The price of each position, kept by the proposal: an estimate of a later run is another one.

    Raises RuleBroken when a price or an amount is given: there are many, and each position has its own.
    """
    if price is not None or realised is not None:
        raise RuleBroken(
            "An opening balance takes every position over at its own cost: leave price and amount out. A cost that is "
            "wrong is put right afterwards, by a reversal of its entry."
        )
    return {f"{PRICE_OF}{position['instrument']}": position["price"] for position in _positions(row)}


def adoptions(row: Discrepancy, chosen: Mapping[str, str]) -> list[dict[str, Any]]:
    """One entry for each position, with `estimated` where the broker does not say what it cost.

    Raises RuleBroken when the account holds another instrument than those that were decided on.
    """
    wanted = {f"{PRICE_OF}{position['instrument']}" for position in _positions(row)}
    if wanted != set(chosen):
        raise RuleBroken("What the account held when its books began is not what was proposed. Propose anew.")
    return [
        {
            "entry": "ADOPTION",
            "instrument": position["instrument"],
            "quantity": position["quantity"],
            "price": chosen[f"{PRICE_OF}{position['instrument']}"],
            **({"estimated": True} if position["estimated"] else {}),
        }
        for position in _positions(row)
    ]


def refuse_when_begun(row: Discrepancy) -> None:
    """Raises RuleBroken when the books have begun, or hold other cash than the run saw: it would be booked twice."""
    if not has_not_begun(row.account):
        raise RuleBroken(
            f"The books of {row.account.name} have begun: they hold a fill or an order already, which the opening "
            "balance does not know of. Run a reconciliation again; what is left then are differences of their own."
        )
    expected: Mapping[str, str] = row.evidence["evidence"].get("counted", {})
    found = remaining.counted(row.account)
    for currency in row.evidence["evidence"]["cash"]:
        has = found.get(currency, ZERO)
        if currency not in expected or abs(has - parse_decimal(expected[currency])) > STORED_STEP:
            raise RuleBroken(
                f"Our books, with what waits to be booked, have {plain(has)} {currency} by now: what the opening "
                "balance takes over may be in them already. Run a reconciliation again."
            )


def cash(row: Discrepancy) -> list[dict[str, Any]]:
    """One entry for each currency of which the history does not explain the whole balance."""
    left: Mapping[str, str] = row.evidence["evidence"]["cash"]
    return [
        {"entry": "ADJUSTMENT", "currency": currency, "amount": parse_decimal(amount)}
        for currency, amount in sorted(left.items())
    ]


def has_fills(row: Discrepancy) -> bool:
    """Whether the history has fills that are booked with it."""
    return bool(row.evidence["evidence"]["fills"])


def _positions(row: Discrepancy) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = row.evidence["evidence"]["positions"]
    return found
