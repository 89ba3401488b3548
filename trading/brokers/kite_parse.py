"""Kite's JSON in, the port's frozen values out: strict, and each refusal says which field was wrong.

What always holds: pure, no I/O. Numbers are JSON numbers that were read as `Decimal` from the raw body, never the SDK's
floats; times are written in India without a zone and become UTC here; a field that is missing or of another kind raises
`BadData`. An order status that is not known here becomes OTHER, its word is kept, and the order counts as open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TypeVar
from zoneinfo import ZoneInfo

from trading.brokers.errors import BadData
from trading.brokers.fields import (
    Row,
    child,
    exact,
    identity,
    optional_text,
    plausible,
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
    Part,
    Side,
)

Listed = TypeVar("Listed")
Parsed = TypeVar("Parsed")

INDIA = ZoneInfo("Asia/Kolkata")
CURRENCY = "INR"
# Where shares are traded: their orders are delivered and paid for, everything else is held on margin.
EQUITY = frozenset({"NSE", "BSE"})
DELIVERY, CARRIED = "CNC", "NRML"
_WORKING = BrokerOrderStatus.WORKING
ORDER_STATUS = {
    "PUT ORDER REQ RECEIVED": _WORKING,
    "VALIDATION PENDING": _WORKING,
    "OPEN PENDING": _WORKING,
    "OPEN": _WORKING,
    "TRIGGER PENDING": _WORKING,
    "MODIFY VALIDATION PENDING": _WORKING,
    "MODIFY PENDING": _WORKING,
    "MODIFIED": _WORKING,
    "CANCEL PENDING": _WORKING,
    "AMO REQ RECEIVED": _WORKING,
    "MODIFY AMO REQ RECEIVED": _WORKING,
    "COMPLETE": BrokerOrderStatus.FILLED,
    "CANCELLED": BrokerOrderStatus.CANCELLED,
    "CANCELLED AMO": BrokerOrderStatus.CANCELLED,
    "REJECTED": BrokerOrderStatus.REJECTED,
}
_ENDS = frozenset({BrokerOrderStatus.FILLED, BrokerOrderStatus.CANCELLED, BrokerOrderStatus.REJECTED})
TRIGGERED_TYPES = frozenset({"SL", "SL-M"})
_ZERO = Decimal(0)
_COMPLETE = Part(Completeness.COMPLETE)
# The largest order that is shown where the list names none; far beyond what an account of the desk may hold.
MOST_UNITS = Decimal(1_000_000)


def number(row: Row, key: str) -> Decimal:
    """A JSON number, exactly as it was written."""
    value = row.get(key)
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        raise BadData(f"{key} is missing or not a number: {value!r:.80}")
    return exact(str(value), key)


def optional_number(row: Row, key: str) -> Decimal | None:
    """A number that may be missing or null."""
    return None if row.get(key) is None else number(row, key)


def positive(row: Row, key: str) -> Decimal:
    """A number that must be above zero, as every price of an execution is."""
    value = number(row, key)
    if value <= 0:
        raise BadData(f"{key} must be above zero, not {value}")
    return value


def units(row: Row, key: str) -> Decimal:
    """A whole number of shares that is not negative."""
    value = number(row, key)
    if value < 0 or value != value.to_integral_value():
        raise BadData(f"{key} is not a number of shares: {value}")
    return value


def some_units(row: Row, key: str) -> Decimal:
    """A whole number of shares above zero, as that of every order and execution is."""
    value = units(row, key)
    if value == 0:
        raise BadData(f"{key} must be above zero")
    return value


def moment(row: Row, key: str) -> datetime:
    """A time of India without a zone, "YYYY-MM-DD HH:MM:SS", in UTC."""
    value = text(row, key)
    try:
        at = datetime.strptime(value, "%Y-%m-%d %H:%M:%S").replace(tzinfo=INDIA)
        return plausible(at.astimezone(UTC), key)
    except (ValueError, OverflowError) as error:  # BadData is a ValueError
        raise BadData(f"{key} is not a time of India: {value!r:.80}") from error


def optional_moment(row: Row, key: str) -> datetime | None:
    """A time that may be missing, null, or the time of day only, as in some answers; None then."""
    value = optional_text(row, key)
    return moment(row, key) if len(value) > len("HH:MM:SS") else None


def day_of(at: datetime) -> date:
    """The day in India that a time belongs to."""
    return at.astimezone(INDIA).date()


def symbol(row: Row) -> str:
    """An instrument as Kite's quotes name it: EXCHANGE:TRADINGSYMBOL."""
    return f"{identity(row, 'exchange')}:{identity(row, 'tradingsymbol')}"


def side_of(row: Row) -> Side:
    """The direction of an order or execution. Raises `BadData` for a word that is not known."""
    word = text(row, "transaction_type")
    if word not in ("BUY", "SELL"):
        raise BadData(f"transaction_type is neither BUY nor SELL: {word!r:.40}")
    return Side(word)


def tag_of(row: Row) -> str:
    """The label that an order was sent with, "" without one; some answers only have the list of labels."""
    tag = optional_text(row, "tag")
    if tag or row.get("tags") is None:
        return tag
    tags = row["tags"]
    if not isinstance(tags, list) or not all(isinstance(one, str) for one in tags):
        raise BadData(f"tags is not a list of texts: {tags!r:.80}")
    return tags[0] if len(tags) == 1 else ""


def filled_of(row: Row) -> Decimal:
    """How much of an order has filled; never more than was ordered."""
    filled = units(row, "filled_quantity") if row.get("filled_quantity") is not None else _ZERO
    ordered = units(row, "quantity") if row.get("quantity") is not None else None
    if ordered is not None and filled > ordered:
        raise BadData(f"filled_quantity {filled} is above quantity {ordered}")
    return filled


def status_of(row: Row) -> BrokerOrderStatus:
    """An order's status in our words; Kite has no word for an open order that has filled in part: that is PARTIAL."""
    status = ORDER_STATUS.get(text(row, "status"), BrokerOrderStatus.OTHER)
    return BrokerOrderStatus.PARTIAL if status is _WORKING and filled_of(row) > 0 else status


def has_ended(row: Row) -> bool:
    """Whether nothing can become of an order any more. A word that is not known is no end."""
    return ORDER_STATUS.get(text(row, "status")) in _ENDS


def order(row: Row) -> BrokerOrder:
    """An order of today. One without a price of its kind, as a market order, says zero there."""
    kind = optional_text(row, "order_type")
    price = optional_number(row, "trigger_price" if kind in TRIGGERED_TYPES else "price")
    if price is not None and price < 0:
        raise BadData(f"an order's price must not be below zero: {price}")
    return BrokerOrder(
        broker_order_id=identity(row, "order_id"),
        client_id=tag_of(row),
        instrument=symbol(row),
        side=side_of(row),
        type=kind,
        quantity=some_units(row, "quantity"),
        filled=filled_of(row),
        price=price or None,
        status=status_of(row),
        raw_status=text(row, "status"),
        raw=storable(dict(row)),
    )


def positions(net: Iterable[Row], holdings: Iterable[Row]) -> tuple[tuple[BrokerPosition, ...], Part]:
    """What is held in all: shares delivered or on their way, and what was traded today or is carried on margin.

    Shares for delivery are in two lists: what was there when the day began in the holdings, what changed today in the
    positions. They are one position here. Shares that came from elsewhere cost nothing in the list: their cost is not
    known, and they have its market price instead.
    """
    problems: list[str] = []
    market: dict[tuple[str, str], Row] = {}
    held: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    for listed, read in ((holdings, _holding), (net, _net)):
        told: set[tuple[str, str]] = set()
        for row in listed:
            try:
                key, quantity, price = read(row)
            except BadData as error:
                problems.append(str(error))
                continue
            if key in told:
                problems.append(f"{key[0]}: one list names it twice as {key[1]}")
                continue
            told.add(key)
            if row.get("last_price") is not None:
                market[key] = row
            held[key] = _joined(held.get(key, (_ZERO, _ZERO)), (quantity, price))
    found = []
    for (name, product), (quantity, price) in held.items():
        if quantity == 0:
            continue
        try:  # only what has no price of its own needs the market's
            last = None if price else optional_number(market.get((name, product), {}), "last_price")
        except BadData as error:
            problems.append(str(error))
            continue
        if price < 0 or (price == 0 and (last is None or last <= 0)):
            problems.append(f"{name}: its average price is {price}")
            continue
        side = Side.BUY if quantity > 0 else Side.SELL
        found.append(BrokerPosition(name, side, abs(quantity), price, product, market_price=last))
    return tuple(found), _part(problems)


def _holding(row: Row) -> tuple[tuple[str, str], Decimal, Decimal]:
    """The shares that were there when the day began; those that have not arrived yet count."""
    if row.get("opening_quantity") is not None:
        quantity = units(row, "opening_quantity")
    else:
        quantity = units(row, "quantity") + (units(row, "t1_quantity") if row.get("t1_quantity") is not None else 0)
    return (symbol(row), DELIVERY), quantity, number(row, "average_price")


def _net(row: Row) -> tuple[tuple[str, str], Decimal, Decimal]:
    quantity = number(row, "quantity")
    if quantity != quantity.to_integral_value():
        raise BadData(f"quantity is not a number of units: {quantity}")
    return (symbol(row), text(row, "product")), quantity, number(row, "average_price")


def _joined(one: tuple[Decimal, Decimal], other: tuple[Decimal, Decimal]) -> tuple[Decimal, Decimal]:
    """Two parts of one position with their average prices, as one."""
    total = one[0] + other[0]
    if one[0] == 0 or total == 0:
        return total, other[1]
    if other[0] == 0 or one[0] * other[0] < 0:
        return total, one[1] if abs(one[0]) > abs(other[0]) or other[0] == 0 else other[1]
    if one[1] == 0 or other[1] == 0:
        return total, _ZERO  # of a part it is not known
    return total, round((one[0] * one[1] + other[0] * other[1]) / total, 12)


def part(listed: Iterable[Listed], parse: Callable[[Listed], Sequence[Parsed]]) -> tuple[tuple[Parsed, ...], Part]:
    """The readable rows of a list, and whether they are all of it."""
    parsed: list[Parsed] = []
    problems: list[str] = []
    for row in listed:
        try:
            parsed.extend(parse(row))
        except BadData as error:
            problems.append(str(error))
    return tuple(parsed), _part(problems)


def _part(problems: Sequence[str]) -> Part:
    return Part(Completeness.PARTIAL, "; ".join(problems)[:500]) if problems else _COMPLETE


def instrument(row: dict[str, str]) -> BrokerInstrument:
    """One line of the instrument list."""
    tick, lot = exact(row.get("tick_size", ""), "tick_size"), exact(row.get("lot_size", ""), "lot_size")
    if tick <= 0 or lot <= 0:
        raise BadData(f"its tick is {tick} and its lot {lot}")
    exponent = tick.normalize().as_tuple().exponent
    return BrokerInstrument(
        symbol=symbol(row),
        display_name=row.get("name") or text(row, "tradingsymbol"),
        base=text(row, "tradingsymbol"),
        quote=CURRENCY,
        price_decimals=max(0, -exponent) if isinstance(exponent, int) else 0,
        unit_decimals=0,
        pip_size=tick,
        tick_size=tick,
        minimum_units=lot,
        maximum_units=MOST_UNITS,
        margin_rate=Decimal(1),
    )


def price(name: str, row: Row) -> BrokerPrice:
    """The best bid and ask of a quote. An instrument that nobody bids for or offers has no price."""
    depth = child(row, "depth")
    bid, ask = (_best(rows(depth, key), key) for key in ("buy", "sell"))
    if bid > ask:
        raise BadData(f"{name}: the bid {bid} is above the ask {ask}")
    return BrokerPrice(name, bid, ask, moment(row, "timestamp"), True)


def _best(levels: Sequence[Row], key: str) -> Decimal:
    if not levels:
        raise BadData(f"nobody is on the side {key}")
    return positive(levels[0], "price")


def candle(listed: object, name: str, interval: timedelta, now: datetime) -> BrokerCandle:
    """One candle: [time with its zone, open, high, low, close, volume, …]; complete once its time is over."""
    if not isinstance(listed, list) or len(listed) < 6:
        raise BadData(f"{name}: a candle is not a list of six: {listed!r:.80}")
    row = dict(zip(("at", "open", "high", "low", "close", "volume"), listed[:6], strict=True))
    opened, high, low, close = (positive(row, key) for key in ("open", "high", "low", "close"))
    if not low <= min(opened, close) <= max(opened, close) <= high:
        raise BadData(f"{name}: a candle's open and close are not between its low and high")
    try:
        start = plausible(datetime.strptime(text(row, "at"), "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC), "at")
    except (ValueError, OverflowError) as error:  # BadData is a ValueError
        raise BadData(f"{name}: a candle's time is {row['at']!r:.60}") from error
    volume = number(row, "volume")
    if volume < 0:
        raise BadData(f"{name}: a candle's volume is {volume}")
    return BrokerCandle(name, start, opened, high, low, close, volume, start + interval <= now)
