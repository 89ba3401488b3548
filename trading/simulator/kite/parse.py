"""Reads what clients ask for, and refuses what the broker would refuse before an order exists.

What always holds here: bodies are forms (only margin calls send JSON); an unknown field is ignored, a missing or wrong
one is an InputException with the field's name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from ..core.calls import BadBody, Call
from ..core.numbers import ZERO, decimals, number, plain
from .answers import bad_input
from .contracts import CONTRACTS, EQUITY, Contract
from .facts import AMO, CNC, ICEBERG, MIS, NRML, REGULAR

SIDES, PRODUCTS, VALIDITIES = ("BUY", "SELL"), (CNC, MIS, NRML), ("DAY", "IOC", "TTL")
MARKET, LIMIT, SL, SL_M = "MARKET", "LIMIT", "SL", "SL-M"
ORDER_TYPES = (MARKET, LIMIT, SL, SL_M)
VARIETIES = (REGULAR, AMO, ICEBERG)
_TAG = re.compile(r"[A-Za-z0-9]{0,20}\Z")
_AUTOMATIC = Decimal(-1)


@dataclass(frozen=True, slots=True)
class Asked:
    """An order as a client asks for it."""

    variety: str
    exchange: str
    symbol: str
    side: str
    quantity: Decimal
    product: str
    order_type: str
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    validity: str = "DAY"
    ttl: int = 0
    disclosed: Decimal = ZERO
    market_protection: Decimal = ZERO
    tag: str = ""
    iceberg_legs: int = 0
    iceberg_quantity: Decimal = ZERO
    autoslice: bool = False
    placed_by: str = ""

    @property
    def contract(self) -> Contract:
        """What is to be traded. Raises Refusal."""
        return contract_of(self.exchange, self.symbol)


def form(call: Call) -> dict[str, str]:
    """The fields of a form; of a repeated one the last counts."""
    return dict(parse_qsl(call.body, keep_blank_values=True))


def repeated(call: Call, key: str) -> list[str]:
    """All values of a repeated query parameter."""
    return [value for name, value in parse_qsl(call.query, keep_blank_values=True) if name == key]


def json_rows(call: Call) -> list[dict[str, Any]]:
    """A body that is a JSON list of objects. Raises BadBody."""
    try:
        found = json.loads(call.body, parse_float=str)
    except (ValueError, RecursionError):
        raise BadBody("the body is not JSON") from None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise BadBody("the body must be a list of objects")
    return found


def text_in(given: dict[str, Any], key: str) -> str:
    """A field that must be there."""
    value = str(given.get(key) or "")
    if not value:
        raise bad_input(f"Missing or empty field `{key}`")
    return value


def choice(given: dict[str, Any], key: str, allowed: tuple[str, ...], default: str = "") -> str:
    """One of the allowed words."""
    value = str(given.get(key) or default) if default else text_in(given, key)
    if value not in allowed:
        raise bad_input(f"Invalid `{key}`.")
    return value


def whole(given: dict[str, Any], key: str, least: int = 0) -> int:
    """A whole number; 0 when absent."""
    value = str(given.get(key) or "0")
    if not (value.isascii() and value.isdecimal()) or len(value) > 12 or int(value) < least:
        raise bad_input(f"Invalid `{key}`.")
    return int(value)


def amount(given: dict[str, Any], key: str) -> Decimal | None:
    """A price above zero; None when absent or zero."""
    if given.get(key) in (None, ""):
        return None
    try:
        value = number(given[key])
    except ValueError:
        raise bad_input(f"Invalid `{key}`.") from None
    if value < 0 or decimals(value) > 6:
        raise bad_input(f"Invalid `{key}`.")
    return value or None


def protection(given: dict[str, Any]) -> Decimal:
    """The market protection: 0 none, -1 automatic, else per cent."""
    try:
        value = number(given.get("market_protection") or "0")
    except ValueError:
        raise bad_input("Invalid `market_protection`.") from None
    if value != _AUTOMATIC and not 0 <= value <= 100:
        raise bad_input("Invalid `market_protection`.")
    return value


def contract_of(exchange: str, symbol: str) -> Contract:
    """What a client means by exchange and trading symbol. Raises Refusal."""
    found = CONTRACTS.get(f"{exchange}:{symbol}")
    if found is None:
        raise bad_input("The instrument you are placing an order for has either expired or does not exist.")
    return found


def asked(variety: str, given: dict[str, Any]) -> Asked:
    """The order that a form asks for. Raises Refusal."""
    if variety not in VARIETIES:
        known = variety in ("co", "auction")
        raise bad_input(f"Orders of variety {variety} are blocked." if known else "Invalid `variety`.")
    tag = str(given.get("tag") or "")
    if not _TAG.match(tag):
        raise bad_input("Invalid `tag`. It must be alphanumeric and at most 20 characters long.")
    order = Asked(
        variety=variety,
        exchange=text_in(given, "exchange"),
        symbol=text_in(given, "tradingsymbol"),
        side=choice(given, "transaction_type", SIDES),
        quantity=Decimal(whole(given, "quantity", 1)),
        product=choice(given, "product", PRODUCTS),
        order_type=choice(given, "order_type", ORDER_TYPES),
        price=amount(given, "price"),
        trigger_price=amount(given, "trigger_price"),
        validity=choice(given, "validity", VALIDITIES, "DAY"),
        ttl=whole(given, "validity_ttl"),
        disclosed=Decimal(whole(given, "disclosed_quantity")),
        market_protection=protection(given),
        tag=tag,
        iceberg_legs=whole(given, "iceberg_legs"),
        iceberg_quantity=Decimal(whole(given, "iceberg_quantity")),
        autoslice=str(given.get("autoslice", "")).lower() == "true",
    )
    check(order)
    return order


def check(order: Asked) -> None:
    """Whether an order fits its instrument and itself. Raises Refusal."""
    contract = order.contract
    _check_product(order, contract)
    check_quantity(order, contract)
    check_prices(contract, order.side, order.order_type, order.price, order.trigger_price)
    if order.validity == "TTL" and not 1 <= order.ttl <= 1440:
        raise bad_input("Invalid `validity_ttl`. It must be between 1 and 1440 minutes.")
    if order.disclosed and (order.validity == "IOC" or not order.quantity / 10 <= order.disclosed <= order.quantity):
        raise bad_input("Disclosed quantity must be at least 10% of the quantity and not above it.")
    if order.variety == ICEBERG:
        legs, size = order.iceberg_legs, order.iceberg_quantity
        if not 2 <= legs <= 10 or not 0 < size < order.quantity or (order.quantity + size - 1) // size != legs:
            raise bad_input("Invalid `iceberg_legs` or `iceberg_quantity`.")
        if order.order_type not in (LIMIT, SL) or order.validity == "IOC":
            raise bad_input("Iceberg orders must be LIMIT or SL orders of validity DAY or TTL.")


def _check_product(order: Asked, contract: Contract) -> None:
    if contract.kind == EQUITY and order.product == NRML:
        raise bad_input("NRML is not allowed for equity. Use CNC or MIS.")
    if contract.kind != EQUITY and order.product == CNC:
        raise bad_input("CNC is not allowed for derivatives. Use NRML or MIS.")
    if contract.kind not in (EQUITY, "FUT") and order.order_type == SL_M:
        raise bad_input("SL-M orders are blocked for options. Use SL orders.")


def check_quantity(order: Asked, contract: Contract) -> None:
    """Whether the quantity is whole lots, and not above what the exchange takes in one order. Raises Refusal."""
    lot, freeze = contract.item.minimum_units, contract.item.maximum_units
    if order.quantity % lot:
        raise bad_input(f"Quantity should be in multiples of the lot size {plain(lot)}.")
    size = order.iceberg_quantity if order.variety == ICEBERG and order.iceberg_quantity else order.quantity
    if size > freeze and not order.autoslice:
        raise bad_input(f"Quantity exceeds the freeze quantity {plain(freeze)} of {contract.symbol}.")


def check_prices(
    contract: Contract, side: str, order_type: str, price: Decimal | None, trigger: Decimal | None
) -> None:
    """Whether the prices that the type needs are there, on the tick, and on the right sides. Raises Refusal."""
    if order_type in (LIMIT, SL) and price is None:
        raise bad_input(f"Price is required for {order_type} orders.")
    if order_type in (SL, SL_M) and trigger is None:
        raise bad_input(f"Trigger price is required for {order_type} orders.")
    tick = contract.item.tick
    used = (price if order_type in (LIMIT, SL) else None, trigger if order_type in (SL, SL_M) else None)
    for value in used:
        if value is not None and value % tick:
            paise = plain(tick * 100)
            raise bad_input(f"Tick size for this script is {paise} paise. Kindly enter price in multiples of it.")
    if order_type == SL and price is not None and trigger is not None:
        if side == "BUY" and trigger > price:
            raise bad_input("Trigger price cannot be above the price of a stoploss buy order.")
        if side == "SELL" and trigger < price:
            raise bad_input("Trigger price cannot be below the price of a stoploss sell order.")
