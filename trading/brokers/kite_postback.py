"""Kite's postbacks: whether one is Kite's own, and what it is about.

What always holds: pure, no I/O. A postback is news, never truth: its signature covers the order's id and time alone,
so nothing else in it is believed, and it can be sent again by whoever has seen it. The signature is compared in
constant time, and without a secret of ours nothing is believed.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from trading.brokers.errors import BadData
from trading.brokers.fields import identity, text
from trading.brokers.transport import read_json
from trading.brokers.wire import Exchange

MOST_BYTES = 64 * 1024
"""More than any postback has."""


@dataclass(frozen=True, slots=True)
class Postback:
    """News of an order. `event_id` is the id that its end has among the events of the account's history."""

    user_id: str
    order_id: str
    event_id: str


def read(body: bytes, secret: str) -> Postback:
    """A postback that was signed with the secret of our application at Kite.

    Raises `BadData` for anything else: the sentence says why, and holds nothing of the body but its user id.
    """
    if not secret:
        raise BadData("KITE_API_SECRET is not set, so that no postback can be believed")
    if len(body) > MOST_BYTES:
        raise BadData(f"it is longer than {MOST_BYTES} bytes")
    exchange = Exchange("POST", "postback", "", 0.0, status=200)
    exchange.body = body
    said = read_json(exchange)
    order_id, at, given = identity(said, "order_id"), text(said, "order_timestamp"), text(said, "checksum")
    signed = hashlib.sha256(f"{order_id}{at}{secret}".encode()).hexdigest()
    if not hmac.compare_digest(signed.encode(), given.encode()):
        raise BadData("its checksum is not one that Kite makes with our secret")
    return Postback(identity(said, "user_id"), order_id, f"{order_id}:{text(said, 'status')[:40]}")
