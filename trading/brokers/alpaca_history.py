"""Reading what happened on an Alpaca account since a cursor: activities and orders, page by page, with an overlap.

What always holds: a cursor says from when on to read again, never what was seen. The days that it covers are read whole
each time, since Alpaca adds, corrects and delays rows, and the inbox knows what it has. Reading goes back to the day
before the present one, further for orders that rest longer and for executions that are still missing (up to a week).
Nothing is COMPLETE before the last page of both lists was read; the same state of the account gives the same cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from trading.brokers.alpaca_client import AlpacaClient, error_code
from trading.brokers.alpaca_events import (
    activity,
    activity_at,
    changed_at,
    digest,
    executions,
    lacks_executions,
    order_begins,
    order_ends,
)
from trading.brokers.alpaca_parse import LegOf, flat, has_ended, legs, submitted_at
from trading.brokers.drafts import Draft, numbered
from trading.brokers.errors import BadData
from trading.brokers.fields import Row, moment, optional_text, text
from trading.domain.broker import (
    BrokerUnreachable,
    BrokerWentBack,
    Completeness,
    EventPage,
)

ACTIVITIES_PER_PAGE = 100
ORDERS_PER_PAGE = 500
# One call reads at most this many pages of each list; a longer history goes on from the cursor that it returns.
PAGES_PER_CALL = 20
OVERLAP = timedelta(days=1)
# For so long reading goes back to an order whose executions are missing; after that reconciliation alone shows it.
LONGEST_WAIT = timedelta(days=7)
_STAMP = "%Y%m%dT%H%M%SZ"
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Cursor:
    """From when on activities and orders are read again; `count` activities were seen since then.

    The fingerprint changes with any news.
    """

    activities_from: datetime
    orders_from: datetime
    count: int
    fingerprint: str

    def __str__(self) -> str:
        """At most 64 characters."""
        return f"{self.activities_from:{_STAMP}}/{self.orders_from:{_STAMP}}/{self.count}/{self.fingerprint}"

    @classmethod
    def parse(cls, written: str) -> Cursor | None:
        """The cursor of that text; None, which means from the beginning, for any text that is none."""
        try:
            activities, orders, count, fingerprint = written.split("/")
            stamps = [datetime.strptime(each, _STAMP).replace(tzinfo=UTC) for each in (activities, orders)]
            return cls(stamps[0], stamps[1], int(count), fingerprint)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the history: the page for the inbox, and the orders that it was made from, not nested."""

    page: EventPage
    orders: Sequence[tuple[Row, LegOf | None]]


def read(client: AlpacaClient, cursor: Cursor | None, *, now: datetime, currency: str) -> Reading:
    """Everything since the cursor (None: from the beginning). Raises `BrokerUnreachable` and its kinds."""
    if cursor is not None and now < cursor.activities_from:
        raise BrokerWentBack(
            f"Alpaca's clock shows {now:%Y-%m-%d %H:%M:%S} UTC for account {client.account_id}, but its history was "
            f"read up to {cursor.activities_from:%Y-%m-%d} before: it shows an older state of the account. Do not "
            "trade on it until a person has asked Alpaca."
        )
    try:
        # Activities first: then the order of each execution is in the list that is read after it.
        activities, activities_end = _activities(client, cursor.activities_from if cursor else None)
        nested, orders_end = _orders(client, cursor.orders_from if cursor else None)
        if cursor is not None:
            _must_not_shrink(client, cursor, activities)
        nested += _orders_of_executions(client, activities, nested)
        until = min((end for end in (activities_end, orders_end) if end is not None), default=None)
        since = cursor.activities_from if cursor else None
        return _reading(cursor, _Rows(activities, nested, since, until, now), currency)
    except BadData as error:
        raise BrokerUnreachable(
            f"Alpaca's history of account {client.account_id} cannot be used: {error}. This says nothing about "
            "positions or money; ask again."
        ) from error


def open_orders(client: AlpacaClient) -> list[Row]:
    """Every order and leg that has not ended, each in a row of its own. Raises `BrokerUnreachable` and its kinds."""
    try:
        found, end = _pages_of_orders(client, {"status": "open", "nested": "false"}, None)
    except BadData as error:
        raise BrokerUnreachable(
            f"Alpaca's open orders of account {client.account_id} cannot be used: {error}"
        ) from error
    if end is not None:
        raise BrokerUnreachable(
            f"Alpaca lists more open orders of account {client.account_id} than can be read at once."
        )
    return found


def start_of_window(now: datetime) -> datetime:
    """Where the overlap begins: a midnight, so that it stands still for a day."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - OVERLAP


def recent(now: datetime, orders: Sequence[Row]) -> Cursor:
    """A cursor for who has none: from the overlap's beginning on, and further back to the oldest of these orders."""
    window = start_of_window(now)
    return Cursor(window, min([window, *(_floor(submitted_at(row)) for row in orders)]), 0, "")


@dataclass(frozen=True, slots=True)
class _Rows:
    """What one reading brought: `until` is where a list had to be left, None when both were read to their ends."""

    activities: Sequence[Row]
    nested: Sequence[Row]
    since: datetime | None
    until: datetime | None
    now: datetime

    def begins_anew(self) -> datetime:
        """Where the next reading begins if nothing is missing: never earlier than this one, so that it gets on."""
        window = start_of_window(self.now) if self.until is None else _floor(self.until)
        return max(window, self.since) if self.since is not None else window

    def waiting(self) -> set[str]:
        """The orders of which executions should be listed and are not, and may still come."""
        listed = executions(self.activities)
        return {
            text(row, "id")
            for row, _ in flat(self.nested)
            if lacks_executions(row, listed, since=self.since) and changed_at(row) > self.now - LONGEST_WAIT
        }


def _reading(cursor: Cursor | None, rows: _Rows, currency: str) -> Reading:
    orders, waiting = flat(rows.nested), rows.waiting()
    client_ids = {text(row, "id"): optional_text(row, "client_order_id") for row, _ in orders}
    drafts: list[Draft] = [order_begins(row, leg_of) for row, leg_of in orders]
    drafts += [activity(row, client_ids, currency) for row in rows.activities]
    drafts += [order_ends(row, leg_of) for row, leg_of in orders if has_ended(row) and text(row, "id") not in waiting]
    events = numbered(draft for draft in drafts if rows.until is None or draft.at < rows.until)
    activities_from, orders_from = _next_start(rows, waiting)
    if rows.until is not None:
        following = Cursor(activities_from, orders_from, 0, "more")
        stuck = cursor is not None and replace(cursor, count=0, fingerprint="more") == following
        reason = "it holds more than can be read at once" if stuck else f"more to come after {rows.until:%Y-%m-%d %T}"
        return Reading(EventPage(events, Completeness.PARTIAL, str(following), reason), orders)
    count = sum(activity_at(row) >= activities_from for row in rows.activities)
    anew = rows.begins_anew()
    fingerprint = digest(rows.activities, (row for row, _ in orders), since=anew)
    following = Cursor(activities_from, orders_from, count, fingerprint)
    # Not a word has changed since all of this was read before.
    unchanged = following == cursor and activities_from == anew
    return Reading(EventPage(() if unchanged else events, Completeness.COMPLETE, str(following)), orders)


def _next_start(rows: _Rows, waiting: set[str]) -> tuple[datetime, datetime]:
    """Where the next reading of each list begins: early enough for what may still come, and to name every order."""
    families = [
        (_floor(submitted_at(parent)), [row for row, _ in [(parent, None), *legs(parent)]]) for parent in rows.nested
    ]
    activities_from = rows.begins_anew()
    for begun, family in families:
        late = (row for row in family if text(row, "id") in waiting)
        if any(rows.until is None or changed_at(row) < rows.until for row in late):
            activities_from = min(activities_from, begun if rows.since is None else max(begun, rows.since))
    executed = {
        text(row, "order_id")
        for row in rows.activities
        if row.get("activity_type") == "FILL" and activity_at(row) >= activities_from
    }
    orders_from = activities_from
    for begun, family in families:
        if any(
            not has_ended(row) or changed_at(row) >= activities_from or text(row, "id") in executed for row in family
        ):
            orders_from = min(orders_from, begun)
    return activities_from, orders_from


def _must_not_shrink(client: AlpacaClient, cursor: Cursor, activities: Sequence[Row]) -> None:
    seen = sum(activity_at(row) >= cursor.activities_from for row in activities)
    if seen < cursor.count:
        raise BrokerWentBack(
            f"Alpaca shows {seen} executions and movements of account {client.account_id} since "
            f"{cursor.activities_from:%Y-%m-%d}, but {cursor.count} were seen before: it shows an older state of the "
            "account. Do not trade on it; if it stays so, a person must ask Alpaca."
        )


def _activities(client: AlpacaClient, after: datetime | None) -> tuple[list[Row], datetime | None]:
    """The activities since a moment, oldest first; and where the reading had to stop, None when it did not."""
    found: dict[str, Row] = {}
    fields: dict[str, Any] = {"direction": "asc", "page_size": ACTIVITIES_PER_PAGE, **_after(after)}
    for _ in range(PAGES_PER_CALL):
        page = client.read_list("/account/activities", "the activities", fields)
        if not _take(found, page) and len(page) >= ACTIVITIES_PER_PAGE:
            raise BadData("a further page of the activities brings the same rows again")
        if len(page) < ACTIVITIES_PER_PAGE:
            return sorted(found.values(), key=activity_at), None
        fields["page_token"] = text(page[-1], "id")
    listed = sorted(found.values(), key=activity_at)
    return listed, activity_at(listed[-1])


def _orders(client: AlpacaClient, after: datetime | None) -> tuple[list[Row], datetime | None]:
    return _pages_of_orders(client, {"status": "all", "nested": "true"}, after)


def _pages_of_orders(
    client: AlpacaClient, wanted: Mapping[str, str], after: datetime | None
) -> tuple[list[Row], datetime | None]:
    """Orders submitted since a moment, oldest first; and where the reading had to stop, None when it did not.

    A page goes on one microsecond before the last order of the page before, so that none submitted with it is missed.
    """
    found: dict[str, Row] = {}
    fields: dict[str, Any] = {"direction": "asc", "limit": ORDERS_PER_PAGE, **wanted, **_after(after)}
    for _ in range(PAGES_PER_CALL):
        page = client.read_list("/orders", "the orders", fields)
        if not _take(found, page) and len(page) >= ORDERS_PER_PAGE:
            raise BadData("a further page of the orders brings the same rows again")
        if len(page) + sum(len(legs(row)) for row in page) < ORDERS_PER_PAGE:
            return sorted(found.values(), key=submitted_at), None
        fields["after"] = _written(max(submitted_at(row) for row in page) - timedelta(microseconds=1))
    listed = sorted(found.values(), key=submitted_at)
    return listed, submitted_at(listed[-1])


def _orders_of_executions(client: AlpacaClient, activities: Sequence[Row], nested: Sequence[Row]) -> list[Row]:
    """The orders of listed executions that are not listed themselves."""
    known = {text(row, "id") for row, _ in flat(nested)}
    wanted = {text(row, "order_id"): None for row in activities if row.get("activity_type") == "FILL"}
    missing = [order_id for order_id in wanted if order_id not in known]
    rows = (one_order(client, order_id) for order_id in missing)
    return [row for row in rows if row is not None]


def one_order(client: AlpacaClient, order_id: str) -> Row | None:
    """The order of that id with its legs; None when Alpaca says in its own words that there is none."""
    exchange = client.ask("GET", f"/orders/{quote(order_id, safe='')}", {"nested": "true"})
    document = client.document(exchange, "one order")
    if exchange.status == 404 and error_code(document) is not None:
        return None
    if exchange.status != 200 or not isinstance(document, dict) or text(document, "id") != order_id:
        raise BadData(f"the look-up of order {order_id} was answered with status {exchange.status}")
    return document


def _take(found: dict[str, Row], page: Sequence[Row]) -> bool:
    """Add the rows of a page; whether any of them is new. A later row of the same id replaces the earlier one."""
    before = len(found)
    for row in page:
        found[text(row, "id")] = row
    return len(found) > before


def _after(moment_: datetime | None) -> dict[str, str]:
    """The query for rows since a moment: Alpaca gives those after it."""
    return {} if moment_ is None else {"after": _written(moment_ - _SECOND)}


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _floor(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=0)


def clock(client: AlpacaClient) -> Row:
    """The broker's clock. Raises `BrokerUnreachable` and its kinds."""
    return client.read("/clock", "the time")


def clock_time(row: Row) -> datetime:
    """The time of a clock's answer."""
    return moment(row, "timestamp")
