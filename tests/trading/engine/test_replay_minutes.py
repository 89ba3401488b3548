"""Minutes of an exchange abroad in a replay: its own hours, its own currency."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from tests.conftest import CommittedDatabase
from tests.trading.domain.making import at
from tests.trading.engine.running import blocks, replay
from trading.domain.bars import Bar, BarFile, bars_sha256
from trading.domain.session import load_session
from trading.models import Account, Decision, Trade
from trading.selectors import books

D = Decimal
SESSION = """
portfolio:
  symbols: [YESBANK]
  interval: 1m
  source: csv
  venue: KITE
  spreads: {YESBANK: 5}
  session_start: "09:15"
  tz: Asia/Kolkata
  risk:
    global_daily_stop_r: -5.0
    max_open_positions: 2
    max_open_per_symbol: 1
    per_strategy_daily_trades: 3
    per_strategy_daily_stop_r: -2.0
    per_strategy_daily_win_r: 6.0
  budget: {equity: 1000000, daily_risk_pct: 2.0, per_trade_risk_pct: 0.5}
strategies:
  - {name: orb, params: {retest: false, use_trend_filter: false}, windows: [{start: "09:16", end: "15:20"}]}
"""


def minutes(days: int = 2) -> list[Bar]:
    """From 09:00 to 15:40 in Mumbai, from a Tuesday on; what is before and after the session moves wildly."""
    chance, close, bars = random.Random(5), D("95.00"), []
    for day in range(days):
        opens = at("2019-07-09 03:30") + timedelta(days=day)
        for minute in range(400):
            in_session = 15 <= minute < 390
            opening = close
            close = opening + D(chance.randint(-8, 9) if in_session else chance.randint(-80, 80)) / 100
            high, low = max(opening, close) + D("0.05"), min(opening, close) - D("0.05")
            bars.append(Bar("YESBANK", opens + timedelta(minutes=minute), 60, opening, high, low, close, D(100)))
            if not in_session:
                close = opening
    return bars


def test_minutes_of_an_exchange_are_traded_in_its_session_and_its_currency(
    committed_db: CommittedDatabase, tmp_path: Path
) -> None:
    bars = minutes()
    file = BarFile("YESBANK", 60, tuple(bars), tuple(range(2, len(bars) + 2)), bars_sha256(bars))
    printed = replay(tmp_path, {"YESBANK": file}, session=load_session(SESSION))
    account, last = Account.objects.get(), blocks(printed)[-1]
    assert (account.currency, account.time_zone) == ("INR", "Asia/Kolkata")
    assert last["data"] == {"bars": "800", "holes": "0", "skipped": "50"}
    trades = list(Trade.objects.all())
    assert len(trades) == Decision.objects.filter(verdict="APPROVED").count() == 2
    for trade in trades:
        assert trade.state == "CLOSED" and trade.quantity % 1 == 0
        assert trade.quantity * trade.entry_price < 51_000, "a twentieth of the account, and not more for its costs"
    assert books.cash_balances(account) == {"INR": 1_000_000 + sum((trade.pnl for trade in trades), D(0))}
    assert D(last["total"]["pnl"]) == sum((trade.pnl for trade in trades), D(0)) != 0
    assert replay(tmp_path, {"YESBANK": file}, session=load_session(SESSION)) == printed
