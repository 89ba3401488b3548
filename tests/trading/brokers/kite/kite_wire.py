"""Kite's answers as the vendor writes them, and a small Kite that serves them, for servers of a test."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from tests.trading.brokers.raw_server import Request, answer
from trading.brokers.kite import KiteBroker
from trading.domain.broker import OrderRequest, OrderType, Side

ACCOUNT, KEY, TOKEN = "AB1234", "key-of-a-test", "token-of-a-test"
ORDER = "151220000000000"
NOW = datetime.now(ZoneInfo("Asia/Kolkata")).replace(hour=10, minute=0, second=0, microsecond=0)
TODAY = f"{NOW:%Y-%m-%d}"
_numbers = itertools.count(1)

BUY = OrderRequest(
    client_id="abcdefghij2345672345",
    instrument="NSE:INFY",
    side=Side.BUY,
    quantity=Decimal("10.000000"),
    type=OrderType.MARKET,
    label="trend INFY",
)
NO_ORDERS: list[dict[str, Any]] = []
REFUSED_TOKEN = {
    "status": "error",
    "message": "Incorrect `api_key` or `access_token`.",
    "error_type": "TokenException",
    "data": None,
}


def broker_at(url: str, *, account_id: str = ACCOUNT) -> KiteBroker:
    """An adapter with a token of its own: what one process remembers of a token must not reach the next test."""
    return KiteBroker(
        account_id=account_id, key=KEY, access_token=f"{TOKEN}-{next(_numbers)}", url=url, ticker_url="ws://127.0.0.1:9"
    )


def utc(clock: str) -> datetime:
    """A time of today in India, in UTC."""
    return datetime.fromisoformat(f"{TODAY}T{clock}+05:30").astimezone(UTC)


def success(data: Any) -> dict[str, Any]:
    return {"status": "success", "data": data}


def error(kind: str, message: str = "said by Kite") -> dict[str, Any]:
    return {"status": "error", "message": message, "error_type": kind, "data": None}


def as_read(row: dict[str, Any]) -> dict[str, Any]:
    """The row as the adapter reads it from a body."""
    found: dict[str, Any] = json.loads(json.dumps(row), parse_float=Decimal)
    return found


def order_row(id: str = ORDER, tag: str | None = BUY.client_id, status: str = "OPEN", **fields: Any) -> dict[str, Any]:
    row = {
        "placed_by": ACCOUNT,
        "order_id": id,
        "exchange_order_id": "1100000000000001",
        "parent_order_id": None,
        "status": status,
        "status_message": None,
        "status_message_raw": None,
        "order_timestamp": f"{TODAY} 09:30:00",
        "exchange_update_timestamp": f"{TODAY} 09:30:01",
        "exchange_timestamp": f"{TODAY} 09:30:01",
        "variety": "regular",
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "instrument_token": 408065,
        "order_type": "LIMIT",
        "transaction_type": "BUY",
        "validity": "DAY",
        "product": "CNC",
        "quantity": 10,
        "disclosed_quantity": 0,
        "price": 1500.1,
        "trigger_price": 0,
        "average_price": 0,
        "filled_quantity": 0,
        "pending_quantity": 10,
        "cancelled_quantity": 0,
        "tag": tag,
        "guid": "unusable",
    }
    return {**row, **fields}


def trade_row(number: int = 1, id: str = ORDER, **fields: Any) -> dict[str, Any]:
    row = {
        "trade_id": f"{10_000_000 + number}",
        "order_id": id,
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "instrument_token": 408065,
        "product": "CNC",
        "average_price": 1500.1,
        "quantity": 10,
        "exchange_order_id": "1100000000000001",
        "transaction_type": "BUY",
        "fill_timestamp": f"{TODAY} 09:31:00",
        "order_timestamp": "09:31:00",
        "exchange_timestamp": f"{TODAY} 09:31:00",
    }
    return {**row, **fields}


def complete(**fields: Any) -> dict[str, Any]:
    return order_row(status="COMPLETE", filled_quantity=10, pending_quantity=0, average_price=1500.1, **fields)


def position_row(quantity: int, price: float = 1500.1, product: str = "CNC") -> dict[str, Any]:
    named = {"tradingsymbol": "INFY", "exchange": "NSE", "product": product}
    return {**named, "quantity": quantity, "overnight_quantity": 0, "average_price": price}


def holding_row(opening: int, price: float = 1400.0) -> dict[str, Any]:
    named = {"tradingsymbol": "INFY", "exchange": "NSE", "product": "CNC"}
    return {**named, "quantity": opening, "t1_quantity": 0, "opening_quantity": opening, "average_price": price}


def margins(cash: float, opening: float | None = None) -> dict[str, Any]:
    available = {"cash": cash, "opening_balance": cash if opening is None else opening, "intraday_payin": 0}
    return {"equity": {"enabled": True, "net": 1.5, "available": available, "utilised": {}}}


Route = tuple[int, Any] | Callable[[Request], tuple[int, Any]]


@dataclass
class SmallKite:
    """Serves these rows in Kite's envelope. `routes` overrides by "METHOD /path": a status and a body."""

    orders: list[dict[str, Any]] = field(default_factory=list)
    trades: list[dict[str, Any]] = field(default_factory=list)
    net: list[dict[str, Any]] = field(default_factory=list)
    holdings: list[dict[str, Any]] = field(default_factory=list)
    margins: dict[str, Any] = field(default_factory=lambda: margins(100000.5))
    user: str = ACCOUNT
    routes: dict[str, Route] = field(default_factory=dict)

    def __call__(self, connection: socket.socket, request: Request) -> None:
        path = urlsplit(request.path).path
        found = self.routes.get(f"{request.method} {path}") or self._known(path)
        status, body = found(request) if callable(found) else found
        payload = body if isinstance(body, str | bytes) else json.dumps(body)
        connection.sendall(answer(status, payload, "Content-Type: application/json"))

    def _known(self, path: str) -> tuple[int, Any]:
        data: dict[str, Any] = {
            "/user/profile": {"user_id": self.user},
            "/user/margins": self.margins,
            "/orders": self.orders,
            "/trades": self.trades,
            "/portfolio/positions": {"net": self.net, "day": []},
            "/portfolio/holdings": self.holdings,
        }
        return (200, success(data[path])) if path in data else (404, error("GeneralException", "Route not found"))
