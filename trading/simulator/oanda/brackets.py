"""Stops and targets that a fill brings along: what may forbid them, and the orders they become.

What always holds here: they are made only for a trade that the fill opens, at the moment it opens.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from ..core.candles import bucket
from ..core.instruments import FOREX
from ..core.market import Quote
from ..core.model import STOP_LOSS, TAKE_PROFIT, TRAILING_STOP_LOSS, Account, Order, Trade
from ..core.numbers import ZERO, at_second, moment, seconds_of
from .render import Wire, price_text

ON_FILL = {
    "takeProfitOnFill": TAKE_PROFIT,
    "stopLossOnFill": STOP_LOSS,
    "trailingStopLossOnFill": TRAILING_STOP_LOSS,
}


def expiry(time_in_force: str, gtd: str | None, now: datetime) -> datetime | None:
    """When an order ends by itself: at its own time (GTD), or at 17:00 New York (GFD)."""
    if time_in_force == "GTD" and gtd is not None:
        return moment(gtd)
    return at_second(bucket("D", seconds_of(now))[1]) if time_in_force == "GFD" else None


def stop_price(details: Wire, long: bool, entry: Decimal) -> Decimal:
    """The stop's price: as given, or as far from the entry as the given distance."""
    if "price" in details:
        return Decimal(details["price"])
    distance = Decimal(details["distance"])
    return entry - distance if long else entry + distance


def refused_bracket(account: Account, order: Order, long: bool, entry: Decimal, quote: Quote) -> str:
    """Why a trade opened at `entry` could not have its stop or target; empty when it can."""
    base = order.wire["base"]
    pending = {other.client_id for other in account.pending_orders() if other.client_id and other.id != order.id}
    leaves = quote.bid if long else quote.ask
    for key, kind in ON_FILL.items():
        details = base.get(key)
        if details is None:
            continue
        if not order.continued and details.get("clientExtensions", {}).get("id") in pending:
            return f"{kind}_ON_FILL_CLIENT_ORDER_ID_ALREADY_EXISTS"
        if kind == STOP_LOSS:
            stop = stop_price(details, long, entry)
            if leaves <= stop if long else leaves >= stop:
                return "STOP_LOSS_ON_FILL_LOSS"
        if kind == TAKE_PROFIT:
            target = Decimal(details["price"])
            if leaves >= target if long else leaves <= target:
                return "TAKE_PROFIT_ON_FILL_LOSS"
            if target < entry if long else target > entry:
                return "LOSING_TAKE_PROFIT"
    return ""


def bracket_orders(order: Order, trade: Trade, now: datetime) -> list[Order]:
    """The orders that guard a trade which `order` has just opened."""
    made = []
    for key, kind in ON_FILL.items():
        details = order.wire["base"].get(key)
        if details is not None:
            given = dict(details)
            if order.continued and "clientExtensions" in given:
                given["clientExtensions"] = {k: v for k, v in given["clientExtensions"].items() if k != "id"}
            made.append(dependent_order(kind, trade, given, now))
    return made


def dependent_order(kind: str, trade: Trade, details: Wire, now: datetime) -> Order:
    """A TAKE_PROFIT, STOP_LOSS or TRAILING_STOP_LOSS order for a trade, from checked details."""
    long = trade.units > ZERO
    base: Wire = {"tradeID": trade.id}
    if trade.client_id:
        base["clientTradeID"] = trade.client_id
    price: Decimal | None = None
    if kind == TAKE_PROFIT:
        price = Decimal(details["price"])
    elif kind == STOP_LOSS:
        price = stop_price(details, long, trade.price)
    if price is not None:
        price = FOREX[trade.instrument].price(price)
        base["price"] = price_text(trade.instrument, price)
    distance = Decimal(details["distance"]) if "distance" in details else None
    if distance is not None:
        base["distance"] = price_text(trade.instrument, distance)
    base["timeInForce"] = details.get("timeInForce", "GTC")
    if "gtdTime" in details:
        base["gtdTime"] = details["gtdTime"]
    base["triggerCondition"] = details.get("triggerCondition", "DEFAULT")
    if kind == STOP_LOSS:
        base["guaranteed"] = False
    if details.get("clientExtensions"):
        base["clientExtensions"] = details["clientExtensions"]
    return Order(
        id="", instrument=trade.instrument, type=kind, units=ZERO, created_at=now,
        time_in_force=base["timeInForce"], price=price,
        distance=distance if kind == TRAILING_STOP_LOSS else None,
        expires_at=expiry(base["timeInForce"], base.get("gtdTime"), now),
        trigger=base["triggerCondition"], trade_id=trade.id,
        client_id=details.get("clientExtensions", {}).get("id", ""), wire={"base": base, "state": {}},
    )  # fmt: skip
