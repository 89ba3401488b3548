"""OANDA's answers as the vendor writes them, for servers that a test scripts by route."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.trading.brokers.raw_server import Request, answer
from trading.brokers.oanda import OandaBroker
from trading.domain.broker import OrderRequest, OrderType, Side

ACCOUNT = "101-001-1000001-001"
TOKEN = "token-of-a-test"
TIME = "2026-01-05T10:00:00.123456789Z"

BUY = OrderRequest(
    client_id="abcdefghij2345672345",
    instrument="EUR_USD",
    side=Side.BUY,
    quantity=Decimal("1000.000000"),
    type=OrderType.MARKET,
    label="ORB EURUSD",
)


def broker_at(url: str) -> OandaBroker:
    return OandaBroker(account_id=ACCOUNT, token=TOKEN, url=url)


def transaction(id: int, type: str, **fields: Any) -> dict[str, Any]:
    base = {"id": str(id), "type": type, "time": TIME, "accountID": ACCOUNT, "batchID": str(id), "userID": 1000001}
    return {**base, **fields}


def market(id: int = 10, client_id: str = BUY.client_id, **fields: Any) -> dict[str, Any]:
    return transaction(
        id,
        "MARKET_ORDER",
        **{
            "instrument": "EUR_USD",
            "units": "1000",
            "timeInForce": "FOK",
            "positionFill": "DEFAULT",
            "reason": "CLIENT_ORDER",
            "clientExtensions": {"id": client_id, "tag": "back-office"},
            **fields,
        },
    )


def filling(id: int = 11, order: int = 10, **fields: Any) -> dict[str, Any]:
    return transaction(
        id,
        "ORDER_FILL",
        **{
            "orderID": str(order),
            "clientOrderID": BUY.client_id,
            "instrument": "EUR_USD",
            "units": "1000",
            "price": "1.10010",
            "reason": "MARKET_ORDER",
            "pl": "0.0000",
            "financing": "0.0000",
            "commission": "0.0000",
            "accountBalance": "100000.0000",
            "tradeOpened": {"tradeID": str(id), "units": "1000", "clientExtensions": {"id": BUY.client_id}},
            **fields,
        },
    )


def cancelling(id: int = 11, order: int = 10, reason: str = "INSUFFICIENT_MARGIN", **fields: Any) -> dict[str, Any]:
    return transaction(id, "ORDER_CANCEL", orderID=str(order), clientOrderID=BUY.client_id, reason=reason, **fields)


def rejecting(reason: str, client_id: str = BUY.client_id, **fields: Any) -> dict[str, Any]:
    extensions = {"clientExtensions": {"id": client_id}} if client_id else {}
    return transaction(
        10, "MARKET_ORDER_REJECT", instrument="EUR_USD", units="1000", rejectReason=reason, **{**extensions, **fields}
    )


def created(*transactions: dict[str, Any]) -> dict[str, Any]:
    """The answer to a create: the first transaction made the order, the others filled or cancelled it."""
    names = {"ORDER_FILL": "orderFillTransaction", "ORDER_CANCEL": "orderCancelTransaction"}
    body: dict[str, Any] = {"orderCreateTransaction": transactions[0]}
    for each in transactions[1:]:
        body[names[each["type"]]] = each
    ids = [each["id"] for each in transactions]
    return {**body, "relatedTransactionIDs": ids, "lastTransactionID": ids[-1]}


def rejected(reason: str, **fields: Any) -> dict[str, Any]:
    return {
        "orderRejectTransaction": rejecting(reason, **fields),
        "errorCode": reason,
        "errorMessage": f"The order was rejected: {reason}",
        "relatedTransactionIDs": ["10"],
        "lastTransactionID": "10",
    }


def order_row(id: int = 10, state: str = "PENDING", client_id: str = BUY.client_id, **fields: Any) -> dict[str, Any]:
    row = {
        "id": str(id),
        "createTime": TIME,
        "state": state,
        "type": "MARKET",
        "instrument": "EUR_USD",
        "units": "1000",
    }
    return {**row, "clientExtensions": {"id": client_id}, **fields}


NO_ORDER = (404, {"errorCode": "ORDER_DOESNT_EXIST", "errorMessage": "no such order", "lastTransactionID": "11"})
NO_TRADE = (404, {"errorCode": "NO_SUCH_TRADE", "errorMessage": "no such trade", "lastTransactionID": "11"})


def history(*transactions: dict[str, Any], last: int | None = None) -> tuple[int, dict[str, Any]]:
    newest = last if last is not None else max((int(each["id"]) for each in transactions), default=0)
    return 200, {"transactions": list(transactions), "lastTransactionID": str(newest)}


Route = tuple[int, Any] | Callable[[Request], tuple[int, Any]]


def routes(table: Mapping[str, Route]) -> Callable[[socket.socket, Request], None]:
    """Answer by "METHOD /path-ending"; the longest fitting ending wins, no route is a 500."""

    def behave(connection: socket.socket, request: Request) -> None:
        path = request.path.partition("?")[0]
        fitting = [key for key in table if request.method == key.split()[0] and path.endswith(key.split()[1])]
        found: Route = table[max(fitting, key=len)] if fitting else (500, {"errorMessage": f"no route for {path}"})
        status, body = found(request) if callable(found) else found
        connection.sendall(answer(status, body))

    return behave


SUMMARY = (
    200,
    {
        "account": {"id": ACCOUNT, "currency": "USD", "hedgingEnabled": False, "lastTransactionID": "11"},
        "lastTransactionID": "11",
    },
)


def now() -> datetime:
    return datetime.now(UTC)
