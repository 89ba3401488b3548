"""What an instrument allows of one order; checked again before an entry leaves: a mirror scales what was decided."""

from __future__ import annotations

from decimal import Decimal

from trading.domain.money import plain


def not_allowed(
    *,
    quantity: Decimal,
    price: Decimal | None,
    lot: Decimal,
    least: Decimal,
    most: Decimal,
    freeze: Decimal | None,
    tick: Decimal,
) -> str:
    """Why an order of this quantity (in units) at this price must not leave; "" when it may. A market order has none.

    `lot` is the step of quantities, `least` and `most` bound one order, `freeze` is the most that its exchange takes at
    once (None: it says nothing), `tick` is the step of prices.
    """
    if quantity % lot:
        return f"its quantity {plain(quantity)} is not a multiple of the lot of {plain(lot)}"
    if quantity < least:
        return f"its quantity {plain(quantity)} is below the smallest order of {plain(least)}"
    if quantity > most:
        return f"its quantity {plain(quantity)} is above the largest order of {plain(most)}"
    if freeze is not None and quantity > freeze:
        return f"its quantity {plain(quantity)} is above the freeze quantity of {plain(freeze)}"
    if price is not None and price % tick:
        return f"its price {plain(price)} is not on the tick of {plain(tick)}"
    return ""
