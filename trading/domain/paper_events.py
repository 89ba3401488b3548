"""The events that the paper book writes, in the words of the broker port.

What always holds here: an event's external id is made from the client id it is about and says what happened
(`…:created`, `…:fill`, `…:cancelled`), its `raw` body is plain text values that are equal whenever the event is.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from trading.domain.broker import (
    BrokerEvent,
    BrokerOrderStatus,
    CashData,
    EventKind,
    FillData,
    OrderNews,
    OrderRequest,
    ProtectiveLeg,
)
from trading.domain.canonical import utc_text
from trading.domain.money import plain
from trading.domain.paper_state import OpenEntry


def order_id(client_id: str) -> str:
    """The paper broker's own id of an order."""
    return f"paper-{client_id}"


def news(request: OrderRequest, status: BrokerOrderStatus, *, reason: str = "", trade_id: str = "") -> OrderNews:
    """What an event says of an order."""
    return OrderNews(order_id(request.client_id), request.client_id, status, reason, trade_id)


def leg_news(leg: ProtectiveLeg, entry: OpenEntry, status: BrokerOrderStatus, reason: str = "") -> OrderNews:
    """What an event says of one leg of an entry's bracket."""
    return OrderNews(order_id(leg.client_id), leg.client_id, status, reason, entry.trade_id)


def transfer(
    sequence: int, external_id: str, at: datetime, currency: str, amount: Decimal, balance: Decimal
) -> BrokerEvent:
    """Cash in or out."""
    cash = CashData(external_id, EventKind.TRANSFER, currency, amount)
    raw = {"type": "TRANSFER", "currency": currency, "amount": plain(amount)}
    return _event(external_id, sequence, at, EventKind.TRANSFER, raw, balance, cash=(cash,))


def created(sequence: int, request: OrderRequest, at: datetime, balance: Decimal) -> BrokerEvent:
    """An order was taken."""
    raw = {**_order_raw(request), "type": "ORDER_CREATED"}
    told = (news(request, BrokerOrderStatus.WORKING),)
    external_id = f"{request.client_id}:created"
    return _event(external_id, sequence, at, EventKind.ORDER_CREATED, raw, balance, orders=told)


def rejected(sequence: int, request: OrderRequest, at: datetime, reason: str, balance: Decimal) -> BrokerEvent:
    """An order was refused."""
    raw = {**_order_raw(request), "type": "ORDER_REJECTED", "reason": reason}
    told = (news(request, BrokerOrderStatus.REJECTED, reason=reason),)
    external_id = f"{request.client_id}:rejected"
    return _event(external_id, sequence, at, EventKind.ORDER_REJECTED, raw, balance, orders=told)


def ended(
    sequence: int,
    request: OrderRequest,
    at: datetime,
    reason: str,
    status: BrokerOrderStatus,
    balance: Decimal,
) -> BrokerEvent:
    """An order ended without (more) filling: CANCELLED or EXPIRED."""
    raw = {**_order_raw(request), "type": "ORDER_CANCELLED", "reason": reason}
    told = (news(request, status, reason=reason),)
    external_id = f"{request.client_id}:cancelled"
    return _event(external_id, sequence, at, EventKind.ORDER_CANCELLED, raw, balance, orders=told)


def leg_created(sequence: int, leg: ProtectiveLeg, entry: OpenEntry, at: datetime, balance: Decimal) -> BrokerEvent:
    """A bracket's order came alive with the entry's fill."""
    raw = {"type": "ORDER_CREATED", "client_id": leg.client_id, "trade": entry.trade_id, "price": plain(leg.price)}
    told = (leg_news(leg, entry, BrokerOrderStatus.WORKING),)
    external_id = f"{leg.client_id}:created"
    return _event(external_id, sequence, at, EventKind.ORDER_CREATED, raw, balance, orders=told)


def leg_cancelled(
    sequence: int, leg: ProtectiveLeg, entry: OpenEntry, at: datetime, reason: str, balance: Decimal
) -> BrokerEvent:
    """A bracket's order ended with its trade, or was taken back."""
    raw = {"type": "ORDER_CANCELLED", "client_id": leg.client_id, "trade": entry.trade_id, "reason": reason}
    told = (leg_news(leg, entry, BrokerOrderStatus.CANCELLED, reason),)
    external_id = f"{leg.client_id}:cancelled"
    return _event(external_id, sequence, at, EventKind.ORDER_CANCELLED, raw, balance, orders=told)


def filled(sequence: int, fill: FillData, at: datetime, told: OrderNews, balance: Decimal) -> BrokerEvent:
    """An order filled."""
    raw: dict[str, Any] = {
        "type": "ORDER_FILLED",
        "client_id": fill.client_id,
        "instrument": fill.instrument,
        "side": fill.side.value,
        "quantity": plain(fill.quantity),
        "price": plain(fill.price),
        "realised": plain(fill.realised),
        "commission": plain(fill.commission),
        "reason": fill.reason,
        "opened": fill.opened_trade_id,
        "closed": [[trade_id, plain(units)] for trade_id, units in fill.closed],
    }
    return _event(fill.external_id, sequence, at, EventKind.ORDER_FILLED, raw, balance, fills=(fill,), orders=(told,))


def _order_raw(request: OrderRequest) -> dict[str, Any]:
    return {
        "client_id": request.client_id,
        "instrument": request.instrument,
        "side": request.side.value,
        "quantity": str(request.quantity),
        "order_type": request.type.value,
        "price": None if request.price is None else plain(request.price),
        "label": request.label,
    }


def _event(
    external_id: str,
    sequence: int,
    at: datetime,
    kind: EventKind,
    raw: dict[str, Any],
    balance: Decimal,
    *,
    fills: tuple[FillData, ...] = (),
    cash: tuple[CashData, ...] = (),
    orders: tuple[OrderNews, ...] = (),
) -> BrokerEvent:
    body = {**raw, "time": utc_text(at), "balance": plain(balance)}
    return BrokerEvent(external_id, sequence, at, kind, body, fills, cash, orders, balance)
