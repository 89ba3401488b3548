"""What replacing an order changes. Pure functions.

What always holds here: the order that is there stays as it is; the new one asks for what is still to trade.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

from ..core.model import PENDING, TRAILING_STOP_LOSS, Order
from ..core.numbers import ZERO
from .answers import forbidden, malformed, unprocessable
from .facts import HELD, PENDING_NEW, Facts, facts
from .parse import amount, choice, price, quantity

CHANGEABLE = {"qty", "time_in_force", "limit_price", "stop_price", "trail", "client_order_id", "advanced_instructions"}


def changed(order: Order, body: dict[str, Any], grouped: bool) -> Order:
    """The order that takes the place of this one, without ids yet. Raises Refusal."""
    known = facts(order)
    fresh = dataclasses.replace(
        known, quantity=abs(order.remaining), status=HELD if known.status == HELD else PENDING_NEW, value=ZERO,
        legs=list(known.legs), moments={}, replaces="", replaced_by="",
    )  # fmt: skip
    if "qty" in body:
        wanted = quantity(body, "qty")
        if grouped:
            raise unprocessable("qty of complex orders cannot be replaced")
        if wanted is not None and wanted % 1:
            raise unprocessable("qty must be a whole number of shares")
        fresh.quantity = wanted or fresh.quantity
    if "time_in_force" in body:
        fresh.time_in_force = choice(body, "time_in_force", ("day", "gtc", "ioc", "fok"))
    for key in ("limit_price", "stop_price"):
        if key in body:
            if getattr(known, key) is None:
                raise malformed(f"{known.type} orders require no {key.replace('_', ' ')}")
            setattr(fresh, key, price(body, key))
    distance, share = order.distance, order.share
    if "trail" in body:
        if order.type != TRAILING_STOP_LOSS:
            raise malformed(f"{known.type} orders require no trail")
        if known.trail_price is not None:
            distance = fresh.trail_price = price(body, "trail")
        else:
            fresh.trail_percent = amount(body, "trail")
            share = fresh.trail_percent / 100 if fresh.trail_percent is not None else None
    if _same(known, fresh, order):
        raise forbidden("order parameters are not changed")
    fresh.basis = fresh.limit_price or fresh.stop_price or known.basis
    assert fresh.quantity is not None
    return dataclasses.replace(
        order, units=fresh.quantity.copy_sign(order.units), filled=ZERO, status=PENDING, continued=False,
        time_in_force=fresh.time_in_force.upper(), distance=distance, share=share, trailing=None, mark=None,
        price=_trigger(known, fresh), wire={**order.wire, "facts": fresh},
    )  # fmt: skip


def _trigger(known: Facts, fresh: Facts) -> Decimal | None:
    if fresh.stop_price is not None and not known.triggered:
        return fresh.stop_price
    return fresh.limit_price


def _same(known: Facts, fresh: Facts, order: Order) -> bool:
    keys = ("time_in_force", "limit_price", "stop_price", "trail_price", "trail_percent")
    same = all(getattr(known, key) == getattr(fresh, key) for key in keys)
    return same and fresh.quantity == abs(order.remaining)
