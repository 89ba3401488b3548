"""Whose trades a digest counts, and what it does when figures or files are wrong; each test on a copy of its own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.backoffice.digest.receiving import Webhook
from tests.backoffice.digest.saying import run
from tests.conftest import CommittedDatabase
from trading.models import Account, Notification, Trade
from trading.services.setup import ensure_account

Capture = pytest.CaptureFixture[str]


def a_desk() -> Account:
    """A paper account of the desk's own."""
    return ensure_account(
        name="desk-paper", broker="PAPER", environment="IN_PROCESS", external_id="desk-paper", currency="USD"
    )


def the_desks_own(*accounts: Account) -> None:
    """Let accounts of a replay be the desk's own; a replay is over, so their clock stands at its end."""
    for account in accounts:
        account.scope, account.is_active = "", True
        account.save()


def test_a_replay_is_left_out_where_there_is_a_desk(capfd: Capture, paper: Account) -> None:
    a_desk()
    said = run(capfd, "digest", "--date", "2026-03-05")
    assert [row["account"] for row in said.block["accounts"]] == ["desk-paper"] and said.totals["trades"] == 0
    named = run(capfd, "digest", "--date", "2026-03-05", "--account", paper.name)
    assert named.totals["trades"] > 0


def test_accounts_of_two_currencies_are_not_added_up(capfd: Capture, paper: Account, mirror: Account) -> None:
    the_desks_own(paper, mirror)
    Account.objects.filter(pk=mirror.pk).update(mirror_of=None, currency="EUR")
    said = run(capfd, "digest", "--date", "2026-03-05")
    assert said.totals["pnl"] is None and set(said.block["pnl_by_currency"]) == {"EUR", "USD"}
    assert said.totals["trades"] == Trade.objects.filter(trading_day="2026-03-05").count()


def test_without_trades_nothing_is_written(capfd: Capture, committed_db: CommittedDatabase, tmp_path: Path) -> None:
    a_desk()
    said = run(capfd, "digest_now")
    assert said.code == 0 and said.block["ok"] is True and said.block["png"] is None
    assert said.totals == {"trades": 0, "r": 0, "pnl": 0}
    assert not (tmp_path / "reports").exists() and not Notification.objects.exists()


def test_a_trade_that_is_not_what_the_ledger_says_is_named(capfd: Capture, paper: Account) -> None:
    trade = Trade.objects.filter(account=paper, trading_day="2026-03-05").first()
    assert trade is not None
    Trade.objects.filter(pk=trade.pk).update(pnl=trade.pnl + 1)
    (warning,) = run(capfd, "digest", "--date", "2026-03-05").block["warnings"]
    assert f"trade {trade.pk} says" in warning and "The ledger is right" in warning


def test_files_that_cannot_be_written_are_told(capfd: Capture, paper: Account, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file where a folder should be")
    said = run(capfd, "digest", "--date", "2026-03-05")
    assert said.code == 1 and "cannot be written" in said.block["error"]
    assert not Notification.objects.exists()


def test_a_strategys_name_does_nothing_in_any_file_or_message(
    capfd: Capture, paper: Account, webhook: Webhook, tmp_path: Path
) -> None:
    nasty = '=HYPERLINK("http://x")|@everyone\n# **big** <@1>'
    Trade.objects.filter(account=paper).update(strategy=nasty)
    assert run(capfd, "digest", "--date", "2026-03-05").code == 0
    with (tmp_path / "reports" / "pnl_20260305.csv").open(newline="") as file:
        assert {row["strategy"][:12] for row in csv.DictReader(file) if not row["mirror_of"]} == {"'=HYPERLINK("}
    table = (tmp_path / "reports" / "pnl_20260305.md").read_text()
    said = webhook.posts[0].payload["content"]
    for text in (table, said):
        assert r"\|\@everyone \# \*\*big\*\* \<\@1\>" in text and "@everyone |" not in text.replace(r"\@", "")
    assert len(said) <= 2000


def test_a_message_of_a_hundred_strategies_still_fits(capfd: Capture, paper: Account, webhook: Webhook) -> None:
    for trade in Trade.objects.filter(account=paper):
        Trade.objects.filter(pk=trade.pk).update(strategy=f"{trade.pk}" + "*" * 70)
    run(capfd, "digest_now", "--hours", "9000")
    assert len(webhook.posts) == 1 and len(webhook.posts[0].payload["content"]) <= 2000


def test_a_paper_book_that_is_named_after_a_brokers_account_does_not_tell_its_number(
    capfd: Capture, paper: Account, mirror: Account, webhook: Webhook, tmp_path: Path
) -> None:
    Account.objects.filter(pk=paper.pk).update(name=f"paper-{mirror.external_id}")
    assert run(capfd, "digest", "--date", "2026-03-05", "--account", f"paper-{mirror.external_id}").totals["trades"] > 0
    sent = str(webhook.posts[0].payload) + (tmp_path / "reports" / "pnl_20260305.md").read_text()
    assert mirror.external_id not in sent and f"paper-…{mirror.external_id[-3:]}" in sent
