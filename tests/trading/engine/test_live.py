"""The live engine on a simulator's candles: each bar is acted on once, and a restart at any moment changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.trading.engine.live_desk import FRIDAY, SYMBOLS, Desk, at
from tests.trading.engine.market import FIVE
from tests.trading.engine.running import bar_file, replay
from trading.brokers.oanda import OandaBroker
from trading.brokers.paper import PaperBroker
from trading.domain.bars import Bar as DomainBar
from trading.domain.broker import BrokerCandle, BrokerUnreachable
from trading.engine import live, sender
from trading.engine.live import evaluate_due
from trading.models import Account, Bar, Decision, Order, Signal, Trade
from trading.selectors import books
from trading.services import cursors, leases
from trading.services.exits import plan_exit


def signals(account: Account) -> list[tuple[Any, ...]]:
    """What the strategies wanted on Friday."""
    rows = Signal.objects.filter(account=account, bar_start__gte=FRIDAY).order_by("bar_start", "instrument__symbol")
    return list(rows.values_list("strategy", "instrument__symbol", "bar_start", "side", "entry", "stop", "target"))


def test_each_bar_is_acted_on_once_and_the_signals_are_those_of_a_replay_of_the_stored_bars(
    desk: Desk, tmp_path: Path
) -> None:
    acted = desk.run(at(7, 45))
    assert acted == [1] * len(acted)
    assert evaluate_due(desk.setup) == 0, "the same moment is not acted on again"
    desk.run(at(10, 15), each=timedelta(minutes=30))
    account = desk.setup.account
    seen = signals(account)
    assert len(seen) == 2
    assert [(d.verdict, d.reason) for d in Decision.objects.filter(account=account)] == [("APPROVED", "")] * 2
    trades = Trade.objects.filter(account=account)
    assert [trade.state for trade in trades] == ["CLOSED", "CLOSED"] and books.positions(account) == {}
    files = {}
    for symbol in SYMBOLS:
        rows = Bar.objects.filter(instrument__symbol=symbol).order_by("start")
        files[symbol] = bar_file(
            [DomainBar(symbol, r.start, 300, r.open, r.high, r.low, r.close, r.volume) for r in rows]
        )
    replay(tmp_path, files)
    assert signals(Account.objects.get(name__startswith="replay-")) == seen


def test_the_paper_book_is_built_again_from_the_facts_with_its_open_position(desk: Desk) -> None:
    desk.run(at(7, 25))
    account = desk.setup.account
    opened = Trade.objects.get(account=account, instrument__symbol="EURUSD", state="OPEN")
    engine = live._build(desk.setup, _NoBroker(), [], None, at(7, 25))
    (entry,) = [item for item in engine.paper.book.open_entries if item.instrument == "EURUSD"]
    assert (entry.quantity, entry.price) == (opened.open_quantity, opened.entry_price)
    assert entry.stop_loss is not None and entry.take_profit is not None
    assert (entry.stop_loss.price, entry.take_profit.price) == (opened.initial_stop, opened.target)
    assert engine.paper.book.balance == books.cash_balances(account)["USD"]
    assert engine.paper.book.knows(entry.client_id)


class _NoBroker:
    """Nobody is asked while a book is built."""

    name = "nobody"


class Killed(BaseException):
    """The process ends here."""


STATES = {"before the claim": "PLANNED", "after the claim": "SENDING", "before its events are stored": "WORKING"}


@pytest.mark.parametrize(
    ("step", "later"),
    [(step, minutes) for step in STATES for minutes in (0, 10) if (step, minutes) != ("before the claim", 10)],
)
def test_a_paper_order_that_a_crash_left_behind_is_filled_as_of_its_own_bar(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str, later: int
) -> None:
    account = desk.setup.account
    _crash(desk, monkeypatch, step)
    order = Order.objects.get(account=account, tag="ENTRY")
    assert order.state == STATES[step]
    desk.play(order.at + timedelta(minutes=later))
    evaluate_due(desk.setup)
    trade = Trade.objects.get(account=account, decision=order.decision)
    order.refresh_from_db()
    assert (order.state, trade.opened_at) == ("FILLED", order.at)
    closes = Bar.objects.get(instrument=order.instrument, start=order.at - FIVE).close
    assert abs(trade.entry_price - closes) <= 4 * order.instrument.pip_size
    assert Order.objects.filter(account=account, tag="ENTRY", instrument=order.instrument).count() == 1
    desk.play(at(10, 15))
    evaluate_due(desk.setup)
    assert not Trade.objects.filter(account=account, state="OPEN").exists()


def _crash(desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Let the engine run until its process ends at that step of the first paper order."""
    claim, events_since = sender.claim, PaperBroker.events_since

    def claims(*planned: Any) -> list[Order]:
        if step == "before the claim":
            raise Killed
        claimed = claim(*planned)
        if step == "after the claim":
            raise Killed
        return claimed

    def tells(self: PaperBroker, cursor: str) -> Any:
        page = events_since(self, cursor)
        if step == "before its events are stored" and any(event.fills for event in page.events):
            raise Killed
        return page

    with monkeypatch.context() as patched:
        patched.setattr(sender, "claim", claims)
        patched.setattr(PaperBroker, "events_since", tells)
        with pytest.raises(Killed):
            desk.run(at(8))


def test_a_planned_entry_that_a_crash_left_behind_is_not_sent_when_it_is_old(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    _crash(desk, monkeypatch, "before the claim")
    order = Order.objects.get(account=desk.setup.account, tag="ENTRY")
    desk.play(order.at + timedelta(minutes=10))
    evaluate_due(desk.setup)
    order.refresh_from_db()
    assert order.state == "EXPIRED" and "old" in order.reason
    assert {leg.state for leg in Order.objects.filter(rides_on=order)} == {"CANCELLED"}
    assert not Trade.objects.filter(decision=order.decision).exists()


def test_an_order_planned_before_a_restart_for_a_bar_that_is_done_goes_at_the_last_price(desk: Desk) -> None:
    desk.run(at(7, 25))
    account = desk.setup.account
    trade = Trade.objects.get(account=account, instrument__symbol="EURUSD", state="OPEN")
    order = plan_exit(
        account=account, decision=trade.decision, exit_type="MANUAL", reason="a person wants out",
        quantity=trade.open_quantity, at=at(7, 25),
    )  # fmt: skip
    desk.run(at(7, 30))
    order.refresh_from_db()
    trade.refresh_from_db()
    assert (order.state, trade.state, trade.close_reason) == ("FILLED", "CLOSED", "MANUAL")


def test_a_bar_of_one_symbol_that_closes_while_another_is_fetched_waits_for_the_next_round(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run(at(7))
    candles, asked = OandaBroker.candles, []

    def slow(self: OandaBroker, instrument: str, **how: Any) -> list[BrokerCandle]:
        asked.append(instrument)
        if len(asked) == 2:
            desk.play(at(7, 10))
        return list(candles(self, instrument, **how))

    desk.play(at(7, 5))
    with monkeypatch.context() as patched:
        patched.setattr(OandaBroker, "candles", slow)
        assert evaluate_due(desk.setup) == 1
    assert len(asked) == 2 and _acted_until(desk) == at(7)
    assert not Bar.objects.filter(start__gt=at(7)).exists()
    desk.play(at(7, 15))
    assert evaluate_due(desk.setup) == 2
    assert _acted_until(desk) == at(7, 10)
    for start in (at(7), at(7, 5), at(7, 10)):
        assert set(Bar.objects.filter(start=start).values_list("instrument__symbol", flat=True)) == set(SYMBOLS)


def _acted_until(desk: Desk) -> datetime:
    return datetime.fromisoformat(cursors.get(desk.setup.account, live.CURSOR))


def test_a_feed_that_does_not_answer_is_an_error_and_the_lease_is_given_back(desk: Desk) -> None:
    dead = Account.objects.get(pk=desk.setup.feed_account.pk)
    dead.endpoint = "http://127.0.0.1:9"
    for account, error in ((dead, BrokerUnreachable), (_without_endpoint(dead), BrokerUnreachable)):
        with pytest.raises(error):
            evaluate_due(replace(desk.setup, feed_account=account))
        assert not leases.held(f"engine:{desk.setup.account.pk}")


def _without_endpoint(account: Account) -> Account:
    other = Account.objects.get(pk=account.pk)
    other.endpoint = ""
    return other


def test_while_another_process_runs_the_engine_nothing_is_done(desk: Desk) -> None:
    desk.play(at(7))
    token = leases.acquire(key=f"engine:{desk.setup.account.pk}", holder="another", seconds=30)
    assert token is not None and evaluate_due(desk.setup) == 0
    leases.release(key=f"engine:{desk.setup.account.pk}", token=token)
    assert evaluate_due(desk.setup) == 1
