"""The shipped Indian session by one command: on the paper book and mirrored to the simulator's Kite, books equal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import trading
from tests.conftest import CommittedDatabase
from tests.servers import Simulator
from tests.trading.engine.market import FIVE, write_csv
from tests.trading.management.commands import Files, run
from trading.domain.bars import Bar
from trading.domain.session import load_session
from trading.models import Account, Order, Trade
from trading.selectors import books

SHIPPED = Path(trading.__file__).parent / "config" / "india_intraday.yaml"
SHARES = ("INFY", "RELIANCE")
# The bell at 09:15 in India.
BELL = datetime(2026, 3, 5, 3, 45, tzinfo=UTC)


def make_bars(symbol: str) -> list[Bar]:
    """A morning with a wide range: INFY breaks out and goes on, RELIANCE breaks down and stays."""
    price, way = {"INFY": (Decimal(1500), 1), "RELIANCE": (Decimal(1300), -1)}[symbol]
    bars = []
    for number in range(74):
        step = {0: Decimal(0), 1: way * Decimal("4.00"), 2: Decimal("0.10")}.get(number, Decimal(0))
        if symbol == "INFY" and number > 3:
            step = Decimal("0.50")
        close, wick = price + step, Decimal("2.00") if number == 0 else Decimal("0.20")
        high, low = max(price, close) + wick, min(price, close) - wick
        bars.append(Bar(symbol, BELL + number * FIVE, 300, price, high, low, close, Decimal(1000)))
        price = close
    return bars


@pytest.fixture
def shares(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Files:
    """The shipped session, and a file of bars for each of its shares."""
    settings.BASE_DIR = tmp_path
    for name in ("KITE_API_KEY", "KITE_ACCESS_TOKEN", "KITE_URL"):
        monkeypatch.delenv(name, raising=False)
    files = Files(tmp_path)
    files.cfg.write_text(SHIPPED.read_text(encoding="utf-8"))
    for symbol in SHARES:
        write_csv(files.bars(symbol), make_bars(symbol))
    return files


@pytest.fixture
def stage(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator that the environment names, where orders are intraday ones."""
    monkeypatch.setenv("SIMULATOR_URL", simulator.control_url)
    monkeypatch.setenv("KITE_PRODUCT", "MIS")
    yield simulator


def test_the_shipped_session_ends_its_day_before_the_broker_does() -> None:
    session = load_session(SHIPPED.read_text(encoding="utf-8"))
    assert (session.currency, session.portfolio.venue, session.portfolio.tz) == ("INR", "KITE", "Asia/Kolkata")
    assert {window.ends_at for window in session.windows()} == {"15:10"}
    assert all(session.is_trading(BELL + number * FIVE) for number in range(75))
    assert not session.is_trading(BELL - FIVE)


def test_one_command_sets_up_a_kite_account_at_the_simulator_and_trades_a_day_there(
    committed_db: CommittedDatabase, stage: Simulator, capfd: pytest.CaptureFixture[str], shares: Files
) -> None:
    ended = run(capfd, "live_oanda", *shares.arguments(SHARES), "--mirror", "kite")
    assert ended.code == 0, ended
    paper, mirror = Account.objects.get(broker="PAPER"), Account.objects.get(broker="KITE")
    for account in (paper, mirror):
        assert (account.currency, account.time_zone) == ("INR", "Asia/Kolkata")
        assert account.policy.name == "india_intraday"
    entries = Order.objects.filter(account=mirror, tag="ENTRY")
    assert sorted(entries.values_list("instrument__symbol", "side", "state")) == [
        ("INFY", "BUY", "FILLED"),
        ("RELIANCE", "SELL", "FILLED"),
    ]
    trades = Trade.objects.filter(account=mirror)
    assert {trade.state for trade in trades} == {"CLOSED"}
    truth = stage.truth("SIMKITE")
    assert truth["positions"] == [] and books.positions(mirror) == {}
    assert books.cash_balances(mirror)["INR"] == Decimal(truth["cash"]["INR"])
    assert {row["status"] for row in truth["orders"]} <= {"COMPLETE", "CANCELLED"}
    sent = [row["client_id"] for row in truth["orders"]]
    assert len(sent) == len(set(sent)) == Order.objects.filter(account=mirror, rides_on=None, attempt__gt=0).count()
