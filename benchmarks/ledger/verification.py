"""How fast the chain is verified in SQL: links, head, contents, order and coverage of every sealed row."""

from __future__ import annotations

import time


def verify() -> tuple[int, float]:
    """Verify everything as `manage.py verify_chain` does, under the application login; rows and seconds."""
    from django.db import connection, transaction

    from trading.selectors.chain import findings, rows

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        begin = time.perf_counter()
        found = [str(finding) for finding in findings(cursor)]
        seconds = time.perf_counter() - begin
        if found:
            raise SystemExit(f"the chain of the measured books is not whole: {found[:3]}")
        return rows(cursor), seconds
