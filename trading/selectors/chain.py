"""The hash chain as PostgreSQL sees it: where it ends, and everything that is wrong with it.

What always holds here: it only reads, with the rights of the application login, and everything at one moment if the
caller's transaction is REPEATABLE READ; each query finds suspects in bulk, and what is wrong with one is said in the
words of `trading/auditor/verify_books.py`, which finds the same without this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.apps import apps

from trading.auditor.verify_books import (
    BLOCKS,
    ROWS,
    SETTINGS,
    Block,
    Finding,
    HeadOf,
    Row,
    explain_head,
    explain_link,
    explain_rows,
    outside,
)

Progress = Callable[[str, int, int], None]  # what is looked at, how many of its row numbers are done, of how many
CHUNK = 200_000
# A big ledger takes longer than a screen may.
PATIENCE = "SET LOCAL statement_timeout = '1h'; SET LOCAL idle_in_transaction_session_timeout = '1h'"
_LINKS = """
    SELECT number, number_before, hash_before, sealed FROM (
        SELECT b.*, lag(number) OVER chain AS number_before, lag(hash) OVER chain AS hash_before,
               max(last_id) OVER (PARTITION BY table_name ORDER BY number
                                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS sealed,
               sha256(convert_to(concat_ws(':', 'block-1', number, table_name, first_id, last_id, row_count,
                   encode(root, 'hex'), encode(previous, 'hex'), transaction,
                   to_char(sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), login), 'UTF8')) AS made
        FROM trading_chainblock b WINDOW chain AS (ORDER BY number)) c
    WHERE number <> coalesce(number_before + 1, 1) OR previous <> hash_before OR hash <> made OR first_id <= sealed
       OR row_count NOT BETWEEN 1 AND last_id - first_id + 1
    ORDER BY number
"""
_CONTENT = """
    SELECT b.number FROM trading_chainblock b CROSS JOIN LATERAL (
        SELECT count(*) AS rows, sha256(coalesce(string_agg(leaf, ''::bytea), '')) AS root,
               coalesce(string_agg(substr(leaf, 1, 4), ''::bytea), '') AS marks
        FROM (SELECT sha256(convert_to(rtrim(rtrim(r::text, ')'), ','), 'UTF8')) AS leaf FROM "{table}" r
              WHERE r.id BETWEEN b.first_id AND b.last_id ORDER BY r.id OFFSET 0) s) c
    WHERE b.table_name = %s AND b.last_id > %s AND b.last_id <= %s
      AND (c.rows <> b.row_count OR c.root <> b.root OR c.marks <> b.marks)
"""
_OUTSIDE = """
    SELECT r.id FROM "{table}" r WHERE NOT r.id <@ coalesce((
        SELECT range_agg(int8range(first_id, last_id, '[]')) FROM trading_chainblock
        WHERE table_name = %s AND first_id <= last_id), '{{}}') ORDER BY r.id
"""


def tables() -> tuple[str, ...]:
    """The tables whose rows the chain seals, by the models."""
    sealed = (m for m in apps.get_models() if getattr(m, "append_only", False) and getattr(m, "is_chained", True))
    return tuple(sorted(model._meta.db_table for model in sealed))


def head(cursor: Any) -> HeadOf:
    """Number and hash of the last block; of a chain without blocks 0 and its identity."""
    cursor.execute("SELECT number, hash FROM trading_chainhead WHERE id = 1")
    found = cursor.fetchone()
    return (int(found[0]), bytes(found[1])) if found else (0, b"")


def identity(cursor: Any) -> str:
    """What tells this chain from every other, in hex."""
    cursor.execute("SELECT previous FROM trading_chainblock ORDER BY number LIMIT 1")
    found = cursor.fetchone()
    return bytes(found[0]).hex() if found else head(cursor)[1].hex()


def hashes(cursor: Any, numbers: Sequence[int]) -> dict[int, str]:
    """The hashes of these blocks, in hex, by their numbers."""
    cursor.execute("SELECT number, encode(hash, 'hex') FROM trading_chainblock WHERE number = ANY(%s)", [list(numbers)])
    return dict(cursor.fetchall())


def findings(cursor: Any, progress: Progress | None = None) -> Iterator[Finding]:
    """Everything that is wrong with links, head, contents, order and coverage; nothing when the chain is whole.

    Sets how this transaction writes values and how long it may take. Each block and each row is looked at.
    """
    cursor.execute(f"{SETTINGS}; {PATIENCE}")
    yield from _links(cursor)
    cursor.execute("SELECT DISTINCT table_name FROM trading_chainblock")
    for table in sorted({*tables(), *(name for (name,) in cursor.fetchall())}):
        cursor.execute("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", [table])
        if cursor.fetchone()[0]:
            yield from _contents(cursor, table, progress)
        else:
            yield Finding("coverage", "is missing, but blocks seal rows of it", table)


def rows(cursor: Any) -> int:
    """How many rows the chain seals."""
    cursor.execute("SELECT coalesce(sum(row_count), 0) FROM trading_chainblock")
    return int(cursor.fetchone()[0])


def _links(cursor: Any) -> Iterator[Finding]:
    cursor.execute(_LINKS)
    suspects = {row[0]: row[1:] for row in cursor.fetchall()}
    for block in _blocks(cursor, suspects):
        number, hashed, sealed = suspects[block.number]
        before = (number, bytes(hashed)) if number is not None else None
        yield from _explained(block, explain_link(block, before, sealed or 0))
    cursor.execute("SELECT number, hash FROM trading_chainblock ORDER BY number DESC LIMIT 1")
    last = cursor.fetchone()
    yield from explain_head(head(cursor), (last[0], bytes(last[1])) if last else (0, b""))


def _contents(cursor: Any, table: str, progress: Progress | None) -> Iterator[Finding]:
    """Content of one table's blocks, a range of row numbers at a time, and rows that are in none."""
    cursor.execute("SELECT coalesce(max(last_id), 0) FROM trading_chainblock WHERE table_name = %s", [table])
    last = int(cursor.fetchone()[0])
    for begin in range(0, last, CHUNK):
        cursor.execute(_CONTENT.format(table=table), [table, begin, begin + CHUNK])
        for block in _blocks(cursor, [number for (number,) in cursor.fetchall()]):
            cursor.execute(
                ROWS.format(table=table).replace("ORDER BY", "WHERE r.id BETWEEN %s AND %s ORDER BY"),
                [block.first_id, block.last_id],
            )
            stands = [Row(number, text.encode()) for number, text in cursor.fetchall()]
            yield from _explained(block, explain_rows(block, stands))
        if progress is not None:
            progress(table, min(begin + CHUNK, last), last)
    cursor.execute(_OUTSIDE.format(table=table), [table])
    yield from outside(table, [number for (number,) in cursor.fetchall()])


def _blocks(cursor: Any, numbers: Iterable[int]) -> list[Block]:
    wanted = list(numbers)
    if not wanted:
        return []
    cursor.execute(BLOCKS.replace("ORDER BY", "WHERE number = ANY(%s) ORDER BY"), [wanted])
    return [Block.read(row) for row in cursor.fetchall()]


def _explained(block: Block, explanation: Iterator[Finding]) -> Iterator[Finding]:
    """What Python says of a block that PostgreSQL found wrong; if it finds nothing, that is the finding."""
    said = list(explanation)
    disagree = "is wrong by PostgreSQL's reckoning and right by Python's: neither can be trusted"
    yield from said or [Finding("link", disagree, block.table, block.first_id, block.last_id, block.number)]
