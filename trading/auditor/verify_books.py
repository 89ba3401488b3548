"""Prove the books without the project: from an exported bundle (directory, .zip, .tar.gz), or from a database.

One file for whoever does not trust us: it imports nothing but the standard library (psycopg only where a database is
named) and changes nothing. `python verify_books.py BUNDLE [--anchor FILE] [--key-file FILE]` ends with exit code 0
when the chain is whole, else 1, and names rows. `manage.py verify_chain` finds the same by SQL, in the same words.

A block seals the rows that one statement inserted into one table:
  row text  the row as PostgreSQL writes a record, without the closing bracket and without trailing commas
  leaf      sha256 of the row text
  root      sha256 of all leaves of the block in the order of their ids; marks: the first four bytes of each leaf
  hash      sha256 of 'block-1', number, table, first id, last id, rows, root, previous, transaction, time, login,
            with ':' between them; `previous` is the hash of the block before, of the first block the chain's identity
An anchor is a line outside the database: a block's number and hash, the seal of the line before, HMAC-SHA-256 of all.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

MARK = 4  # bytes of a leaf that a block remembers
MANY = 200  # so many rows of a block are looked for under another number
MOST = 1000  # findings that are told; all are counted
CHAIN = "trading_chainblock"
BLOCKS = """SELECT number, table_name, first_id, last_id, row_count, encode(root, 'hex'), encode(marks, 'hex'),
    encode(previous, 'hex'), encode(hash, 'hex'), transaction,
    to_char(sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), login
    FROM trading_chainblock ORDER BY number"""
ROWS = """SELECT r.id, rtrim(rtrim(r::text, ')'), ',') FROM "{table}" r ORDER BY r.id"""
SETTINGS = """SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, MDY'; SET LOCAL bytea_output = 'hex';
    SET LOCAL extra_float_digits = 1"""
SEALED = "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'z_chain'"


class Block(NamedTuple):
    """One row of `trading_chainblock`; hashes as bytes, the time as `2026-01-31T12:00:00.000000Z`."""

    number: int
    table: str
    first_id: int
    last_id: int
    row_count: int
    root: bytes
    marks: bytes
    previous: bytes
    hash: bytes
    transaction: int
    sealed_at: str
    login: str

    @classmethod
    def read(cls, fields: Sequence[Any]) -> Block:
        """From the columns of `BLOCKS`."""
        return cls(*(kind(field) for kind, field in zip(_COLUMNS, fields, strict=True)))


_COLUMNS: tuple[Any, ...] = (int, str, int, int, int, *[bytes.fromhex] * 4, int, str, str)
HeadOf = tuple[int, bytes]  # a block's number and hash


class Row(NamedTuple):
    """A row's number and the text that is hashed."""

    id: int
    text: bytes


class Finding(NamedTuple):
    """One thing that is wrong. `row` to `last_row` are the rows of `table` that it is about, as far as can be known."""

    kind: str
    problem: str
    table: str = ""
    row: int | None = None
    last_row: int | None = None
    block: int | None = None

    def __str__(self) -> str:
        block = "" if self.block is None else f"block {self.block}:"
        rows = "" if self.row is None else f"row {self.row}" + f" to {self.last_row}" * (self.last_row != self.row)
        return " ".join(word for word in (block, self.table, rows, self.problem) if word)


def _of_rows(kind: str, block: Block, problem: str) -> Finding:
    return Finding(kind, problem, block.table, block.first_id, block.last_id, block.number)


def sha256(data: bytes) -> bytes:
    """32 bytes."""
    return hashlib.sha256(data).digest()


def block_hash(block: Block) -> bytes:
    """What the block's hash has to be."""
    span = ("block-1", block.number, block.table, block.first_id, block.last_id, block.row_count)
    rest = (block.root.hex(), block.previous.hex(), block.transaction, block.sealed_at, block.login)
    return sha256(":".join(str(part) for part in span + rest).encode())


def explain_link(block: Block, before: HeadOf | None, sealed: int) -> Iterator[Finding]:
    """What is wrong with a block: `before` is the one before it, `sealed` the last row of its table sealed before."""
    expected = before[0] + 1 if before is not None else 1
    if block.number != expected:
        yield Finding("link", f"stands where block {expected} should: blocks are gone", CHAIN, block=block.number)
    elif before is not None and block.previous != before[1]:
        yield Finding("link", f"does not follow block {before[0]}: one was replaced", CHAIN, block=block.number)
    if block_hash(block) != block.hash:
        yield Finding("link", "is not what its hash was made of: it was changed", CHAIN, block=block.number)
    if block.first_id <= sealed:
        yield _of_rows("order", block, "were sealed by an earlier block, or out of their order")
    if not 1 <= block.row_count <= block.last_id - block.first_id + 1:
        yield _of_rows("order", block, f"cannot be the {block.row_count} that the block speaks of")


def explain_head(head: HeadOf, last: HeadOf) -> Iterator[Finding]:
    """Whether the chain ends (number and hash of its `last` block) where its head says."""
    if head[0] != last[0] or (last[0] and head[1] != last[1]):
        ends = f"says {head[0]} {head[1].hex()[:12]}…, the chain ends with block {last[0]} {last[1].hex()[:12]}…: "
        yield Finding("head", ends + "blocks were cut off, or the head was set back", "trading_chainhead")


def explain_rows(block: Block, rows: Sequence[Row]) -> Iterator[Finding]:
    """What is wrong with the rows that stand where the block sealed others; nothing when they are the same."""
    leaves = [sha256(row.text) for row in rows]
    whole = len(rows) == block.row_count and sha256(b"".join(leaves)) == block.root
    marks = [block.marks[at : at + MARK] for at in range(0, len(block.marks), MARK)]
    stands = [each[:MARK] for each in leaves]
    if whole and marks != stands:
        yield _of_rows("marks", block, "are whole, but the block's marks of them were changed")
    elif not whole and (len(marks) != block.row_count or marks == stands):
        yield _of_rows("content", block, "are not what was sealed (the block's marks do not say which)")
    elif not whole:
        differences = _differences(block, marks, rows, stands)
        moved = _moved(rows, differences) if len(differences) <= MANY else {}
        said = [(each, f"now stands as row {moved[each[1]]}" if each[1] in moved else each[0]) for each in differences]
        for (problem, _), run in groupby(enumerate(said), key=lambda one: (one[1][1], one[1][0][1] - one[0])):
            each_of = [difference for _, (difference, _) in run]
            yield Finding("content", problem, block.table, each_of[0][1], each_of[-1][2], block.number)


Difference = tuple[str, int, int, bytes]  # what happened, to which row (or between which), the mark that was sealed
CHANGED, GONE, ADDED = "was changed", "was removed", "was added: no statement inserted it"


def _differences(block: Block, marks: list[bytes], rows: Sequence[Row], stands: list[bytes]) -> list[Difference]:
    """By number where the block's numbers have no gap, else by the longest common runs of marks."""
    if block.last_id - block.first_id + 1 == block.row_count:
        by_id = dict(zip((row.id for row in rows), stands, strict=True))
        numbered = [(number, mark) for number, mark in enumerate(marks, block.first_id) if by_id.get(number) != mark]
        return [(CHANGED if number in by_id else GONE, number, number, mark) for number, mark in numbered]
    found: list[Difference] = []
    for what, a, b, c, d in SequenceMatcher(None, marks, stands, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        both = min(b - a, d - c)
        found += [(CHANGED, rows[c + i].id, rows[c + i].id, marks[a + i]) for i in range(both)]
        found += [(ADDED, row.id, row.id, b"") for row in rows[c + both : d]]
        after = rows[d - 1].id + 1 if d else block.first_id
        until = rows[d].id - 1 if d < len(rows) else block.last_id
        found += [(GONE, min(after, until), until, mark) for mark in marks[a + both : b]]
    return found


def _moved(rows: Sequence[Row], differences: list[Difference]) -> dict[int, int]:
    """Sealed rows that stand under another number of the block: by their old number, the new one."""
    strange = {first for what, first, _, _ in differences if what != GONE}
    return {
        first: row.id
        for _, first, _, mark in differences
        for row in rows
        if row.id in strange and sha256(b"(%d" % first + row.text[len(b"(%d" % row.id) :])[:MARK] == mark
    }


def outside(table: str, ids: Iterable[int]) -> Iterator[Finding]:
    """Rows that no block covers, as runs of consecutive numbers."""
    for _, group in groupby(enumerate(ids), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        yield Finding("coverage", "in no block: written while nothing was sealed", table, run[0], run[-1])


def check_rows(table: str, blocks: Iterable[Block], rows: Iterable[Row]) -> Iterator[Finding]:
    """Compare the rows of one table, in the order of their numbers, with its blocks."""
    waiting = sorted(blocks, key=lambda block: (-block.first_id, -block.number))
    current: list[tuple[Block, list[Row]]] = []  # more than one only where blocks were tampered with
    strange = []
    for row in rows:
        while waiting and waiting[-1].first_id <= row.id:
            current.append((waiting.pop(), []))
        for over in [one for one in current if one[0].last_id < row.id]:
            current.remove(over)
            yield from explain_rows(*over)
        for _, inside in current:
            inside.append(row)
        if not current:
            strange.append(row.id)
    for block, inside in [*current, *((block, []) for block in reversed(waiting))]:
        yield from explain_rows(block, inside)
    yield from outside(table, strange)


class AnchorLine(NamedTuple):
    """One line of an anchors file."""

    chain: str
    number: int
    hash: str
    at: str
    before: str
    seal: str = ""

    def sealed_under(self, key: str) -> AnchorLine:
        """The same with the seal that it has to carry."""
        fields = {name: value for name, value in self._asdict().items() if name != "seal"}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return self._replace(seal=hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest())


def read_anchors(text: str) -> tuple[list[AnchorLine], list[Finding]]:
    """The lines of an anchors file. An unfinished last line (power was cut while it was written) counts as none."""
    lines: list[AnchorLine] = []
    findings = []
    for place, line in enumerate(text.splitlines(keepends=True), start=1):
        try:
            anchor = AnchorLine(**json.loads(line))
            if [type(field) for field in anchor] != [str, int, str, str, str, str]:
                raise TypeError
            lines.append(anchor)
        except (ValueError, TypeError):
            if line.endswith("\n"):
                findings.append(Finding("anchor", f"line {place} of the anchors cannot be read: it was damaged"))
    return lines, findings


def check_anchors(
    anchors: Sequence[AnchorLine], identity: str, head: int, hash_of: Callable[[list[int]], dict[int, str]], key: str
) -> Iterator[Finding]:
    """Whether the file is whole (its seals too, if there is a `key`) and the chain passes through every anchor."""
    for stranger in sorted({anchor.chain for anchor in anchors} - {identity}):
        other = f"the anchors are of chain {stranger[:12]}…, these books are chain {identity[:12]}…: "
        yield Finding("anchor", other + "the file belongs to other books, or the whole chain was made anew")
        return
    before = ""
    for place, anchor in enumerate(anchors, start=1):
        line = f"line {place} of the anchors"
        if anchor.before != before:
            yield Finding("anchor", f"{line} does not follow the one before: lines were removed or changed")
        if key and not hmac.compare_digest(anchor.sealed_under(key).seal, anchor.seal):
            yield Finding("anchor", f"{line} was not sealed under this key: it was changed or forged")
        before = anchor.seal
    known = hash_of([anchor.number for anchor in anchors])
    since = "from its beginning"
    for anchor in sorted(anchors, key=lambda each: each.number):
        if anchor.number > head:
            cut = f"was anchored at {anchor.at}, but the books end at block {head}: "
            yield Finding("anchor", cut + "their end was cut off, or an older copy restored", block=anchor.number)
            return
        if known.get(anchor.number) != anchor.hash:
            other = f"is not the one that was anchored at {anchor.at}: the chain was rewritten {since}"
            yield Finding("anchor", other, block=anchor.number)
            return
        since = f"after block {anchor.number}"


def report(found: list[Finding], chain: str, head: HeadOf, rows: int, anchors: int, key: str) -> dict[str, Any]:
    """What is printed, as one value: the first findings, the number of all, and what was looked at."""
    told = {"ok": not found, "chain": chain, "head": {"number": head[0], "hash": head[1].hex()}, "rows": rows}
    told |= {"anchors": anchors, "seals_checked": bool(key), "count": len(found)}
    return told | {"findings": [finding._asdict() for finding in found[:MOST]]}


def lines(told: dict[str, Any]) -> Iterator[str]:
    """The report for people."""
    yield from (f"✗ {Finding(**finding)}" for finding in told["findings"])
    if told["count"] > MOST:
        yield f"… and {told['count'] - MOST} more"
    if not told["anchors"]:
        yield "There are no anchors: that the whole chain was made anew, or its end cut off, cannot be seen."
    elif not told["seals_checked"]:
        yield "The anchors' seals were not checked: their key was not given. Their hashes were compared."
    verdict = f"{told['count']} findings" if told["count"] else "The books are as they were written"
    size = f"{told['rows']} rows in {told['head']['number']} blocks, {told['anchors']} anchors"
    yield f"{verdict}. Chain {told['chain'][:12]}…, head {told['head']['hash'][:12]}…: {size}."


_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def columns(line: bytes) -> list[bytes]:
    """The columns of a line as PostgreSQL's COPY writes it: tabs between them, control characters after a backslash."""
    parts = bytes(line).rstrip(b"\n").split(b"\t")
    return [re.sub(rb"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), part) for part in parts]


class Source:
    """Where the books are read from: an opened bundle, or a cursor of a database."""

    def __init__(self, folder: Path | None, cursor: Any = None) -> None:
        self.folder, self.cursor, self.files, self.read = folder, cursor, dict[str, str](), 0
        if folder is not None:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            self.tables, self.files = set(manifest["tables"]), manifest["files"]
            self.head: HeadOf = manifest["head"]["number"], bytes.fromhex(manifest["head"]["hash"])
        else:
            self.tables = {name for (name,) in cursor.execute(SEALED).fetchall()}
            self.head = cursor.execute("SELECT number, hash FROM trading_chainhead").fetchone() or (0, b"")

    def _copied(self, name: str, query: str) -> Iterator[list[bytes]]:
        if self.folder is not None:
            with (self.folder / f"{name}.tsv").open("rb") as file:
                yield from map(columns, file)
        else:
            with self.cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
                yield from map(columns, copy)

    def blocks(self) -> Iterator[Block]:
        """All blocks in the order of their numbers."""
        return (Block.read([part.decode() for part in line]) for line in self._copied("blocks", BLOCKS))

    def rows(self, table: str) -> Iterator[Row]:
        """All rows of a table in the order of their numbers."""
        for number, text in self._copied(table, ROWS.format(table=table)):
            self.read += 1
            yield Row(int(number), text)


def verify(source: Source, anchors: str, key: str) -> dict[str, Any]:
    """Everything, in one walk over blocks and rows."""
    found, blocks, before = list[Finding](), list(source.blocks()), None
    by_table: dict[str, list[Block]] = {table: [] for table in source.tables}
    sealed: dict[str, int] = {}
    for name, wanted in source.files.items():
        with (source.folder or Path()).joinpath(name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                found.append(Finding("bundle", f"{name} is not the file that was exported"))
    for block in blocks:
        found += explain_link(block, before, sealed.get(block.table, 0))
        before, sealed[block.table] = (block.number, block.hash), max(block.last_id, sealed.get(block.table, 0))
        by_table.setdefault(block.table, []).append(block)
    found += explain_head(source.head, before or (0, b""))
    for table, of_table in sorted(by_table.items()):
        if table in source.tables:
            found += check_rows(table, of_table, source.rows(table))
        else:
            found.append(Finding("coverage", "is missing, but blocks seal rows of it", table))
    chain = (blocks[0].previous if blocks else source.head[1]).hex()
    anchored, unreadable = read_anchors(anchors)
    hashes = {block.number: block.hash.hex() for block in blocks}
    found += [*unreadable, *check_anchors(anchored, chain, max(hashes, default=0), lambda _: hashes, key)]
    return report(found, chain, source.head, source.read, len(anchored), key)


def main() -> int:
    """Read, verify, say; the exit code."""
    parser = argparse.ArgumentParser(description="Prove the books of an exported bundle, or of a database.")
    parser.add_argument("books", help="directory, .zip or .tar.gz made by export_chain; or postgresql://…")
    parser.add_argument("--anchor", type=Path, help="the anchors, kept elsewhere (else those of the bundle)")
    parser.add_argument("--key-file", type=Path, help="the anchors' key: a file with it alone, or secrets.json")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    asked = parser.parse_args()
    key = asked.key_file.read_text(encoding="utf-8").strip() if asked.key_file else ""
    key = json.loads(key)["anchor_key"] if key.startswith("{") else key
    text = asked.anchor.read_text(encoding="utf-8") if asked.anchor else ""
    with ExitStack() as opened:
        if asked.books.startswith(("postgres://", "postgresql://")):
            import psycopg

            connection = opened.enter_context(psycopg.connect(asked.books, client_encoding="utf8"))
            connection.execute(f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; {SETTINGS}")
            source = Source(None, connection.cursor())
        else:
            folder = Path(asked.books)
            if not folder.is_dir():
                folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
                parts: Any = [] if asked.books.endswith(".zip") else opened.enter_context(tarfile.open(asked.books))
                if any("/" in part.name or not part.isfile() for part in parts):
                    sys.exit("The archive holds more than the files of a bundle. Nothing of it was unpacked.")
                shutil.unpack_archive(asked.books, folder)
            source, own = Source(folder), folder / "anchors.jsonl"
            text = own.read_text(encoding="utf-8") if own.exists() and not asked.anchor else text
        told = verify(source, text, key)
    print(json.dumps(told, indent=1) if asked.json else "\n".join(lines(told)))
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
