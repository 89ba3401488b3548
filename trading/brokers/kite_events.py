"""Kite's orders and trades of a day as the port's events: it has no log of what happened, so one is made from both.

What always holds: pure, no I/O. The same rows give the same events again: an execution has the id of its trade, which
is unique on its exchange and day only, so both are part of it; an order has one event for its beginning and one for its
end, and a body holds only what never changes. The end of an order waits until every execution that its filled quantity
speaks of is listed. Where one label is on several orders, none of them is ours by that label: only its id says which;
the news of their beginnings names the label all the same, so that the others can be told from ours.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from trading.brokers.drafts import ACTIVITY, BEGIN, END, Draft, numbered
from trading.brokers.errors import BadData
from trading.brokers.fields import Row, identity, optional_text, text
from trading.brokers.kite_parse import (
    CURRENCY,
    EQUITY,
    INDIA,
    day_of,
    filled_of,
    has_ended,
    moment,
    optional_moment,
    positive,
    side_of,
    some_units,
    status_of,
    symbol,
    tag_of,
    units,
)
from trading.brokers.transport import storable
from trading.domain.broker import (
    BrokerEvent,
    BrokerOrderStatus,
    CashData,
    DayOver,
    EventKind,
    FillData,
    OrderNews,
)

_ZERO = Decimal(0)
_ENDS = {
    BrokerOrderStatus.FILLED: EventKind.ORDER_FILLED,
    BrokerOrderStatus.REJECTED: EventKind.ORDER_REJECTED,
}


@dataclass(frozen=True, slots=True)
class Today:
    """The order book and the trade book of one day, as they were read."""

    day: date
    orders: Sequence[Row]
    trades: Sequence[Row]

    @property
    def cursor(self) -> str:
        """The day, and a fingerprint of everything that was read: any news changes it."""
        lines = sorted(json.dumps(storable(dict(row)), sort_keys=True) for row in (*self.orders, *self.trades))
        return f"{self.day:%Y%m%d}/{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"


def day_in(cursor: str) -> date | None:
    """The day that a cursor belongs to; None for a text that names none."""
    try:
        return datetime.strptime(cursor[:8], "%Y%m%d").replace(tzinfo=INDIA).date()
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Read:
    """What a day came to: its events, and what cannot be told yet or could not be read."""

    events: tuple[BrokerEvent, ...]
    doubts: tuple[str, ...]


def events_of(today: Today, *, opening: Decimal | None = None, before: date | None = None) -> Read:
    """Everything that happened today, in the order of time.

    `opening` is the cash that the account had when the day began, for the first reading of an account ever. `before`
    is the day that was read last, on the first reading of another: its orders have ended, all being for the day.
    """
    drafts: list[Draft] = []
    doubts: list[str] = []
    if before is not None:
        drafts.append(_day_over(before, today))
    tags = _labels(today.orders)
    listed, executed, first, last = _executions(today.trades)
    if opening is not None:
        drafts.append(_opening(today.day, opening))
    for row in today.orders:
        try:
            key = identity(row, "order_id")
            begun = min(_times(row) + ([first[key]] if key in first else []))
            drafts.append(_begins(row, tags, begun))
            if has_ended(row) and filled_of(row) > executed.get(key, _ZERO):
                doubts.append(f"an execution of order {key} is not listed yet")
            elif has_ended(row):
                drafts.append(_ends(row, tags, max(_times(row) + ([last[key]] if key in last else []))))
        except BadData as error:
            doubts.append(f"order {row.get('order_id')!r:.40}: {error}")
    for row in listed:
        try:
            drafts.append(_trade(row, tags))
        except BadData as error:
            doubts.append(f"trade {row.get('trade_id')!r:.40}: {error}")
    if len(listed) < len(today.trades):
        doubts.append("a trade has no order, quantity or time")
    return Read(numbered(drafts), tuple(doubts))


def cash_moved(trades: Iterable[Row]) -> tuple[Decimal, bool]:
    """What today's trades of shares moved, buys as minus; and whether there were no others, whose cash is not known."""
    moved, only_shares = _ZERO, True
    for row in trades:
        if text(row, "exchange") in EQUITY:
            moved -= side_of(row).sign * units(row, "quantity") * positive(row, "average_price")
        else:
            only_shares = False
    return moved, only_shares


def orders_with(tag: str, orders: Iterable[Row]) -> list[Row]:
    """The orders of today that carry a label, oldest first."""
    found = [row for row in orders if tag_of(row) == tag]
    return sorted(found, key=lambda row: (text(row, "order_timestamp"), identity(row, "order_id")))


def settles_on(at: datetime) -> date:
    """The value date of a trade of shares: one business day after it in India; holidays are not known here."""
    day = day_of(at) + timedelta(days=1)
    while day.weekday() >= 5:
        day += timedelta(days=1)
    return day


def _labels(orders: Iterable[Row]) -> dict[str, str]:
    """The label of each order by its id; "" where several orders carry the same one."""
    found: dict[str, str] = {}
    for row in orders:
        try:
            found[identity(row, "order_id")] = tag_of(row)
        except BadData:
            continue  # its own row says so
    counts = Counter(found.values())
    return {key: tag if counts[tag] == 1 else "" for key, tag in found.items()}


def _executions(
    trades: Iterable[Row],
) -> tuple[list[Row], dict[str, Decimal], dict[str, datetime], dict[str, datetime]]:
    """The trades that can be placed; and of each order how much of it they fill, and when it first and last did."""
    listed: list[Row] = []
    executed: dict[str, Decimal] = {}
    first: dict[str, datetime] = {}
    last: dict[str, datetime] = {}
    for row in trades:
        try:
            key, quantity, at = identity(row, "order_id"), units(row, "quantity"), _traded_at(row)
        except BadData:
            continue  # counted by whoever compares the lengths
        listed.append(row)
        executed[key] = executed.get(key, _ZERO) + quantity
        first[key], last[key] = min(first.get(key, at), at), max(last.get(key, at), at)
    return listed, executed, first, last


def _times(row: Row) -> list[datetime]:
    """When something happened to an order, as far as its row says."""
    found = [
        at
        for key in ("order_timestamp", "exchange_timestamp", "exchange_update_timestamp")
        if (at := optional_moment(row, key)) is not None
    ]
    if not found:
        raise BadData("it has no time")
    return found


def _begins(row: Row, tags: Mapping[str, str], at: datetime) -> Draft:
    """The beginning of an order. Its body leaves out what may change while it rests, as its quantity."""
    key = identity(row, "order_id")
    modified = row.get("modified") is True  # its quantity is then not what was ordered
    news = OrderNews(
        broker_order_id=key,
        client_id=tags.get(key, ""),
        status=BrokerOrderStatus.WORKING,
        side=side_of(row),
        quantity=None if modified or row.get("quantity") is None else units(row, "quantity"),
        label=tag_of(row),
    )
    return Draft(at, BEGIN, f"{key}:created", EventKind.ORDER_CREATED, _body(row, "created"), orders=(news,))


def _ends(row: Row, tags: Mapping[str, str], at: datetime) -> Draft:
    key, word, status = identity(row, "order_id"), text(row, "status"), status_of(row)
    said = optional_text(row, "status_message") or optional_text(row, "status_message_raw")
    news = OrderNews(
        broker_order_id=key,
        client_id=tags.get(key, ""),
        status=status,
        reason=f"{word}: {said}"[:300] if said else word,
        filled=filled_of(row),
    )
    kind = _ENDS.get(status, EventKind.ORDER_CANCELLED)
    return Draft(at, END, f"{key}:{word}", kind, _body(row, word), orders=(news,))


def _body(row: Row, event: str) -> dict[str, Any]:
    return {
        "event": event,
        "order_id": identity(row, "order_id"),
        "tag": tag_of(row),
        "instrument": symbol(row),
        "side": side_of(row).value,
        "product": optional_text(row, "product"),
        "placed_by": optional_text(row, "placed_by"),
    }


def _traded_at(row: Row) -> datetime:
    at = optional_moment(row, "fill_timestamp") or optional_moment(row, "exchange_timestamp")
    return at if at is not None else moment(row, "fill_timestamp")


def _trade(row: Row, tags: Mapping[str, str]) -> Draft:
    at, order_id, exchange = _traded_at(row), identity(row, "order_id"), text(row, "exchange")
    key = f"{day_of(at):%Y%m%d}:{exchange}:{identity(row, 'trade_id')}"
    if len(key) > 64:
        raise BadData(f"trade_id is too long: {key[:60]}")
    fill = FillData(
        external_id=key,
        broker_order_id=order_id,
        client_id=tags.get(order_id, ""),
        instrument=symbol(row),
        side=side_of(row),
        quantity=some_units(row, "quantity"),
        price=positive(row, "average_price"),
        realised=_ZERO,
        financing=_ZERO,
        commission=_ZERO,
        reason=optional_text(row, "product"),
        settles_on=settles_on(at) if exchange in EQUITY else None,
    )
    return Draft(at, ACTIVITY, key, EventKind.ORDER_FILLED, storable(dict(row)), fills=(fill,))


def _day_over(before: date, today: Today) -> Draft:
    """Kite shows another day: what was sent before it and is not listed has ended, whether that was shown or not."""
    at, key = _begin_of(today.day), f"{before:%Y%m%d}:over"
    listed = tuple(str(row.get("order_id")) for row in today.orders)
    raw = {"event": "day over", "day": f"{before}", "next": f"{today.day}"}
    return Draft(at, BEGIN, key, EventKind.OTHER, raw, day_over=DayOver(at, listed))


def _begin_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=INDIA).astimezone(UTC)


def _opening(day: date, amount: Decimal) -> Draft:
    """The cash that is there when our books of an account begin: Kite tells no history of payments."""
    at = _begin_of(day)
    key = f"{day:%Y%m%d}:opening"
    moved = CashData(key, EventKind.TRANSFER, CURRENCY, amount)
    raw = {"event": "opening balance", "day": f"{day}", "amount": f"{amount:f}", "currency": CURRENCY}
    return Draft(at, BEGIN, key, EventKind.TRANSFER, raw, cash=(moved,) if amount else ())
