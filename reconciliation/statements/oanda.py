"""OANDA's transactions: the answer of its v20 API, saved as JSON, or its fields as the columns of a CSV file.

What always holds here: pure; the account's balance that OANDA writes after each transaction is followed from row to
row, so that a row that is missing or was changed does not add up; a transaction that moves no cash is no line.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from trading.domain.money import ZERO, plain

from .cells import Row
from .document import About, BadStatement, Covers, Draft, Line
from .text import Table

JSON, CSV = "oanda-json", "oanda-csv"
NEEDED = ("id", "time", "type", "accountID", "accountBalance")
# Where a transaction says how much it moved.
_MOVED = {
    "ORDER_FILL": (("pl", 1), ("financing", 1), ("commission", -1), ("guaranteedExecutionFee", -1)),
    "DAILY_FINANCING": (("financing", 1),),
    "TRANSFER_FUNDS": (("amount", 1),),
    "DIVIDEND_ADJUSTMENT": (("dividendAdjustment", 1),),
}


def fits(table: Table) -> bool:
    """Whether a CSV file is one of these."""
    return set(NEEDED) <= set(table.columns)


def fits_json(found: Any) -> bool:
    """Whether a JSON file is one of these."""
    rows = _listed(found)
    return rows is not None and bool(rows) and isinstance(rows[0], dict) and "accountID" in rows[0]


def read(table: Table, about: About) -> Draft:
    """What a CSV file says. Raises `BadStatement`."""
    return _read([Row(line, cells) for line, cells in table.rows], CSV, about)


def read_json(found: Any, about: About) -> Draft:
    """What a JSON file says: `{"transactions": […]}` or the list alone. Raises `BadStatement`."""
    rows = _listed(found)
    if rows is None:
        raise BadStatement("It is neither a list of transactions nor an object with one.")
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise BadStatement("it is no transaction.", line=place)
    return _read([Row(place, row) for place, row in enumerate(rows, 1)], JSON, about)


def _listed(found: Any) -> list[Any] | None:
    rows = found.get("transactions") if isinstance(found, dict) else found
    return rows if isinstance(rows, list) else None


def _read(rows: Iterable[Row], name: str, about: About) -> Draft:
    lines: list[Line] = []
    moments = []
    opening: Decimal | None = None
    balance: Decimal | None = None
    accounts: dict[str, None] = {}
    currency = ""
    last = 0
    for row in rows:
        number = row.needed("id", most=18)
        if not number.isascii() or not number.isdigit() or int(number) <= last:
            raise row.bad("id", f"{number!r} does not follow {last}; transactions stand in the order of their ids.")
        last = int(number)
        accounts[row.needed("accountID")] = None
        at = row.moment("time", about)
        moments.append(at)
        currency = row.text("homeCurrency", most=3) or currency
        after = row.number("accountBalance")
        moved = _moved(row, after, balance)
        if after is not None and balance is not None and balance + moved != after:
            raise row.bad(
                "accountBalance",
                f"it was {plain(balance)}, this transaction moves {plain(moved)}, and it is {plain(after)} then: a row "
                "is missing or was changed.",
            )
        if after is not None:
            opening = after - moved if opening is None else opening
            balance = after
        if moved != ZERO or row.text("type") == "ORDER_FILL":
            lines.append(_line(row, at, moved, about))
    if len(accounts) > 1:
        raise BadStatement(f"It is of several accounts: {', '.join(accounts)[:200]}.")
    return Draft(
        covers=Covers.CASH,
        format=name,
        lines=lines,
        account_id=next(iter(accounts), ""),
        currency=currency,
        moments=moments,
        opening=opening,
        closing=balance,
    )


def _moved(row: Row, after: Decimal | None, before: Decimal | None) -> Decimal:
    """What a transaction moved of the balance; of a type that is not known here, what the balance says."""
    parts = _MOVED.get(row.needed("type"))
    if parts is None:
        return after - before if after is not None and before is not None else ZERO
    return sum((sign * (row.number(name) or ZERO) for name, sign in parts), ZERO)


def _line(row: Row, at: Any, moved: Decimal, about: About) -> Line:
    is_fill = row.text("type") == "ORDER_FILL"
    units = row.needed_number("units") if is_fill else ZERO
    if is_fill and units == ZERO:
        raise row.bad("units", "an execution of nothing is none.")
    return Line(
        number=row.line,
        at=at,
        day=about.day(at),
        currency=about.currency,
        external_id=row.text("id"),
        order_id=row.text("orderID"),
        instrument=row.needed("instrument", most=40) if is_fill else row.text("instrument", most=40),
        side=("BUY" if units > ZERO else "SELL") if is_fill else "",
        quantity=abs(units) if is_fill else None,
        price=row.above_zero("price") if is_fill else None,
        amount=moved,
        raw=dict(row.cells),
    )
