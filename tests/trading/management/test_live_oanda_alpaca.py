"""`live_oanda --mirror alpaca --mode replay`: shares on the paper book and at Alpaca, each order once, books equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CommittedDatabase
from tests.servers import Simulator
from tests.trading.engine.market import FIVE, write_csv
from tests.trading.engine.running import row_counts
from tests.trading.management.commands import Ended, Files, run
from tests.trading.services.sessions import session_text
from trading.domain.bars import Bar
from trading.models import Account, Fill, Order, Trade
from trading.selectors import books

Capture = pytest.CaptureFixture[str]
SHARES = ("AAPL", "SPY")
DAYS = tuple(datetime(2026, 3, day, 14, 30, tzinfo=UTC) for day in (5, 6))
# Each day and share: which way the opening range breaks, and what comes afterwards.
PATHS = {
    ("AAPL", 5): (1, "TP"),
    ("SPY", 5): (-1, "SL"),
    ("AAPL", 6): (1, "TIME"),
    ("SPY", 6): (1, "TP"),
}


def make_bars(symbol: str) -> list[Bar]:
    """Mornings that open with a wide range, break out of it at once, and then go where PATHS says."""
    price, bars = {"AAPL": Decimal(200), "SPY": Decimal(550)}[symbol], []
    for day in DAYS:
        way, end = PATHS[symbol, day.day]
        afterwards = {"TP": way * Decimal("0.30"), "SL": -way * Decimal("0.40"), "TIME": Decimal(0)}[end]
        for number in range(60):
            step = {0: Decimal(0), 1: way * Decimal("0.70"), 2: Decimal("0.02")}.get(number, afterwards)
            close, wick = price + step, Decimal("0.50") if number == 0 else Decimal("0.05")
            high, low = max(price, close) + wick, min(price, close) - wick
            bars.append(Bar(symbol, day + number * FIVE, 300, price, high, low, close, Decimal(1000)))
            price = close
    return bars


@pytest.fixture
def shares(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Files of two mornings in New York, and a session that trades them at Alpaca."""
    settings.BASE_DIR = tmp_path
    for name in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "ALPACA_URL", "ALPACA_PAPER"):
        monkeypatch.delenv(name, raising=False)
    files = Files(tmp_path)
    text = session_text(SHARES, window_end="19:00").replace("venue: OANDA", "venue: ALPACA")
    text = text.replace("retest: false,", "retest: false, use_trend_filter: false,")
    text = text.replace('session_start: "07:00"', 'session_start: "14:30"').replace('start: "07:05"', 'start: "14:35"')
    files.cfg.write_text(text)
    for symbol in SHARES:
        write_csv(files.bars(symbol), make_bars(symbol))
    return files


@pytest.fixture
def stage(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator that the environment names."""
    monkeypatch.setenv("SIMULATOR_URL", simulator.control_url)
    yield simulator


def live_oanda(capfd: Capture, files: Files, *more: str) -> Ended:
    return run(capfd, "live_oanda", *files.arguments(SHARES), "--mirror", "alpaca", *more)


def journal_of(simulator: Simulator, kind: str) -> list[dict[str, Any]]:
    rows = simulator.journal()
    return [row["data"] for row in rows if row["kind"] == kind and row["account"] == "SIMALPACA"]


def test_every_mirrored_order_is_once_at_alpaca_and_the_books_say_what_alpaca_says(
    committed_db: CommittedDatabase, stage: Simulator, capfd: Capture, shares: Files
) -> None:
    first = live_oanda(capfd, shares)
    assert first.code == 0, first
    paper, mirror = Account.objects.get(broker="PAPER"), Account.objects.get(broker="ALPACA")
    ours = Order.objects.filter(account=mirror)
    entries = ours.filter(tag="ENTRY")
    assert 3 <= entries.count() == Order.objects.filter(account=paper, tag="ENTRY").count()
    ends = set(Trade.objects.filter(account=mirror).values_list("close_reason", flat=True))
    assert {"TP", "SL", "TIME"} <= ends, "the mirror must meet targets, stops and the end of the window"

    orders = {(row["id"], row["client_id"]) for row in journal_of(stage, "order")}
    assert {row for row, _ in orders} == {order.broker_order_id for order in ours}, (
        "no order that is not ours, none twice"
    )
    sent = Counter(client_id for _, client_id in orders)
    own = [order.client_order_id for order in ours.filter(rides_on=None)]
    assert {client_id: sent[client_id] for client_id in own} == dict.fromkeys(own, 1)
    posts = [row for row in journal_of(stage, "request") if row["method"] == "POST"]
    assert len(posts) == len(own)
    assert not ours.exclude(state__in=["FILLED", "CANCELLED"]).exists()

    truth = stage.truth("SIMALPACA")
    assert books.cash_balances(mirror)["USD"] == Decimal(truth["cash"]["USD"])
    assert truth["positions"] == [] and books.positions(mirror) == {}
    theirs = [(Decimal(f["quantity"]), Decimal(f["price"]), f["id"]) for f in journal_of(stage, "fill")]
    fills = Fill.objects.filter(account=mirror).order_by("broker_event__sequence")
    assert theirs == [(fill.quantity, fill.price, fill.external_id) for fill in fills]
    mirrored = Trade.objects.filter(account=mirror)
    assert {trade.state for trade in mirrored} == {"CLOSED"}
    assert books.cash_balances(mirror)["USD"] == 100000 + sum(trade.pnl for trade in mirrored)

    counted, happened = row_counts(), len(posts)
    again = live_oanda(capfd, shares)
    assert again.code == 0 and row_counts() == counted
    assert len([row for row in journal_of(stage, "request") if row["method"] == "POST"]) == happened
    assert "not driven again" in again.blocks[-1]["notes"][0]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"ALPACA_API_KEY": "a-key", "ALPACA_SECRET_KEY": "a-secret"}, "Unset ALPACA_API_KEY and ALPACA_SECRET_KEY"),
        ({"SIMULATOR_URL": "http://127.0.0.1:9", "ALPACA_URL": "https://api.alpaca.markets"}, "name different brokers"),
    ],
)
def test_a_real_alpaca_is_refused_for_a_mirrored_replay(
    committed_db: CommittedDatabase,
    capfd: Capture,
    shares: Files,
    monkeypatch: pytest.MonkeyPatch,
    names: dict[str, str],
    words: str,
) -> None:
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    before = row_counts()
    ended = live_oanda(capfd, shares)
    assert ended.code == 1 and "Traceback" not in ended.err
    assert ended.blocks[-1]["ok"] is False and words in ended.blocks[-1]["error"]
    assert row_counts() == before


def test_decisions_of_one_venue_are_not_mirrored_to_another(
    committed_db: CommittedDatabase, capfd: Capture, shares: Files
) -> None:
    ended = run(capfd, "live_oanda", *shares.arguments(SHARES), "--mirror", "oanda")
    assert ended.code == 1 and "Use --mirror alpaca" in ended.blocks[-1]["error"]


def test_live_without_credentials_says_what_must_be_set(
    committed_db: CommittedDatabase, capfd: Capture, shares: Files
) -> None:
    ended = run(capfd, "live_oanda", "--cfg", str(shares.cfg), "--mode", "ws", "--mirror", "alpaca")
    assert ended.code == 1
    assert ended.blocks[-1]["error"] == "ALPACA_API_KEY and ALPACA_SECRET_KEY must be set"
