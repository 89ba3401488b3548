"""`manage.py reconcile` as people and outside checks see it."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from reconciliation.engine.run import lease_key
from reconciliation.management.commands import reconcile
from reconciliation.management.commands.reconcile import Command
from reconciliation.models import Discrepancy, Run
from tests.reconciliation.conftest import EURUSD, Desk
from tests.servers import Simulator
from trading.models import Account
from trading.services import leases

FIELDS = {
    "ok", "broker_positions", "journal_positions", "flattened", "linked", "errors", "opened", "resolved", "proposals",
    "run_id", "completeness", "open",
}  # fmt: skip


def recon(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], int]:
    """The block, which must come last on standard output, and the exit code."""
    code = 0
    try:
        call_command("reconcile", *arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out = capsys.readouterr().out
    found = re.search(r"###BEGIN-AXFL-RECON###\n(.+)\n###END-AXFL-RECON###\n\Z", out)
    assert found is not None, out
    return json.loads(found[1]), code


def test_equal_sides_print_ok_and_no_open_case(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    block, code = recon(capsys)
    assert block.keys() >= FIELDS
    assert (block["ok"], block["open"], block["errors"], code) == (True, 0, [], 0)
    assert block["run_id"] == Run.objects.get().pk and block["completeness"] == "COMPLETE"


def test_a_difference_is_counted_when_it_opens(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    first, _ = recon(capsys)
    second, _ = recon(capsys)
    assert (first["ok"], first["opened"], first["open"], first["broker_positions"]) == (True, 0, 1, 1)
    assert (second["opened"], second["open"], second["journal_positions"]) == (1, 1, 0)


def test_a_stopped_broker_is_an_error_within_seconds_and_nothing_vanishes(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    recon(capsys)
    desk.simulator.stop()
    began = time.monotonic()
    block, code = recon(capsys)
    assert time.monotonic() - began < 6
    assert (block["ok"], code, block["completeness"]) == (False, 1, "FAILED")
    assert block["error"].startswith("The simulator of this desk is not running") and "make run" in block["error"]
    assert "Connection" not in json.dumps(block) and "refused" in Run.objects.latest("id").error
    assert not Discrepancy.objects.exists()


VARIABLES = ("OANDA_API_KEY", "OANDA_ACCOUNT_ID", "OANDA_URL", "OANDA_ENV", "SIMULATOR_URL", "ALPACA_API_KEY",
             "ALPACA_SECRET_KEY")  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "needed"),
    [
        ({"OANDA_API_KEY": "x"}, "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set"),
        ({"OANDA_ACCOUNT_ID": "101-001-1-001"}, "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set"),
        ({"OANDA_API_KEY": "x", "OANDA_ENV": "live"}, "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set"),
        ({"ALPACA_API_KEY": "x"}, "ALPACA_API_KEY and ALPACA_SECRET_KEY must be set"),
        ({"OANDA_ENV": "prod"}, "practice or live"),
    ],
)
def test_half_of_the_credentials_never_means_the_simulator_of_the_desk(
    desk: Desk,
    variables: dict[str, str],
    needed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    block, code = recon(capsys)
    assert (block["ok"], code) == (False, 1) and needed in block["error"]
    assert not Run.objects.exists()


def test_an_account_that_nobody_knows_is_refused_with_the_known_ones(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    block, code = recon(capsys, "--account", "nobody")
    assert (block["ok"], code) == (False, 1)
    assert desk.account.name in block["error"] and block["error"].endswith("Nothing was compared.")


def test_a_flag_that_nobody_knows_ends_in_a_block(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        Command().run_from_argv(["manage.py", "reconcile", "--acount", "x"])
    said = capfd.readouterr()
    block = json.loads(said.out.splitlines()[1])
    assert stop.value.code == 1 and block["ok"] is False and block.keys() >= FIELDS
    assert "--acount" in block["error"] and block["error"].endswith("Nothing was compared.")
    assert said.err.startswith("usage:")


def test_without_credentials_and_accounts_it_says_what_must_be_set(
    committed_db: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    block, code = recon(capsys)
    assert (block["ok"], block["error"], code) == (False, "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set", 1)


def test_the_account_that_the_environment_names_is_made_and_reconciled(
    committed_db: object, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in simulator.environment().items():
        monkeypatch.setenv(name, value)
    block, code = recon(capsys)
    assert (block["ok"], code) == (True, 0), block
    assert Account.objects.get().external_id == simulator.account
    recon(capsys)
    assert Account.objects.count() == 1 and Run.objects.count() == 2


def test_the_account_of_a_second_broker_is_made_only_for_a_key_and_reconciled_beside_the_first(
    committed_db: object, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIMULATOR_URL", simulator.control_url)
    recon(capsys)
    assert [account.broker for account in Account.objects.all()] == ["OANDA"], "nobody asked for the other one"
    monkeypatch.setenv("ALPACA_API_KEY", "SIMKEY")
    monkeypatch.setenv("ALPACA_SECRET_KEY", "sim-alpaca-secret")
    for _ in range(2):
        block, code = recon(capsys)
        assert (block["ok"], code, block["open"]) == (True, 0, 0), block
        assert {row["account"] for row in block["accounts"]} == {
            "oanda-101-001-1000001-001",
            "alpaca-SIMALPACA",
        }


def test_an_unreachable_account_of_the_environment_is_an_error_without_a_traceback(
    committed_db: object, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in simulator.environment().items():
        monkeypatch.setenv(name, value)
    simulator.stop()
    block, code = recon(capsys)
    assert (block["ok"], code) == (False, 1) and block["error"]


def test_an_unknown_account_is_refused_with_the_known_ones(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    block, code = recon(capsys, "--account", "nobody")
    assert code == 1 and "test-oanda" in block["error"]


def test_report_only_tells_and_stores_nothing(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.external("silent_cash", currency="USD", amount="9")
    block, code = recon(capsys, "--report-only")
    assert (block["ok"], block["findings"], block["run_id"], code) == (True, 2, None, 0)
    assert not Run.objects.exists()


def test_report_only_writes_nothing_at_all(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    recon(capsys)
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.external("silent_cash", currency="USD", amount="9")

    def written() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, value, updated_at FROM trading_cursor ORDER BY id")
            cursors = cursor.fetchall()
        return {f"{model._meta.label}": model._default_manager.count() for model in apps.get_models()} | {
            "cursors": hash(tuple(cursors))
        }

    before = written()
    block, code = recon(capsys, "--report-only")
    assert (block["ok"], block["findings"], code) == (True, 2, 0) and written() == before


def test_an_account_that_is_being_reconciled_says_so(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "BUSY_SECONDS", 0.0)
    assert leases.acquire(key=lease_key(desk.account), holder="another", seconds=60) is not None
    block, code = recon(capsys)
    assert (block["ok"], code, block["run_id"], block["accounts"][0]["status"]) == (False, 1, None, "BUSY")
    assert "under way" in block["error"] and not Run.objects.exists()


def test_several_accounts_have_a_bar_on_standard_error_and_the_block_stays_alone(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATOR_URL", desk.simulator.control_url)
    monkeypatch.setenv("ALPACA_API_KEY", "SIMKEY")
    monkeypatch.setenv("ALPACA_SECRET_KEY", "sim-alpaca-secret")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    call_command("reconcile")
    said = capsys.readouterr()
    assert "Reconciling alpaca-SIMALPACA" in said.err and "/2" in said.err
    assert said.out.startswith("###BEGIN-AXFL-RECON###\n") and len(said.out.splitlines()) == 3


def test_json_prints_the_findings_before_the_block(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.external("silent_cash", currency="USD", amount="9")
    call_command("reconcile", "--json")
    told = json.loads(capsys.readouterr().out.splitlines()[0])
    assert [finding["kind"] for finding in told["findings"]] == ["CASH_UNEXPLAINED"]
    assert told["findings"][0]["difference"] == "9"
