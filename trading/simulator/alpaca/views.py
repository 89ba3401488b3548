"""What Alpaca's clients see while something is hidden from them: lists without it, look-ups that do not find it.

What always holds here: cash, positions and what a write answers are never touched; the rows themselves neither.
"""

from __future__ import annotations

from typing import Any

from ..core.calls import Answer, Call
from ..core.hiding import Veil
from .answers import not_found

Wire = dict[str, Any]


def _is_order(row: Any) -> bool:
    return isinstance(row, dict) and "client_order_id" in row and "order_class" in row


def _hides_activity(row: Wire, veil: Veil) -> bool:
    if row["id"] in veil.events or row.get("order_id") in veil.orders:
        return True
    return bool(veil.ends) and str(row["id"]) > min(veil.ends)


def _hides(row: Any, veil: Veil) -> bool:
    if _is_order(row):
        return row["id"] in veil.orders
    return isinstance(row, dict) and "activity_type" in row and _hides_activity(row, veil)


def hides(message: Wire, veil: Veil) -> bool:
    """Whether a message of the stream of trade updates must wait."""
    data = message.get("data")
    if message.get("stream") != "trade_updates" or not isinstance(data, dict):
        return False
    execution = str(data.get("execution_id", ""))
    told = any(event.split("::")[-1] == execution for event in veil.events)
    return told or data["order"]["id"] in veil.orders


def veiled(call: Call, answer: Answer, veil: Veil) -> Answer:
    """The answer without what is hidden."""
    if not veil or answer.status != 200:
        return answer
    if _is_order(answer.body) and _hides(answer.body, veil):
        return not_found(f"order not found for {answer.body['id']}").answer()
    if not isinstance(answer.body, list):
        return answer
    rows = [_without_legs(row, veil) for row in answer.body if not _hides(row, veil)]
    return Answer(answer.status, rows, answer.headers, answer.outcome)


def _without_legs(row: Any, veil: Veil) -> Any:
    """A nested order without the legs that are hidden."""
    if not _is_order(row) or not row.get("legs"):
        return row
    return {**row, "legs": [leg for leg in row["legs"] if not _hides(leg, veil)]}
