"""Identities derived from what they stand for, so that a retry after a crash finds the same one.

What always holds here: the same input gives the same id, different inputs give different ids (the parts are hashed
as a JSON list, so no choice of separators makes two inputs run together), and an order's id fits every broker: 20
characters of a-z and 2-7 (Kite's tag allows 20, the others more), 100 bits of sha256.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime

from trading.domain.broker import Side
from trading.domain.canonical import canonical_json, sha256_hex

ORDER_ID_LENGTH = 20


def client_order_id(*, intent: str, account: str, tag: str, sequence: int) -> str:
    """The broker-wide identity of one order leg.

    `intent` names the decision, exit, proposal or kill epoch that the order comes from, `account` the account it is
    for, `tag` the leg (`Tag`), `sequence` counts legs of that tag within the intent.
    """
    digest = hashlib.sha256(canonical_json(["order", intent, account, str(tag), sequence]).encode("utf-8")).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:ORDER_ID_LENGTH]


def signal_key(*, account: str, strategy: str, symbol: str, side: Side, bar_start: datetime) -> str:
    """The identity of a signal: evaluating the same bar again finds it instead of making a second one."""
    return sha256_hex(canonical_json(["signal", account, strategy, symbol, side, bar_start]))


def replay_account_name(*, session_sha256: str, data_sha256: Mapping[str, str]) -> str:
    """The account a replay runs on: `replay-` and 8 digits that stand for the session and for each symbol's bars."""
    return "replay-" + sha256_hex(canonical_json(["replay", session_sha256, dict(data_sha256)]))[:8]
