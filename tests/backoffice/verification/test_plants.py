"""Every invariant catches what breaks it: a violation is planted with the superuser's hands in a copy of the world."""

from __future__ import annotations

import psycopg
import pytest

from backoffice.verification import INVARIANTS, Result, lines, run_all
from backoffice.verification.check import Report

from .conftest import Clone
from .plants_people import DATABASE, PEOPLE
from .plants_trading import BOOKS, ORDERS

ROWS = {**ORDERS, **BOOKS, **PEOPLE}
BY_ID = {invariant.id: invariant for invariant in INVARIANTS}


def _cases(plants: dict[str, dict[str, str]]) -> list[object]:
    return [
        pytest.param(number, sql, id=f"{number}-{what.replace(' ', '-')}")
        for number, ways in plants.items()
        for what, sql in ways.items()
    ]


def _result(number: str) -> tuple[Report, Result]:
    report = run_all(invariants=[BY_ID[number]])
    return report, report.results[0]


@pytest.mark.parametrize(("number", "sql"), _cases(ROWS))
def test_a_planted_row_is_caught(clone: Clone, number: str, sql: str) -> None:
    clone.plant(sql)
    report, result = _result(number)
    assert result.count, f"{number} did not see it"
    assert all(row.object != "check" and row.id and row.problem for row in result.rows), result.rows
    assert "Means: " in "\n".join(lines(report))


@pytest.mark.parametrize(("number", "sql"), _cases(DATABASE))
def test_a_planted_hole_in_the_database_is_caught(clone: Clone, number: str, sql: str) -> None:
    with psycopg.connect(clone.superuser_url) as connection:
        key = connection.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'trading_fill'::regclass AND contype = 'f' ORDER BY 1"
        ).fetchone()
    assert key is not None
    clone.alter(sql.replace("{key}", key[0]))
    _, result = _result(number)
    assert result.count, f"{number} did not see it"
    assert all(row.object != "check" and row.id and row.problem for row in result.rows), result.rows


@pytest.mark.parametrize(
    ("grant", "revoke"),
    [
        ("GRANT backoffice_owner TO backoffice_app", "REVOKE backoffice_owner FROM backoffice_app"),
        ("GRANT backoffice_app TO backoffice_owner", "REVOKE backoffice_app FROM backoffice_owner"),
        ("ALTER ROLE backoffice_app SUPERUSER", "ALTER ROLE backoffice_app NOSUPERUSER"),
        ("ALTER ROLE backoffice_app CREATEROLE", "ALTER ROLE backoffice_app NOCREATEROLE"),
    ],
)
def test_a_login_that_can_become_the_owner_is_caught(clone: Clone, grant: str, revoke: str) -> None:
    clone.alter(grant)
    try:
        assert _result("I-56")[1].count
    finally:
        clone.alter(revoke)
    assert not _result("I-56")[1].count


def test_no_invariant_lacks_a_planted_violation() -> None:
    planted = {number for number, ways in {**ROWS, **DATABASE}.items() if ways}
    assert planted == {invariant.id for invariant in INVARIANTS}
    assert len(INVARIANTS) == len(BY_ID) >= 18
