"""What Kite's clients see while something is hidden from them: lists without it, look-ups that do not find it.

What always holds here: cash, positions and what a write answers are never touched; the rows themselves neither.
"""

from __future__ import annotations

from typing import Any

from ..core.calls import Answer, Call
from ..core.hiding import Veil
from .answers import no_order, success


def _hides(row: Any, veil: Veil) -> bool:
    if not isinstance(row, dict) or "order_id" not in row:
        return False
    if row["order_id"] in veil.orders or row.get("trade_id") in veil.events:
        return True
    ends = [int(id) for id in veil.ends if id.isdecimal()]
    return "trade_id" in row and bool(ends) and int(row["trade_id"]) >= min(ends)


def hides(message: dict[str, Any], veil: Veil) -> bool:
    """Whether a message of the ticker must wait."""
    return message.get("type") == "order" and _hides(message.get("data"), veil)


def veiled(call: Call, answer: Answer, veil: Veil) -> Answer:
    """The answer without what is hidden."""
    if not veil or answer.status != 200 or not isinstance(answer.body, dict):
        return answer
    rows = answer.body.get("data")
    if not isinstance(rows, list):
        return answer
    seen = [row for row in rows if not _hides(row, veil)]
    if rows and not seen and call.path.startswith("/orders/") and "status" in rows[0]:
        return no_order().answer()
    found = success(seen, answer.outcome)
    found.headers = answer.headers
    return found
