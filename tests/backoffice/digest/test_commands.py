"""`digest` and `digest_now` over real trades: the ledger's totals, the files, the picture, and refusals."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from backoffice.desk import paths
from backoffice.management.commands.digest import Command as daily_command
from backoffice.management.commands.digest_now import Command as intraday_command
from tests.backoffice.digest.conftest import copy_of
from tests.backoffice.digest.saying import run
from tests.conftest import CommittedDatabase
from tests.servers import DatabaseServer
from tests.trading.engine.market import DAYS
from trading.management.parsing import BlockCommand
from trading.models import Account, Trade

Capture = pytest.CaptureFixture[str]
ZERO = Decimal(0)
EVER = "80000"


@pytest.fixture(scope="module")
def read_only(traded: str, database_server: DatabaseServer, django_db_blocker: Any) -> Iterator[CommittedDatabase]:
    """One copy for all of this file: nothing in it changes a trade or an account."""
    with copy_of(traded, database_server, django_db_blocker) as copied:
        yield copied


@pytest.fixture
def history(read_only: CommittedDatabase) -> CommittedDatabase:
    """The same for `paper` and `mirror`."""
    return read_only


def by_the_ledger(account: Account, *, day: date | None = None) -> Decimal:
    """What all postings on the accounts of profit and cost add up to, whatever trade they belong to."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(-p.amount), 0) FROM ledger_posting p JOIN trading_entry e ON e.id = p.entry_id "
            "JOIN trading_ledgeraccount k ON k.id = p.ledger_account_id WHERE k.account_id = %s "
            "AND k.kind IN ('REALISED', 'COMMISSION', 'FINANCING') AND (%s::date IS NULL OR e.trading_day = %s)",
            [account.pk, day, day],
        )
        return Decimal(cursor.fetchone()[0])


def r_of(trades: Iterable[Trade]) -> Decimal:
    return sum((trade.r for trade in trades), ZERO)


class TestADay:
    """`digest`."""

    @pytest.mark.parametrize("day", [day.date() for day in DAYS])
    def test_its_totals_are_the_ledgers_to_the_last_digit(self, capfd: Capture, paper: Account, day: date) -> None:
        said = run(capfd, "digest", "--date", day.isoformat())
        trades = list(Trade.objects.filter(account=paper, trading_day=day))
        assert said.code == 0 and said.block["ok"] is True and said.block["date"] == day.isoformat()
        assert said.totals == {"trades": len(trades), "r": r_of(trades), "pnl": by_the_ledger(paper, day=day)}
        assert said.totals["trades"] > 0 and said.totals["pnl"] != 0
        assert "warnings" not in said.block

    def test_the_days_of_a_replay_add_up_to_what_the_replay_said(self, capfd: Capture, paper: Account) -> None:
        days = [run(capfd, "digest", "--date", day.date().isoformat()).totals for day in DAYS]
        trades = list(Trade.objects.filter(account=paper))
        assert sum(day["trades"] for day in days) == len(trades) >= 4
        assert sum(day["r"] for day in days) == r_of(trades)
        assert sum(day["pnl"] for day in days) == by_the_ledger(paper)

    def test_a_mirror_stands_apart_and_is_never_added(self, capfd: Capture, paper: Account, mirror: Account) -> None:
        day = DAYS[0].date()
        said = run(capfd, "digest", "--date", day.isoformat())
        rows = {row["account"]: row for row in said.block["accounts"]}
        assert set(rows) == {paper.name, mirror.name}
        assert rows[mirror.name]["mirror_of"] == paper.name and rows[paper.name]["mirror_of"] is None
        assert rows[mirror.name]["trades"] == Trade.objects.filter(account=mirror, trading_day=day).count() > 0
        assert rows[mirror.name]["pnl"] == by_the_ledger(mirror, day=day) != rows[paper.name]["pnl"]
        assert rows[paper.name]["pnl"] == said.totals["pnl"]
        alone = run(capfd, "digest", "--date", day.isoformat(), "--account", mirror.name)
        assert alone.totals["pnl"] == rows[mirror.name]["pnl"] and len(alone.block["accounts"]) == 1

    def test_without_a_date_it_is_the_day_that_the_accounts_are_in(self, capfd: Capture, paper: Account) -> None:
        said = run(capfd, "digest")
        assert said.block["date"] == DAYS[-1].date().isoformat() and said.totals["trades"] > 0
        assert said.block["complete"] is False

    def test_the_csv_is_the_trade_log_and_its_sums_are_the_totals(
        self, capfd: Capture, paper: Account, tmp_path: Path
    ) -> None:
        said = run(capfd, "digest", "--date", "2026-03-05")
        with (tmp_path / "reports" / "pnl_20260305.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if not row["mirror_of"]]
        assert len(rows) == said.totals["trades"]
        assert sum(Decimal(row["pnl"]) for row in rows) == said.totals["pnl"]
        assert sum(Decimal(row["r"]) for row in rows) == said.totals["r"]
        for row in rows:
            trade = Trade.objects.get(account=paper, decision_id=int(row["decision"]))
            assert (row["strategy"], row["symbol"]) == (trade.strategy, trade.instrument.symbol)
            assert Decimal(row["entry"]) == trade.entry_price and Decimal(row["exit"]) == trade.exit_price
            assert Decimal(row["cost_drag_r"]) > 0

    def test_the_markdown_says_it_to_people(self, capfd: Capture, mirror: Account, tmp_path: Path) -> None:
        run(capfd, "digest", "--date", "2026-03-05")
        text = (tmp_path / "reports" / "pnl_20260305.md").read_text()
        for words in ("# Digest: 5 March 2026", "win rate", "cost drag", "| orb |", "| EURUSD |", "## Trades of"):
            assert words in text
        for words in ("## Open differences", "## Waiting for a second person", "## Last reconciliations", "COMPLETE"):
            assert words in text
        assert mirror.external_id not in text

    def test_the_picture_is_a_png_and_the_same_every_time(self, capfd: Capture, paper: Account, tmp_path: Path) -> None:
        seen = []
        for _ in range(2):
            said = run(capfd, "digest", "--date", "2026-03-05")
            assert said.block["png"] == "reports/pnl_20260305.png"
            seen.append((tmp_path / said.block["png"]).read_bytes())
        assert seen[0] == seen[1] and seen[0].startswith(b"\x89PNG") and b"tEXt" not in seen[0]
        assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == [
            "pnl_20260305.csv",
            "pnl_20260305.md",
            "pnl_20260305.png",
        ]

    def test_a_day_without_trades_is_well_and_has_no_picture(
        self, capfd: Capture, paper: Account, tmp_path: Path
    ) -> None:
        said = run(capfd, "digest", "--date", "2026-03-07")
        assert said.code == 0 and said.block["ok"] is True and said.block["png"] is None
        assert said.totals == {"trades": 0, "r": 0, "pnl": 0}
        assert not list((tmp_path / "reports").glob("*.png"))


class TestTheLastHours:
    """`digest_now`."""

    def test_it_counts_from_the_end_of_the_replay(self, capfd: Capture, paper: Account, tmp_path: Path) -> None:
        said = run(capfd, "digest_now")
        last = DAYS[-1].date()
        assert said.totals["trades"] == Trade.objects.filter(account=paper, trading_day=last).count() > 0
        assert said.totals["pnl"] == by_the_ledger(paper, day=last)
        assert said.block["png"] == f"reports/intraday_pnl_{last:%Y%m%d}.png"
        assert [path.name for path in (tmp_path / "reports").iterdir()] == [f"intraday_pnl_{last:%Y%m%d}.png"]

    def test_hours_enough_are_the_whole_history(self, capfd: Capture, paper: Account) -> None:
        said = run(capfd, "digest_now", "--hours", EVER)
        assert said.totals["trades"] == Trade.objects.filter(account=paper).count()
        assert said.totals["pnl"] == by_the_ledger(paper)

    @pytest.mark.parametrize("hours", ["0", "-1", "six", "1.5", "99999999999", "٣"])
    def test_hours_that_are_none_are_refused(self, capfd: Capture, paper: Account, hours: str) -> None:
        said = run(capfd, "digest_now", f"--hours={hours}")
        assert said.code == 1 and said.block["ok"] is False and "--hours" in said.block["error"]


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "20260305", "2026-3-5", "2026-02-30"])
def test_a_date_that_is_none_is_refused(capfd: Capture, paper: Account, text: str) -> None:
    said = run(capfd, "digest", "--date", text)
    assert said.code == 1 and said.block["ok"] is False and "--date" in said.block["error"]


def test_without_a_database_the_process_ends_with_a_sentence(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "manage.py", "digest"],
        cwd=paths.PROJECT,
        env={**os.environ, "DATABASE_URL": "postgresql://nobody:x@127.0.0.1:1/nothing"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    assert '"ok":false' in answer.stdout and "no digest was made" in answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr


def test_an_unknown_account_is_answered_with_the_known_ones(capfd: Capture, paper: Account) -> None:
    for command in ("digest", "digest_now"):
        said = run(capfd, command, "--account", "nobody")
        assert said.code == 1 and set(said.block) == {"ok", "error"} and said.block["ok"] is False
        assert "nobody" in said.block["error"] and paper.name in said.block["error"]


@pytest.mark.parametrize(
    ("command", "flags"),
    [(daily_command, ["--dat", "2026-03-05", "--colour"]), (intraday_command, ["--hours"])],
)
def test_a_flag_that_cannot_be_ends_in_a_block(capfd: Capture, command: type[BlockCommand], flags: list[str]) -> None:
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        command().run_from_argv(["manage.py", "digest", *flags])
    said = capfd.readouterr()
    begin, line, end = said.out.splitlines()
    assert (begin, end) == ("###BEGIN-AXFL-DIGEST###", "###END-AXFL-DIGEST###")
    block = json.loads(line)
    assert stop.value.code == 1 and set(block) == {"ok", "error"} and block["ok"] is False
    assert flags[-1] in block["error"] and block["error"].endswith("No digest was made.")
    assert said.err.startswith("usage:")


def test_verify_says_the_same_in_all_and_day_by_day(capfd: Capture, paper: Account) -> None:
    capfd.readouterr()
    call_command("verify", "--json")
    checked = json.loads(capfd.readouterr().out, parse_float=Decimal, parse_int=Decimal)
    assert checked["ok"] is True
    assert checked["totals"] == run(capfd, "digest_now", "--hours", EVER).totals
    assert checked["totals"]["pnl"] == by_the_ledger(paper)
    by_day = {row.pop("date"): row for row in checked["days"]}
    assert by_day == {day: run(capfd, "digest", "--date", day).totals for day in (d.date().isoformat() for d in DAYS)}
