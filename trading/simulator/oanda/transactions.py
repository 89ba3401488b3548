"""Transaction endpoints: pages, one, a range, everything since an id."""

from __future__ import annotations

from ..core.model import Account
from ..core.numbers import iso, moment
from .answers import Answer, Call, Refusal
from .orders import whole
from .render import Wire, last_id

_GROUPS = {
    "ORDER": ("MARKET", "LIMIT", "STOP", "TAKE_PROFIT", "TRAILING", "ORDER"),
    "FUNDING": ("TRANSFER_FUNDS",),
    "ADMIN": ("CREATE", "CLOSE", "REOPEN", "CLIENT_CONFIGURE"),
}


def _filtered(rows: list[Wire], wanted: list[str]) -> list[Wire]:
    """The rows of the wanted types; a group stands for all types that begin with one of its words."""
    if not wanted:
        return rows
    beginnings = tuple(word for kind in wanted for word in _GROUPS.get(kind, ()))
    return [row for row in rows if row["type"] in wanted or (beginnings and row["type"].startswith(beginnings))]


class TransactionCalls:
    """The transaction endpoints of one simulator."""

    def __init__(self, base: str) -> None:
        self.base = base

    def _types(self, given: dict[str, str]) -> list[str]:
        return [part for part in given.get("type", "").split(",") if part]

    def pages(self, account: Account, call: Call) -> Answer:
        """GET /transactions: the number of transactions between two times and the pages that hold them."""
        given = call.parameters()
        try:
            start = moment(given["from"]) if "from" in given else account.created_at
            end = moment(given["to"]) if "to" in given else None
        except ValueError:
            raise Refusal(400, "Invalid value specified for 'from' or 'to'") from None
        size = whole(given, "pageSize") if "pageSize" in given else 100
        if not 1 <= size <= 1000:
            raise Refusal(400, "Invalid value specified for 'pageSize'")
        types = self._types(given)
        last = end or (moment(account.history[-1]["time"]) if account.history else start)
        rows = [row for row in account.history if iso(start) <= row["time"] <= iso(last)]
        rows = _filtered(rows, types)
        pages = []
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            link = f"{self.base}/v3/accounts/{account.id}/transactions/idrange?from={part[0]['id']}&to={part[-1]['id']}"
            pages.append(link + (f"&type={'%2C'.join(types)}" if types else ""))
        body: Wire = {"from": iso(start), "to": iso(last), "pageSize": size}
        if types:
            body["type"] = types
        body.update(count=len(rows), pages=pages, lastTransactionID=last_id(account))
        return Answer(200, body)

    def stream(self, account: Account, call: Call) -> Answer:
        """GET /transactions/stream: whether it may begin; what it says is not an answer."""
        return Answer(200, {}, outcome="stream")

    def get(self, account: Account, call: Call, number: str) -> Answer:
        """GET /transactions/{id}."""
        if not number.isdecimal() or not 1 <= int(number) <= len(account.history):
            raise Refusal(404, "The Transaction ID specified does not exist", "NO_SUCH_TRANSACTION")
        row = account.history[int(number) - 1]
        return Answer(200, {"transaction": row, "lastTransactionID": last_id(account)})

    def id_range(self, account: Account, call: Call) -> Answer:
        """GET /transactions/idrange?from=&to=, both inclusive."""
        given = call.parameters()
        if "from" not in given or "to" not in given:
            raise Refusal(400, "Missing query parameter 'from' or 'to'")
        first, last = whole(given, "from"), whole(given, "to")
        if first < 1 or last < first:
            raise Refusal(400, "Invalid value specified for 'from' or 'to'")
        if first > len(account.history):
            raise Refusal(416, "The transaction range requested is beyond the last one", "INVALID_RANGE")
        rows = _filtered(account.history[first - 1 : last], self._types(given))
        return Answer(200, {"transactions": rows, "lastTransactionID": last_id(account)})

    def since(self, account: Account, call: Call) -> Answer:
        """GET /transactions/sinceid?id=: newer than the id."""
        given = call.parameters()
        if "id" not in given:
            raise Refusal(400, "Missing query parameter 'id'")
        first = whole(given, "id")
        if first < 0:
            raise Refusal(400, "Invalid value specified for 'id'")
        if first > len(account.history):
            raise Refusal(416, "The transaction ID specified is beyond the last one", "INVALID_RANGE")
        rows = _filtered(account.history[first:], self._types(given))
        return Answer(200, {"transactions": rows, "lastTransactionID": last_id(account)})
