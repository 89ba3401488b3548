"""The form in which the broker brings an order's news, over the ticker and over HTTP. Pure functions.

What always holds here: it is the order as a row of the order book, with who it belongs to and a signature that only
the account's secret makes.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ..core.model import Account
from .facts import session_of

ORDER_UPDATE = "order_update"
_APP_ID = 1234
Row = dict[str, Any]


def postback(account: Account, row: Row) -> Row:
    """An order's row, as the broker brings it."""
    return {
        "user_id": account.id,
        "unfilled_quantity": row["pending_quantity"],
        "app_id": _APP_ID,
        "checksum": checksum(row["order_id"], row["order_timestamp"], session_of(account).api_secret),
        **row,
    }


def checksum(order_id: str, order_timestamp: str, api_secret: str) -> str:
    """The signature of an update: SHA-256 of the three in this order, in hexadecimal."""
    return hashlib.sha256(f"{order_id}{order_timestamp}{api_secret}".encode()).hexdigest()
