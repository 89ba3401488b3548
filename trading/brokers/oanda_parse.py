"""OANDA's JSON in, the port's frozen values out: strict, and each refusal says which field was wrong.

What always holds: pure, no I/O. Numbers are OANDA's decimal strings and pass `parse_decimal` (no NaN, no infinities, no
floats); a field that is missing or of another kind raises `BadData`, nothing is guessed or defaulted except what the
vendor documents as optional. A list in a snapshot keeps its readable rows and says that it is not complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from trading.brokers import fields
from trading.brokers.errors import BadData
from trading.brokers.fields import (
    Row,
    child,
    flag,
    moment,
    number,
    optional_child,
    optional_text,
    positive,
    rows,
    text,
    whole,
)
from trading.brokers.transport import storable
from trading.domain.broker import (
    BrokerCandle,
    BrokerInstrument,
    BrokerOrder,
    BrokerOrderStatus,
    BrokerPosition,
    BrokerPrice,
    BrokerSnapshot,
    Completeness,
    Part,
    Side,
)

Parsed = TypeVar("Parsed")

ORDER_STATUS = {
    "PENDING": BrokerOrderStatus.WORKING,
    "FILLED": BrokerOrderStatus.FILLED,
    "CANCELLED": BrokerOrderStatus.CANCELLED,
}
# No broker's price or quantity has more decimals than our columns.
MOST_PLACES = 12
_ZERO = Decimal(0)
_COMPLETE = Part(Completeness.COMPLETE)


def identifier(row: Row, key: str) -> str:
    """A transaction, order or trade id: digits."""
    value = text(row, key)
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise BadData(f"{key} is not an id: {value!r:.80}")
    return value


def client_id(row: Row) -> str:
    """The client's own id of an order, trade or creating transaction; "" when it has none."""
    return optional_text(optional_child(row, "clientExtensions"), "id")


def side_of(units: Decimal) -> Side:
    """OANDA's sign of units: above zero buys."""
    if units == 0:
        raise BadData("units are zero, so there is no side")
    return Side.BUY if units > 0 else Side.SELL


def order(row: Row, trades: Mapping[str, Row]) -> BrokerOrder:
    """An order. A stop or target names only its trade: what it would close is taken from `trades` (by trade id)."""
    raw_status = text(row, "state")
    status = ORDER_STATUS.get(raw_status, BrokerOrderStatus.OTHER)
    trade_id = optional_text(row, "tradeID")
    instrument = optional_text(row, "instrument")
    side: Side | None = None
    quantity: Decimal | None = None
    if row.get("units") is not None:
        units = number(row, "units")
        side, quantity = side_of(units), abs(units)
    elif trade_id in trades:
        units = number(trades[trade_id], "currentUnits")
        instrument = text(trades[trade_id], "instrument")
        if units != 0:
            side, quantity = side_of(units).opposite, abs(units)
    filled = quantity if status is BrokerOrderStatus.FILLED and quantity is not None else _ZERO
    return BrokerOrder(
        broker_order_id=identifier(row, "id"),
        client_id=client_id(row),
        instrument=instrument,
        side=side,
        type=text(row, "type"),
        quantity=quantity,
        filled=filled,
        price=positive(row, "price") if row.get("price") is not None else None,
        status=status,
        raw_status=raw_status,
        trade_id=trade_id,
        raw=storable(dict(row)),
    )


def positions(row: Row) -> list[BrokerPosition]:
    """The sides of one instrument that are not flat: none, one, or both on a hedging account."""
    found = []
    for name, side in (("long", Side.BUY), ("short", Side.SELL)):
        part = child(row, name)
        units = number(part, "units")
        if units == 0:
            continue
        if side_of(units) is not side:
            raise BadData(f"the {name} side of {text(row, 'instrument')!r:.40} has units {units}")
        found.append(
            BrokerPosition(
                instrument=text(row, "instrument"),
                side=side,
                quantity=abs(units),
                average_price=positive(part, "averagePrice"),
                unrealised=number(part, "unrealizedPL") if part.get("unrealizedPL") is not None else None,
            )
        )
    return found


def snapshot(body: dict[str, Any], *, account_id: str, at: datetime) -> BrokerSnapshot:
    """The account as one details answer shows it. Never raises: what cannot be read makes its part not COMPLETE."""
    account = body.get("account")
    if not isinstance(account, dict):
        return _failed(account_id, at, body, "the answer has no account in it")
    if account.get("id") != account_id:
        return _failed(account_id, at, body, f"the answer is about account {account.get('id')!r:.60}, not {account_id}")
    try:
        last_event_id = identifier(body, "lastTransactionID")
        if identifier(account, "lastTransactionID") != last_event_id:
            raise BadData("the account and its answer name different last transactions")
    except BadData as error:
        return _failed(account_id, at, body, str(error))
    currency, cash, cash_part = "", {}, _COMPLETE
    try:
        currency = fields.currency(account, "currency")
        cash = {currency: number(account, "balance")}
    except BadData as error:
        cash_part = Part(Completeness.FAILED, str(error))
    position_rows, positions_part = _part(account, "positions", "openPositionCount", positions)
    listed = account.get("trades")
    trades = {str(row.get("id")): row for row in listed if isinstance(row, dict)} if isinstance(listed, list) else {}
    order_rows, orders_part = _part(account, "orders", "pendingOrderCount", lambda row: [_owned(row, trades)])
    return BrokerSnapshot(
        account_id=account_id,
        currency=currency,
        at=at,
        last_event_id=last_event_id,
        cash=cash,
        cash_part=cash_part,
        positions=tuple(position_rows),
        positions_part=positions_part,
        orders=tuple(order_rows),
        orders_part=orders_part,
        raw=storable(body),
    )


def _owned(row: Row, trades: Mapping[str, Row]) -> BrokerOrder:
    parsed = order(row, trades)
    if not parsed.instrument:
        raise BadData(f"order {parsed.broker_order_id} guards trade {parsed.trade_id!r:.40}, which is not listed")
    return parsed


def _part(account: Row, key: str, count_key: str, parse: Callable[[Row], list[Parsed]]) -> tuple[list[Parsed], Part]:
    """One list of the account: its readable rows, and whether they are all that there is."""
    try:
        listed = rows(account, key)
    except BadData as error:
        return [], Part(Completeness.FAILED, str(error))
    parsed: list[Parsed] = []
    problems: list[str] = []
    counted = 0
    for row in listed:
        try:
            found = parse(row)
        except BadData as error:
            problems.append(str(error))
        else:
            parsed.extend(found)
            counted += bool(found)
    said = account.get(count_key)
    if not problems and said is not None and said != counted:
        problems.append(f"{count_key} says {said!r:.20}, but {counted} are listed")
    return parsed, Part(Completeness.PARTIAL, "; ".join(problems)[:500]) if problems else _COMPLETE


def _failed(account_id: str, at: datetime, body: dict[str, Any], reason: str) -> BrokerSnapshot:
    part = Part(Completeness.FAILED, reason)
    return BrokerSnapshot(account_id, "", at, "", {}, part, (), part, (), part, storable(body))


def instrument(row: Row) -> BrokerInstrument:
    """An instrument that the account may trade."""
    symbol = text(row, "name")
    base, separator, quote = symbol.partition("_")
    if not separator or not base or not quote:
        raise BadData(f"{symbol!r:.40} is not a pair BASE_QUOTE")
    decimals, most = whole(row, "displayPrecision", most=MOST_PLACES), positive(row, "maximumOrderUnits")
    return BrokerInstrument(
        symbol=symbol,
        display_name=text(row, "displayName"),
        base=base,
        quote=quote,
        price_decimals=decimals,
        unit_decimals=whole(row, "tradeUnitsPrecision", most=MOST_PLACES),
        pip_size=Decimal(1).scaleb(whole(row, "pipLocation", least=-MOST_PLACES, most=MOST_PLACES)),
        tick_size=Decimal(1).scaleb(-decimals),
        minimum_units=positive(row, "minimumTradeSize"),
        maximum_units=most,
        margin_rate=positive(row, "marginRate"),
        freeze_quantity=most,
    )


def price(row: Row) -> BrokerPrice:
    """Best bid and ask; outside trading hours, when no depth is shown, the close-out prices."""
    bids, asks = row.get("bids") or [], row.get("asks") or []
    bid = positive(rows(row, "bids")[0], "price") if bids else positive(row, "closeoutBid")
    ask = positive(rows(row, "asks")[0], "price") if asks else positive(row, "closeoutAsk")
    if bid > ask:
        raise BadData(f"{text(row, 'instrument')!r:.40}: the bid {bid} is above the ask {ask}")
    tradeable = flag(row, "tradeable") if "tradeable" in row else row.get("status") == "tradeable"
    return BrokerPrice(text(row, "instrument"), bid, ask, moment(row, "time"), tradeable)


def candle(row: Row, symbol: str) -> BrokerCandle:
    """A mid candle whose high and low hold its open and close."""
    mid = child(row, "mid")
    opened, high, low, close = (positive(mid, key) for key in ("o", "h", "l", "c"))
    if not low <= min(opened, close) <= max(opened, close) <= high:
        raise BadData(f"{symbol}: a candle's open and close are not between its low and high")
    return BrokerCandle(
        symbol, moment(row, "time"), opened, high, low, close, Decimal(whole(row, "volume")), flag(row, "complete")
    )
