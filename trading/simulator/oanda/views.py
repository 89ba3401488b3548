"""What OANDA's clients see while something is hidden from them: pages without it, look-ups that do not find it.

What always holds here: cash, positions and what a write answers are never touched; the rows themselves neither.
"""

from __future__ import annotations

from typing import Any

from ..core.calls import Answer, Call
from ..core.hiding import Veil
from .answers import Refusal
from .render import Wire

_LOOKUPS = {
    "order": ("The Order ID specified does not exist", "NO_SUCH_ORDER"),
    "trade": ("The trade ID specified does not exist", "NO_SUCH_TRADE"),
    "transaction": ("The Transaction ID specified does not exist", "NO_SUCH_TRANSACTION"),
}


def is_hidden(row: Wire, veil: Veil) -> bool:
    """Whether a transaction may not be seen yet: itself, what befell a hidden order, or all that follows it."""
    if row["id"] in veil.events or row.get("orderID") in veil.orders:
        return True
    return bool(veil.ends) and int(row["id"]) > min(map(int, veil.ends))


def veiled(call: Call, answer: Answer, veil: Veil) -> Answer:
    """The answer without what is hidden."""
    if not veil or answer.status != 200 or not isinstance(answer.body, dict):
        return answer
    body: dict[str, Any] = dict(answer.body)
    for name, (message, code) in _LOOKUPS.items():
        if name in body and _hides(name, body[name], veil):
            return Refusal(404, message, code).answer()
    _thin(body, veil)
    for name in ("changes", "account"):
        if isinstance(body.get(name), dict):
            body[name] = _thinned(body[name], veil)
    if veil.ends:
        last = str(min(map(int, veil.ends)) - 1)
        for place in (body, body.get("account")):
            if isinstance(place, dict) and int(place.get("lastTransactionID", 0)) > int(last):
                place["lastTransactionID"] = last
    return Answer(answer.status, body, answer.headers, answer.outcome)


def _thinned(place: dict[str, Any], veil: Veil) -> dict[str, Any]:
    found = dict(place)
    _thin(found, veil)
    return found


def _thin(place: dict[str, Any], veil: Veil) -> None:
    """Take hidden rows out of an object's lists."""
    for key, rows in place.items():
        if isinstance(rows, list):
            kind = next((name for name in ("transaction", "order", "trade") if key.startswith(name)), "")
            if kind:
                place[key] = [row for row in rows if not isinstance(row, dict) or not _hides(kind, row, veil)]


def _hides(kind: str, row: Wire, veil: Veil) -> bool:
    if kind == "transaction":
        return is_hidden(row, veil)
    return row["id"] in (veil.orders if kind == "order" else veil.trades)
