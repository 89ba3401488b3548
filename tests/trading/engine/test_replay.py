"""A replay: the same bars give the same books and the same text, once or twice, whole or cut in two."""

from __future__ import annotations

from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.conftest import CommittedDatabase
from tests.trading.engine.conftest import Undisturbed
from tests.trading.engine.running import blocks, market_files, replay, row_counts
from tests.trading.services.histories import left_behind
from trading.models import Account, CashEvent, Decision, Order, Trade
from trading.selectors import books


def paper() -> Account:
    """The account of the replay."""
    return Account.objects.get(broker="PAPER")


def test_it_trades_and_its_total_is_the_ledgers(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    printed = blocks(replay(tmp_path))
    last = printed[-1]
    assert len(printed) == 4 and all(block["ok"] is True for block in printed)
    assert ["total" in block for block in printed] == [False, False, False, True]
    assert Trade.objects.count() == int(last["total"]["trades"]) >= 4
    assert not Trade.objects.filter(state="OPEN").exists() and last["positions"] == []
    deposit = CashEvent.objects.get().amount
    moved = -sum((books.balances(paper(), kind).get("USD", Decimal(0)) for kind in
                  ("REALISED", "COMMISSION", "FINANCING")), Decimal(0))  # fmt: skip
    assert Decimal(last["total"]["pnl"]) == books.cash_balances(paper())["USD"] - deposit == moved != 0
    assert Decimal(last["total"]["r"]) == sum((trade.r for trade in Trade.objects.all()), Decimal(0))
    assert Decimal(last["budgets"]["equity"]) == books.cash_balances(paper())["USD"]
    assert books.positions(paper()) == {}
    assert {trade.close_reason for trade in Trade.objects.all()} == {"SL", "TP", "TIME"}
    by_day = {block["now"][:10]: Decimal(block["today"]["pnl_total"]) for block in printed}
    assert sum(by_day.values()) == Decimal(last["total"]["pnl"])


def test_a_second_run_adds_no_row_and_prints_the_same(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    first = replay(tmp_path)
    counted, left = row_counts(), left_behind(paper())
    written = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    assert replay(tmp_path) == first
    assert row_counts() == counted
    assert left_behind(paper()) == left
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == written


def test_the_order_in_which_files_are_named_means_nothing(
    committed_db: CommittedDatabase, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    assert replay(tmp_path, market_files(("XAUUSD", "EURUSD"))) == undisturbed.printed
    assert left_behind(paper()) == undisturbed.left


def test_other_bars_are_another_account(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    replay(tmp_path, market_files(("EURUSD",), days=[*market_days()[:1]]))
    replay(tmp_path, market_files(("EURUSD",), days=[*market_days()[:1]], seed=2))
    names = set(Account.objects.values_list("name", flat=True))
    assert len(names) == 2 and all(name.startswith("replay-") and len(name) == 15 for name in names)


def market_days() -> tuple[object, ...]:
    """The days of the market."""
    from tests.trading.engine.market import DAYS

    return DAYS


def test_what_is_left_outside_the_windows_goes_at_the_bars_open(
    committed_db: CommittedDatabase, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    files = market_files()
    replay(tmp_path, files)
    trades = Trade.objects.filter(close_reason="TIME").select_related("instrument")
    assert trades, "this market leaves nothing open at the end of the window: choose another seed"
    opens = {(file.symbol, bar.start): bar.open for file in files.values() for bar in file.bars}
    for trade in trades:
        assert trade.closed_at is not None and trade.closed_at.time() == time(10)
        mid, price = opens[trade.instrument.symbol, trade.closed_at], trade.exit_price or Decimal(0)
        worse = mid - price if trade.side == "BUY" else price - mid
        assert 0 < worse <= 4 * trade.instrument.pip_size, "the open, less the costs"
        assert Order.objects.get(exit_intent__decision=trade.decision).at == trade.closed_at


def test_entries_are_at_the_close_of_their_bar_and_worse_by_the_costs(
    committed_db: CommittedDatabase, tmp_path: Path
) -> None:
    files = market_files()
    replay(tmp_path, files)
    closes = {(file.symbol, bar.end): bar.close for file in files.values() for bar in file.bars}
    for trade in Trade.objects.select_related("instrument", "decision__signal"):
        assert trade.opened_at == trade.decision.signal.at
        assert time(7, 5) <= (trade.opened_at - timedelta(minutes=5)).time() < time(10)
        mid = closes[trade.instrument.symbol, trade.opened_at]
        worse = trade.entry_price - mid if trade.side == "BUY" else mid - trade.entry_price
        assert 0 < worse <= 4 * trade.instrument.pip_size


def test_every_signal_has_its_decision_and_no_bar_gives_two(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    replay(tmp_path)
    decisions = Decision.objects.select_related("signal__instrument")
    days = [(d.signal.instrument.symbol, d.signal.bar_start.date()) for d in decisions]
    assert len(days) == len(set(days)) >= 4
    assert all(decision.gates for decision in decisions)
    assert not Order.objects.exclude(state__in=["FILLED", "CANCELLED"]).exists()


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_bar_that_reaches_stop_and_target_is_a_loss(
    committed_db: CommittedDatabase, tmp_path: Path, side: str
) -> None:
    from dataclasses import replace

    from tests.trading.engine.running import bar_file

    files = market_files(("EURUSD",), days=market_days()[:1], seed=5)
    replay(tmp_path, files)
    decision = Decision.objects.filter(verdict="APPROVED").get()
    signal = decision.signal
    bars = list(files["EURUSD"].bars)
    after = next(i for i, bar in enumerate(bars) if bar.start == signal.at)
    high, low = max(signal.stop, signal.target) + 1, min(signal.stop, signal.target) - Decimal("0.5")
    wide = replace(bars[after], high=high, low=low)
    replay(tmp_path, {"EURUSD": bar_file([*bars[:after], wide, *bars[after + 1 :]])})
    trade = Trade.objects.exclude(decision=decision).get()
    assert (trade.close_reason, trade.closed_at) == ("SL", signal.at) and trade.r < -1
