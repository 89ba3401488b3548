"""A year of the books in the order of its trading days, as an accountant's journal has it.

What always holds: balances and entries belong to the same cut, the last entry that stood when the reading began, since
entries appear in the order of their numbers; entries are read as a stream, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import groupby

from django.db import connection
from django.db.models import Max

from trading.domain.beancount import Balance, Journal, JournalEntry, LedgerName, Movement
from trading.models import Account, Entry

_BALANCES = """
    SELECT a.name, l.kind, p.commodity_id, sum(p.amount)
    FROM trading_entry e JOIN ledger_posting p ON p.entry_id = e.id
    JOIN trading_ledgeraccount l ON l.id = p.ledger_account_id JOIN trading_account a ON a.id = l.account_id
    WHERE e.id <= %(cut)s AND e.trading_day < %(day)s AND (%(account)s::bigint IS NULL OR e.account_id = %(account)s)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_ENTRIES = """
    SELECT e.id, e.kind, e.idempotency_key, e.at, e.trading_day, e.memo,
           a.name, d.kind, c.kind, t.commodity_id, t.amount
    FROM trading_entry e JOIN trading_transfer t ON t.entry_id = e.id JOIN trading_account a ON a.id = e.account_id
    JOIN trading_ledgeraccount d ON d.id = t.debit_id JOIN trading_ledgeraccount c ON c.id = t.credit_id
    WHERE e.id <= %(cut)s AND e.trading_day >= %(first)s AND e.trading_day < %(day)s
      AND (%(account)s::bigint IS NULL OR e.account_id = %(account)s)
    ORDER BY e.trading_day, e.id, t.id
"""


def journal(year: int, account: Account | None = None) -> Journal:
    """The year of one account, or of all of them. The entries can be gone through once."""
    cut = Entry.objects.aggregate(last=Max("id"))["last"] or 0
    of = account.pk if account is not None else None
    return Journal(
        year=year,
        cut=cut,
        opening=_balances(cut, date(year, 1, 1), of),
        entries=_entries(cut, year, of),
        closing=_balances(cut, date(year + 1, 1, 1), of),
    )


def _balances(cut: int, before: date, account: int | None) -> list[Balance]:
    with connection.cursor() as cursor:
        cursor.execute(_BALANCES, {"cut": cut, "day": before, "account": account})
        return [Balance(LedgerName(name, kind), code, amount) for name, kind, code, amount in cursor.fetchall()]


def _entries(cut: int, year: int, account: int | None) -> Iterator[JournalEntry]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(
            _ENTRIES, {"cut": cut, "first": date(year, 1, 1), "day": date(year + 1, 1, 1), "account": account}
        )
        for (number, kind, key, at, day, memo), rows in groupby(cursor, key=lambda row: row[:6]):
            moved = tuple(
                Movement(LedgerName(name, debit), LedgerName(name, credit), commodity, amount)
                for *_, name, debit, credit, commodity, amount in rows
            )
            yield JournalEntry(number, kind, key, at, day, memo, moved)
