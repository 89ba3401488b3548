"""Every statement that inserts facts is sealed by one block, in order, whoever writes and by whatever way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import connection

from tests.conftest import CommittedDatabase
from tests.trading.models.furnished import furnish
from trading.models import AuditEvent, ChainBlock, ChainHead

AUDIT = (
    "INSERT INTO trading_auditevent (at, recorded_at, level, kind, actor_name, via, request_id, address, object_type,"
    " object_id, object_repr, before, after, reason) SELECT now(), now(), 'INFO', 'x', 'a, (\"b\\', 'task', '', '', '',"
    " '', '', '{\"a\": null}', '{}', 'ends with ,)' FROM generate_series(1, %s)"
)


def chained() -> list[str]:
    """Every table that the chain covers, by the models."""
    return [
        model._meta.db_table
        for model in apps.get_models()
        if getattr(model, "append_only", False) and getattr(model, "is_chained", True)
    ]


def recomputed(cursor: Any) -> Iterator[str]:
    """What does not fit, computed in Python from the rows' texts alone."""
    cursor.execute("SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET bytea_output = 'hex'")
    cursor.execute(
        "SELECT number, table_name, first_id, last_id, row_count, root, marks, previous, hash, transaction::text,"
        " to_char(sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), login"
        " FROM trading_chainblock ORDER BY number"
    )
    blocks = cursor.fetchall()
    rows: dict[str, dict[int, bytes]] = {}
    for table in chained():
        cursor.execute(f"SELECT id, t::text FROM {table} t ORDER BY id")
        rows[table] = {
            number: hashlib.sha256(text.removesuffix(")").rstrip(",").encode()).digest()
            for number, text in cursor.fetchall()
        }
    before = blocks[0][7] if blocks else b""
    for place, (number, table, first, last, count, root, marks, previous, sealed, xid, at, login) in enumerate(blocks):
        leaves = [rows[table].pop(key) for key in sorted(rows[table]) if first <= key <= last]
        if len(leaves) != count or hashlib.sha256(b"".join(leaves)).digest() != bytes(root):
            yield f"block {number}: rows {first}-{last} of {table}"
        if b"".join(leaf[:4] for leaf in leaves) != bytes(marks):
            yield f"block {number}: marks"
        text = ":".join(
            map(
                str,
                (
                    "block-1",
                    number,
                    table,
                    first,
                    last,
                    count,
                    bytes(root).hex(),
                    bytes(previous).hex(),
                    xid,
                    at,
                    login,
                ),
            )
        )
        if number != place + 1 or bytes(previous) != bytes(before):
            yield f"block {number}: link"
        if hashlib.sha256(text.encode()).digest() != bytes(sealed):
            yield f"block {number}: hash"
        before = sealed
    for table, left in rows.items():
        if left:
            yield f"{table}: rows {sorted(left)} are in no block"
    cursor.execute("SELECT number, hash FROM trading_chainhead")
    number, head = cursor.fetchone()
    if (number, bytes(head)) != (len(blocks), bytes(before)):
        yield "head"


def test_a_world_with_a_row_in_every_table_is_sealed_wholly(db: None) -> None:
    furnish()
    sealed = set(ChainBlock.objects.values_list("table_name", flat=True))
    assert {table for table in chained() if table.startswith("trading_")} <= sealed
    with connection.cursor() as cursor:
        assert list(recomputed(cursor)) == []


def test_one_statement_is_one_block_whatever_its_text_contains(db: None) -> None:
    before = ChainHead.objects.get().number
    with connection.cursor() as cursor:
        cursor.execute(AUDIT, [1000])
        cursor.execute(AUDIT, [1])
        cursor.execute(AUDIT, [0])  # inserts nothing, seals nothing
        blocks = list(ChainBlock.objects.filter(number__gt=before).values_list("table_name", "row_count"))
        assert blocks == [("trading_auditevent", 1000), ("trading_auditevent", 1)]
        assert list(recomputed(cursor)) == []


def test_what_is_taken_back_leaves_no_block(db: None) -> None:
    before = ChainHead.objects.get()
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT s")
        cursor.execute(AUDIT, [3])
        cursor.execute("ROLLBACK TO s")
        cursor.execute(AUDIT, [2])  # numbers were used up, and the chain goes on
        assert list(recomputed(cursor)) == []
    assert ChainHead.objects.get().number == before.number + 1


@pytest.mark.parametrize("replica", [False, True])
def test_copy_and_replica_mode_are_sealed_too(committed_db: CommittedDatabase, replica: bool) -> None:
    with psycopg.connect(committed_db.superuser_url, autocommit=True) as root:
        if replica:
            root.execute("SET session_replication_role = replica")
        columns = "at, recorded_at, kind, numbers, reason"
        with root.cursor() as cursor, cursor.copy(f"COPY trading_riskevent ({columns}) FROM STDIN") as copy:
            for number in range(300):
                copy.write_row(("2026-03-02 08:00Z", "2026-03-02 08:00Z", "TEST", "{}", f"row {number}"))
        with root.cursor() as cursor:
            cursor.execute("SELECT row_count FROM trading_chainblock ORDER BY number DESC LIMIT 1")
            assert cursor.fetchall() == [(300,)]
            assert list(recomputed(cursor)) == []


@pytest.mark.parametrize("number", [1, 5, 10**12])
@pytest.mark.parametrize("way", ["overriding", "copy"])
def test_a_number_of_ones_own_is_refused(committed_db: CommittedDatabase, way: str, number: int) -> None:
    values = f"{number}, now(), now(), 'TEST', '{{}}', 'x'"
    columns = "at, recorded_at, kind, numbers, reason"
    with psycopg.connect(committed_db.urls.application, autocommit=True) as app:
        app.execute(
            f"INSERT INTO trading_riskevent ({columns})"
            " SELECT now(), now(), 'TEST', '{}', 'x' FROM generate_series(1, 5)"
        )
        with pytest.raises(psycopg.Error, match="numbers from the database|duplicate key"):
            if way == "overriding":
                app.execute(f"INSERT INTO trading_riskevent (id, {columns}) OVERRIDING SYSTEM VALUE VALUES ({values})")
            else:
                with app.cursor() as cursor, cursor.copy(f"COPY trading_riskevent (id, {columns}) FROM STDIN") as copy:
                    copy.write_row((number, "2026-03-02 08:00Z", "2026-03-02 08:00Z", "TEST", "{}", "x"))
        assert app.execute("SELECT count(*) FROM trading_riskevent").fetchone() == (5,)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO trading_chainblock SELECT number + 1, table_name, first_id, last_id, row_count, root, marks, "
        "hash, root, sealed_at, transaction, login FROM trading_chainblock",
        "UPDATE trading_chainhead SET hash = ''",
        "SELECT chain_append('trading_fill', 1, 1, 1, '', '')",
        "SELECT chain_table('trading_fill')",
        "SELECT ledger_check_entries('{1}')",
        "SELECT nextval('trading_auditevent_id_seq')",
        "SELECT setval('trading_auditevent_id_seq', 99)",
    ],
)
def test_the_application_login_writes_nothing_of_the_chain(committed_db: CommittedDatabase, statement: str) -> None:
    with (
        psycopg.connect(committed_db.urls.application, autocommit=True) as app,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        app.execute(statement)


def test_two_writers_make_one_chain(committed_db: CommittedDatabase) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def write(_: int) -> None:
        with psycopg.connect(committed_db.urls.application, autocommit=True) as app:
            for _ in range(40):
                app.execute(AUDIT, [2])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert AuditEvent.objects.count() == 320
    with psycopg.connect(committed_db.superuser_url) as root, root.cursor() as cursor:
        assert list(recomputed(cursor)) == []


def test_rows_from_before_the_chain_are_sealed_when_it_begins(committed_db: CommittedDatabase) -> None:
    """What `chain_table` does for a database that is migrated with facts in it."""
    with psycopg.connect(committed_db.superuser_url, autocommit=True) as root, root.cursor() as cursor:
        cursor.execute("DROP TRIGGER z_chain ON trading_auditevent")
        cursor.execute(AUDIT, [5003])
        assert list(recomputed(cursor)) != []
        cursor.execute("SELECT chain_table('trading_auditevent')")
        cursor.execute("SELECT row_count FROM trading_chainblock ORDER BY number DESC LIMIT 2")
        assert cursor.fetchall() == [(3,), (5000,)]
        cursor.execute(AUDIT, [2])
        assert list(recomputed(cursor)) == []
