"""How the dialect shows things: JSON numbers, times of India without a zone, null where there is nothing."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from ..core.model import Account, Order
from ..core.nse import INDIA
from ..core.numbers import ZERO
from .contracts import CONTRACTS
from .facts import CANCELLED, REJECTED, Step, facts

Wire = dict[str, Any]
_SIX = Decimal("0.000001")


def ist(at: datetime) -> str:
    """A time as the broker writes it."""
    return f"{at.astimezone(INDIA):%Y-%m-%d %H:%M:%S}"


def figure(value: Decimal) -> float | int:
    """A JSON number, with a fraction only where there is one."""
    return int(value) if value == value.to_integral_value() else float(value)


def average(value: Decimal, quantity: Decimal) -> Decimal:
    """An average price with at most six decimals; zero for nothing."""
    return (value / quantity).quantize(_SIX) if quantity else ZERO


def side_of(order: Order) -> str:
    """BUY or SELL."""
    return "BUY" if order.units > 0 else "SELL"


def order_wire(account: Account, order: Order) -> Wire:
    """An order as a row of the order book."""
    return step_wire(account, order, facts(order).now)


def step_wire(account: Account, order: Order, step: Step) -> Wire:
    """An order as it was at one step of its life."""
    known, contract = facts(order), CONTRACTS[order.instrument]
    exchange_at = ist(known.exchange_at) if known.exchange_at is not None and step.listed else None
    left = step.quantity - step.filled
    wire: Wire = {
        "account_id": account.id,
        "placed_by": known.placed_by or account.id,
        "order_id": order.id,
        "exchange_order_id": known.exchange_order_id if exchange_at else None,
        "parent_order_id": known.parent or None,
        "status": step.status,
        "status_message": step.message or None,
        "status_message_raw": step.raw or None,
        "order_timestamp": ist(step.at),
        "exchange_update_timestamp": ist(step.at) if exchange_at else None,
        "exchange_timestamp": exchange_at,
        "variety": known.variety,
        "modified": known.modifications > 0,
        "exchange": contract.exchange,
        "tradingsymbol": contract.symbol,
        "instrument_token": contract.token,
        "order_type": step.order_type,
        "transaction_type": side_of(order),
        "validity": step.validity,
        "validity_ttl": step.ttl,
        "product": known.product,
        "quantity": int(step.quantity),
        "disclosed_quantity": int(step.disclosed),
        "price": figure(step.price),
        "trigger_price": figure(step.trigger_price),
        "auction_number": None,
        "average_price": figure(average(step.value, step.filled)),
        "filled_quantity": int(step.filled),
        "pending_quantity": 0 if step.status in (CANCELLED, REJECTED) else int(left),
        "cancelled_quantity": int(left) if step.status == CANCELLED else 0,
        "market_protection": figure(step.protection),
        "meta": known.meta,
        "tag": known.tag or None,
        "guid": known.guid,
    }
    if known.tag:
        wire["tags"] = [known.tag]
    return wire


def trade_wire(account: Account, row: Wire) -> Wire:
    """A trade as a row of the trade book."""
    order = account.orders[row["order_id"]]
    contract = CONTRACTS[order.instrument]
    at = datetime.fromisoformat(row["at"])
    return {
        "trade_id": row["id"],
        "order_id": order.id,
        "exchange_order_id": facts(order).exchange_order_id,
        "exchange": contract.exchange,
        "tradingsymbol": contract.symbol,
        "instrument_token": contract.token,
        "transaction_type": side_of(order),
        "product": facts(order).product,
        "average_price": figure(Decimal(row["price"])),
        "quantity": int(Decimal(row["quantity"])),
        "order_timestamp": f"{at.astimezone(INDIA):%H:%M:%S}",
        "fill_timestamp": ist(at),
        "exchange_timestamp": ist(at),
    }
