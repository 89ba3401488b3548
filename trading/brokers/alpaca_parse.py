"""Alpaca's JSON in, the port's frozen values out: strict, and each refusal says which field was wrong.

What always holds: pure, no I/O. Numbers arrive as text or as JSON numbers that were read as `Decimal`, never as floats;
a field that is missing or of another kind raises `BadData`. A word for a status that is not known here becomes OTHER
and never costs the rest of its list; a row that cannot be read makes its part of a snapshot PARTIAL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from trading.brokers.errors import BadData
from trading.brokers.fields import (
    Row,
    child,
    exact,
    flag,
    identity,
    moment,
    optional_child,
    optional_text,
    rows,
    text,
)
from trading.brokers.transport import storable
from trading.domain.broker import (
    BrokerCandle,
    BrokerInstrument,
    BrokerOrder,
    BrokerOrderStatus,
    BrokerPosition,
    BrokerPrice,
    Completeness,
    LegRole,
    OrderNews,
    Part,
    Side,
)

Listed = TypeVar("Listed")
Parsed = TypeVar("Parsed")

_WORKING = BrokerOrderStatus.WORKING
# `held` is a leg that waits for its entry; `done_for_day` and `suspended` only pause. `replaced` ends this order: the
# one that replaces it has another id.
ORDER_STATUS = {
    "new": _WORKING,
    "accepted": _WORKING,
    "pending_new": _WORKING,
    "pending_review": _WORKING,
    "accepted_for_bidding": _WORKING,
    "held": _WORKING,
    "pending_cancel": _WORKING,
    "pending_replace": _WORKING,
    "done_for_day": _WORKING,
    "stopped": _WORKING,
    "suspended": _WORKING,
    "partially_filled": BrokerOrderStatus.PARTIAL,
    "filled": BrokerOrderStatus.FILLED,
    "canceled": BrokerOrderStatus.CANCELLED,
    "replaced": BrokerOrderStatus.CANCELLED,
    "expired": BrokerOrderStatus.EXPIRED,
    "rejected": BrokerOrderStatus.REJECTED,
}
# Where the moment of an order's end is written.
ENDED_AT = {
    "filled": "filled_at",
    "canceled": "canceled_at",
    "expired": "expired_at",
    "rejected": "failed_at",
    "replaced": "replaced_at",
}
LEG_ROLES = {
    "limit": LegRole.TP1,
    "stop": LegRole.STOP,
    "stop_limit": LegRole.STOP,
    "trailing_stop": LegRole.STOP,
}
_SIDES = {"buy": Side.BUY, "sell": Side.SELL, "sell_short": Side.SELL}
_ZERO, _CENT = Decimal(0), Decimal("0.01")
_COMPLETE = Part(Completeness.COMPLETE)
# Alpaca names no largest order; this is far beyond what an account of the desk may hold.
MOST_SHARES = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class LegOf:
    """Whose leg an order is: the client id of its parent, and what it does there."""

    parent_client_id: str
    role: LegRole | None


def number(row: Row, key: str) -> Decimal:
    """A decimal number, as text or as a JSON number."""
    value = row.get(key)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = str(value)
    return exact(value if isinstance(value, str) else text(row, key), key)


def optional_number(row: Row, key: str) -> Decimal | None:
    """A number that may be missing or null."""
    return None if row.get(key) is None else number(row, key)


def positive(row: Row, key: str) -> Decimal:
    """A number that must be above zero, as every price is."""
    value = number(row, key)
    if value <= 0:
        raise BadData(f"{key} must be above zero, not {value}")
    return value


def optional_positive(row: Row, key: str) -> Decimal | None:
    """A number that may be missing or null, above zero otherwise."""
    return None if row.get(key) is None else positive(row, key)


def filled(row: Row) -> Decimal:
    """How much of an order has filled: zero where it says nothing."""
    found = optional_number(row, "filled_qty") or _ZERO
    if found < 0:
        raise BadData(f"filled_qty must not be below zero: {found}")
    return found


def side_of(row: Row, key: str = "side") -> Side:
    """The direction of an order or execution. Raises `BadData` for a word that is not known."""
    word = text(row, key)
    if word not in _SIDES:
        raise BadData(f"{key} is neither buy nor sell: {word!r:.40}")
    return _SIDES[word]


def status_of(row: Row) -> BrokerOrderStatus:
    """An order's status in our words; a working order that has filled in part is PARTIAL."""
    status = ORDER_STATUS.get(text(row, "status"), BrokerOrderStatus.OTHER)
    return BrokerOrderStatus.PARTIAL if status is _WORKING and filled(row) > 0 else status


def has_ended(row: Row) -> bool:
    """Whether nothing can become of an order any more. A word that is not known is no end."""
    return text(row, "status") in ENDED_AT


def order(row: Row, leg_of: LegOf | None = None) -> BrokerOrder:
    """An order. One of several legs, as of options, may have no symbol or side of its own."""
    kind = optional_text(row, "type")
    price = optional_positive(row, "limit_price" if kind == "limit" else "stop_price")
    return BrokerOrder(
        broker_order_id=identity(row, "id"),
        client_id=optional_text(row, "client_order_id"),
        instrument=optional_text(row, "symbol"),
        side=side_of(row) if optional_text(row, "side") else None,
        type=kind.upper(),
        quantity=optional_positive(row, "qty"),
        filled=filled(row),
        price=price,
        status=status_of(row),
        raw_status=text(row, "status"),
        parent_client_id=leg_of.parent_client_id if leg_of else "",
        leg=leg_of.role if leg_of else None,
        raw=storable({key: value for key, value in row.items() if key != "legs"}),
    )


def legs(row: Row) -> list[tuple[Row, LegOf]]:
    """The legs that an order's answer lists, each with whose leg it is."""
    if row.get("legs") is None:
        return []
    parent = optional_text(row, "client_order_id")
    return [(leg, LegOf(parent, LEG_ROLES.get(optional_text(leg, "type")))) for leg in rows(row, "legs")]


def leg_orders(row: Row) -> tuple[BrokerOrder, ...]:
    """The legs of an order as orders."""
    return tuple(order(leg, leg_of) for leg, leg_of in legs(row))


def leg_news(row: Row) -> tuple[OrderNews, ...]:
    """The legs of an order by the ids that Alpaca gave them."""
    return tuple(
        OrderNews(
            leg.broker_order_id,
            leg.client_id,
            leg.status,
            "leg",
            parent_client_id=leg.parent_client_id,
            leg=leg.leg,
        )
        for leg in leg_orders(row)
    )


def flat(listed: Iterable[Row]) -> list[tuple[Row, LegOf | None]]:
    """Orders and their legs in one list, each id once, a parent before its legs."""
    found: dict[str, tuple[Row, LegOf | None]] = {}
    for row in listed:
        for each, leg_of in [(row, None), *legs(row)]:
            key = text(each, "id")
            if key not in found or (leg_of is not None and found[key][1] is None):
                found[key] = (each, leg_of)
    return list(found.values())


def submitted_at(row: Row) -> datetime:
    """When an order came in; the paging of Alpaca's lists goes by this."""
    return moment(row, "submitted_at" if row.get("submitted_at") is not None else "created_at")


def position(row: Row) -> list[BrokerPosition]:
    """A position; the quantity of a short may carry a minus. A flat one is none at all."""
    quantity = number(row, "qty")
    if quantity == 0:
        return []
    word = text(row, "side")
    if word not in ("long", "short") or (word == "long" and quantity < 0):
        raise BadData(f"{text(row, 'symbol')!r:.40} is said to be {word!r:.20} with {quantity}")
    return [
        BrokerPosition(
            instrument=text(row, "symbol"),
            side=Side.BUY if word == "long" else Side.SELL,
            quantity=abs(quantity),
            average_price=positive(row, "avg_entry_price"),
            unrealised=optional_number(row, "unrealized_pl"),
        )
    ]


def part(listed: Iterable[Listed], parse: Callable[[Listed], Sequence[Parsed]]) -> tuple[tuple[Parsed, ...], Part]:
    """The readable rows of a list, and whether they are all of it."""
    parsed: list[Parsed] = []
    problems: list[str] = []
    for row in listed:
        try:
            parsed.extend(parse(row))
        except BadData as error:
            problems.append(str(error))
    return tuple(parsed), Part(Completeness.PARTIAL, "; ".join(problems)[:500]) if problems else _COMPLETE


def instrument(row: Row, currency: str) -> BrokerInstrument:
    """A share that may be traded. Whole shares only; prices are in cents where Alpaca names no other step."""
    symbol = text(row, "symbol")
    margin = optional_number(row, "margin_requirement_long") or _ZERO
    if margin < 0:
        raise BadData(f"margin_requirement_long must not be below zero: {margin}")
    tick = optional_number(row, "price_increment")
    if tick is not None and tick <= 0:
        raise BadData(f"price_increment must be above zero: {tick}")
    return BrokerInstrument(
        symbol=symbol,
        display_name=text(row, "name"),
        base=symbol,
        quote=currency,
        price_decimals=2,
        unit_decimals=0,
        pip_size=_CENT,
        tick_size=tick or _CENT,
        minimum_units=Decimal(1),
        maximum_units=MOST_SHARES,
        margin_rate=margin / 100 if margin else Decimal(1),
    )


def price(symbol: str, row: Row, *, tradeable: bool) -> BrokerPrice:
    """The best bid and ask of the latest quote; a side that nobody quotes is zero, and then there is no price."""
    bid, ask = positive(row, "bp"), positive(row, "ap")
    if bid > ask:
        raise BadData(f"{symbol}: the bid {bid} is above the ask {ask}")
    return BrokerPrice(symbol, bid, ask, moment(row, "t"), tradeable)


def candle(row: Row, symbol: str, interval: timedelta, now: datetime) -> BrokerCandle:
    """A bar of trades, complete once its time is over."""
    start = moment(row, "t")
    opened, high, low, close = (positive(row, key) for key in ("o", "h", "l", "c"))
    if not low <= min(opened, close) <= max(opened, close) <= high:
        raise BadData(f"{symbol}: a bar's open and close are not between its low and high")
    volume = number(row, "v")
    if volume < 0:
        raise BadData(f"{symbol}: a bar's volume is {volume}")
    return BrokerCandle(symbol, start, opened, high, low, close, volume, start + interval <= now)


def by_symbol(row: Row, key: str) -> dict[str, Row]:
    """What an object says for each symbol; what is no object is passed over."""
    found = child(row, key)
    return {symbol: each for symbol, each in found.items() if isinstance(each, dict)}


def bars(row: Row, symbol: str) -> list[Row]:
    """The bars of one symbol in an answer; none when it has none."""
    found = optional_child(row, "bars")
    if not set(found) <= {symbol}:
        raise BadData(f"it is about other symbols than {symbol}")
    return rows(found, symbol) if found.get(symbol) is not None else []


def is_tradable(row: Row) -> bool:
    """Whether an asset may be traded."""
    return flag(row, "tradable") and optional_text(row, "status") in ("", "active")


def is_open(clock: Row) -> bool:
    """Whether the market is open, by the broker's clock."""
    return flag(clock, "is_open")
