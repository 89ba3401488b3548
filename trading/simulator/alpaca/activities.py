"""The activities of an account: fills and cash, in pages.

What always holds here: rows come in the order in which they happened, or exactly backwards; a page goes on behind the
row whose id is the token, so that rows that come meanwhile shift nothing. A corrected fill keeps its id and has the
status `correct`, a busted one `canceled`.
"""

from __future__ import annotations

from ..core.calls import Answer, Call
from ..core.model import Account
from ..core.numbers import moment
from ..core.nyse import day_of
from .answers import malformed
from .parse import bad_direction, count_in, time_in
from .render import Wire

_MOST = 100
_CATEGORIES = {"trade_activity": True, "non_trade_activity": False}


class ActivityCalls:
    """The activity endpoints of one simulator."""

    def of_type(self, account: Account, call: Call, kind: str) -> Answer:
        """GET /account/activities/{type}."""
        return self._page(account, call, {kind.upper()})

    def listed(self, account: Account, call: Call) -> Answer:
        """GET /account/activities?activity_types=."""
        given = call.parameters()
        kinds = {part.upper() for part in given.get("activity_types", "").split(",") if part}
        category = given.get("category", "")
        if category and (kinds or category not in _CATEGORIES):
            raise malformed("invalid category" if not kinds else "only one of category or activity_types is accepted")
        return self._page(account, call, kinds)

    def _page(self, account: Account, call: Call, kinds: set[str]) -> Answer:
        given = call.parameters()
        direction = given.get("direction") or "desc"
        if direction not in ("asc", "desc"):
            raise bad_direction(direction)
        most = count_in(given, "page_size", _MOST, _MOST)
        after, until, on = time_in(given, "after"), time_in(given, "until"), time_in(given, "date")
        if on is not None and (after is not None or until is not None):
            raise malformed("only one of date and after/until is accepted")
        fills = _CATEGORIES.get(given.get("category", ""))
        found: list[Wire] = []
        for row in _behind(account.history, given.get("page_token", ""), direction):
            at = moment(row.get("transaction_time") or row["created_at"])
            if (
                (not kinds or row["activity_type"] in kinds)
                and (fills is None or (row["activity_type"] == "FILL") == fills)
                and (after is None or at > after)
                and (until is None or at < until)
                and (on is None or day_of(at) == day_of(on))
            ):
                found.append(row)
                if len(found) == most:
                    break
        return Answer(200, found)


def _behind(rows: list[Wire], token: str, direction: str) -> list[Wire]:
    """The rows that follow the token in this direction."""
    ordered = rows if direction == "asc" else rows[::-1]
    if not token:
        return ordered
    index = next((index for index, row in enumerate(ordered) if row["id"] == token), None)
    if index is not None:
        return ordered[index + 1 :]
    up = direction == "asc"
    return [row for row in ordered if (row["id"] > token if up else row["id"] < token)]
