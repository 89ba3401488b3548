"""Zerodha Console's two downloads of a Kite account: the tradebook and the ledger, both CSV.

What always holds here: pure; a trade's id is that of its exchange and day, as our adapter makes it, because Zerodha's
own repeats from day to day; the ledger's balance is followed from row to row. Neither file names its account. The
ledger is what has been settled: a trade is in it on its value date, in one sum per settlement.
"""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from zoneinfo import ZoneInfo

from trading.domain.money import ZERO, plain

from .cells import Row
from .document import About, BadStatement, Covers, Draft, Line
from .text import Table

TRADEBOOK, LEDGER = "kite-tradebook", "kite-ledger"
TRADEBOOK_NEEDED = (
    "symbol", "trade_date", "exchange", "trade_type", "quantity", "price", "trade_id", "order_id",
    "order_execution_time",
)  # fmt: skip
LEDGER_NEEDED = ("particulars", "posting_date", "debit", "credit", "net_balance")
OPENING, CLOSING = "Opening Balance", "Closing Balance"
CURRENCY = "INR"
_INDIA = ZoneInfo("Asia/Kolkata")


def fits_tradebook(table: Table) -> bool:
    """Whether a CSV file is a tradebook."""
    return set(TRADEBOOK_NEEDED) <= set(table.columns)


def fits_ledger(table: Table) -> bool:
    """Whether a CSV file is a ledger."""
    return set(LEDGER_NEEDED) <= set(table.columns)


def read_tradebook(table: Table, about: About) -> Draft:
    """The executions of whole days. Raises `BadStatement`."""
    lines = [_trade(Row(line, cells), about) for line, cells in table.rows]
    return Draft(covers=Covers.TRADES, format=TRADEBOOK, lines=lines, currency=CURRENCY, whole_days=True)


def read_ledger(table: Table, about: About) -> Draft:
    """The movements of settled cash on whole days. Raises `BadStatement`."""
    rows = [Row(line, cells) for line, cells in table.rows]
    named = [row.text("particulars", most=500) for row in rows]
    if len(rows) < 2 or named[0] != OPENING or named[-1] != CLOSING:
        raise BadStatement(f"The ledger does not begin with {OPENING!r} and end with {CLOSING!r}: it is not whole.")
    opening, closing = rows[0].needed_number("net_balance"), rows[-1].needed_number("net_balance")
    lines: list[Line] = []
    balance = opening
    for row in rows[1:-1]:
        moved = (row.number("credit") or ZERO) - (row.number("debit") or ZERO)
        balance = _follows(row, balance, moved)
        if moved != ZERO:
            day = row.day("posting_date")
            lines.append(Line(row.line, about.begin(day), day, CURRENCY, amount=moved, raw=dict(row.cells)))
    return Draft(
        covers=Covers.CASH,
        format=LEDGER,
        lines=lines,
        currency=CURRENCY,
        whole_days=True,
        opening=opening,
        closing=closing,
    )


def _follows(row: Row, before: Decimal, moved: Decimal) -> Decimal:
    after = row.needed_number("net_balance")
    if before + moved != after:
        raise row.bad(
            "net_balance",
            f"it was {plain(before)}, this row moves {plain(moved)}, and it is {plain(after)} then: a row is "
            "missing or was changed.",
        )
    return after


def _trade(row: Row, about: About) -> Line:
    day, exchange = row.day("trade_date"), row.needed("exchange", most=10)
    instrument = f"{exchange}:{row.needed('symbol', most=29)}"
    at = row.moment("order_execution_time", About(about.account_id, about.currency, _INDIA))
    if at.astimezone(_INDIA).date() != day:
        raise row.bad("order_execution_time", f"it is not on the trade's day, {day}.")
    return Line(
        number=row.line,
        at=at.astimezone(UTC),
        day=about.day(at),
        currency=CURRENCY,
        external_id=f"{day:%Y%m%d}:{exchange}:{row.needed('trade_id', most=40)}",
        order_id=row.needed("order_id"),
        instrument=instrument,
        side=row.side("trade_type"),
        quantity=row.above_zero("quantity"),
        price=row.above_zero("price"),
        raw=dict(row.cells),
    )
