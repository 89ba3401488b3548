"""Bars for the live engine: from the price stream where it saw them wholly, else from candles, in time and in order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.trading.engine.live_desk import FRIDAY, SYMBOLS, Desk, at
from tests.trading.engine.stream_desk import wait
from trading.brokers.oanda import OandaBroker
from trading.clock import store_broker_clock
from trading.domain.bars import Bar as DomainBar
from trading.domain.broker import BrokerCandle, BrokerPrice
from trading.engine import live, stream_listener
from trading.engine.connections import broker_for
from trading.engine.live import evaluate_due
from trading.engine.live_bars import CANDLE_GRACE
from trading.engine.stream_bars import PriceListener, prices_name
from trading.engine.streams import Streams
from trading.models import Bar
from trading.services import cursors
from trading.services.market import bar_source, settled_cursor, store_bars, store_stream_bar

EUR, XAU = "EUR_USD", "XAU_USD"


def stored(symbol: str, start: datetime) -> Bar | None:
    return Bar.objects.filter(instrument__symbol=symbol, start=start).first()


def acted_until(desk: Desk) -> datetime:
    return datetime.fromisoformat(cursors.get(desk.setup.account, live.CURSOR))


class Listening:
    """The desk's price stream, and ticks that have arrived when they have been told."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.streams = Streams(accounts=list, setups=lambda: [desk.setup])
        self.streams.start()

    def listener(self) -> Any:
        running = self.streams._running.get(prices_name(self.desk.setup.feed_account))
        return running.listener if running is not None else None

    def tick(self, moment: datetime, name: str, mid: str) -> None:
        """The market jumps to a price at a moment, and our stream has heard of it."""
        self.desk.control.set_clock(moment)
        store_broker_clock(account=self.desk.setup.feed_account, broker_at=moment, speed=Decimal(0))
        half = Decimal("0.1") if name == XAU else Decimal("0.0001")
        self.desk.control.set_price(name, Decimal(mid) - half, Decimal(mid) + half)
        symbol = name.replace("_", "")

        def heard() -> bool:
            forming = self.listener()._bars[symbol][0]._forming
            return forming is not None and forming.close == Decimal(mid)

        wait(heard, 3, f"{name} at {mid} is heard")

    def stop(self) -> None:
        self.streams.stop()
        self.streams.join()


@pytest.fixture
def listening(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    monkeypatch.setattr(stream_listener, "FIRST_PAUSE", 0.1)
    made = Listening(desk)
    try:
        wait(lambda: made.listener() is not None and made.listener()._listening_since, 10, "the stream listens")
        yield made
    finally:
        made.stop()


def candle_requests(desk: Desk) -> int:
    rows = [row["data"]["path"] for row in desk.control.journal() if row["kind"] == "request"]
    return len([path for path in rows if "/candles" in path])


def test_a_bar_that_the_stream_saw_wholly_is_stored_and_is_the_brokers_own(desk: Desk, listening: Listening) -> None:
    asked = candle_requests(desk)
    for seconds, mid in ((1, "1.1000"), (60, "1.1030"), (120, "1.0980"), (299, "1.1010")):
        listening.tick(at(7) + timedelta(seconds=seconds), EUR, mid)
    listening.tick(at(7, 5), EUR, "1.1100")
    bar = wait(lambda: stored("EURUSD", at(7)), 2, "the bar")
    assert candle_requests(desk) == asked
    broker = broker_for(desk.setup.feed_account)
    candle = next(item for item in broker.candles(EUR, since=at(7), until=at(7, 5)))
    broker.close()
    assert (bar.high, bar.low, bar.close) == (candle.high, candle.low, candle.close) == (
        Decimal("1.1030"), Decimal("1.0980"), Decimal("1.1010"),
    )  # fmt: skip
    assert bar.source == bar_source(desk.setup.feed_account)


def test_a_bar_in_which_the_stream_was_cut_comes_from_the_candles(desk: Desk, listening: Listening) -> None:
    listening.tick(at(7) + timedelta(seconds=1), EUR, "1.1000")
    connects = listening.listener().health.connects
    route = f"GET /v3/accounts/{desk.setup.feed_account.external_id}/pricing/stream"
    desk.control.add_fault(broker="oanda", route=route, when="after", action="drop", times=1, args={})
    wait(lambda: listening.listener().health.connects > connects and listening.listener()._listening_since, 8, "again")
    listening.tick(at(7, 4), EUR, "1.1020")
    listening.tick(at(7, 5) + timedelta(seconds=1), EUR, "1.1010")
    listening.tick(at(7, 10) + timedelta(seconds=1), EUR, "1.1000")
    wait(lambda: stored("EURUSD", at(7, 5)), 2, "the following bar is whole")
    assert stored("EURUSD", at(7)) is None
    evaluate_due(desk.setup)
    bar = stored("EURUSD", at(7))
    assert bar is not None and bar.high >= Decimal("1.1020")


def test_the_price_of_another_instrument_closes_the_last_bar_of_a_session(desk: Desk, listening: Listening) -> None:
    listening.tick(at(7) + timedelta(seconds=1), EUR, "1.1000")
    listening.tick(at(7, 5) + timedelta(seconds=2), XAU, "2000")
    wait(lambda: stored("EURUSD", at(7)), 2, "the bar, without a next tick of its own")


def test_the_first_writer_of_a_bar_wins_and_a_settled_slot_gets_none(desk: Desk) -> None:
    account = desk.setup.feed_account

    def bar(start: datetime, close: str) -> DomainBar:
        return DomainBar("EURUSD", start, 300, Decimal(1), Decimal(2), Decimal(1), Decimal(close), Decimal(1))

    start = at(9)
    assert store_stream_bar(account=account, bar=bar(start, "1.5"))
    assert not store_stream_bar(account=account, bar=bar(start, "1.6"))
    assert store_bars(source=bar_source(account), bars=[bar(start, "1.7")]) == 0
    row = stored("EURUSD", start)
    assert row is not None and row.close == Decimal("1.5")
    cursors.put(account=account, name=settled_cursor("EURUSD", 300), value=at(9, 10).isoformat())
    assert not store_stream_bar(account=account, bar=bar(at(9, 5), "1.5"))
    assert store_stream_bar(account=account, bar=bar(at(9, 10), "1.5"))


def _hide_newest(monkeypatch: pytest.MonkeyPatch, hidden: set[tuple[str, datetime]]) -> None:
    candles = OandaBroker.candles

    def some(self: OandaBroker, instrument: str, **how: Any) -> list[BrokerCandle]:
        return [c for c in candles(self, instrument, **how) if (instrument, c.start) not in hidden]

    monkeypatch.setattr(OandaBroker, "candles", some)


def test_a_candle_that_is_late_at_the_boundary_is_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = {(XAU, at(7))}
    _hide_newest(monkeypatch, hidden)
    desk.run(at(7))
    desk.play(at(7, 5))
    assert evaluate_due(desk.setup) == 0 and acted_until(desk) == at(6, 55)
    hidden.clear()
    assert evaluate_due(desk.setup) == 1 and acted_until(desk) == at(7)
    assert set(Bar.objects.filter(start=at(7)).values_list("instrument__symbol", flat=True)) == set(SYMBOLS)


def test_a_symbol_that_did_not_trade_delays_the_others_by_seconds_only(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = {(XAU, at(7))}
    _hide_newest(monkeypatch, hidden)
    desk.run(at(7))
    desk.play(at(7, 5))
    assert evaluate_due(desk.setup) == 0
    desk.control.step_clock(Decimal(CANDLE_GRACE.seconds))
    assert evaluate_due(desk.setup) == 1
    hidden.clear()
    desk.play(at(7, 10))
    assert evaluate_due(desk.setup) == 1
    assert stored("XAUUSD", at(7)) is None, "what was acted on without it stays as it was"


def test_a_hole_before_a_streamed_bar_is_filled_before_that_is_acted_on(desk: Desk) -> None:
    desk.run(at(7))
    desk.play(at(7, 10))
    later = DomainBar("EURUSD", at(7, 5), 300, *(Decimal("1.1"),) * 4, volume=Decimal(1))
    assert store_stream_bar(account=desk.setup.feed_account, bar=later)
    assert evaluate_due(desk.setup) == 2
    assert stored("EURUSD", at(7)) is not None
    row = stored("EURUSD", at(7, 5))
    assert row is not None and row.close == Decimal("1.1"), "the streamed one was there first"


def test_prices_that_cannot_be_traded_at_make_no_bar() -> None:
    listener = PriceListener("p", 0, {EUR: "EURUSD"}, frozenset({300}))
    listener._bars["EURUSD"][0].listen(FRIDAY)
    price = BrokerPrice(EUR, Decimal(1), Decimal(2), at(7), False)
    listener.take([price], _Nobody(), _Nobody())
    assert listener._bars["EURUSD"][0]._forming is None


class _Nobody:
    """Nobody is asked."""

    pk = 0
