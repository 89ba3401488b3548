"""The table of the crash matrix in its document: what a run of some cells changes there, and what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.matrix.cells import BROKERS, Cell, all_cells
from tests.faults.matrix.table import Table, read

MONDAY, TUESDAY = datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 6, 9, tzinfo=UTC)
WRONG = Cell("alpaca", "exit", "raise", "stored")


def results(cells: Sequence[Cell], wrong: Sequence[Cell] = ()) -> list[dict[str, Any]]:
    rows = [
        (cell, {"broker": cell.broker, "kind": cell.kind, "mode": cell.mode, "point": cell.point}) for cell in cells
    ]
    return [{"cell": row, "problems": ["twice there"] if cell in wrong else []} for cell, row in rows]


def document(tmp_path: Path) -> Path:
    path = tmp_path / "reliability.md"
    path.write_text("# Reliability\n\nWhat stands before.\n", encoding="utf-8")
    return path


def test_a_run_of_some_cells_leaves_what_was_written_of_the_others(tmp_path: Path) -> None:
    path, older = document(tmp_path), all_cells(("oanda", "alpaca"))
    Table(path, 1, MONDAY).write(results(older, [WRONG]))
    run = Table(path, 2, TUESDAY)
    run.write(results([WRONG]))
    run.write(results([WRONG, Cell("kite", "oco", "stop", "booked")]))
    told = path.read_text(encoding="utf-8")
    assert read(told) == dict.fromkeys((*older, Cell("kite", "oco", "stop", "booked")), True)
    assert "on 2026-01-05 09:00 UTC, seed 1: 335 of 336 cells right" in told
    assert told.count("on 2026-01-06 09:00 UTC, seed 2:") == 1 and "seed 2: 2 of 2 cells right" in told
    assert told.startswith("# Reliability\n\nWhat stands before.\n")


def test_a_run_of_all_cells_is_the_only_one_that_is_named(tmp_path: Path) -> None:
    path = document(tmp_path)
    Table(path, 1, MONDAY).write(results(all_cells(BROKERS[:1])))
    Table(path, 2, TUESDAY).write(results(all_cells(), [WRONG]))
    told = path.read_text(encoding="utf-8")
    assert "seed 1:" not in told and "seed 2: 503 of 504 cells right" in told
    assert [cell for cell, right in read(told).items() if not right] == [WRONG]
