"""A bundle for auditors: every sealed row as it was hashed, all blocks, the anchors, and the program that proves them.

What always holds here: the rows are those of one moment; a bundle appears whole or not at all, readable by its owner
only, and never in place of something else; its making is in the audit trail before it can be read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from trading.auditor import verify_books
from trading.clock import wall_now
from trading.domain.canonical import utc_text
from trading.selectors import chain
from trading.services import audit
from trading.services.audit import Actor

from .anchoring import anchors_file
from .checking import anchor_lines

FORMAT, MANIFEST = "books-1", "manifest.json"
ARCHIVES = (".zip", ".tar.gz", ".tgz")
STEP = 20_000  # lines between two words about progress


class BundleRefused(Exception):
    """No bundle was made. The text says why."""


def export_bundle(target: Path, *, actor: Actor, progress: chain.Progress | None = None) -> dict[str, Any]:
    """Write the bundle: a directory, or an archive by its ending (.zip, .tar.gz, .tgz); returns its manifest.

    Raises BundleRefused when the target is taken, and OSError when it cannot be written.
    """
    if target.exists():
        raise BundleRefused(f"{target} is there already; nothing was written. Name a new file or directory.")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as made:
        folder = Path(made) / "bundle"
        folder.mkdir(mode=0o700)
        manifest = _write(folder, progress or (lambda *_: None))
        sha256 = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
        packed = _packed(folder, target.name)
        rows = sum(int(table["rows"]) for table in manifest["tables"].values())
        told = {"format": FORMAT, "file": target.name, "rows": rows, "sha256": sha256}
        with transaction.atomic():
            audit.record(kind="books.exported", actor=actor, after=told)
        packed.rename(target)
    return manifest


def _write(folder: Path, progress: chain.Progress) -> dict[str, Any]:
    """Every file of the bundle, the manifest last."""
    lines = anchor_lines(anchors_file())  # before the moment is fixed: each is then of a block that is exported
    files: dict[str, str] = {}
    tables: dict[str, Any] = {}
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(f"{verify_books.SETTINGS}; {chain.PATIENCE}")
        head, identity = chain.head(cursor), chain.identity(cursor)
        files["blocks.tsv"], _ = _copied(
            cursor, verify_books.BLOCKS, folder / "blocks.tsv", lambda done: progress("blocks", done, head[0])
        )
        for table in chain.tables():
            cursor.execute(
                "SELECT coalesce(array_agg(attname::text ORDER BY attnum), '{}'), (SELECT coalesce(sum(row_count), 0) "
                "FROM trading_chainblock WHERE table_name = %s) FROM pg_attribute "
                "WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped",
                [table, table],
            )
            columns, expected = cursor.fetchone()
            name = f"{table}.tsv"
            files[name], rows = _copied(
                cursor,
                verify_books.ROWS.format(table=table),
                folder / name,
                lambda done, table=table, expected=expected: progress(table, done, expected),  # type: ignore[misc]
            )
            tables[table] = {"columns": columns, "rows": rows}
    if lines:
        files["anchors.jsonl"] = _written(folder / "anchors.jsonl", "".join(lines).encode())
    program = Path(verify_books.__file__)
    files[program.name] = _written(folder / program.name, program.read_bytes())
    manifest = {
        "format": FORMAT,
        "made_at": utc_text(wall_now()),
        "chain": identity,
        "head": {"number": head[0], "hash": head[1].hex()},
        "tables": tables,
        "files": files,
    }
    _written(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    return manifest


def _copied(cursor: Any, query: str, path: Path, progress: Callable[[int], None]) -> tuple[str, int]:
    """Stream a query's rows into a file; its sha256 and the number of lines."""
    digest, done = hashlib.sha256(), 0
    with open(path, "xb", opener=_private) as file, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        for line in copy:
            file.write(line)
            digest.update(line)
            done += 1
            if done % STEP == 0:
                progress(done)
    progress(done)
    return digest.hexdigest(), done


def _written(path: Path, content: bytes) -> str:
    with open(path, "xb", opener=_private) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _packed(folder: Path, name: str) -> Path:
    """The bundle as its name wants it: an archive beside the folder, or the folder itself."""
    if not name.endswith(ARCHIVES):
        return folder
    packed = folder.parent / "packed"
    packed.touch(mode=0o600)
    if name.endswith(".zip"):
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)
    else:
        with tarfile.open(packed, "w:gz", compresslevel=6) as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name)
    shutil.rmtree(folder)
    return packed
