"""Somebody with every right on the database changes what was written; the chain, or an anchor outside, must show it.

What always holds here: the tamperer's database has no trigger, no rule and no numbers of its own left, as after
`DISABLE TRIGGER ALL` by a superuser; each tampering happens in a transaction that is taken back; which one it is
depends on the seed alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any

import psycopg
from psycopg import sql

from trading.auditor.verify_books import BLOCKS, AnchorLine, Block, Finding, block_hash, check_anchors
from trading.selectors import chain

KEY = "a key that the database does not know"
CHAIN = "trading_chainblock"
# By type: another value, and what stands where there was none.
OTHER = {
    "bigint": ("{0} + 1", "7"),
    "integer": ("{0} + 1", "7"),
    "smallint": ("-{0} + 1", "7"),
    "numeric": ("{0} + 0.000000000001", "0"),
    "boolean": ("NOT {0}", "true"),
    "date": ("{0} - 1", "'2026-01-01'"),
    "timestamp with time zone": ("{0} - interval '1 microsecond'", "now()"),
    "character varying": ("CASE {0} WHEN '' THEN 'x' ELSE overlay({0} placing '~' from length({0})) END", "''"),
    "text": ("CASE {0} WHEN '' THEN 'x' ELSE overlay({0} placing '~' from length({0})) END", "''"),
    "jsonb": ("jsonb_build_array({0})", "'{{}}'"),
    "bytea": ("CASE length({0}) WHEN 0 THEN '\\x00' ELSE set_bit({0}, 0, 1 - get_bit({0}, 0)) END", "'\\x00'"),
}
_LAY_OPEN = """
DO $$ DECLARE x record; BEGIN
    FOR x IN SELECT DISTINCT conrelid::regclass AS t, conname, contype FROM pg_constraint
             WHERE connamespace = 'public'::regnamespace AND contype IN ('u', 'c', 'f') ORDER BY contype DESC LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', x.t, x.conname);
    END LOOP;
    FOR x IN SELECT indexrelid::regclass AS i FROM pg_index JOIN pg_class c ON c.oid = indrelid
             WHERE c.relnamespace = 'public'::regnamespace AND indisunique AND NOT indisprimary LOOP
        EXECUTE format('DROP INDEX %s', x.i);
    END LOOP;
    FOR x IN SELECT table_name AS t, column_name AS c FROM information_schema.columns
             WHERE table_schema = 'public' AND is_identity = 'YES' LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN %I DROP IDENTITY', x.t, x.c);
    END LOOP;
    FOR x IN SELECT oid::regclass AS t FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', x.t);
    END LOOP;
END $$"""


class NotPossible(Exception):
    """This tampering cannot be made with what was drawn; another is drawn instead."""


@dataclass(frozen=True)
class Done:
    """What was done, and what has to be named: rows of a table, a block, or the break of an anchor."""

    what: str
    table: str = ""
    rows: tuple[int, ...] = ()
    block: int = 0
    by_anchor: bool = False


@dataclass
class Score:
    """How it went, over all tamperings."""

    tampered: Counter[str] = field(default_factory=Counter)
    named_exactly: int = 0
    missed: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)


class Tamperer:
    """One connection with every right, on books that lie open."""

    def __init__(self, url: str, seed: int) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute(_LAY_OPEN)
        self.random = Random(seed)
        self.score = Score()
        cursor = self.connection.cursor()
        self.tables = [name for name in chain.tables() if self._one(f"SELECT count(*) FROM {name}")]
        rows = cursor.execute(
            "SELECT table_name, column_name, data_type, is_nullable = 'YES' FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, ordinal_position"
        ).fetchall()
        self.columns = {table: [row[1:] for row in rows if row[0] == table] for table in [*self.tables, CHAIN]}
        self.head = chain.head(cursor)
        identity, middle = chain.identity(cursor), self.head[0] // 2
        lines = [
            AnchorLine(identity, number, chain.hashes(cursor, [number])[number], "then", "")
            for number in (middle, self.head[0])
        ]
        first = lines[0].sealed_under(KEY)
        self.anchors = [first, lines[1]._replace(before=first.seal).sealed_under(KEY)]
        self.ways: list[Callable[[], Done]] = [
            *[self.edit] * 12, self.edit_block, self.edit_head, self.delete_row, self.delete_row, self.delete_block,
            self.insert_row, self.insert_row, self.renumber, self.swap, self.back_date, self.drop_block_row,
            self.truncate, self.rechain, self.rechain_from,
        ]  # fmt: skip

    def close(self) -> None:
        """Leave."""
        self.connection.close()

    def findings(self) -> list[Finding]:
        """What the product finds: in the database, and against the anchors."""
        cursor = self.connection.cursor()
        found = list(chain.findings(cursor))
        last = self._one(f"SELECT coalesce(max(number), 0) FROM {CHAIN}")
        known: Callable[[list[int]], dict[int, str]] = lambda numbers: chain.hashes(cursor, numbers)  # noqa: E731
        return [*found, *check_anchors(self.anchors, chain.identity(cursor), last, known, KEY)]

    def tamper(self) -> None:
        """One tampering, looked for and taken back."""
        while True:
            way = self.random.choice(self.ways)
            with self.connection.transaction(force_rollback=True):
                try:
                    with self.connection.transaction():
                        done = way()
                except (NotPossible, psycopg.DataError, psycopg.IntegrityError):
                    continue
                found = self.findings()
            self._judge(done, found)
            return

    def _judge(self, done: Done, found: list[Finding]) -> None:
        self.score.tampered[done.what.partition(":")[0]] += 1
        told = f"{done}: {[str(finding) for finding in found[:5]]}"
        if not found:
            self.score.missed.append(told)
        elif done.by_anchor:
            if [finding.kind for finding in found] != ["anchor"]:
                self.score.unnamed.append(told)
        elif done.block:
            if not any(finding.block == done.block or finding.table == "trading_chainhead" for finding in found):
                self.score.unnamed.append(told)
        else:
            named = [(f.row or 0, f.last_row or f.row or 0) for f in found if f.table == done.table]
            if not all(any(low <= row <= high for low, high in named) for row in done.rows):
                self.score.unnamed.append(told)
            self.score.named_exactly += all((row, row) in named for row in done.rows)

    # the ways

    def edit(self) -> Done:
        """One column of one row: another value, none, or one where there was none."""
        table, row = self._row()
        column, kind, may_be_null = self.random.choice([each for each in self.columns[table] if each[0] != "id"])
        other, first = OTHER[kind]
        name = sql.Identifier(column).as_string()
        is_null = self._one(f"SELECT {name} IS NULL FROM {table} WHERE id = {row}")
        value = first if is_null else "NULL" if may_be_null and self.random.random() < 0.3 else other
        self._change(f"UPDATE {table} SET {name} = {value.format(name)} WHERE id = {row}")
        return Done(f"edit: {column} = {value}", table, (row,))

    def edit_block(self) -> Done:
        """One column of one block."""
        number = self.random.randint(1, self.head[0])
        column, kind, _ = self.random.choice([each for each in self.columns[CHAIN] if each[0] != "number"])
        self._change(f"UPDATE {CHAIN} SET {column} = {OTHER[kind][0].format(column)} WHERE number = {number}")
        return Done(f"block edited: {column}", block=number)

    def edit_head(self) -> Done:
        """Number or hash of the head."""
        column, kind = self.random.choice([("number", "bigint"), ("hash", "bytea")])
        self._change(f"UPDATE trading_chainhead SET {column} = {OTHER[kind][0].format(column)}")
        return Done(f"head edited: {column}", block=self.head[0])

    def delete_row(self) -> Done:
        """Any row, the last of its table too."""
        table, row = self._row()
        self._change(f"DELETE FROM {table} WHERE id = {row}")
        return Done("row deleted", table, (row,))

    def delete_block(self) -> Done:
        """All rows of a block."""
        block = self._block()
        self._change(f"DELETE FROM {block.table} WHERE id BETWEEN {block.first_id} AND {block.last_id}")
        return Done("block of rows deleted", block.table, (block.first_id, block.last_id))

    def insert_row(self) -> Done:
        """A copy of a row, as the next one, far ahead, or before all others."""
        table, row = self._row()
        last = self._one(f"SELECT max(id) FROM {table}")
        number = self.random.choice([last + 1, last + 1000, -1])
        names = ", ".join(sql.Identifier(name).as_string() for name, *_ in self.columns[table] if name != "id")
        self._change(f"INSERT INTO {table} (id, {names}) SELECT {number}, {names} FROM {table} WHERE id = {row}")
        return Done("row inserted", table, (number,))

    def renumber(self) -> Done:
        """A row under another number."""
        table, row = self._row()
        number = self._one(f"SELECT max(id) FROM {table}") + self.random.choice([1, 5000])
        self._change(f"UPDATE {table} SET id = {number} WHERE id = {row}")
        return Done("row renumbered", table, (row, number))

    def swap(self) -> Done:
        """Two rows change places."""
        table, row = self._row()
        others = self.connection.execute(f"SELECT id FROM {table} WHERE id <> {row} ORDER BY id").fetchall()
        if not others:
            raise NotPossible
        (other,) = self.random.choice(others)
        for before, after in ((row, -9), (other, row), (-9, other)):
            self._change(f"UPDATE {table} SET id = {after} WHERE id = {before}")
        return Done("rows swapped", table, (row, other))

    def back_date(self) -> Done:
        """A fact as of a day earlier, learned a day earlier."""
        table, row = self._row()
        if not any(name == "recorded_at" for name, *_ in self.columns[table]):
            raise NotPossible
        earlier = "at = at - interval '1 day', recorded_at = recorded_at - interval '1 day'"
        self._change(f"UPDATE {table} SET {earlier} WHERE id = {row}")
        return Done("row back-dated", table, (row,))

    def drop_block_row(self) -> Done:
        """A block goes, and its rows stay."""
        block = self._block()
        self._change(f"DELETE FROM {CHAIN} WHERE number = {block.number}")
        if block.number == self.head[0]:
            return Done("block deleted", block=block.number)
        return Done("block deleted", block.table, (block.first_id, block.last_id))

    def truncate(self) -> Done:
        """The last blocks with all their rows, and the head put back to what is the end now."""
        kept = self.head[0] - self.random.randint(1, self.head[0] // 3)
        for block in self._blocks(f"WHERE number > {kept}"):
            self.connection.execute(f"DELETE FROM {block.table} WHERE id BETWEEN {block.first_id} AND {block.last_id}")
        self.connection.execute(f"DELETE FROM {CHAIN} WHERE number > {kept}")
        self.connection.execute(
            f"UPDATE trading_chainhead SET number = {kept}, hash = (SELECT hash FROM {CHAIN} WHERE number = {kept})"
        )
        return Done("tail cut off", by_anchor=True)

    def rechain(self) -> Done:
        """A row is changed and the whole chain made anew, under its own identity or another."""
        self.edit()
        own = self.random.random() < 0.5
        self._seal_again(1, None if own else self.random.randbytes(32))
        return Done("whole chain made anew", by_anchor=True)

    def rechain_from(self) -> Done:
        """A row is changed and the chain made anew from its block on."""
        done = self.edit()
        block = self._blocks(
            f"WHERE table_name = '{done.table}' AND {done.rows[0]} BETWEEN first_id AND last_id"
        )[0]  # fmt: skip
        self._seal_again(block.number, None)
        return Done("chain made anew from a row on", by_anchor=True)

    # how

    def _one(self, query: str) -> Any:
        found = self.connection.execute(query).fetchone()
        return found[0] if found else None

    def _change(self, statement: str) -> None:
        if self.connection.execute(statement).rowcount < 1:
            raise NotPossible

    def _row(self) -> tuple[str, int]:
        table = self.random.choice(self.tables)
        ids = [row for (row,) in self.connection.execute(f"SELECT id FROM {table} ORDER BY id").fetchall()]
        return table, self.random.choice(ids)

    def _blocks(self, which: str) -> list[Block]:
        return [
            Block.read(row) for row in self.connection.execute(BLOCKS.replace("ORDER", f"{which} ORDER")).fetchall()
        ]

    def _block(self) -> Block:
        return self._blocks(f"WHERE number = {self.random.randint(1, self.head[0])}")[0]

    def _seal_again(self, since: int, identity: bytes | None) -> None:
        """What somebody would do who knows how blocks are made."""
        blocks = self._blocks(f"WHERE number >= {since}")
        previous = identity or blocks[0].previous
        leaf = "sha256(convert_to(rtrim(rtrim(r::text, ')'), ','), 'UTF8'))"
        for block in blocks:
            rows = self.connection.execute(
                f"SELECT {leaf} FROM {block.table} r WHERE id BETWEEN {block.first_id} AND {block.last_id} ORDER BY id"
            )
            leaves = [bytes(row) for (row,) in rows.fetchall()]
            marks = b"".join(each[:4] for each in leaves)
            sealed = block._replace(root=sha256(b"".join(leaves)).digest(), marks=marks, previous=previous)
            previous = block_hash(sealed)
            self.connection.execute(
                f"UPDATE {CHAIN} SET root = %s, marks = %s, previous = %s, hash = %s WHERE number = %s",
                [sealed.root, marks, sealed.previous, previous, block.number],
            )
        self.connection.execute("UPDATE trading_chainhead SET hash = %s", [previous])
