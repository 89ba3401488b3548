"""`manage.py import_statement` and `reconcile --statement` as people and programs see them, and the pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from reconciliation.engine.due import run_if_due
from reconciliation.models import Discrepancy, Run, Statement
from reconciliation.statements.text import MOST_BYTES
from tests.reconciliation.conftest import EURUSD, Desk, People
from tests.reconciliation.statements.files import oanda_json, save
from tests.reconciliation.test_command import recon
from trading.models import AuditEvent


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], int]:
    """The JSON that it prints, and its exit code."""
    code = 0
    try:
        call_command("import_statement", *arguments, "--json")
    except SystemExit as stop:
        code = int(stop.code or 0)
    return json.loads(capsys.readouterr().out), code


def test_import_statement_says_what_came_of_it_and_the_second_time_that_nothing_is_new(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.reconcile()
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    path = str(save(tmp_path / "a.json", oanda_json(desk.simulator)))
    said, code = told(capsys, path, "--account", desk.account.name)
    assert (said["ok"], said["new"], said["kind"], said["lines"], code) == (True, True, "CASH", 2, 0)
    assert [finding["kind"] for finding in said["findings"]] == ["MISSING_FILL"]
    assert said["run_id"] == Run.objects.latest("id").pk and said["open"] == 1
    again, code = told(capsys, path, "--account", desk.account.name)
    assert (again["new"], again["statement"], code) == (False, said["statement"], 0)
    call_command("import_statement", path, "--account", desk.account.name)
    sentences = capsys.readouterr().out
    assert f"imported before, as statement {said['statement']}" in sentences and "nothing new was stored" in sentences
    assert "MISSING_FILL fill:" in sentences
    event = AuditEvent.objects.get(kind="statement.imported")
    assert "a.json" in event.sentence and event.via == "command"


def test_import_statement_refuses_what_cannot_be_used(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = str(save(tmp_path / "bad.csv", "# statement: TRADES\n# account: x\nnothing"))
    name = desk.account.name
    said, code = told(capsys, bad, "--account", name)
    assert (said["ok"], code) == (False, 1) and "is missing" in said["error"]
    with pytest.raises(CommandError, match=r"The note .* Nothing was stored\."):
        call_command("import_statement", bad, "--account", name)
    assert "cannot be read" in told(capsys, str(tmp_path / "none.csv"), "--account", name)[0]["error"]
    assert "no active account 'nobody'" in told(capsys, bad, "--account", "nobody")[0]["error"]
    assert "is not known" in told(capsys, bad, "--account", name, "--format", "pdf")[0]["error"]
    assert "is not a day" in told(capsys, bad, "--account", name, "--first-day", "soon")[0]["error"]
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(MOST_BYTES * 3)
    assert "at most" in told(capsys, str(tmp_path / "large.csv"), "--account", name)[0]["error"]
    assert not Statement.objects.exists() and not Run.objects.exists()


def test_reconcile_with_a_statement_prints_the_block(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.reconcile()
    path = str(save(tmp_path / "a.json", oanda_json(desk.simulator)))
    block, code = recon(capsys, "--account", desk.account.name, "--statement", path)
    assert (block["ok"], block["findings"], block["completeness"], code) == (True, 0, "COMPLETE", 0)
    assert Run.objects.get(pk=block["run_id"]).trigger == "STATEMENT"
    refused, code = recon(capsys, "--statement", path)
    assert (refused["ok"], code) == (False, 1) and "--statement needs --account" in refused["error"]
    refused, code = recon(capsys, "--account", desk.account.name, "--statement", str(tmp_path / "none"))
    assert (refused["ok"], code) == (False, 1) and refused["error"].endswith("Nothing was compared.")


def test_the_desk_compares_a_statement_again_once_the_books_have_gone_on(desk: Desk, tmp_path: Path) -> None:
    desk.reconcile()
    desk.external("transfer", amount="250")
    path = save(tmp_path / "a.json", oanda_json(desk.simulator))
    call_command("import_statement", str(path), "--account", desk.account.name)
    case = desk.case(kind="TRANSFER_NOT_BOOKED")
    assert run_if_due(desk.account) is not None
    case.refresh_from_db()
    assert case.state == "CLEARED" and not Discrepancy.objects.filter(state__in=Discrepancy.LIVE).exists()


def test_a_statements_page_shows_lines_sums_and_runs_and_offers_no_change(
    desk: Desk, people: People, tmp_path: Path, client: Client
) -> None:
    desk.reconcile()
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    path = save(tmp_path / "shown.json", oanda_json(desk.simulator))
    call_command("import_statement", str(path), "--account", desk.account.name)
    row = Statement.objects.get()
    client.force_login(people.bob)
    page = client.get(reverse("admin:reconciliation_statement_changelist")).content.decode()
    assert "shown.json" in page and "oanda-json" in page
    page = client.get(reverse("admin:reconciliation_statement_change", args=[row.pk])).content.decode()
    assert "Control sums" in page and "EUR_USD" in page and f"/run/{Run.objects.latest('id').pk}/change/" in page
    assert 'name="_save"' not in page
    assert (
        client.post(reverse("admin:reconciliation_statement_change", args=[row.pk]), {"kind": "NAV"}).status_code == 403
    )
    assert client.get(reverse("admin:reconciliation_statement_add")).status_code == 403
