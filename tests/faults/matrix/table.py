"""The table of the crash matrix, written into a document between its two markers.

What always holds here: nothing outside the markers is touched; a cell is shown as right only when it ran and nothing
was wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.faults.matrix.cells import KINDS, MODES, POINTS, Cell

BEGIN, END = "<!-- crash matrix: begin -->", "<!-- crash matrix: end -->"
PROSE = """## Processes struck in the midst of work

Every cell is an order on an account of its own, at a simulator of its own, worked on by real Celery workers over real
PostgreSQL and Redis. The process at work is struck once: by `kill -9` (k), by SIGSTOP for three leases and then SIGCONT
(s), or by an exception (r); others go on. Right means, by the simulator's journal: every order of the broker's is one
order of ours and was asked for once, every fill is in the books once, every order is in its right end state, cash and
positions are equal to the last digit, `verify` is clean, and a process that was frozen changes none of that once it
wakes. `oco` is a bracket whose target is reached while its exit, or its sibling's cancel, is handled. A letter is a
cell that was right, a bold one with `!` one that was not, `–` one that did not run.
"""
SHORT = {"kill": "k", "stop": "s", "raise": "r"}


def write_table(document: Path, results: Sequence[dict[str, Any]], seed: int, at: datetime) -> None:
    """Write the table of these results into the document, which is made when it is not there."""
    text = document.read_text(encoding="utf-8") if document.exists() else "# Reliability\n"
    if BEGIN not in text or END not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    document.write_text(f"{before}{BEGIN}\n{table(results, seed, at)}\n{END}{after}", encoding="utf-8")


def table(results: Sequence[dict[str, Any]], seed: int, at: datetime) -> str:
    """One row a point, one column a broker and kind of work; a letter for each way of striking that was right."""
    wrong = {Cell(**each["cell"]): bool(each["problems"]) for each in results}
    brokers = sorted({cell.broker for cell in wrong})
    right = sum(not each for each in wrong.values())
    columns = [(broker, kind) for broker in brokers for kind in KINDS]
    lines = [
        PROSE,
        f"`make crash-matrix` on {at:%Y-%m-%d %H:%M} UTC, seed {seed}: {right} of {len(wrong)} cells right.",
        "",
        "| struck at | " + " | ".join(f"{broker} {kind}" for broker, kind in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for point in POINTS:
        shown = [_shown([(mode, wrong.get(Cell(b, kind, mode, point))) for mode in MODES]) for b, kind in columns]
        lines.append(f"| `{point}` | " + " | ".join(shown) + " |")
    lines += ["", "What each point is:", "", *(f"- `{point}`: {meaning}" for point, meaning in POINTS.items())]
    return "\n".join(lines)


def _shown(modes: Sequence[tuple[str, bool | None]]) -> str:
    """`k s r` when a kill, a stop and an exception were right; a wrong one in bold with a mark, `–` for one not run."""
    return " ".join("–" if wrong is None else f"**{SHORT[m]}!**" if wrong else SHORT[m] for m, wrong in modes)
