"""Which block of the hash chain seals a row, and whether that block was written down outside the database.

What always holds: this only looks the blocks up; whether a seal is true is what `verify_chain` computes. A row without
a seal is no fact: it is a projection, or an object that changes state (an order, an exit intent).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, models

_SEALS = """
    SELECT w.table_name, w.row_id, b.number, encode(b.hash, 'hex'), b.sealed_at,
           b.number <= coalesce((SELECT max(a.number) FROM trading_anchor a), 0)
    FROM unnest(%s::text[], %s::bigint[]) AS w(table_name, row_id)
    CROSS JOIN LATERAL (
        SELECT c.number, c.hash, c.sealed_at, c.first_id FROM trading_chainblock c
        WHERE c.table_name = w.table_name AND c.last_id >= w.row_id ORDER BY c.last_id LIMIT 1) b
    WHERE b.first_id <= w.row_id
"""


@dataclass(frozen=True, slots=True)
class Seal:
    """The block that covers a row. `is_anchored`: a head at or after it stands in a file outside the database."""

    block: int
    hash: str
    sealed_at: datetime
    is_anchored: bool


RowKey = tuple[str, int]


def key_of(row: models.Model) -> RowKey:
    """The row's table and number."""
    return row._meta.db_table, row.pk


def is_fact(row: models.Model) -> bool:
    """Whether the row lies in an append-only table, which the chain covers."""
    return getattr(row, "append_only", False) and getattr(row, "is_chained", True)


def seals_of(rows: Iterable[models.Model]) -> dict[RowKey, Seal]:
    """The seal of every row that has one; one query, however many rows."""
    keys = sorted({key_of(row) for row in rows if is_fact(row)})
    if not keys:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_SEALS, [[table for table, _ in keys], [number for _, number in keys]])
        return {(table, number): Seal(*seal) for table, number, *seal in cursor.fetchall()}
