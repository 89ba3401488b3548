"""`live_port`: blocks on standard output, sentences for bad input, and nothing half done."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from backoffice.management.commands.live_oanda import Command as live_oanda_command
from tests.conftest import CommittedDatabase
from tests.trading.engine.market import THURSDAY
from tests.trading.engine.running import row_counts
from tests.trading.management.commands import Ended, Files, run
from trading.management.commands.live_port import Command as live_port_command
from trading.management.parsing import BlockCommand
from trading.models import Account, Decision, Trade

Capture = pytest.CaptureFixture[str]


def live_port(capfd: Capture, *arguments: str) -> Ended:
    return run(capfd, "live_port", *arguments)


def refused(capfd: Capture, *arguments: str, words: str, command: str = "live_port") -> None:
    """One block with `ok: false` and a sentence, exit code 1, no traceback, no row anywhere."""
    before = row_counts()
    ended = run(capfd, command, *arguments)
    assert ended.code == 1, ended
    (block,) = ended.blocks
    assert block["ok"] is False and set(block) == {"ok", "error"}
    assert words in block["error"], block["error"]
    assert "Traceback" not in ended.out + ended.err
    assert row_counts() == before


@pytest.mark.django_db
class TestBadInput:
    """Everything that is refused before anything is written."""

    @pytest.mark.parametrize(
        ("what", "by", "words"),
        [
            ("max_open_per_symbol: 1", "max_positions: 1", "portfolio.risk.max_positions"),
            ("interval: 5m", "interval: 5m\n  colour: red", "portfolio.colour"),
            ("  - name: orb", "  - name: orb\n    size: 3", "strategies[0].size"),
            ("  - name: orb", "  - name: arb", "arb"),
            ("equity: 100000", "equity: .nan", "portfolio.budget.equity"),
            ("window", "window: [", "line"),
        ],
    )
    def test_a_key_that_nobody_knows_is_named_with_its_path(
        self, capfd: Capture, files: Files, what: str, by: str, words: str
    ) -> None:
        files.cfg.write_text(files.cfg.read_text().replace(what, by, 1))
        refused(capfd, *files.arguments(), words=words)

    def test_a_missing_session_file_is_named(self, capfd: Capture, files: Files) -> None:
        files.cfg.unlink()
        words = f"There is no session file {files.cfg}. Nothing was run; name one with --cfg."
        refused(capfd, *files.arguments(), words=words)

    def test_a_folder_is_no_session_file(self, capfd: Capture, files: Files) -> None:
        refused(capfd, "--cfg", str(files.folder), words="cannot be read (Is a directory). Nothing was run")

    def test_every_key_that_is_wrong_is_named_with_the_file(self, capfd: Capture, files: Files) -> None:
        text = (
            files.cfg.read_text()
            .replace("strategies:", "strategy:", 1)
            .replace("interval:", "colour: red\n  interval:")
        )
        files.cfg.write_text(text)
        ended = live_port(capfd, *files.arguments())
        error = ended.blocks[0]["error"]
        assert error.startswith(f"{files.cfg}: strategy: unknown key") and error.endswith(". Nothing was run.")
        assert "strategies: missing" in error and "portfolio.colour: unknown key" in error

    def test_text_that_is_no_yaml_names_the_file_and_the_line(self, capfd: Capture, files: Files) -> None:
        files.cfg.write_text("portfolio: [1\nstrategies: 2\n")
        ended = live_port(capfd, *files.arguments())
        error = ended.blocks[0]["error"]
        assert error.startswith(f"{files.cfg}: ") and "line 2" in error and error.endswith(". Nothing was run.")
        assert "unicode string" not in error

    def test_an_unknown_profile_is_named(self, capfd: Capture, files: Files) -> None:
        words = "no profile 'portfolio_ny'; it has portfolio. Nothing was run."
        refused(capfd, *files.arguments(), "--profile", "portfolio_ny", words=words)

    @pytest.mark.parametrize(
        ("command", "flag", "value"),
        [
            (live_port_command, "--mode", "foo"),
            (live_port_command, "--for_seconds", "soon"),
            (live_oanda_command, "--mirror", "ib"),
        ],
    )
    def test_a_flag_that_cannot_be_ends_in_a_block(
        self, capfd: Capture, files: Files, command: type[BlockCommand], flag: str, value: str
    ) -> None:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            command().run_from_argv(["manage.py", "live", *files.arguments(), flag, value])
        said = capfd.readouterr()
        ended = Ended(int(stop.value.code or 0), said.out, said.err)
        (block,) = ended.blocks
        assert ended.code == 1 and set(block) == {"ok", "error"} and block["ok"] is False
        assert flag in block["error"] and value in block["error"] and block["error"].endswith("Nothing was run.")
        assert ended.err.startswith("usage:")

    def test_a_duplicate_bar_is_named_with_its_line(self, capfd: Capture, files: Files) -> None:
        files.edit("EURUSD", 40, files.line("EURUSD", 40), files.line("EURUSD", 40))
        refused(capfd, *files.arguments(), words="line 41 is a duplicate")

    def test_a_bar_that_goes_back_in_time_is_named_with_its_line(self, capfd: Capture, files: Files) -> None:
        files.edit("EURUSD", 41, files.line("EURUSD", 39))
        refused(capfd, *files.arguments(), words="line 41 goes back in time")

    @pytest.mark.parametrize("number", ["NaN", "nan", "Infinity", "1e400", "", "1.1.1", "1,1"])
    def test_a_number_that_is_none_is_named_with_its_line(self, capfd: Capture, files: Files, number: str) -> None:
        fields = files.line("XAUUSD", 17).split(",")
        files.edit("XAUUSD", 17, ",".join([fields[0], number, *fields[2:]]))
        refused(capfd, *files.arguments(), words="line 17")

    def test_a_high_below_the_low_is_named_with_its_line(self, capfd: Capture, files: Files) -> None:
        ts, opened, high, low, close, volume = files.line("EURUSD", 99).split(",")
        files.edit("EURUSD", 99, ",".join([ts, opened, low, high, close, volume]))
        refused(capfd, *files.arguments(), words="line 99")

    def test_a_missing_file_of_bars_is_named(self, capfd: Capture, files: Files) -> None:
        files.bars("XAUUSD").unlink()
        refused(capfd, *files.arguments(), words=str(files.bars("XAUUSD")))

    def test_a_symbol_that_nobody_knows_is_named(self, capfd: Capture, files: Files) -> None:
        refused(capfd, *files.arguments(), "--csv", "EURUSX=x.csv", words="'EURUSX' is not a known symbol")

    def test_a_symbol_outside_the_profile_is_named(self, capfd: Capture, files: Files) -> None:
        refused(capfd, *files.arguments(), "--csv", f"GBPUSD={files.bars('EURUSD')}", words="GBPUSD")

    @pytest.mark.parametrize("argument", ["EURUSD", "=x.csv", "EURUSD=", "EURUSD=x.csv"])
    def test_a_csv_argument_of_another_form_is_refused(self, capfd: Capture, files: Files, argument: str) -> None:
        refused(capfd, *files.arguments(), "--csv", argument, words="EURUSD" if "EUR" in argument else "=x.csv")
        refused(capfd, *files.arguments(), "--csv", argument, words=". Nothing was run.")

    def test_a_replay_without_files_says_what_to_give(self, capfd: Capture, files: Files) -> None:
        refused(capfd, "--cfg", str(files.cfg), "--mode", "replay", words="--csv SYMBOL=FILE")

    @pytest.mark.parametrize("spread", ["abc", "nan", "-1", ""])
    def test_a_spread_that_is_none_is_refused(self, capfd: Capture, files: Files, spread: str) -> None:
        refused(capfd, *files.arguments(), f"--spread_pips={spread}", words="spread")

    def test_missing_credentials_are_named(self, capfd: Capture, files: Files) -> None:
        words = "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set"
        refused(capfd, "--cfg", str(files.cfg), "--mode", "ws", "--source", "oanda", words=words)
        refused(capfd, "--cfg", str(files.cfg), "--mode", "ws", "--mirror", "oanda", words=words, command="live_oanda")

    def test_half_of_the_credentials_is_none(
        self, capfd: Capture, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OANDA_API_KEY", "a-key")
        words = "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set"
        refused(capfd, "--cfg", str(files.cfg), "--mode", "ws", "--source", "oanda", words=words)

    def test_a_broker_that_does_not_answer_leaves_no_account_behind(
        self, capfd: Capture, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in (("KEY", "OANDA_API_KEY"), ("101-001-1-001", "OANDA_ACCOUNT_ID")):
            monkeypatch.setenv(value, name)
        monkeypatch.setenv("OANDA_URL", "http://127.0.0.1:9")
        refused(capfd, "--cfg", str(files.cfg), "--mode", "ws", "--source", "oanda", words="")

    def test_a_key_never_shows(self, capfd: Capture, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OANDA_API_KEY", "the-secret-key")
        monkeypatch.setenv("OANDA_ACCOUNT_ID", "101-001-1-001")
        monkeypatch.setenv("OANDA_URL", "http://127.0.0.1:9")
        ended = live_port(capfd, "--cfg", str(files.cfg), "--mode", "ws", "--source", "oanda")
        assert ended.code == 1 and "the-secret-key" not in ended.out + ended.err


def test_a_replay_prints_blocks_alone_and_a_second_one_the_same(
    committed_db: CommittedDatabase, capfd: Capture, files: Files
) -> None:
    first = live_port(capfd, *files.arguments())
    assert first.code == 0 and len(first.blocks) == 2 and first.blocks[-1]["ok"] is True
    total, account = first.blocks[-1]["total"], Account.objects.get()
    assert int(total["trades"]) == Trade.objects.count() > 0
    last = first.err.strip().splitlines()[-1]
    assert last.startswith(f"Replay: {total['trades']} trade") and last.endswith(f" USD, on {account.name}")
    assert f"{float(total['r']):+.2f} R" in last and f"P&L {float(total['pnl']):+,.2f}" in last
    counted = row_counts()
    again = live_port(capfd, *files.arguments(("XAUUSD", "EURUSD")))
    assert again.out == first.out and row_counts() == counted
    assert list((files.folder / "logs").glob("portfolio_live_*.jsonl"))


def test_symbols_without_a_file_are_reported_as_not_run(
    committed_db: CommittedDatabase, capfd: Capture, files: Files
) -> None:
    ended = live_port(capfd, *files.arguments(("XAUUSD",)))
    assert ended.code == 0 and "Not run, since no file was given: EURUSD" in ended.err
    assert ended.blocks[-1]["symbols"] == ["XAUUSD"]


def test_another_spread_is_another_run(committed_db: CommittedDatabase, capfd: Capture, files: Files) -> None:
    cheap = live_port(capfd, *files.arguments(), "--spread_pips", "0")
    dear = live_port(capfd, *files.arguments(), "--spread_pips", "3")
    assert cheap.blocks[-1]["costs"]["spread_pips"] == "0" and dear.blocks[-1]["costs"]["spread_pips"] == "3"
    assert float(cheap.blocks[-1]["total"]["pnl"]) > float(dear.blocks[-1]["total"]["pnl"])


def test_a_hole_is_reported_with_its_line_counted_and_blocks_entries_until_the_indicators_are_warm(
    committed_db: CommittedDatabase, capfd: Capture, files: Files
) -> None:
    """Half an hour before the session is missing on Friday: 25 bars later the slow average is not filled."""
    path = files.bars("EURUSD")
    missing = [f"{THURSDAY + timedelta(days=1, hours=6, minutes=5 * n):%Y-%m-%dT%H:%M:%SZ}" for n in range(6)]
    lines = path.read_text().splitlines()
    after = lines.index(next(line for line in lines if line.startswith(missing[-1]))) + 1 - len(missing) + 1
    path.write_text("\n".join(line for line in lines if line[:20] not in missing) + "\n")
    ended = live_port(capfd, *files.arguments(("EURUSD",)))
    assert ended.code == 0
    told = " ".join(ended.err.split())
    assert f"Hole in the data: EURUSD: line {after}: no bars from 2026-03-06 06:00 to 2026-03-06 06:30 UTC" in told
    assert ended.blocks[-1]["data"]["holes"] == "1" and ended.blocks[0]["data"]["holes"] == "0"
    days = set(Decision.objects.filter(verdict="APPROVED").values_list("trading_day", flat=True))
    assert THURSDAY.date() in days and (THURSDAY + timedelta(days=1)).date() not in days


def test_a_missing_afternoon_is_no_hole(committed_db: CommittedDatabase, capfd: Capture, files: Files) -> None:
    ended = live_port(capfd, *files.arguments(("EURUSD",)))
    assert "Hole" not in ended.err and ended.blocks[-1]["data"]["holes"] == "0"


def test_no_trades_is_a_result(committed_db: CommittedDatabase, capfd: Capture, files: Files, tmp_path: Path) -> None:
    lines = files.bars("EURUSD").read_text().splitlines()
    files.bars("EURUSD").write_text("\n".join(lines[:60]) + "\n")
    ended = live_port(capfd, *files.arguments(("EURUSD",)))
    assert ended.code == 0
    total = ended.blocks[-1]["total"]
    assert (total["r"], total["pnl"], total["trades"], total["by_strategy"]) == ("0", "0", "0", [])
