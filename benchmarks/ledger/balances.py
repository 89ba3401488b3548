"""The trial balance of books with many postings: from the newest snapshot and what came after, and from all of them.

What always holds: both answers are equal to the last digit, or the run ends; the full sum is the faster of two ways to
make it, so that the comparison flatters nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

from .books import Numbers
from .server import PRODUCT, Server

# Stock for reading, not for measuring how it came there: replica mode leaves the foreign keys' checks out; the chain's
# trigger fires all the same.
_ENTRIES = """
    INSERT INTO trading_entry (account_id, idempotency_key, payload_sha256, kind, at, recorded_at, value_date,
                               trading_day, fill_id, memo)
    SELECT e.account_id, 'stock:' || n, e.payload_sha256, e.kind, e.at, e.recorded_at, e.value_date, e.trading_day,
           e.fill_id, e.memo
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
    JOIN trading_entry e ON e.id = %(pattern)s + n %% %(patterns)s ORDER BY n"""
_TRANSFERS = """
    INSERT INTO trading_transfer (entry_id, debit_id, credit_id, commodity_id, amount)
    SELECT e.id, t.debit_id, t.credit_id, t.commodity_id, t.amount
    FROM trading_entry e
    JOIN trading_entry p ON p.id = %(pattern)s + substr(e.idempotency_key, 7)::bigint %% %(patterns)s
    JOIN trading_transfer t ON t.entry_id = p.id
    WHERE e.id > %(after)s ORDER BY e.id, t.id"""
_GROUPED = """
    SELECT s.ledger_account_id, sum(s.amount) FROM (
        SELECT debit_id AS ledger_account_id, sum(amount) AS amount FROM trading_transfer GROUP BY 1
        UNION ALL SELECT credit_id, -sum(amount) FROM trading_transfer GROUP BY 1) s GROUP BY 1"""


def snapshot() -> None:
    """Make a snapshot of all balances as the product does."""
    from trading.services.snapshots import take_snapshots

    take_snapshots()


def fill(server: Server, numbers: Numbers, entries: int) -> None:
    """Bring the books to that many entries by repeating what was posted."""
    with server.superuser(PRODUCT) as connection:
        connection.execute("SET session_replication_role = replica")
        row = connection.execute("SELECT min(id), count(*) FROM trading_entry").fetchone()
        assert row is not None
        pattern, held = row
        patterns = min(held, 10_000)
        for first in range(held, entries, 50_000):
            found = connection.execute("SELECT max(id) FROM trading_entry").fetchone()
            assert found is not None
            until = min(first + 50_000, entries) - 1
            with connection.transaction():
                places = {"first": first, "last": until, "pattern": pattern, "patterns": patterns, "after": found[0]}
                connection.execute(_ENTRIES, places)
                connection.execute(_TRANSFERS, places)
        connection.execute("VACUUM ANALYZE trading_entry, trading_transfer")


def read(number: int) -> dict[str, float]:
    """Seconds of the trial balance from the snapshot, and of the faster full sum."""
    from trading.selectors.balances import balances, full_balances

    ways: list[tuple[str, Callable[[], dict[int, Decimal]]]] = [
        ("snapshot", lambda: {row.ledger_account_id: row.amount for row in balances()}),
        ("full", lambda: {row.ledger_account_id: row.amount for row in full_balances()}),
        ("grouped", _grouped),
    ]
    found, seconds = {}, {}
    for name, way in ways[number % 3 :] + ways[: number % 3]:
        begin = time.perf_counter()
        answer = way()
        seconds[name] = time.perf_counter() - begin
        found[name] = {place: amount for place, amount in answer.items() if amount}
    if not found["snapshot"] == found["full"] == found["grouped"]:
        raise SystemExit("the balances from the snapshot and from all transfers differ")
    return {"snapshot": seconds["snapshot"], "full": min(seconds["full"], seconds["grouped"])}


def _grouped() -> dict[int, Decimal]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_GROUPED)
        return dict(cursor.fetchall())
