"""Progress on standard error, where a person looks on; standard output stays what a program can read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

COLUMNS = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))


@contextmanager
def row_bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar that is called with a part's name, how much of it is done, and of how much; gone when all is done."""
    notes = Console(stderr=True)
    with Progress(*COLUMNS, TimeElapsedColumn(), console=notes, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)

        def progress(part: str, done: int, total: int) -> None:
            bar.update(task, description=f"{what} {part}", completed=done, total=total)

        yield progress
