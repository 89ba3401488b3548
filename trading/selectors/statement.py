"""The statement of one ledger account: opening balance, every posting with the balance after it, closing balance.

What always holds: opening + debits − credits = closing, exactly; the closing balance is the trial balance's at the same
`as_of` and `known_at`; of two periods that meet, the closing balance of the first is the opening balance of the second;
the balance after a posting is computed by the database over all postings before it, whatever page is shown.

A period runs along one of two axes: when things happened (`Axis.HAPPENED`), or when we knew them (`Axis.KNOWN`). It
begins after `since` and ends with `as_of` or `known_at`, whichever is its axis' own; the other one limits which entries
count at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db import connection

from trading.models import LedgerAccount

PAGE = 100
CHUNK = 1000


class Axis(StrEnum):
    """Which of an entry's two times orders a statement."""

    HAPPENED = "at"
    KNOWN = "recorded_at"


_POSTINGS = """
    (SELECT t.id, t.entry_id, t.credit_id AS counter_id, t.amount FROM trading_transfer t
     WHERE t.debit_id = %(ledger_account)s
     UNION ALL
     SELECT t.id, t.entry_id, t.debit_id, -t.amount FROM trading_transfer t WHERE t.credit_id = %(ledger_account)s) p
    JOIN trading_entry e ON e.id = p.entry_id
"""
_COUNTS = """(%(as_of)s::timestamptz IS NULL OR e.at <= %(as_of)s)
    AND (%(known_at)s::timestamptz IS NULL OR e.recorded_at <= %(known_at)s)"""
_IN_PERIOD = "(%(since)s::timestamptz IS NULL OR e.{axis} > %(since)s)"
_SUMS = f"""
    SELECT coalesce(sum(p.amount) FILTER (WHERE NOT {_IN_PERIOD}), 0),
           coalesce(sum(p.amount) FILTER (WHERE {_IN_PERIOD} AND p.amount > 0), 0),
           coalesce(-sum(p.amount) FILTER (WHERE {_IN_PERIOD} AND p.amount < 0), 0),
           count(*) FILTER (WHERE {_IN_PERIOD})
    FROM {_POSTINGS} WHERE {_COUNTS}
"""
_LINES = f"""
    SELECT p.id, e.id, e.at, e.recorded_at, e.kind, e.memo, c.id, c.kind, p.amount,
           %(opening)s + sum(p.amount) OVER (ORDER BY e.{{axis}}, e.id, p.id ROWS UNBOUNDED PRECEDING)
    FROM {_POSTINGS} JOIN trading_ledgeraccount c ON c.id = p.counter_id
    WHERE {_COUNTS} AND {_IN_PERIOD}
    ORDER BY e.{{axis}}, e.id, p.id
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One posting. `amount` is above zero for a debit; `balance` is what the account had come to with it."""

    transfer_id: int
    entry_id: int
    at: datetime
    recorded_at: datetime
    entry_kind: str
    memo: str
    counter_id: int
    counter_kind: str
    amount: Decimal
    balance: Decimal

    @property
    def debit(self) -> Decimal | None:
        """The amount, if it is a debit."""
        return self.amount if self.amount > 0 else None

    @property
    def credit(self) -> Decimal | None:
        """The amount, if it is a credit."""
        return -self.amount if self.amount < 0 else None


@dataclass(frozen=True, slots=True)
class Period:
    """What a statement was asked for. `since` is exclusive, `as_of` and `known_at` inclusive; None is no limit."""

    since: datetime | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None
    by: Axis = Axis.HAPPENED


@dataclass(frozen=True, slots=True)
class Statement:
    """A period of one ledger account: its sums over the whole period, its lines of one page."""

    ledger_account: LedgerAccount
    period: Period
    opening: Decimal
    debits: Decimal
    credits: Decimal
    postings: int
    page: int
    pages: int
    lines: tuple[Line, ...]

    @property
    def closing(self) -> Decimal:
        """The balance at the end of the period."""
        return self.opening + self.debits - self.credits

    @property
    def brought_forward(self) -> Decimal:
        """The balance before the first line of this page."""
        return self.lines[0].balance - self.lines[0].amount if self.lines else self.opening

    @property
    def carried_forward(self) -> Decimal:
        """The balance after the last line of this page."""
        return self.lines[-1].balance if self.lines else self.opening


def statement(
    ledger_account: LedgerAccount, period: Period | None = None, *, page: int | None = None, size: int = PAGE
) -> Statement:
    """The statement of a period, the oldest posting first; two queries.

    `page` counts from 1 and is brought into range; without it, the last page, which ends with the closing balance.
    Pages are full from the end on, so that the newest postings stand together; the first has what is left over.
    """
    period = period or Period()
    wanted = _wanted(ledger_account, period)
    with connection.cursor() as cursor:
        cursor.execute(_SUMS.format(axis=period.by.value), wanted)
        opening, debits, credits, postings = cursor.fetchone()
        pages = max(-(-postings // size), 1)
        page = pages if page is None else min(max(page, 1), pages)
        end = postings - (pages - page) * size
        skipped = max(end - size, 0)
        wanted |= {"opening": opening, "number": end - skipped, "skipped": skipped}
        cursor.execute(_LINES.format(axis=period.by.value) + " LIMIT %(number)s OFFSET %(skipped)s", wanted)
        lines = tuple(Line(*row) for row in cursor.fetchall())
    return Statement(ledger_account, period, opening, debits, credits, postings, page, pages, lines)


def all_lines(whole: Statement) -> Iterator[Line]:
    """Every line of a statement's period, read in chunks from the database, for exports."""
    wanted = _wanted(whole.ledger_account, whole.period) | {"opening": whole.opening}
    with connection.chunked_cursor() as cursor:
        cursor.execute(_LINES.format(axis=whole.period.by.value), wanted)
        while rows := cursor.fetchmany(CHUNK):
            yield from (Line(*row) for row in rows)


def _wanted(ledger_account: LedgerAccount, period: Period) -> dict[str, Any]:
    return {
        "ledger_account": ledger_account.pk,
        "since": period.since,
        "as_of": period.as_of,
        "known_at": period.known_at,
    }
