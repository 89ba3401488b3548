"""`manage.py verify`: what it says, on a world made by the real path, on a broken one, and on an empty one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from backoffice.desk import paths
from backoffice.verification import INVARIANTS, lines, run_all
from trading.models import Account, Fill

from .conftest import BY_ID, Clone

OTHER_SIDE = "UPDATE trading_order SET side = 'SELL' WHERE tag = 'ENTRY' AND side = 'BUY' AND account_id = {}"


def verify(*arguments: str) -> tuple[int, str]:
    """The command's exit code and what it printed."""
    printed, code = StringIO(), 0
    try:
        call_command("verify", *arguments, stdout=printed)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, printed.getvalue()


def broken(account: Account) -> str:
    """SQL that sets the entries of an account on the other side than their fills; orders are no facts, so it may."""
    return OTHER_SIDE.format(account.pk)


def test_every_invariant_holds_on_what_the_real_path_has_made(clone: Clone) -> None:
    report = run_all()
    assert report.ok, "\n".join(lines(report))


def test_no_invariant_holds_for_want_of_anything_to_look_at(clone: Clone) -> None:
    empty = [result.invariant.id for result in run_all().results if result.looked_at == 0]
    assert not empty


def test_a_clean_world_is_told_line_by_line_and_ends_well(clone: Clone) -> None:
    code, printed = verify()
    assert code == 0
    assert printed.count("✓") == len(INVARIANTS) and "✗" not in printed
    assert f"All {len(INVARIANTS)} invariants hold. Nothing was changed." in printed


def test_a_breach_is_told_with_its_rows_its_meaning_and_what_to_do(clone: Clone) -> None:
    account = Account.objects.get(broker="PAPER", mirrors__isnull=False)
    clone.alter(broken(account))
    code, printed = verify()
    assert code == 1
    assert "✗ I-09" in printed and f"• {account.name}: fill " in printed
    assert f"Means: {BY_ID['I-09'].means}." in printed and f"Do: {BY_ID['I-09'].todo}." in printed
    assert "invariants are broken: " in printed


def test_the_process_ends_with_one_json_document_and_code_one(clone: Clone) -> None:
    clone.alter(broken(Account.objects.get(broker="PAPER", mirrors__isnull=False)))
    answer = subprocess.run(
        [sys.executable, "manage.py", "verify", "--json"],
        cwd=paths.PROJECT,
        env={**os.environ, **clone.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 1, answer.stderr
    document: dict[str, Any] = json.loads(answer.stdout)
    assert document["ok"] is False and document["checked"] == len(INVARIANTS)
    found = {violation["id"]: violation for violation in document["violations"]}
    assert found["I-09"]["title"] == BY_ID["I-09"].title
    assert found["I-09"]["count"] == len(found["I-09"]["rows"]) > 0
    assert set(found["I-09"]["rows"][0]) == {"account", "object", "id", "problem"}
    assert "Traceback" not in answer.stderr


def test_one_account_is_checked_alone_and_what_belongs_to_none_with_it(clone: Clone) -> None:
    paper, mirror = Account.objects.get(broker="PAPER", mirrors__isnull=False), Account.objects.get(broker="OANDA")
    clone.alter(broken(paper))
    assert verify("--account", mirror.name)[0] == 0
    assert verify("--account", paper.name)[0] == 1
    report = run_all(account=paper.name)
    fills = next(result for result in report.results if result.invariant.id == "I-09")
    assert fills.looked_at == Fill.objects.filter(account=paper, order__isnull=False).count() < Fill.objects.count()
    clone.alter("ALTER TABLE trading_entry DISABLE TRIGGER a_append_only")
    assert verify("--account", mirror.name)[0] == 1


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_an_unknown_account_is_answered_with_the_known_ones(clone: Clone, arguments: tuple[str, ...]) -> None:
    code, printed = verify("--account", "nobody", *arguments)
    assert code == 1
    assert "There is no account 'nobody'; nothing was checked." in printed
    assert Account.objects.get(broker="PAPER", mirrors__isnull=False).name in printed
    if arguments:
        assert json.loads(printed)["ok"] is False


def test_a_hundred_rows_are_kept_and_all_are_counted(clone: Clone) -> None:
    many = replace(
        BY_ID["I-09"],
        find="SELECT NULL::bigint, 'row', n::text, 'is one too many' FROM generate_series(1, 250) AS rows (n)",
    )
    result = run_all(invariants=[many]).results[0]
    assert (result.count, len(result.rows)) == (250, 100)
    told = "\n".join(lines(run_all(invariants=[many])))
    assert told.count("•") == 5 and "… and 245 more" in told


def test_a_check_that_cannot_be_carried_out_is_a_breach_and_stops_no_other(clone: Clone) -> None:
    impossible = replace(BY_ID["I-09"], find="SELECT * FROM a_table_that_is_not_there")
    first, second = run_all(invariants=[impossible, BY_ID["I-07"]]).results
    assert not first.ok and "could not be carried out" in first.rows[0].problem
    assert second.ok and second.looked_at > 0


def test_nothing_can_be_written_while_it_checks(clone: Clone) -> None:
    def write(cursor: Any) -> list[Any]:
        cursor.execute("UPDATE trading_account SET is_active = false")
        return []

    result = run_all(invariants=[replace(BY_ID["I-09"], find=write)]).results[0]
    assert "read-only transaction" in result.rows[0].problem
    assert Account.objects.filter(is_active=True).exists()


def test_everything_is_seen_at_one_moment(clone: Clone) -> None:
    account = Account.objects.get(broker="PAPER", mirrors__isnull=False)

    def meanwhile(cursor: Any) -> list[Any]:
        clone.alter(broken(account))
        return []

    during = run_all(invariants=[replace(BY_ID["I-07"], find=meanwhile), BY_ID["I-09"]])
    assert during.ok
    assert not run_all(invariants=[BY_ID["I-09"]]).ok


def test_it_refuses_to_run_inside_somebody_elses_transaction(clone: Clone) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError):
        run_all()


def test_an_empty_database_breaks_nothing_and_says_that_there_was_nothing(committed_db: object) -> None:
    code, printed = verify()
    assert code == 0
    assert "I-09   A fill is on the order it belongs to  (nothing to look at yet)" in printed


def test_the_application_login_is_enough(clone: Clone) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, session_user")
        assert cursor.fetchone() == ("backoffice_app", "backoffice_app")
    assert run_all().ok
