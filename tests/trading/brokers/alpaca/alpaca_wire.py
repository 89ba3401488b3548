"""Alpaca's answers as the vendor writes them, and a small Alpaca that pages through them, for servers of a test."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.trading.brokers.raw_server import Request, answer
from trading.brokers.alpaca import AlpacaBroker
from trading.domain.broker import OrderRequest, OrderType, ProtectiveLeg, Side

ACCOUNT = "SIMALPACA"
KEY, SECRET = "key-of-a-test", "secret-of-a-test"
NOW = datetime(2026, 1, 7, 15, tzinfo=UTC)
ORDER = "61e69015-8549-4bfd-b9c3-01e75843f47d"

BUY = OrderRequest(
    client_id="abcdefghij2345672345",
    instrument="AAPL",
    side=Side.BUY,
    quantity=Decimal("10.000000"),
    type=OrderType.MARKET,
    label="trend AAPL",
)
BRACKET = OrderRequest(
    client_id="bracket2345672345abc",
    instrument="AAPL",
    side=Side.BUY,
    quantity=Decimal(10),
    type=OrderType.MARKET,
    stop_loss=ProtectiveLeg("our-stop", Decimal("190.50")),
    take_profit=ProtectiveLeg("our-target", Decimal("210")),
)


def broker_at(url: str, *, account_id: str = ACCOUNT) -> AlpacaBroker:
    return AlpacaBroker(account_id=account_id, key=KEY, secret=SECRET, url=url, data_url=url, simulated=True)


def at(hours: float = 0) -> str:
    """A moment some hours after NOW, as the vendor writes it."""
    return (NOW + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def order_row(id: str = ORDER, client_id: str = BUY.client_id, hours: float = -1, **fields: Any) -> dict[str, Any]:
    row = {
        "id": id,
        "client_order_id": client_id,
        "created_at": at(hours),
        "updated_at": at(hours),
        "submitted_at": at(hours),
        "filled_at": None,
        "expired_at": None,
        "canceled_at": None,
        "failed_at": None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": "904837e3-3b76-47ec-b432-046db621571b",
        "symbol": "AAPL",
        "asset_class": "us_equity",
        "notional": None,
        "qty": "10",
        "filled_qty": "0",
        "filled_avg_price": None,
        "order_class": "",
        "order_type": "market",
        "type": "market",
        "side": "buy",
        "time_in_force": "day",
        "limit_price": None,
        "stop_price": None,
        "status": "new",
        "extended_hours": False,
        "legs": None,
    }
    return {**row, **fields}


def bracket_row(status: str = "accepted", legs: str = "held", **fields: Any) -> dict[str, Any]:
    """A bracket as it is answered: the legs have ids that Alpaca made up."""
    leg = {"side": "sell", "order_class": "bracket", "status": legs, "time_in_force": "gtc"}
    both = [
        order_row("leg-target", "random-1", type="limit", limit_price="210", **leg),
        order_row("leg-stop", "random-2", type="stop", stop_price="190.5", **leg),
    ]
    shown = {"order_class": "bracket", "time_in_force": "gtc", "status": status, "legs": both}
    return order_row("parent", BRACKET.client_id, **{**shown, **fields})


def fill_row(number: int = 1, hours: float = -0.9, **fields: Any) -> dict[str, Any]:
    row = {
        "id": f"20260107{number:09d}::{number:08d}-d1f3-43e9-856a-0f5cf5c5088e",
        "activity_type": "FILL",
        "transaction_time": at(hours),
        "type": "fill",
        "price": "200.1",
        "qty": "10",
        "side": "buy",
        "symbol": "AAPL",
        "leaves_qty": "0",
        "order_id": ORDER,
        "cum_qty": "10",
        "order_status": "filled",
    }
    return {**row, **fields}


def cash_row(kind: str, amount: str, number: int = 900, hours: float = -2, **fields: Any) -> dict[str, Any]:
    row = {
        "id": f"20260107{number:09d}::{number:08d}-6f23-4cef-bdf1-3806aae57dbf",
        "activity_type": kind,
        "date": "2026-01-07",
        "created_at": at(hours),
        "net_amount": amount,
        "status": "executed",
        "currency": "USD",
    }
    return {**row, **fields}


def filled(**fields: Any) -> dict[str, Any]:
    return order_row(status="filled", filled_qty="10", filled_at=at(-0.9), filled_avg_price="200.1", **fields)


ACCOUNT_ROW = {"id": "uuid", "account_number": ACCOUNT, "currency": "USD", "cash": "97999", "equity": "100000"}
NO_ORDER = (404, {"code": 40410000, "message": "order not found"})
Route = tuple[int, Any] | Callable[[Request], tuple[int, Any]]


@dataclass
class SmallAlpaca:
    """Serves these rows as the vendor does: filters, directions and pages. `routes` overrides by "METHOD /path"."""

    orders: list[dict[str, Any]] = field(default_factory=list)
    activities: list[dict[str, Any]] = field(default_factory=list)
    positions: list[dict[str, Any]] = field(default_factory=list)
    account: dict[str, Any] = field(default_factory=lambda: dict(ACCOUNT_ROW))
    now: datetime = NOW
    is_open: bool = True
    routes: dict[str, Route] = field(default_factory=dict)
    page_size: int = 100
    orders_limit: int = 500

    def __call__(self, connection: socket.socket, request: Request) -> None:
        path = urlsplit(request.path).path
        query = {key: values[0] for key, values in parse_qs(urlsplit(request.path).query).items()}
        found = self.routes.get(f"{request.method} {path}") or self._known(path, query)
        status, body = found(request) if callable(found) else found
        payload = body if isinstance(body, str | bytes) else json.dumps(body)
        connection.sendall(answer(status, payload, "Content-Type: application/json"))

    def _known(self, path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        if path == "/v2/account":
            return 200, self.account
        if path == "/v2/clock":
            return 200, {"timestamp": self.now.isoformat(), "is_open": self.is_open}
        if path == "/v2/positions":
            return 200, self.positions
        if path == "/v2/account/activities":
            return 200, self._activities(query)
        if path == "/v2/orders":
            return 200, self._orders(query)
        flat = [each for row in self.orders for each in (row, *(row["legs"] or []))]
        if path == "/v2/orders:by_client_order_id":
            named = [row for row in flat if row["client_order_id"] == query["client_order_id"]]
        elif path.startswith("/v2/orders/"):
            named = [row for row in flat if row["id"] == path.removeprefix("/v2/orders/")]
        else:
            return 500, {"code": 50010000, "message": f"no route for {path}"}
        return (200, named[0]) if named else NO_ORDER

    def _activities(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        def time(row: dict[str, Any]) -> str:
            return str(row.get("transaction_time") or row["created_at"])

        assert query["direction"] == "asc"
        rows = sorted(self.activities, key=time)
        rows = [row for row in rows if _moment(time(row)) > _moment(query.get("after", at(-1e5)))]
        ids = [row["id"] for row in rows]
        first = ids.index(query["page_token"]) + 1 if "page_token" in query else 0
        return rows[first : first + min(self.page_size, int(query["page_size"]))]

    def _orders(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        rows = self.orders
        if query["nested"] == "false":
            rows = [{**each, "legs": None} for row in rows for each in (row, *(row["legs"] or []))]
        if query["status"] == "open":
            ended = ("filled", "canceled", "expired", "rejected", "replaced")
            rows = [row for row in rows if row["status"] not in ended]
        rows = sorted(rows, key=lambda row: row["submitted_at"])
        rows = [row for row in rows if _moment(row["submitted_at"]) > _moment(query.get("after", at(-1e5)))]
        return rows[: min(self.orders_limit, int(query["limit"]))]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
