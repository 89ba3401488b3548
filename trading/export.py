"""The books as files for others.

What always holds: a file is written beside its place and moved there when it is whole; that it was made stands in the
audit trail.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from trading.domain import beancount
from trading.models import Account
from trading.selectors.journal import journal
from trading.services import audit
from trading.services.audit import Actor


@dataclass(frozen=True, slots=True)
class Exported:
    """What a file holds: entries of the year, closing balances, and the last entry that was there to be read."""

    entries: int
    balances: int
    cut: int


def export_beancount(*, year: int, to: Path, account: Account | None = None, actor: Actor) -> Exported:
    """Write a year of one account's books, or of all, as a beancount file. Raises OSError when it cannot be written."""
    book, entries = journal(year, account), 0
    handle, name = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for line in beancount.lines(book):
                entries += line.startswith("  entry: ")
                file.write(line + "\n")
        draft.replace(to)
    finally:
        draft.unlink(missing_ok=True)
    done = Exported(entries, len(book.closing), book.cut)
    audit.record(
        kind="books.exported",
        actor=actor,
        account=account,
        after={"format": "beancount", "year": year, "entries": done.entries, "cut": done.cut, "file": to.name},
    )
    return done
