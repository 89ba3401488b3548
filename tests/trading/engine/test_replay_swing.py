"""Swing trading in a replay: daily bars of shares, positions over nights and weekends, exits at a bar's close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

import trading
from tests.conftest import CommittedDatabase
from tests.trading.engine.running import blocks, replay, row_counts
from tests.trading.services.histories import left_behind
from tests.trading.strategies.days import random_days, rising, then
from trading.domain.bars import DAY_SECONDS, Bar, BarFile, bars_sha256
from trading.domain.session import SessionConfig, load_session
from trading.models import Account, Decision, ExitIntent, Order, Trade
from trading.selectors import books

D = Decimal
SHIPPED = (Path(trading.__file__).parent / "config" / "us_swing.yaml").read_text(encoding="utf-8")


def session() -> SessionConfig:
    """The shipped swing session."""
    return load_session(SHIPPED)


def day_file(bars: Sequence[Bar]) -> BarFile:
    """Daily bars as they come out of a file."""
    return BarFile(bars[0].symbol, DAY_SECONDS, tuple(bars), tuple(range(2, len(bars) + 2)), bars_sha256(bars))


def paper() -> Account:
    """The account of the replay."""
    return Account.objects.get(broker="PAPER")


def test_shares_are_bought_held_for_days_and_left_at_a_close_and_a_second_run_adds_nothing(
    committed_db: CommittedDatabase, tmp_path: Path
) -> None:
    files = {symbol: day_file(random_days(3, 270, symbol)) for symbol in ("AAPL", "SPY")}
    printed = replay(tmp_path, files, session=session())
    account, last = paper(), blocks(printed)[-1]
    assert (account.time_zone, account.currency, account.policy.name) == ("America/New_York", "USD", "us_swing")
    trades = list(Trade.objects.select_related("decision__signal", "instrument").order_by("opened_at"))
    closed = [trade for trade in trades if trade.state == Trade.State.CLOSED]
    assert {trade.close_reason for trade in closed} == {"SL", "SWING_EXIT"}, "never TIME: the window does not close"
    assert any((trade.closed_at - trade.opened_at).days > 20 for trade in closed if trade.closed_at), "over weekends"
    assert Decimal(last["total"]["pnl"]) == sum((trade.pnl for trade in closed), D(0)) != 0
    held = sum((trade.open_quantity * trade.entry_price for trade in trades), D(0))
    assert books.cash_balances(account)["USD"] == 100_000 + sum((trade.pnl for trade in closed), D(0)) - held
    for trade in trades:
        assert trade.quantity % 1 == 0
        assert trade.quantity * trade.decision.signal.entry <= D("0.05") * D(last["dd_lock"]["peak_equity"])
        assert trade.decision.signal.confidence in (4, 5) and trade.decision.signal.feature_scores
    for symbol in files:
        spans = [(trade.opened_at, trade.closed_at) for trade in trades if trade.instrument.symbol == symbol]
        assert all(ended is not None and ended <= begun for (_, ended), (begun, _) in pairwise(spans))
    counted, left = row_counts(), left_behind(account)
    assert replay(tmp_path, files, session=session()) == printed
    assert row_counts() == counted and left_behind(account) == left


def test_an_exit_of_the_strategy_is_a_market_order_at_the_close_of_its_bar_with_its_reason(
    committed_db: CommittedDatabase, tmp_path: Path
) -> None:
    bars = rising(240)
    printed = replay(tmp_path, {"SPY": day_file(bars)}, session=session())
    intent = ExitIntent.objects.get()
    left_at = bars[209 + 20]
    assert (intent.exit_type, intent.exit_reason, intent.at) == ("SWING_EXIT", "held for 20 days", left_at.end)
    order = Order.objects.get(exit_intent=intent)
    assert (order.type, order.side, order.state, order.reduce_only) == ("MARKET", "SELL", "FILLED", True)
    trade = Trade.objects.get(state="CLOSED")
    assert (trade.opened_at, trade.closed_at, trade.close_reason) == (bars[209].end, left_at.end, "SWING_EXIT")
    # Half of a spread of a cent and a cent of slippage, on the step, against us.
    assert trade.entry_price == bars[209].close + D("0.02") and trade.exit_price == left_at.close - D("0.02")
    assert trade.pnl == trade.quantity * (D("2.00") - D("0.04"))
    rested = Order.objects.filter(decision=trade.decision, tag__in=["STOP", "TP1"])
    assert {(order.tag, order.state) for order in rested} == {("STOP", "CANCELLED"), ("TP1", "CANCELLED")}
    rejected = Decision.objects.get(verdict="REJECTED")
    assert rejected.reason.startswith("bar_had_position") and rejected.signal.bar_start == left_at.start
    assert [row["strategy"] for row in blocks(printed)[-1]["positions"]] == ["trend_pullback"], "and the next day again"


def test_the_target_ten_percent_above_rests_with_the_entry(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    bars = rising(210)
    jump = then(bars, "133.50")
    replay(tmp_path, {"SPY": day_file([*bars, replace(jump[0], open=D("121.00"), low=D("121.00"))])}, session=session())
    trade = Trade.objects.get()
    assert (trade.close_reason, trade.exit_price) == ("TP", D("132.99") - D("0.02"))


@pytest.mark.parametrize("ratio", [4, 7])
def test_a_split_in_raw_prices_ends_what_is_held_at_its_open_and_keeps_entries_away_until_averages_are_filled(
    committed_db: CommittedDatabase, tmp_path: Path, ratio: int
) -> None:
    bars = rising(430)
    split = [
        replace(item, **{name: round(getattr(item, name) / ratio, 2) for name in ("open", "high", "low", "close")})
        for item in bars[215:]
    ]
    printed = replay(tmp_path, {"SPY": day_file([*bars[:215], *split])}, session=session())
    first, *later = Trade.objects.order_by("opened_at")
    assert (first.close_reason, first.exit_price) == ("SL", split[0].open - D("0.02")) and first.r < -10
    assert [trade.opened_at for trade in later] == [split[210].end], "once 210 bars are there, and no day before"
    (rejected,) = Decision.objects.filter(verdict="REJECTED")
    assert (rejected.signal.bar_start, rejected.reason) == (
        split[209].start,
        "data_quality: bars are missing, and the indicators are not filled again",
    )
    (note,) = blocks(printed)[-1]["notes"]
    assert note.startswith("SPY opens at ") and "a split in unadjusted prices, or a bad number" in note
