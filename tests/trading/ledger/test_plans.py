"""A connection that opened while the books were empty posts as fast when they are full.

What always holds: the database's own count of the rows that posting read is the oracle, not a clock.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg
from django.db import connection, transaction

from tests.conftest import CommittedDatabase
from tests.trading.services import making
from trading.models import CashEvent
from trading.services import ledger

READ = (
    "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_xact_user_tables"
    " WHERE relname = 'trading_entry'"
)


def test_a_plan_made_for_empty_books_does_not_read_all_of_the_full_ones(committed_db: CommittedDatabase) -> None:
    for name in ("oanda-other", "oanda-third"):
        making.make_account(name)
    account = making.make_account()
    with psycopg.connect(committed_db.superuser_url, autocommit=True) as superuser:
        superuser.execute("VACUUM ANALYZE")
    making.receive(account, making.cash_of(1, "TRANSFER", "5000"))
    deposit = CashEvent.objects.get(account=account)
    into, out_of = (ledger.ledger_account(account, kind, "USD").pk for kind in ("CASH", "CAPITAL"))

    def body(key: object) -> dict[str, Any]:
        moved = {"debit": str(into), "credit": str(out_of), "commodity": "USD", "amount": "1"}
        return {
            "key": f"plan:{key}", "kind": "TRANSFER", "account_id": account.pk, "at": "2026-03-02T08:00:00Z",
            "trading_day": "2026-03-02", "value_date": "2026-03-02", "cash_event_id": deposit.pk, "transfers": [moved],
        }  # fmt: skip

    def rows_read_by(bodies: list[dict[str, Any]]) -> int:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(READ)
            before = cursor.fetchone()[0]
            cursor.execute("SELECT ledger_post_many(%s::jsonb)", [json.dumps(bodies)])
            cursor.execute(READ)
            return int(cursor.fetchone()[0] - before)

    first = rows_read_by([body("first")])
    rows_read_by([body(number) for number in range(1_000)])
    assert rows_read_by([body("last")]) <= first + 5
