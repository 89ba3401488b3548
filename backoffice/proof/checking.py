"""The whole proof, as one report: the chain in the database, and the anchors outside of it.

What always holds here: it reads under the application login, in one read-only transaction at one moment, so that it
may run beside everything that writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from trading.auditor.verify_books import Finding, check_anchors, read_anchors, report
from trading.engine.anchors import sink_of
from trading.models import Anchor
from trading.selectors import chain

from .anchoring import anchor_key, anchors_file


def prove(*, anchors: Path | None = None, progress: chain.Progress | None = None) -> dict[str, Any]:
    """Everything that is wrong with chain and anchors; `anchors` names another file than this installation's own.

    Raises OSError when a file cannot be read, and RuntimeError inside another transaction.
    """
    file = anchors or anchors_file()
    key = anchor_key()
    # Read before the moment is fixed: every line was then written of a block that the database has.
    lines, found = read_anchors("".join(anchor_lines(file, must_exist=anchors is not None)))
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        head, identity = chain.head(cursor), chain.identity(cursor)
        found = [*chain.findings(cursor, progress), *found]
        cursor.execute("SELECT coalesce(max(number), 0) FROM trading_chainblock")
        last = int(cursor.fetchone()[0])
        found += check_anchors(lines, identity, last, lambda numbers: chain.hashes(cursor, numbers), key)
        if anchors is None:  # of a copy nobody can say that it should not end where it ends
            found += _lost(file)
        return report(found, identity, head, chain.rows(cursor), len(lines), key)


def anchor_lines(file: Path, *, must_exist: bool = False) -> list[str]:
    """The lines of an anchors file as they stand there; none without a file, unless it must exist. Raises OSError."""
    if not must_exist and not file.exists():
        return []
    return file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)


def _lost(file: Path) -> Iterator[Finding]:
    """Anchors that the books say were written into this file and that are not in it (read after that moment)."""
    seals = {line.seal for line in read_anchors("".join(anchor_lines(file)))[0]}
    rows = Anchor.objects.filter(sink=sink_of(file)[:200]).order_by("id").values_list("id", "number", "seal")
    lost = [(row, number) for row, number, seal in rows if seal not in seals]
    if lost:
        more = f", and {len(lost) - 1} later ones," if len(lost) > 1 else ""
        said = f"{more} is not in {file} any more: the file was cut short, replaced or lost".removeprefix(", ")
        yield Finding("anchor", said, Anchor._meta.db_table, lost[0][0], lost[0][0], lost[0][1])
