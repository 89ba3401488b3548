"""Reading what a client asks for: parameters that are complete and fit together, or the broker's refusal.

What always holds here: a member that is null is a member that is absent; quantities have at most nine decimals,
prices no fraction of a cent from one dollar on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..core.instruments import SHARES
from ..core.numbers import decimals, moment, number, plain
from ..core.nyse import midnight
from .answers import Refusal, malformed, unprocessable
from .facts import BRACKET, OCO, OTO, SIMPLE

_KNOWN = {
    "symbol", "qty", "notional", "side", "type", "time_in_force", "limit_price", "stop_price", "trail_price",
    "trail_percent", "extended_hours", "client_order_id", "order_class", "take_profit", "stop_loss",
    "position_intent", "legs", "advanced_instructions",
}  # fmt: skip
_TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
_TIMES = ("day", "gtc", "opg", "cls", "ioc", "fok")
_INTENTS = ("buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close")
_NEEDS: dict[str, tuple[str, ...]] = {
    "market": (), "limit": ("limit_price",), "stop": ("stop_price",), "stop_limit": ("limit_price", "stop_price"),
    "trailing_stop": (),
}  # fmt: skip
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Exit:
    """A leg that ends a position: its limit, its stop, or both."""

    limit_price: Decimal | None
    stop_price: Decimal | None


@dataclass(frozen=True, slots=True)
class Asked:
    """An order as a client asks for it."""

    symbol: str
    side: str
    type: str
    time_in_force: str
    order_class: str
    quantity: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail_price: Decimal | None
    trail_percent: Decimal | None
    extended_hours: bool
    client_id: str
    intent: str
    take_profit: Exit | None
    stop_loss: Exit | None


def given(body: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """The members that are there. Raises Refusal for one that does not exist."""
    for key in body:
        if key not in known:
            raise malformed(f"unknown field: {key}")
    return {key: value for key, value in body.items() if value is not None}


def amount(body: dict[str, Any], key: str) -> Decimal | None:
    """A number above zero; None when it is absent."""
    if key not in body or body[key] == "":
        return None
    try:
        value = number(body[key])
    except ValueError:
        raise malformed(f"invalid {key}: {body[key]}") from None
    if value <= 0:
        raise unprocessable(f"{key} must be > 0")
    return value


def price(body: dict[str, Any], key: str, name: str = "") -> Decimal | None:
    """A price without a fraction of a cent (of a hundredth of a cent below one dollar)."""
    value = amount(body, key)
    if value is not None and decimals(value) > (2 if value >= 1 else 4):
        raise unprocessable(
            f"invalid {name or key} {plain(value)}. sub-penny increment does not fulfill minimum pricing criteria"
        )
    return value


def quantity(body: dict[str, Any], key: str) -> Decimal | None:
    """A quantity or an amount of money with at most nine decimals."""
    value = amount(body, key)
    if value is not None and decimals(value) > 9:
        raise unprocessable(f"{key} must have at most 9 decimal places")
    return value


def choice(body: dict[str, Any], key: str, allowed: tuple[str, ...], default: str = "") -> str:
    """One of the allowed words."""
    value = body.get(key, default)
    if value == "" and default == "":
        raise malformed(f"{key} is required")
    if value not in allowed:
        raise malformed(f"invalid {key}: {value}")
    return str(value)


def client_id_in(body: dict[str, Any]) -> str:
    """The client's own id for an order, or ""."""
    value = body.get("client_order_id", "")
    if not isinstance(value, str):
        raise malformed("client_order_id must be a string")
    if len(value) > 128:
        raise malformed("client_order_id must be no more than 128 characters")
    return value


def _exit(body: dict[str, Any], key: str, keys: set[str]) -> Exit | None:
    if key not in body:
        return None
    if not isinstance(body[key], dict):
        raise malformed(f"{key} must be an object")
    member = given(body[key], keys)
    if not member:
        return None
    return Exit(price(member, "limit_price", f"{key}.limit_price"), price(member, "stop_price", f"{key}.stop_price"))


def asked(body: dict[str, Any]) -> Asked:
    """The order that a body asks for. Raises Refusal."""
    found = given(body, _KNOWN)
    symbol = str(found.get("symbol", "")).upper()
    if not symbol:
        raise malformed("symbol is required")
    if symbol not in SHARES:
        raise unprocessable(f'asset "{symbol}" not found')
    order_class = choice(found, "order_class", (SIMPLE, BRACKET, OCO, OTO, "", "mleg"), SIMPLE) or SIMPLE
    if order_class == "mleg":
        raise unprocessable("multi-leg orders are for options only")
    extended = found.get("extended_hours", False)
    if not isinstance(extended, bool):
        raise malformed("extended_hours must be a boolean")
    order = Asked(
        symbol=symbol,
        side=choice(found, "side", ("buy", "sell")),
        type=choice(found, "type", _TYPES),
        time_in_force=choice(found, "time_in_force", _TIMES),
        order_class=order_class,
        quantity=quantity(found, "qty"),
        notional=quantity(found, "notional"),
        limit_price=price(found, "limit_price"),
        stop_price=price(found, "stop_price"),
        trail_price=price(found, "trail_price"),
        trail_percent=amount(found, "trail_percent"),
        extended_hours=extended,
        client_id=client_id_in(found),
        intent=choice(found, "position_intent", (*_INTENTS, "any"), "any"),
        take_profit=_exit(found, "take_profit", {"limit_price"}),
        stop_loss=_exit(found, "stop_loss", {"limit_price", "stop_price"}),
    )
    _check_prices(order)
    _check_size(order)
    _check_time(order)
    _check_class(order)
    return order


def _check_prices(order: Asked) -> None:
    needed = _NEEDS[order.type] if order.order_class != OCO else ()
    for key in ("limit_price", "stop_price"):
        there = getattr(order, key) is not None
        if key in needed and not there:
            raise malformed(f"{order.type} orders require a {key.replace('_', ' ')}")
        if there and key not in _NEEDS[order.type]:
            raise malformed(f"{order.type} orders require no {key.replace('_', ' ')}")
    trails = (order.trail_price is not None) + (order.trail_percent is not None)
    if trails != (order.type == "trailing_stop"):
        raise malformed(
            "trailing stop orders must specify one of trail_price or trail_percent"
            if order.type == "trailing_stop"
            else f"{order.type} orders require no trail_price or trail_percent"
        )


def _check_size(order: Asked) -> None:
    if (order.quantity is None) == (order.notional is None):
        raise malformed("qty or notional is required" if order.quantity is None else "only one of qty or notional")
    if order.notional is not None and (order.type != "market" or order.time_in_force != "day"):
        raise unprocessable("notional orders must be market orders of the day")
    fractional = order.notional is not None or decimals(order.quantity or Decimal(0)) > 0
    if fractional and order.order_class != SIMPLE:
        raise unprocessable("fractional orders must be simple orders")
    if fractional and order.time_in_force != "day":
        raise unprocessable("fractional orders must be DAY orders")
    if fractional and order.type == "trailing_stop":
        raise unprocessable("fractional orders cannot be trailing stop orders")


def _check_time(order: Asked) -> None:
    if order.extended_hours and (order.type != "limit" or order.time_in_force not in ("day", "gtc")):
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    if order.time_in_force in ("opg", "cls") and order.type not in ("market", "limit"):
        raise unprocessable(f"{order.time_in_force} orders must be market or limit orders")
    if order.time_in_force in ("ioc", "fok") and order.type == "trailing_stop":
        raise unprocessable("trailing stop orders must be DAY or GTC orders")


def _check_class(order: Asked) -> None:
    profit, loss = order.take_profit, order.stop_loss
    if order.order_class == SIMPLE:
        if profit is not None or loss is not None:
            raise unprocessable("simple orders must not have take_profit or stop_loss")
        return
    if order.time_in_force not in ("day", "gtc"):
        raise unprocessable("complex orders must be DAY or GTC orders")
    if order.extended_hours:
        raise unprocessable("complex orders are not supported in extended hours")
    if profit is not None and profit.limit_price is None:
        raise malformed("take_profit.limit_price is required")
    if loss is not None and loss.stop_price is None:
        raise malformed("stop_loss.stop_price is required")
    if order.order_class == OTO:
        if (profit is None) == (loss is None):
            raise unprocessable("oto orders require either take_profit or stop_loss")
    elif profit is None or loss is None:
        raise unprocessable(f"{order.order_class} orders require take_profit.limit_price and stop_loss.stop_price")
    if order.order_class == OCO and order.type != "limit":
        raise unprocessable("oco orders must be limit orders")


def check_exits(order: Asked, base: Decimal, enters: bool) -> None:
    """Whether target and stop lie on their sides of the price at which the order is worth entering. Raises Refusal."""
    profit = order.take_profit.limit_price if order.take_profit is not None else None
    loss = order.stop_loss.stop_price if order.stop_loss is not None else None
    up = 1 if (order.side == "buy") == enters else -1
    word = {1: ">", -1: "<"}
    if profit is not None and loss is not None and (profit - loss) * up <= 0:
        raise unprocessable(f"take_profit.limit_price must be {word[up]} stop_loss.stop_price")
    if not enters:
        return
    more = {"base_price": plain(base)}
    if profit is not None and (profit - base) * up < _CENT:
        raise unprocessable(f"take_profit.limit_price must be {word[up]}= base_price {'+-'[up < 0]} 0.01", **more)
    if loss is not None and (base - loss) * up < _CENT:
        raise unprocessable(f"stop_loss.stop_price must be {word[-up]}= base_price {'-+'[up < 0]} 0.01", **more)


def time_in(parameters: dict[str, str], key: str) -> datetime | None:
    """A time, or the midnight in New York that begins a date; None when absent. Raises Refusal."""
    value = parameters.get(key, "")
    if not value:
        return None
    try:
        if len(value) == 10:
            return midnight(datetime.fromisoformat(value).date())
        return moment(value.replace(" ", "+") if "T" in value else value)
    except ValueError:
        raise malformed(f"invalid {key}: {value}") from None


def count_in(parameters: dict[str, str], key: str, default: int, most: int) -> int:
    """A whole number from 1 to `most`. Raises Refusal."""
    value = parameters.get(key, "")
    if not value:
        return default
    if not value.isdecimal() or not 1 <= int(value) <= most:
        raise malformed(f"{key} must be between 1 and {most}")
    return int(value)


def true_in(parameters: dict[str, str], key: str) -> bool:
    """Whether a parameter says true."""
    return parameters.get(key, "").lower() in ("true", "1", "t")


def bad_direction(value: str) -> Refusal:
    """The refusal of a direction that is neither up nor down."""
    return malformed(f"invalid direction: {value}")
