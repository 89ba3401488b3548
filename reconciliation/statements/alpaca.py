"""Alpaca's account activities: the answer of its API, saved as JSON, or its fields as the columns of a CSV file.

What always holds here: pure; executions and movements of cash that were executed are lines, and nothing else is: an
activity that moves neither units by a trade nor cash (a journal of shares, a split) is none. Alpaca writes no balances.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from trading.domain.money import ZERO

from .cells import Row
from .document import About, BadStatement, Covers, Draft, Line
from .text import Table

JSON, CSV = "alpaca-json", "alpaca-csv"
NEEDED = ("id", "activity_type")
_DONE = ("", "executed", "correct")


def fits(table: Table) -> bool:
    """Whether a CSV file is one of these."""
    return set(NEEDED) <= set(table.columns)


def fits_json(found: Any) -> bool:
    """Whether a JSON file is one of these."""
    return isinstance(found, list) and bool(found) and isinstance(found[0], dict) and "activity_type" in found[0]


def read(table: Table, about: About) -> Draft:
    """What a CSV file says. Raises `BadStatement`."""
    return _read([Row(line, cells) for line, cells in table.rows], CSV, about)


def read_json(found: Any, about: About) -> Draft:
    """What a JSON file says: the list of activities. Raises `BadStatement`."""
    if not isinstance(found, list):
        raise BadStatement("It is not a list of activities.")
    for place, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise BadStatement("it is no activity.", line=place)
    return _read([Row(place, row) for place, row in enumerate(found, 1)], JSON, about)


def _read(rows: Iterable[Row], name: str, about: About) -> Draft:
    lines: list[Line] = []
    moments: list[datetime] = []
    accounts: dict[str, None] = {}
    for row in rows:
        if row.text("account_id"):
            accounts[row.text("account_id")] = None
        at = _moment(row, about)
        moments.append(at)
        line = _line(row, at, about)
        if line is not None:
            lines.append(line)
    if len(accounts) > 1:
        raise BadStatement(f"It is of several accounts: {', '.join(accounts)[:200]}.")
    return Draft(covers=Covers.CASH, format=name, lines=lines, account_id=next(iter(accounts), ""), moments=moments)


def _moment(row: Row, about: About) -> datetime:
    """An execution's own time, else when Alpaca wrote it down, else the beginning of its date."""
    for column in ("transaction_time", "created_at"):
        if row.text(column):
            return row.moment(column, about)
    stamp = row.needed("id").partition("::")[0]
    if stamp.isascii() and stamp.isdigit() and len(stamp) == 17 and stamp[8:] != "0" * 9:
        try:
            local = datetime.strptime(stamp[:14], "%Y%m%d%H%M%S").replace(tzinfo=about.zone)
        except ValueError as error:
            raise row.bad("id", f"{stamp} does not begin with a time.") from error
        return local.replace(microsecond=int(stamp[14:]) * 1000).astimezone(UTC)
    return about.begin(row.day("date"))


def _line(row: Row, at: datetime, about: About) -> Line | None:
    kind = row.needed("activity_type")
    if row.text("status") not in _DONE:
        return None
    fill = kind == "FILL"
    amount = None if fill else row.number("net_amount")
    if not fill and not amount:
        return None
    return Line(
        number=row.line,
        at=at,
        day=about.day(at),
        currency=row.currency("currency", about.currency),
        external_id=row.needed("id"),
        order_id=row.text("order_id"),
        instrument=row.needed("symbol", most=40) if fill else row.text("symbol", most=40),
        side=("SELL" if row.text("side") == "sell_short" else row.side("side")) if fill else "",
        quantity=row.above_zero("qty") if fill else None,
        price=row.above_zero("price") if fill else None,
        amount=amount if amount != ZERO else None,
        raw=dict(row.cells),
    )
