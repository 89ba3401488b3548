"""Every scenario of the catalogue is shown by a test, or is open for a reason that is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scenario_table import DOCUMENT, document
from tests.scenarios import GROUPS, IN_PART, OPEN, SCENARIOS, Shown, shown


@pytest.fixture(scope="module")
def found() -> list[Shown]:
    """What the markers say, read once."""
    return shown()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_is_shown_or_open_and_never_both(scenario: str, found: list[Shown]) -> None:
    is_shown = any(one.scenario == scenario for one in found)
    assert is_shown != (scenario in OPEN), f"{scenario}: {SCENARIOS[scenario]}"


def test_there_are_fifty_six_and_each_stands_in_one_group() -> None:
    assert len(SCENARIOS) == sum(len(group) for group in GROUPS.values()) == 56


def test_markers_and_reasons_name_scenarios_that_there_are(found: list[Shown]) -> None:
    assert {one.scenario for one in found} | set(OPEN) | set(IN_PART) <= set(SCENARIOS)
    assert not set(OPEN) & set(IN_PART) and all([*OPEN.values(), *IN_PART.values()])


def test_a_marker_is_read_beside_others(tmp_path: Path) -> None:
    marks = '@pytest.mark.fault("F-001")\n@pytest.mark.scenario("S-01", "S-12")\n@pytest.mark.scenario("S-02")\n'
    (tmp_path / "test_one.py").write_text(f"{marks}def test_it(): ...\ndef test_other(): ...\n")
    assert [one.scenario for one in shown(tmp_path)] == ["S-01", "S-12", "S-02"]


def test_the_written_page_is_the_one_of_the_markers() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document()
