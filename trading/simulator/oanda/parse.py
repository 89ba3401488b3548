"""Checking an order request: from JSON to an Order, or to the reason why it is rejected.

What always holds here: nothing is rounded; what does not fit the instrument's decimals or limits is rejected. A
member that is null is absent. Text that is no number at all is refused before any transaction is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..core.instruments import FOREX, Instrument, find_instrument
from ..core.model import (
    LIMIT,
    MARKET,
    MARKET_IF_TOUCHED,
    STOP,
    STOP_LOSS,
    TAKE_PROFIT,
    TRAILING_STOP_LOSS,
    Account,
    Order,
    Trade,
)
from ..core.numbers import decimals, iso, moment, number, plain
from .answers import Refusal, Rejection, without_nulls
from .brackets import ON_FILL, dependent_order, expiry
from .render import Wire, price_text

ENTRY_TYPES = (MARKET, LIMIT, STOP, MARKET_IF_TOUCHED)
DEPENDENT_TYPES = (TAKE_PROFIT, STOP_LOSS, TRAILING_STOP_LOSS)
_TIMES = {
    MARKET: ("FOK", "IOC"),
    LIMIT: ("GTC", "GTD", "GFD", "FOK", "IOC"),
    STOP: ("GTC", "GTD", "GFD", "FOK", "IOC"),
    MARKET_IF_TOUCHED: ("GTC", "GTD", "GFD"),
}
_GUARD_TIMES = ("GTC", "GTD", "GFD")
_EFFECTS = ("DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY")
_TRIGGERS = ("DEFAULT", "INVERSE", "BID", "ASK", "MID")
_LONGEST = 128


@dataclass(frozen=True, slots=True)
class Context:
    """What a request is checked against. `replaces` is the order that this one takes the place of."""

    account: Account
    now: datetime
    replaces: Order | None = None


def order_type(body: Wire) -> str:
    """The type of an order request. Raises Refusal when it is none that can be placed."""
    kind = body.get("type", MARKET)
    if kind not in ENTRY_TYPES + DEPENDENT_TYPES:
        raise Refusal(400, "Invalid value specified for 'order.type'")
    return str(kind)


def parse_order(context: Context, request: Wire) -> Order:
    """The order that is asked for. Raises Rejection or Refusal."""
    body = without_nulls(request)
    kind = order_type(body)
    return _dependent(context, kind, body) if kind in DEPENDENT_TYPES else _entry(context, kind, body)


def _number(body: Wire, key: str) -> Decimal | None:
    if key not in body:
        return None
    try:
        return number(body[key])
    except ValueError:
        raise Refusal(400, f"Invalid value specified for 'order.{key}'") from None


def _text(body: Wire, key: str, default: str) -> str:
    value = body.get(key, default)
    if not isinstance(value, str):
        raise Refusal(400, f"Invalid value specified for 'order.{key}'")
    return value


def _entry(context: Context, kind: str, body: Wire) -> Order:
    if "instrument" not in body:
        raise Rejection("INSTRUMENT_MISSING")
    item = FOREX.get(_text(body, "instrument", ""))
    if item is None:
        raise Rejection("INSTRUMENT_UNKNOWN")
    units = check_units(item, _number(body, "units"))
    base: Wire = {"instrument": item.name, "units": plain(units)}
    price: Decimal | None = None
    if kind != MARKET:
        price = check_price(item, _number(body, "price"), "PRICE")
        base["price"] = price_text(item.name, price)
    bound = _number(body, "priceBound") if kind != LIMIT else None
    if bound is not None:
        if bound <= 0:
            raise Rejection("PRICE_BOUND_INVALID")
        if decimals(bound) > item.price_decimals:
            raise Rejection("PRICE_BOUND_PRECISION_EXCEEDED")
        base["priceBound"] = price_text(item.name, bound)
    times = _TIMES[kind]
    base.update(_time_in_force(context, body, times, "TIME_IN_FORCE"))
    effect = _choice(body, "positionFill", _EFFECTS, "ORDER_FILL_POSITION_ACTION_INVALID")
    base["positionFill"] = effect
    trigger = "DEFAULT"
    if kind != MARKET:
        trigger = _choice(body, "triggerCondition", _TRIGGERS, "TRIGGER_CONDITION_INVALID")
        base["triggerCondition"] = trigger
    client_id = _client_extensions(context, body, base)
    trade_given = check_extensions(body.get("tradeClientExtensions"), "CLIENT_TRADE")
    if trade_given:
        base["tradeClientExtensions"] = trade_given
    _on_fill(context, item, body, base, client_id)
    return Order(
        id="", instrument=item.name, type=kind, units=units, created_at=context.now,
        time_in_force=base["timeInForce"], price=price, bound=bound, effect=effect, trigger=trigger,
        expires_at=expiry(base["timeInForce"], base.get("gtdTime"), context.now), client_id=client_id,
        wire={"base": base, "state": {}},
    )  # fmt: skip


def check_units(item: Instrument, units: Decimal | None) -> Decimal:
    """Units that the instrument allows. Raises Rejection."""
    if units is None:
        raise Rejection("UNITS_MISSING")
    if units == 0:
        raise Rejection("UNITS_INVALID")
    if decimals(units) > item.unit_decimals:
        raise Rejection("UNITS_PRECISION_EXCEEDED")
    if abs(units) < item.minimum_units:
        raise Rejection("UNITS_MIMIMUM_NOT_MET")
    if abs(units) > item.maximum_units:
        raise Rejection("UNITS_LIMIT_EXCEEDED")
    return units


def check_price(item: Instrument, price: Decimal | None, code: str) -> Decimal:
    """A price that the instrument allows; `code` begins the reason. Raises Rejection."""
    if price is None:
        raise Rejection(f"{code}_MISSING")
    if price <= 0:
        raise Rejection(f"{code}_INVALID")
    if decimals(price) > item.price_decimals:
        raise Rejection(f"{code}_PRECISION_EXCEEDED")
    return price


def _choice(body: Wire, key: str, allowed: tuple[str, ...], reason: str) -> str:
    value = _text(body, key, "DEFAULT")
    if value not in allowed:
        raise Rejection(reason)
    return value


def _time_in_force(context: Context, body: Wire, allowed: tuple[str, ...], code: str) -> Wire:
    value = _text(body, "timeInForce", allowed[0])
    if value not in allowed:
        raise Rejection(f"{code}_INVALID")
    if value != "GTD":
        return {"timeInForce": value}
    prefix = code.removesuffix("TIME_IN_FORCE") if "ON_FILL" in code else "TIME_IN_FORCE_"
    if "gtdTime" not in body:
        raise Rejection(f"{prefix}GTD_TIMESTAMP_MISSING")
    try:
        until = moment(body["gtdTime"])
    except ValueError:
        raise Refusal(400, "Invalid value specified for 'order.gtdTime'") from None
    if until <= context.now:
        raise Rejection(f"{prefix}GTD_TIMESTAMP_IN_PAST")
    return {"timeInForce": value, "gtdTime": iso(until)}


def check_extensions(given: Any, code: str) -> Wire:
    """Client extensions as they are kept. Raises Rejection with a reason that begins with `code`."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Refusal(400, "Invalid value specified for 'clientExtensions'")
    kept: Wire = {}
    for key in ("id", "tag", "comment"):
        value = given.get(key)
        if value in (None, ""):
            continue
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise Rejection(f"{code}_{key.upper()}_INVALID")
        kept[key] = value
    return kept


def _client_extensions(context: Context, body: Wire, base: Wire) -> str:
    given = check_extensions(body.get("clientExtensions"), "CLIENT_ORDER")
    if not given:
        return ""
    base["clientExtensions"] = given
    client_id = str(given.get("id", ""))
    taken = {order.client_id for order in context.account.pending_orders() if order is not context.replaces}
    if client_id and client_id in taken:
        raise Rejection("CLIENT_ORDER_ID_ALREADY_EXISTS")
    return client_id


def _on_fill(context: Context, item: Instrument, body: Wire, base: Wire, client_id: str) -> None:
    ids = [client_id] if client_id else []
    for key, kind in ON_FILL.items():
        given = body.get(key)
        if given is None:
            continue
        if not isinstance(given, dict):
            raise Refusal(400, f"Invalid value specified for 'order.{key}'")
        details = check_details(context, item, kind, given, f"{kind}_ON_FILL")
        if details.get("clientExtensions", {}).get("id"):
            ids.append(details["clientExtensions"]["id"])
        base[key] = details
    if len(ids) != len(set(ids)):
        raise Rejection("ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS")


def check_details(context: Context, item: Instrument, kind: str, given: Wire, code: str) -> Wire:
    """The details of a stop, target or trailing stop, checked. `code` begins every reason ("" for a plain order)."""
    prefix = f"{code}_" if code else ""
    price, distance = _number(given, "price"), _number(given, "distance")
    details: Wire = {}
    if kind == STOP_LOSS:
        both = prefix or "STOP_LOSS_ORDER_"
        if price is not None and distance is not None:
            raise Rejection(f"{both}PRICE_AND_DISTANCE_BOTH_SPECIFIED")
        if price is None and distance is None:
            raise Rejection(f"{both}PRICE_AND_DISTANCE_BOTH_MISSING")
        if given.get("guaranteed") is True:
            raise Rejection(f"{both}GUARANTEED_NOT_ALLOWED")
    if kind == TAKE_PROFIT or (kind == STOP_LOSS and price is not None):
        details["price"] = price_text(item.name, check_price(item, price, f"{prefix}PRICE"))
    elif kind == STOP_LOSS:
        word = f"{prefix}DISTANCE" if prefix else "PRICE_DISTANCE"
        details["distance"] = price_text(item.name, check_price(item, distance, word))
    else:
        word = f"{prefix}PRICE_DISTANCE"
        wide = check_price(item, distance, word)
        if wide < item.minimum_trailing:
            raise Rejection(f"{word}_MINIMUM_NOT_MET")
        if wide > item.maximum_trailing:
            raise Rejection(f"{word}_MAXIMUM_EXCEEDED")
        details["distance"] = price_text(item.name, wide)
    details.update(_time_in_force(context, given, _GUARD_TIMES, f"{prefix}TIME_IN_FORCE"))
    if "triggerCondition" in given:
        reason = f"{prefix}TRIGGER_CONDITION_INVALID"
        details["triggerCondition"] = _choice(given, "triggerCondition", _TRIGGERS, reason)
    extensions = check_extensions(given.get("clientExtensions"), f"{prefix}CLIENT_ORDER")
    if extensions:
        details["clientExtensions"] = extensions
    return details


def find_trade(account: Account, specifier: str) -> Trade | None:
    """The open trade with this id or "@client id"."""
    if specifier.startswith("@"):
        wanted = specifier[1:]
        return next((trade for trade in account.open_trades() if trade.client_id == wanted), None)
    trade = account.trades.get(specifier)
    return trade if trade is not None and trade.is_open else None


def _dependent(context: Context, kind: str, body: Wire) -> Order:
    account = context.account
    trade_id, client_id = body.get("tradeID"), body.get("clientTradeID")
    if trade_id is None and client_id is None:
        raise Rejection("TRADE_ID_UNSPECIFIED")
    trade = find_trade(account, str(trade_id)) if trade_id is not None else find_trade(account, f"@{client_id}")
    if trade is None:
        raise Rejection("TRADE_DOESNT_EXIST", 404)
    if client_id is not None and trade.client_id != client_id:
        raise Rejection("TRADE_IDENTIFIER_INCONSISTENCY")
    if context.replaces is not None and context.replaces.trade_id != trade.id:
        raise Rejection("REPLACING_TRADE_ID_INVALID")
    held = [order for order in account.pending_orders() if order.trade_id == trade.id and order.type == kind]
    if any(order is not context.replaces for order in held):
        raise Rejection(f"{kind}_ORDER_ALREADY_EXISTS")
    details = check_details(context, FOREX[trade.instrument], kind, body, "")
    check_free(context, details)
    return dependent_order(kind, trade, details, context.now)


def check_free(context: Context, details: Wire) -> None:
    """Raises Rejection when another pending order has the client id of these details."""
    wanted = details.get("clientExtensions", {}).get("id")
    taken = {order.client_id for order in context.account.pending_orders() if order is not context.replaces}
    if wanted and wanted in taken:
        raise Rejection("CLIENT_ORDER_ID_ALREADY_EXISTS")


def reject_fields(request: Wire) -> Wire:
    """What of a rejected request is repeated in its reject transaction."""
    keys = (
        "instrument", "units", "price", "priceBound", "distance", "tradeID", "clientTradeID", "timeInForce",
        "gtdTime", "positionFill", "triggerCondition", "clientExtensions", "takeProfitOnFill", "stopLossOnFill",
        "trailingStopLossOnFill", "tradeClientExtensions",
    )  # fmt: skip
    return {key: request[key] for key in keys if request.get(key) is not None}


def instrument_or_refuse(name: str) -> Instrument:
    """The instrument that a path or query names. Raises Refusal."""
    item = FOREX.get(name)
    if item is None or find_instrument(name) is None:
        raise Refusal(400, "Invalid value specified for 'instrument'")
    return item
