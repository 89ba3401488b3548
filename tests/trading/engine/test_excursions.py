"""How far trades went while they were open: what the bars between entry and exit say, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from tests.conftest import CommittedDatabase
from tests.trading.engine.conftest import Undisturbed
from tests.trading.engine.market import DAYS
from tests.trading.engine.running import SYMBOLS, market_files, replay
from tests.trading.services.sessions import make_session
from trading.models import Account, Mark, Trade
from trading.services import excursions
from trading.services.audit import Actor
from trading.services.rebuild import rebuild

D = Decimal


def seen(trade: Trade) -> list[Decimal]:
    """What the trade could have been left at in every bar that began and ended while it was open, and its exit."""
    (file,) = (file for symbol, file in market_files().items() if symbol == trade.instrument.symbol)
    half = make_session(SYMBOLS).spread_pips(file.symbol) * trade.instrument.pip_size / 2
    shift = -half if trade.side == "BUY" else half
    assert trade.closed_at is not None and trade.exit_price is not None
    inside = [bar for bar in file.bars if trade.opened_at <= bar.start and bar.end <= trade.closed_at]
    return [*(price + shift for bar in inside for price in (bar.low, bar.high)), trade.exit_price]


def test_the_excursions_of_a_trade_are_those_of_the_bars_that_it_was_open_through(undisturbed: Undisturbed) -> None:
    for trade in undisturbed.trades:
        risk = abs(trade.entry_price - trade.initial_stop)
        way = 1 if trade.side == "BUY" else -1
        gains = [(price - trade.entry_price) * way / risk for price in seen(trade)]
        assert trade.mfe_r == round(max(*gains, D(0)), 6) and trade.mae_r == round(min(*gains, D(0)), 6)
        assert trade.mae_r <= min(trade.r, D(0)) <= max(trade.r, D(0)) <= trade.mfe_r
    assert any(trade.r < trade.mfe_r > 0 for trade in undisturbed.trades)
    assert any(trade.mae_r < min(trade.r, D(0)) for trade in undisturbed.trades if trade.mae_r is not None)


def test_marks_are_few_on_the_side_that_leaves_the_trade_and_name_where_they_come_from(
    committed_db: CommittedDatabase, tmp_path: Path
) -> None:
    files = market_files(("EURUSD",), days=DAYS[:1])
    replay(tmp_path, files)
    trade = Trade.objects.get()
    marks = list(Mark.objects.order_by("id"))
    bars = {bar.end: bar for bar in files["EURUSD"].bars}
    half = make_session(SYMBOLS).spread_pips("EURUSD") * trade.instrument.pip_size / 2
    shift = -half if trade.side == "BUY" else half
    assert marks and {mark.purpose for mark in marks} == {f"EXTREME {trade.decision_id}"}
    for mark in marks:
        bar = bars[mark.at]
        assert mark.price in (bar.low + shift, bar.high + shift)
        assert mark.source.startswith("bid of a 300 s bar" if trade.side == "BUY" else "ask of a 300 s bar")
    for number, mark in enumerate(marks):
        before = [trade.entry_price, *(other.price for other in marks[:number] if other.at < mark.at)]
        assert not min(before) <= mark.price <= max(before), "each goes further than all before it"
    account = Account.objects.get(broker="PAPER")
    assert not rebuild(account, actor=Actor.system("a test"), check=True).differences


def test_an_open_trade_says_at_once_how_far_it_went(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    """The bars end while the trade is open: its row says what a rebuild would say."""
    files = market_files(("EURUSD",), days=DAYS[:1])
    replay(tmp_path, files)
    ended = Trade.objects.get()
    bars = [bar for bar in files["EURUSD"].bars if ended.closed_at is not None and bar.end < ended.closed_at]
    replay(tmp_path, {"EURUSD": type(files["EURUSD"])("EURUSD", 300, tuple(bars), tuple(range(2, len(bars) + 2)), "x")})
    trade = Trade.objects.exclude(pk=ended.pk).get()
    assert trade.state == "OPEN" and trade.mfe_r is not None and trade.mae_r is not None
    assert trade.mfe_r > 0 or trade.mae_r < 0
    assert not rebuild(trade.account, actor=Actor.system("a test"), check=True).differences


def test_a_price_from_after_the_close_is_no_excursion(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    replay(tmp_path, market_files(("EURUSD",), days=DAYS[:1]))
    trade = Trade.objects.get()
    assert trade.closed_at is not None
    counted, later = Mark.objects.count(), trade.closed_at + timedelta(minutes=5)
    excursions.keep_extremes(account=trade.account, decision=trade.decision, prices=[D(9)], at=later, source="a test")
    assert Mark.objects.count() == counted and Trade.objects.get().mfe_r == trade.mfe_r
