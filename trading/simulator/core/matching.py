"""When a resting order is triggered, and where on the way between two prices that happens. Pure functions.

What always holds here: a buy is done at the ask, a sell at the bid; a limit is never filled worse than its price; a
jump over a stop fills at the price after the jump, a continuous move at the level itself.
"""

from __future__ import annotations

from decimal import Decimal

from .market import Quote
from .model import (
    LIMIT,
    MARKET,
    MARKET_IF_TOUCHED,
    STOP,
    STOP_LOSS,
    TAKE_PROFIT,
    TRAILING_STOP_LOSS,
    Order,
)


def watched(buys: bool, condition: str, quote: Quote) -> Decimal:
    """The price that a trigger looks at: ask for buys, bid for sells, unless the order says otherwise."""
    if condition == "MID":
        return quote.mid
    if condition in ("BID", "ASK"):
        return quote.bid if condition == "BID" else quote.ask
    at_ask = buys if condition != "INVERSE" else not buys
    return quote.ask if at_ask else quote.bid


def done_at(buys: bool, quote: Quote) -> Decimal:
    """The price a fill gets."""
    return quote.ask if buys else quote.bid


def level(order: Order) -> Decimal | None:
    """The price at which the order triggers; None for market orders."""
    return order.trailing if order.type == TRAILING_STOP_LOSS else order.price


def waits_below(order: Order, buys: bool) -> bool:
    """Whether the order triggers when the watched price falls to its level (otherwise when it rises to it)."""
    if order.type in (LIMIT, TAKE_PROFIT):
        return buys
    if order.type in (STOP, STOP_LOSS, TRAILING_STOP_LOSS):
        return not buys
    return bool(order.started_above)


def is_triggered(order: Order, buys: bool, quote: Quote) -> bool:
    """Whether the order is to be filled at this quote."""
    if order.type == MARKET:
        return True
    wanted = level(order)
    if wanted is None:
        return False
    seen = watched(buys, order.trigger, quote)
    reached = seen <= wanted if waits_below(order, buys) else seen >= wanted
    if reached and order.type in (LIMIT, TAKE_PROFIT):
        price = done_at(buys, quote)
        return price <= wanted if buys else price >= wanted
    return reached


def crossing(order: Order, buys: bool, now: Quote, target: Quote) -> Quote | None:
    """The quote on the straight way from `now` to `target` at which the order triggers; None if it does not there."""
    wanted = level(order)
    if order.type == MARKET or wanted is None or is_triggered(order, buys, now):
        return None
    if not is_triggered(order, buys, target):
        return None
    reached = target.moved(wanted - watched(buys, order.trigger, target))
    return reached if is_triggered(order, buys, reached) else target


def breaks_bound(order: Order, buys: bool, price: Decimal) -> bool:
    """Whether a fill at this price is worse than the worst price the client accepts."""
    if order.bound is None:
        return False
    return price > order.bound if buys else price < order.bound


def trail(order: Order, buys: bool, quote: Quote) -> bool:
    """Move a trailing stop after the price; True when it moved. It only ever moves in the trade's favour."""
    if order.type != TRAILING_STOP_LOSS:
        return False
    seen = watched(buys, order.trigger, quote)
    distance = order.distance
    if order.share is not None:
        distance = (seen * order.share).quantize(seen)
    if distance is None:
        return False
    value = seen + distance if buys else seen - distance
    if order.trailing is not None and (value >= order.trailing if buys else value <= order.trailing):
        return False
    order.trailing, order.mark = value, seen
    return True


def start_touch(order: Order, buys: bool, quote: Quote) -> None:
    """Remember on which side of its price a market-if-touched order began."""
    if order.type == MARKET_IF_TOUCHED and order.price is not None:
        order.started_above = watched(buys, order.trigger, quote) > order.price
