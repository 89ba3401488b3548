"""What an instrument allows of one order; checked again before an entry leaves: a mirror scales what was decided."""

from __future__ import annotations

from decimal import Decimal

from trading.domain.money import plain


def not_allowed(
    *, quantity: Decimal, price: Decimal | None, lot: Decimal, least: Decimal, most: Decimal, price_step: Decimal
) -> str:
    """Why an order of this quantity (in units) at this price must not leave; "" when it may. A market order has none.

    `lot` is the step of quantities, `least` and `most` bound one order (the largest that its exchange takes at once),
    `price_step` is the tick.
    """
    if quantity % lot:
        return f"its quantity {plain(quantity)} is not a multiple of the lot of {plain(lot)}"
    if quantity < least:
        return f"its quantity {plain(quantity)} is below the smallest order of {plain(least)}"
    if quantity > most:
        return f"its quantity {plain(quantity)} is above the largest order of {plain(most)}"
    if price is not None and price % price_step:
        return f"its price {plain(price)} is not on the step of {plain(price_step)}"
    return ""
