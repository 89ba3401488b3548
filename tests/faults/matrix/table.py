"""The table of the crash matrix, written into a document between its two markers.

What always holds here: nothing outside the markers is touched; a cell is shown as right only when it ran and nothing
was wrong with it; a run of some cells leaves what earlier runs wrote of the others, with the lines that say when those
were.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.faults.matrix.cells import KINDS, MODES, POINTS, Cell, all_cells

BEGIN, END = "<!-- crash matrix: begin -->", "<!-- crash matrix: end -->"
PROSE = """## Processes struck in the midst of work

Every cell is an order on an account of its own, at a simulator of its own, worked on by real Celery workers over real
PostgreSQL and Redis. The process at work is struck once: by `kill -9` (k), by SIGSTOP for three leases or more and then
SIGCONT (s), or by an exception (r); others go on. Right means, by the simulator's journal: every order of the broker's
is one order of ours and was asked for once, every fill is in the books once, every order is in its right end state,
cash and positions are equal to the last digit, `verify` is clean, and a process that was frozen changes none of that
once it wakes. `oco` is a bracket one leg of which is reached while its exit, or its sibling's cancel, is handled. At
Kite, where nothing would recognise a copy, an order that may never have arrived is not sent again: it is UNKNOWN,
people are told, and two of them end it; that is right there. A letter is a cell that was right, a bold one with `!` one
that was not, `–` one that did not run. What a later run did not run again stands from an earlier one.
"""
SHORT = {"kill": "k", "stop": "s", "raise": "r"}
NOT_RUN = "–"
RUN = "- `make crash-matrix`"


class Table:
    """One run's part of a document: what stood there when the run began, and what the run has found so far."""

    def __init__(self, document: Path, seed: int, at: datetime) -> None:
        self._document, self._seed, self._at = document, seed, at
        self._lock = threading.Lock()
        text = document.read_text(encoding="utf-8") if document.exists() else "# Reliability\n"
        if BEGIN not in text or END not in text:
            text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
        self._before, _, rest = text.partition(BEGIN)
        inside, _, self._after = rest.partition(END)
        self.known = read(inside)
        self._runs = [line for line in inside.splitlines() if line.startswith(RUN)]

    def write(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Write what is known now, with these results of the run in the place of older ones. Safe in threads."""
        found = {Cell(**each["cell"]): not each["problems"] for each in results}
        right = sum(found.values())
        mine = f"{RUN} on {self._at:%Y-%m-%d %H:%M} UTC, seed {self._seed}: {right} of {len(found)} cells right"
        runs = [] if set(all_cells()) <= set(found) else self._runs
        inside = table({**self.known, **found}, [*runs, mine])
        with self._lock:
            self._document.write_text(f"{self._before}{BEGIN}\n{inside}\n{END}{self._after}", encoding="utf-8")


def table(cells: Mapping[Cell, bool], runs: Sequence[str]) -> str:
    """One row a point, one column a broker and kind of work; a letter for each way of striking that was right."""
    columns = [(broker, kind) for broker in sorted({cell.broker for cell in cells}) for kind in KINDS]
    right = sum(cells.values())
    lines = [
        PROSE,
        f"Of {len(all_cells())} cells {len(cells)} have run, and {right} were right when they last ran. The runs:",
        "",
        *runs,
        "",
        "| struck at | " + " | ".join(f"{broker} {kind}" for broker, kind in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for point in POINTS:
        shown = [_shown([(mode, cells.get(Cell(b, kind, mode, point))) for mode in MODES]) for b, kind in columns]
        lines.append(f"| `{point}` | " + " | ".join(shown) + " |")
    lines += ["", "What each point is:", "", *(f"- `{point}`: {meaning}" for point, meaning in POINTS.items())]
    return "\n".join(lines)


def read(text: str) -> dict[Cell, bool]:
    """The cells that a table shows, and whether each was right; none for a text without one."""
    columns: list[list[str]] = []
    found: dict[Cell, bool] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.strip().strip("|").split("|")]
        if parts[0] == "struck at":
            columns = [part.split() for part in parts[1:]]
        point = re.fullmatch(r"`(\w+)`", parts[0])
        if point is None or point[1] not in POINTS or len(parts) != len(columns) + 1:
            continue
        for (broker, kind), letters in zip(columns, parts[1:], strict=True):
            for mode, letter in zip(MODES, letters.split(), strict=True):
                if letter != NOT_RUN:
                    found[Cell(broker, kind, mode, point[1])] = letter == SHORT[mode]
    return found


def _shown(modes: Sequence[tuple[str, bool | None]]) -> str:
    """`k s r` when a kill, a stop and an exception were right; a wrong one in bold with a mark, `–` for one not run."""
    return " ".join(NOT_RUN if right is None else SHORT[m] if right else f"**{SHORT[m]}!**" for m, right in modes)
