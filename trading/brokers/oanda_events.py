"""OANDA's transactions, the account's own history, as the port's events.

What always holds: pure, no I/O. Events come out in the broker's order, each id once, and only as far as the history
is without a gap and readable; what follows a hole waits until the hole is filled, because books are kept in order.
An ORDER_FILL brings its execution and no word about its order: the sum of its fills says what an order has come to
(OANDA calls an order FILLED also when a remainder was issued again under a new id).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading.brokers.errors import BadData
from trading.brokers.fields import (
    Row,
    child,
    moment,
    number,
    optional_child,
    optional_identity,
    optional_text,
    positive,
    rows,
    text,
)
from trading.brokers.oanda_parse import client_id, identifier, side_of
from trading.brokers.transport import storable
from trading.domain.broker import BrokerEvent, BrokerOrderStatus, CashData, EventKind, FillData, OrderNews

ORDER_TYPES = frozenset(
    {
        "MARKET",
        "LIMIT",
        "STOP",
        "MARKET_IF_TOUCHED",
        "TAKE_PROFIT",
        "STOP_LOSS",
        "GUARANTEED_STOP_LOSS",
        "TRAILING_STOP_LOSS",
        "FIXED_PRICE",
    }
)
CREATED = frozenset(f"{name}_ORDER" for name in ORDER_TYPES)
REJECTED = frozenset(f"{name}_ORDER_REJECT" for name in ORDER_TYPES)
# The reason of a cancel that is only time running out; every other reason is a cancel.
EXPIRY_REASON = "TIME_IN_FORCE_EXPIRED"
# The funding reason of what OANDA itself takes or gives back: a charge or rebate, no deposit of the owner's.
BY_THE_BROKER = "ADJUSTMENT"
_ZERO = Decimal(0)
# The reason of a fill by which OANDA itself closes a trade because the account has too little margin left.
MARGIN_CLOSEOUT = "MARKET_ORDER_MARGIN_CLOSEOUT"
# Where a transaction that moves cash without an order says how much.
_CASH = {
    "DAILY_FINANCING": (EventKind.FINANCING, "financing"),
    "TRANSFER_FUNDS": (EventKind.TRANSFER, "amount"),
    "DIVIDEND_ADJUSTMENT": (EventKind.DIVIDEND, "dividendAdjustment"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive transactions after a cursor, up to the first hole or unreadable one; `problem` names that."""

    events: tuple[BrokerEvent, ...]
    last_id: int
    problem: str = ""


def consecutive(transactions: Sequence[Row], *, after: int, account_id: str, currency: str) -> Run:
    """The events of one answer that directly follow transaction `after`, sorted by id.

    With `after` 0 the history begins with id 1, or with a CREATE of any id (an account moved from elsewhere).
    """
    by_id: dict[int, Row] = {}
    for row in transactions:
        try:
            key = int(identifier(row, "id"))
        except BadData as error:
            return Run((), after, f"a transaction has no usable id: {error}")
        if key in by_id and by_id[key] != row:
            return Run((), after, f"transaction {key} was given twice with different content")
        by_id[key] = row
    events: list[BrokerEvent] = []
    last = after
    for key in sorted(by_id):
        row = by_id[key]
        if key <= after:
            return Run((), after, f"transaction {key} was given, though only later ones than {after} were asked for")
        begins = last == 0 and row.get("type") == "CREATE"
        if key != last + 1 and not begins:
            return Run(tuple(events), last, f"the history has a gap: transaction {last + 1} is missing before {key}")
        try:
            if text(row, "accountID") != account_id:
                raise BadData(f"it belongs to account {text(row, 'accountID')!r:.60}")
            events.append(event(row, currency))
        except BadData as error:
            return Run(tuple(events), last, f"BAD_DATA: transaction {key} cannot be booked: {error}")
        last = key
    return Run(tuple(events), last)


def event(row: Row, currency: str) -> BrokerEvent:
    """One transaction. A type that is not known here becomes OTHER, with its body kept. Raises `BadData`."""
    kind = text(row, "type")
    fills: tuple[FillData, ...] = ()
    cash: tuple[CashData, ...] = ()
    orders: tuple[OrderNews, ...] = ()
    event_kind = EventKind.OTHER
    if kind == "ORDER_FILL":
        event_kind, fills = EventKind.ORDER_FILLED, (fill(row),)
    elif kind in CREATED:
        event_kind, orders = EventKind.ORDER_CREATED, (_created(row),)
    elif kind == "ORDER_CANCEL":
        event_kind, orders = EventKind.ORDER_CANCELLED, (_cancelled(row),)
    elif kind in REJECTED:
        event_kind = EventKind.ORDER_REJECTED
        orders = (OrderNews("", client_id(row), BrokerOrderStatus.REJECTED, optional_text(row, "rejectReason")),)
    elif kind in _CASH:
        event_kind, amount_key = _CASH[kind]
        if kind == "TRANSFER_FUNDS" and optional_text(row, "fundingReason") == BY_THE_BROKER:
            event_kind = EventKind.FEE
        amount = number(row, amount_key)
        cash = (CashData(identifier(row, "id"), event_kind, currency, amount, _instrument_of(row)),)
    return BrokerEvent(
        external_id=identifier(row, "id"),
        sequence=int(identifier(row, "id")),
        at=moment(row, "time"),
        kind=event_kind,
        raw=storable(dict(row)),
        fills=fills,
        cash=cash,
        orders=orders,
        balance_after=number(row, "accountBalance") if row.get("accountBalance") is not None else None,
    )


def fill(row: Row) -> FillData:
    """An ORDER_FILL. OANDA writes charges as positive numbers that reduce the balance; here they carry that sign."""
    units = number(row, "units")
    closed = [*(rows(row, "tradesClosed") if row.get("tradesClosed") is not None else [])]
    if row.get("tradeReduced") is not None:
        closed.append(child(row, "tradeReduced"))
    charges = number(row, "commission", _ZERO) + number(row, "guaranteedExecutionFee", _ZERO)
    opened = optional_child(row, "tradeOpened")
    reason = optional_text(row, "reason")
    return FillData(
        external_id=identifier(row, "id"),
        broker_order_id=identifier(row, "orderID"),
        client_id=optional_text(row, "clientOrderID"),
        instrument=text(row, "instrument"),
        side=side_of(units),
        quantity=abs(units),
        price=positive(row, "price"),
        realised=number(row, "pl"),
        financing=number(row, "financing", _ZERO),
        commission=_ZERO - charges,
        reason=reason,
        opened_trade_id=identifier(opened, "tradeID") if opened else "",
        closed=tuple((identifier(item, "tradeID"), abs(number(item, "units"))) for item in closed),
        margin_closeout=reason == MARGIN_CLOSEOUT,
    )


def cancel_status(reason: str) -> BrokerOrderStatus:
    """A cancelled order by the reason OANDA gives: EXPIRED when its time ran out, otherwise CANCELLED."""
    return BrokerOrderStatus.EXPIRED if reason == EXPIRY_REASON else BrokerOrderStatus.CANCELLED


def _created(row: Row) -> OrderNews:
    units = number(row, "units") if row.get("units") is not None else None
    return OrderNews(
        broker_order_id=identifier(row, "id"),
        client_id=client_id(row),
        status=BrokerOrderStatus.WORKING,
        reason=optional_text(row, "reason"),
        trade_id=optional_text(row, "tradeID"),
        # The rest of one that filled in part has an id of its own, too.
        replaces=optional_identity(row, "replacesOrderID"),
        side=side_of(units) if units else None,
        quantity=abs(units) if units else None,
    )


def _cancelled(row: Row) -> OrderNews:
    reason = optional_text(row, "reason")
    return OrderNews(
        broker_order_id=identifier(row, "orderID"),
        client_id=optional_text(row, "clientOrderID"),
        status=cancel_status(reason),
        reason=reason,
        replaced_by=optional_identity(row, "replacedByOrderID"),
    )


def _instrument_of(row: Row) -> str:
    """The instrument that a cash movement is about, when it is about exactly one."""
    parts = row.get("positionFinancings")
    if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict):
        return optional_text(parts[0], "instrument")
    return optional_text(row, "instrument")
