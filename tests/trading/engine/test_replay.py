"""A replay: the same bars give the same books and the same text, once or twice, in whatever order they are named."""

from __future__ import annotations

from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.conftest import CommittedDatabase
from tests.trading.engine.conftest import Undisturbed
from tests.trading.engine.market import DAYS
from tests.trading.engine.running import bar_file, blocks, market_files, replay, row_counts
from tests.trading.services.histories import left_behind
from trading.models import Account, Decision, Trade


def paper() -> Account:
    """The account of the replay."""
    return Account.objects.get(broker="PAPER")


def test_it_trades_and_its_total_is_the_ledgers(undisturbed: Undisturbed) -> None:
    printed, trades = blocks(undisturbed.printed), undisturbed.trades
    last = printed[-1]
    assert len(printed) == len(DAYS) and all(block["ok"] is True for block in printed)
    assert ["total" in block for block in printed] == [False, False, True]
    assert len(trades) == int(last["total"]["trades"]) >= 4
    assert {trade.state for trade in trades} == {"CLOSED"} and last["positions"] == []
    assert Decimal(last["total"]["pnl"]) == undisturbed.cash - undisturbed.deposit == undisturbed.moved != 0
    assert Decimal(last["total"]["r"]) == sum((trade.r for trade in trades), Decimal(0))
    assert Decimal(last["budgets"]["equity"]) == undisturbed.cash
    assert {trade.close_reason for trade in trades} == {"SL", "TP", "TIME"}
    by_day = {block["now"][:10]: Decimal(block["today"]["pnl_total"]) for block in printed}
    assert sum(by_day.values()) == Decimal(last["total"]["pnl"])


def test_a_second_run_adds_no_row_and_prints_the_same(
    committed_db: CommittedDatabase, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    first = replay(tmp_path)
    assert first == undisturbed.printed
    counted, left = row_counts(), left_behind(paper())
    written = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    assert replay(tmp_path) == first
    assert row_counts() == counted
    assert left_behind(paper()) == left == undisturbed.left
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == written


def test_the_order_in_which_files_are_named_means_nothing(
    committed_db: CommittedDatabase, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    assert replay(tmp_path, market_files(("XAUUSD", "EURUSD"))) == undisturbed.printed
    assert left_behind(paper()) == undisturbed.left


def test_other_bars_are_another_account(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    for seed in (1, 2):
        replay(tmp_path, market_files(("EURUSD",), days=DAYS[:1], seed=seed))
    names = set(Account.objects.values_list("name", flat=True))
    assert len(names) == 2 and all(name.startswith("replay-") and len(name) == 15 for name in names)


def test_what_is_left_outside_the_windows_goes_at_the_bars_open(undisturbed: Undisturbed) -> None:
    trades = [trade for trade in undisturbed.trades if trade.close_reason == "TIME"]
    opens = {(file.symbol, bar.start): bar.open for file in market_files().values() for bar in file.bars}
    for trade in trades:
        assert trade.closed_at is not None and trade.closed_at.time() == time(10)
        mid, price = opens[trade.instrument.symbol, trade.closed_at], trade.exit_price or Decimal(0)
        worse = mid - price if trade.side == "BUY" else price - mid
        assert 0 < worse <= 4 * trade.instrument.pip_size, "the open, less the costs"
        (order,) = [o for o in undisturbed.orders if o.exit_intent and o.exit_intent.decision_id == trade.decision_id]
        assert order.at == trade.closed_at
    assert trades


def test_entries_are_at_the_close_of_their_bar_and_worse_by_the_costs(undisturbed: Undisturbed) -> None:
    closes = {(file.symbol, bar.end): bar.close for file in market_files().values() for bar in file.bars}
    for trade in undisturbed.trades:
        assert trade.opened_at == trade.decision.signal.at
        assert time(7, 5) <= (trade.opened_at - timedelta(minutes=5)).time() < time(10)
        mid = closes[trade.instrument.symbol, trade.opened_at]
        worse = trade.entry_price - mid if trade.side == "BUY" else mid - trade.entry_price
        assert 0 < worse <= 4 * trade.instrument.pip_size


def test_every_signal_has_its_decision_and_no_day_gives_a_symbol_two(undisturbed: Undisturbed) -> None:
    days = [(d.signal.instrument.symbol, d.signal.bar_start.date()) for d in undisturbed.decisions]
    assert len(days) == len(set(days)) >= 4
    assert all(decision.gates for decision in undisturbed.decisions)
    assert {order.state for order in undisturbed.orders} == {"FILLED", "CANCELLED"}


@pytest.mark.parametrize("seed", [5, 6])
def test_a_bar_that_reaches_stop_and_target_is_a_loss(
    committed_db: CommittedDatabase, tmp_path: Path, seed: int
) -> None:
    files = market_files(("EURUSD",), days=DAYS[:1], seed=seed)
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
