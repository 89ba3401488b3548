"""The same file for other days, an import that is broken off, and what others can do while a long one is at work."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from backoffice.verification.audit import _bare
from reconciliation.engine import statements
from reconciliation.engine.statements import import_file, look_again, run_statement
from reconciliation.models import Discrepancy, Run, Statement, StatementLine
from reconciliation.services import statements as storing
from reconciliation.statements.compare import compare
from reconciliation.statements.document import BadStatement
from tests.reconciliation.conftest import TEST, Desk
from tests.reconciliation.statements.files import oanda_json, save
from trading.clock import now, store_broker_clock
from trading.locks import ACCOUNT_CLASS
from trading.models import AuditEvent


@pytest.fixture
def paid(desk: Desk, tmp_path: Path) -> Path:
    """Five movements of today's, in the books and in the broker's file."""
    for amount in ("250", "10", "20", "30"):
        desk.external("transfer", amount=amount)
    desk.reconcile()
    return save(tmp_path / "a.json", oanda_json(desk.simulator))


def a_day_later(desk: Desk) -> None:
    """The account's clock, set forward."""
    store_broker_clock(account=desk.account, broker_at=now(desk.account) + timedelta(days=1), speed=Decimal(1))


def test_the_file_of_a_day_that_was_not_over_is_imported_again_when_it_is(desk: Desk, paid: Path) -> None:
    days = (str(now(desk.account).date()),) * 2
    noon = import_file(account=desk.account, path=paid, actor=TEST, days=days).imported
    assert not import_file(account=desk.account, path=paid, actor=TEST, days=days).imported.is_new, (
        "nothing has changed"
    )
    a_day_later(desk)
    evening = import_file(account=desk.account, path=paid, actor=TEST, days=days).imported
    assert (evening.is_new, evening.statement.replaces) == (True, noon.statement)
    assert evening.statement.covers_until > noon.statement.covers_until
    again = [
        import_file(account=desk.account, path=paid, actor=TEST, days=named).imported for named in (days, ("", ""))
    ]
    assert [(each.is_new, each.statement.pk) for each in again] == [(False, evening.statement.pk)] * 2
    assert Statement.objects.count() == 2 and not Discrepancy.objects.filter(state__in=Discrepancy.LIVE).exists()


def test_a_file_under_wrong_days_gives_way_to_itself_under_the_right_ones(desk: Desk, paid: Path) -> None:
    day = now(desk.account).date()
    early = (str(day - timedelta(days=9)), str(day - timedelta(days=9)))
    with pytest.raises(BadStatement, match="is outside of the days"):
        import_file(account=desk.account, path=paid, actor=TEST, days=early)
    wrong = import_file(account=desk.account, path=paid, actor=TEST, days=(early[0], str(day))).imported
    right = import_file(account=desk.account, path=paid, actor=TEST, days=(str(day), str(day))).imported
    assert (right.is_new, right.statement.replaces) == (True, wrong.statement)
    assert right.statement.first_day == day and run_statement(wrong.statement).ok
    assert Run.objects.latest("id").statement == right.statement, "the one that stands is compared"
    assert not import_file(account=desk.account, path=paid, actor=TEST).imported.is_new


def test_files_without_a_line_are_alike_and_yet_of_their_own_days(desk: Desk, tmp_path: Path) -> None:
    path = save(tmp_path / "none.csv", "id,time,type,accountID,accountBalance,instrument,units,price,pl,amount\n")
    made = [
        import_file(account=desk.account, path=path, actor=TEST, days=(day, day)).imported
        for day in ("2024-01-02", "2024-01-03", "2024-01-02")
    ]
    assert [each.is_new for each in made] == [True, True, False]
    assert made[2].statement == made[0].statement
    assert not Statement.objects.exclude(replaces=None).exists(), "both stand"


def test_lines_that_are_older_than_batches_are_read_as_before(desk: Desk, paid: Path) -> None:
    row = import_file(account=desk.account, path=paid, actor=TEST).imported.statement
    lines = list(row.lines)
    row.pk, row.batch, row.sha256 = None, None, "0" * 64  # as it was stored once, with keys in place of the batch
    row.save(force_insert=True)
    for line in lines:
        line.pk, line.batch, line.statement = None, None, row
    StatementLine.objects.bulk_create(lines)
    found = run_statement(row).findings
    assert found is not None and (found.findings, found.linked) == ((), 5)


class Killed(BaseException):
    """The process has ended."""


def test_an_import_that_is_broken_off_leaves_nothing_that_counts_and_can_be_made_again(
    desk: Desk, paid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "BATCH", 2)

    def killed(what: str, done: int, total: int) -> None:
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        import_file(account=desk.account, path=paid, actor=TEST, progress=killed)
    assert StatementLine.objects.count() == 4 and not Statement.objects.exists()
    assert not Run.objects.filter(trigger="STATEMENT").exists() and look_again(desk.account) == []
    assert AuditEvent.objects.filter(kind="statement.lines_stored").count() == 2
    outcome = import_file(account=desk.account, path=paid, actor=TEST)
    assert outcome.imported.is_new and outcome.imported.statement.line_count == 5
    assert outcome.imported.statement.lines.count() == 5
    assert outcome.result.findings is not None
    assert (outcome.result.findings.findings, outcome.result.findings.linked) == ((), 5)
    with connection.cursor() as cursor:
        assert list(_bare(cursor)) == [], "every line was stored with an event"


def held(desk: Desk) -> list[str]:
    """Which of the account's lock and the append lock somebody else would wait for."""
    other = connection.copy()
    found = []
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [ACCOUNT_CLASS, desk.account.pk])
            if not cursor.fetchone()[0]:
                found.append("account")
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE relation = 'trading_chainhead'::regclass AND mode = 'RowShareLock'"
            )
            if cursor.fetchone()[0]:
                found.append("append")
    finally:
        other.close()
    return found


def test_nobody_waits_while_lines_are_stored_and_while_sides_are_compared(
    desk: Desk, paid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "BATCH", 2)
    seen: list[tuple[str, list[str]]] = []

    def compared(*sides: Any, **more: Any) -> Any:
        seen.append(("compare", held(desk)))
        return compare(*sides, **more)

    def recording(**of: Any) -> Any:
        made = storing.record_statement_run(**of)
        seen.append(("record", held(desk)))
        return made

    monkeypatch.setattr(statements, "compare", compared)
    monkeypatch.setattr(statements, "record_statement_run", recording)
    import_file(account=desk.account, path=paid, actor=TEST, progress=lambda *step: seen.append((step[0], held(desk))))
    stored: list[tuple[str, list[str]]] = [("Storing lines", [])] * 3
    assert seen == [*stored, ("Comparing", []), ("compare", []), ("record", ["account", "append"])]


def test_what_is_booked_while_a_statement_is_compared_has_it_compared_anew(
    desk: Desk, paid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.external("transfer", amount="5")
    path = save(tmp_path / "b.json", oanda_json(desk.simulator))
    record = statements._record
    made: list[Any] = []

    def booked_first(*seen: Any) -> Any:
        if not made:
            desk.reconcile()
        made.append(record(*seen))
        return made[-1]

    monkeypatch.setattr(statements, "_record", booked_first)
    outcome = import_file(account=desk.account, path=path, actor=TEST)
    assert outcome.result.findings is not None and outcome.result.findings.findings == ()
    assert [each is None for each in made] == [True, False]
    assert Run.objects.filter(trigger="STATEMENT").count() == 1, "what was no longer so is not recorded"


def test_books_that_never_stand_still_are_held_for_the_last_comparison(
    desk: Desk, paid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    marks = iter(range(100))

    def compared(*sides: Any, **more: Any) -> Any:
        seen.append(held(desk))
        return compare(*sides, **more)

    monkeypatch.setattr(statements, "compare", compared)
    monkeypatch.setattr(statements, "read_mark", lambda statement: (next(marks),))
    assert import_file(account=desk.account, path=paid, actor=TEST).result.ok
    assert seen == [[], [], ["account"]]
