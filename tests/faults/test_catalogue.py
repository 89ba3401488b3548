"""Every fault of the catalogue has a test at every broker at which it can happen."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fault_table import BEGIN, END, section
from tests.faults.catalogue import BROKERS, NOT_APPLICABLE, OPEN, ROWS, applicable
from tests.faults.marks import Shown, shown

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


@pytest.fixture(scope="module")
def found() -> list[Shown]:
    """What the markers say, read once."""
    return shown()


@pytest.mark.parametrize("row", ROWS)
def test_a_fault_is_shown_at_each_broker_at_which_it_can_happen(row: str, found: list[Shown]) -> None:
    brokers = {one.broker for one in found if one.row == row}
    assert set(applicable(row)) <= brokers, f"{ROWS[row]}: no test at {sorted(set(applicable(row)) - brokers)}"


def test_markers_name_rows_that_there_are_and_excuses_have_reasons(found: list[Shown]) -> None:
    assert {one.row for one in found} <= set(ROWS)
    assert {row for row, _ in NOT_APPLICABLE} | set(OPEN) <= set(ROWS)
    assert all([*NOT_APPLICABLE.values(), *OPEN.values()])
    assert not {one.row for one in found} & set(OPEN), "what is shown is not open"


def test_a_marker_without_a_broker_is_refused_where_the_test_has_only_one(tmp_path: Path) -> None:
    body = '@pytest.mark.fault("F-001")\ndef test_it(world: object) -> None: ...\n'
    (tmp_path / "test_one.py").write_text(body)
    with pytest.raises(ValueError, match="names no broker"):
        shown(tmp_path)
    (tmp_path / "test_one.py").write_text(body.replace("world", "any_world"))
    assert {one.broker for one in shown(tmp_path)} == set(BROKERS)


def test_the_written_table_is_the_one_of_the_markers() -> None:
    written = DOCUMENT.read_text(encoding="utf-8")
    assert written[written.index(BEGIN) : written.index(END) + len(END)] == section()
