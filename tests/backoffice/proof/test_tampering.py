"""What a superuser does to the books behind everybody's back is found, by SQL and by the stand-alone program alike."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest

from trading.auditor.verify_books import Finding, Source, verify
from trading.selectors import chain

from .conftest import RATES, Books

# A tampering, and what must be said of it: kind, table, row, and words.
CASES = {
    "a price is changed": (
        "UPDATE trading_rate SET value = 99 WHERE id = 5",
        "content",
        "trading_rate",
        5,
        "was changed",
    ),
    "the only row of a block": (
        "UPDATE trading_fill SET price = price + 0.000000000001 WHERE id = 1",
        "content",
        "trading_fill",
        1,
        "not what was sealed|was changed",
    ),
    "an empty column is filled": (
        "UPDATE trading_entry SET memo = 'x' WHERE id = 1",
        "content",
        "trading_entry",
        1,
        "",
    ),
    "a row is removed": ("DELETE FROM trading_rate WHERE id = 7", "content", "trading_rate", 7, "was removed"),
    "the last row is removed": (
        "DELETE FROM trading_anchor",
        "content",
        "trading_anchor",
        1,
        "removed|not what was sealed",
    ),
    "two rows change places": (
        "UPDATE trading_rate SET id = -1 WHERE id = 3; UPDATE trading_rate SET id = 3 WHERE id = 4;"
        "UPDATE trading_rate SET id = 4 WHERE id = -1",
        "content",
        "trading_rate",
        3,
        "now stands as row 4",
    ),
    "a row gets another number": (
        "UPDATE trading_rate SET id = 1000 WHERE id = 3",
        "coverage",
        "trading_rate",
        1000,
        "in no block",
    ),
    "a row is added": (
        "INSERT INTO trading_rate OVERRIDING SYSTEM VALUE SELECT 500, at, recorded_at, base, quote, value, source"
        " FROM trading_rate WHERE id = 2",
        "coverage",
        "trading_rate",
        500,
        "in no block",
    ),
    "all rows of a table are gone": ("TRUNCATE trading_riskevent", "content", "trading_riskevent", 1, ""),
    "a table is gone": ("DROP TABLE trading_riskevent", "coverage", "trading_riskevent", None, "is missing"),
    "the marks of a block": (
        "UPDATE trading_chainblock SET marks = set_byte(marks, 0, get_byte(marks, 0) # 1) WHERE table_name ="
        " 'trading_rate' AND row_count > 5",
        "marks",
        "trading_rate",
        2,
        "marks of them were changed",
    ),
    "a block is removed": (
        "DELETE FROM trading_chainblock WHERE number = 10",
        "link",
        "trading_chainblock",
        None,
        "stands where block 10 should",
    ),
    "a block names another login": (
        "UPDATE trading_chainblock SET login = 'nobody' WHERE number = 10",
        "link",
        "trading_chainblock",
        None,
        "is not what its hash was made of",
    ),
    "a block claims more rows": (
        "UPDATE trading_chainblock SET last_id = last_id + 2 WHERE table_name = 'trading_rate' AND row_count > 5",
        "order",
        "trading_rate",
        14,
        "sealed by an earlier block",
    ),
    "the tail is cut off": (
        "DELETE FROM trading_chainblock WHERE number = (SELECT max(number) FROM trading_chainblock);"
        "DELETE FROM trading_rate WHERE id > 13",
        "head",
        "trading_chainhead",
        None,
        "blocks were cut off",
    ),
    "the head is set back": (
        "UPDATE trading_chainhead SET number = number - 1",
        "head",
        "trading_chainhead",
        None,
        "set back",
    ),
    "the head has another hash": (
        "UPDATE trading_chainhead SET hash = sha256('x')",
        "head",
        "trading_chainhead",
        None,
        "the chain ends with",
    ),
    "the head is gone": ("DELETE FROM trading_chainhead", "head", "trading_chainhead", None, "says 0"),
}


def by_sql(cursor: Any) -> set[Finding]:
    """What the database's verifier finds."""
    return set(chain.findings(cursor))


def by_program(cursor: psycopg.Cursor[Any]) -> set[Finding]:
    """What the stand-alone program finds."""
    return {Finding(**finding) for finding in verify(Source(None, cursor), "", "")["findings"]}


def test_books_that_nobody_touched_are_whole(original: Books) -> None:
    with original.tampered("SELECT 1") as cursor:
        assert by_sql(cursor) == by_program(cursor) == set()


@pytest.mark.parametrize("what", CASES)
def test_each_tampering_is_found_and_named_by_both(original: Books, what: str) -> None:
    sql, kind, table, row, words = CASES[what]
    with original.tampered(sql) as cursor:
        found, same = by_sql(cursor), by_program(cursor)
    assert found == same
    fitting = [one for one in found if (one.kind, one.table, one.row) == (kind, table, row)]
    assert fitting, found
    assert any(word in str(one) for one in fitting for word in words.split("|"))


def test_whatever_single_value_is_changed_its_row_is_named(original: Books) -> None:
    chance = random.Random(20260131)
    with original.tampered("SELECT 1") as cursor:
        for _ in range(25):
            table = chance.choice(chain.tables())
            cursor.execute(f"SELECT array_agg(id) FROM {table}")
            row = chance.choice(cursor.fetchone()[0] or [0])
            cursor.execute(
                "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass"
                " AND attnum > 0 AND NOT attisdropped AND attname <> 'id'",
                [table],
            )
            column, kind = chance.choice(cursor.fetchall())
            cursor.execute("SAVEPOINT one")
            cursor.execute(f"SET LOCAL session_replication_role = replica; ALTER TABLE {table} DISABLE TRIGGER USER")
            try:
                cursor.execute(f"UPDATE {table} SET {column} = {OTHER[kind].format(column)} WHERE id = {row}")
            except psycopg.errors.IntegrityError:  # a rule of the table refuses even the superuser
                cursor.execute("ROLLBACK TO SAVEPOINT one")
                continue
            touched = cursor.rowcount
            found, same = by_sql(cursor), by_program(cursor)
            assert found == same
            named = {(one.table, one.row) for one in found}
            assert named == ({(table, row)} if touched else set()), (table, column, row)
            cursor.execute("ROLLBACK TO SAVEPOINT one")


OTHER = {
    "bigint": "coalesce({} + 1, 1)",
    "integer": "coalesce({} + 1, 1)",
    "smallint": "-{}",
    "numeric": "coalesce({} + 0.000000000001, 1)",
    "boolean": "NOT coalesce({}, true)",
    "date": "coalesce({} + 1, '2026-01-31')",
    "timestamp with time zone": "coalesce({} + interval '1 microsecond', '2026-01-31')",
    "character varying": "CASE left({0}, 1) WHEN 'x' THEN 'y' ELSE 'x' END",
    "text": "coalesce({} || 'x', 'x')",
    "jsonb": "CASE WHEN {0} = '{{}}' THEN '{{\"x\": 1}}' ELSE '{{}}'::jsonb END",
    "bytea": "sha256({})",
    "inet": "'10.0.0.1'",
}


def test_rows_of_a_block_with_gaps_are_named_by_what_stands_around_them(original: Books) -> None:
    """Blocks over rows from before the chain may have gaps between their numbers."""
    remade = """
        UPDATE trading_rate SET id = id * 10 WHERE id BETWEEN 2 AND {last};
        CREATE TEMP TABLE leaves AS SELECT id, sha256(convert_to(rtrim(rtrim(r::text, ')'), ','), 'UTF8')) AS leaf
            FROM trading_rate r WHERE id BETWEEN 20 AND {last}0;
        UPDATE trading_chainblock SET first_id = 20, last_id = {last}0,
            root = (SELECT sha256(string_agg(leaf, ''::bytea ORDER BY id)) FROM leaves),
            marks = (SELECT string_agg(substr(leaf, 1, 4), ''::bytea ORDER BY id) FROM leaves)
            WHERE table_name = 'trading_rate' AND row_count = {rates};
        DELETE FROM trading_rate WHERE id = 50;
        UPDATE trading_rate SET value = 7 WHERE id = 90;
        INSERT INTO trading_rate OVERRIDING SYSTEM VALUE SELECT 111, at, recorded_at, base, quote, value, source
            FROM trading_rate WHERE id = 30
    """.format(last=RATES + 1, rates=RATES)
    with original.tampered(remade) as cursor:
        found, same = by_sql(cursor), by_program(cursor)
    assert found == same
    said = {(one.row, one.last_row, one.problem) for one in found if one.kind == "content"}
    assert said == {
        (41, 59, "was removed"),
        (90, 90, "was changed"),
        (111, 111, "was added: no statement inserted it"),
    }
