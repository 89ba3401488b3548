"""Every invariant catches what breaks it: a violation is planted with the superuser's hands, and undone again."""

from __future__ import annotations

import pytest

from backoffice.verification import INVARIANTS, Report, Result, lines

from .conftest import BY_ID, Laboratory
from .plants_cash import CASH, FUNCTIONS
from .plants_chain import CHAIN
from .plants_people import DATABASE, PEOPLE
from .plants_trading import BOOKS, ORDERS, RAISED

ROWS = (ORDERS, BOOKS, CASH, PEOPLE, CHAIN)
SCHEMA = (DATABASE, FUNCTIONS)


def _cases(*several: dict[str, dict[str, str]]) -> list[object]:
    return [
        pytest.param(number, sql, id=f"{number}-{what.replace(' ', '-')}")
        for plants in several
        for number, ways in plants.items()
        for what, sql in ways.items()
    ]


def _assert_told(result: Result) -> None:
    assert result.count, f"{result.invariant.id} did not see it"
    assert all(row.object and row.id and row.problem for row in result.rows), result.rows
    told = "\n".join(lines(Report((result,), {})))
    assert result.rows[0].problem in told and result.invariant.means in told and result.invariant.todo in told


@pytest.mark.parametrize(("number", "sql"), _cases(*ROWS))
def test_a_planted_row_is_caught(laboratory: Laboratory, number: str, sql: str) -> None:
    _assert_told(laboratory.plant(number, sql))


@pytest.mark.parametrize(("number", "sql"), _cases(*SCHEMA))
def test_a_planted_hole_in_the_database_is_caught(laboratory: Laboratory, number: str, sql: str) -> None:
    _assert_told(laboratory.alter(number, sql))


@pytest.mark.parametrize(("number", "sql"), _cases(RAISED))
def test_what_was_raised_as_it_must_be_is_no_breach(laboratory: Laboratory, number: str, sql: str) -> None:
    assert not laboratory.plant(number, sql).rows


def test_an_experiment_leaves_nothing_behind(laboratory: Laboratory) -> None:
    for invariant in INVARIANTS:
        assert not laboratory.alter(invariant.id, "SELECT 1").count, invariant.id


def test_no_invariant_lacks_a_planted_violation() -> None:
    planted = {number for plants in (*ROWS, *SCHEMA) for number, ways in plants.items() if ways}
    assert planted == {invariant.id for invariant in INVARIANTS}
    assert len(INVARIANTS) == len(BY_ID) >= 18
