"""What an instrument allows of an order."""

from __future__ import annotations

from decimal import Decimal

import pytest

from trading.domain.order_limits import not_allowed


@pytest.mark.parametrize(
    ("quantity", "price", "why"),
    [
        ("150", "22000.05", ""),
        ("150", None, ""),
        ("100", None, "is not a multiple of the lot of 75"),
        ("75", None, "is below the smallest order of 150"),
        ("3675", None, "is above the largest order of 3600"),
        ("1875", None, "is above the freeze quantity of 1800"),
        ("150", "22000.03", "is not on the tick of 0.05"),
    ],
)
def test_an_order_off_a_limit_says_which(quantity: str, price: str | None, why: str) -> None:
    said = not_allowed(
        quantity=Decimal(quantity),
        price=None if price is None else Decimal(price),
        lot=Decimal(75),
        least=Decimal(150),
        most=Decimal(3600),
        freeze=Decimal(1800),
        tick=Decimal("0.05"),
    )
    assert why in said and bool(said) == bool(why)


def test_where_the_exchange_freezes_nothing_only_our_own_bound_holds() -> None:
    limits = {"lot": Decimal(1), "least": Decimal(1), "most": Decimal(3600), "tick": Decimal("0.05")}
    assert not not_allowed(quantity=Decimal(3600), price=None, freeze=None, **limits)
