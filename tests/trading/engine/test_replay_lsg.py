"""STOP entries in a replay, on LSG's days made by hand: they rest from the next bar and end with their window."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.conftest import CommittedDatabase
from tests.trading.domain.making import at
from tests.trading.engine.running import bar_file, blocks, replay
from tests.trading.services.sessions import session_text
from tests.trading.strategies.market import following
from tests.trading.strategies.test_lsg import BREAK, CONFIRM, SWEEP, morning
from trading.domain.bars import Bar
from trading.domain.session import SessionConfig, load_session
from trading.models import Decision, Order, Trade

D = Decimal
ENTRY, STOP, TARGET = D("1.37930"), D("1.38160"), D("1.37700")
# Half a spread of one pip and one pip of slippage.
COST = D("0.00015")
QUIET = "1.37945 1.37955 1.37935 1.37945"


def session() -> SessionConfig:
    """LSG alone, entering on the first move, with the window of the European morning."""
    text = session_text(("EURUSD",))
    begin = text.index("strategies:")
    return load_session(
        text[:begin]
        + """strategies:
  - name: lsg
    params: {second_move_only: false, bos_buffer_pips: 1}
    windows: [{start: "07:00", end: "10:00"}]
"""
    )


def on_monday(bars: list[Bar]) -> list[Bar]:
    """The day made by hand, on the market's Monday."""
    days = at("2026-03-02 00:00") - at("2014-05-01 00:00")
    return [replace(item, start=item.start + days) for item in bars]


def day(*after: str, until: str = "10:15") -> list[Bar]:
    """The sweep, the break and the confirmation, then these bars, then quiet ones."""
    bars = morning(SWEEP, BREAK, CONFIRM, *after)
    missing = int((at(f"2014-05-01 {until}") - bars[-1].end) / timedelta(minutes=5))
    return on_monday(bars + following(bars, *[QUIET] * missing))


def clock(moment: datetime | None) -> str:
    """As 07:15."""
    assert moment is not None
    return f"{moment:%H:%M}"


def test_a_stop_entry_waits_for_a_touch_and_its_bracket_counts_from_the_bar_after(
    committed_db: CommittedDatabase, tmp_path: Path
) -> None:
    touch = "1.37945 1.37950 1.37650 1.37800"  # through the entry, and through the target in the same bar
    target = "1.37800 1.37810 1.37699 1.37750"
    printed = replay(tmp_path, {"EURUSD": bar_file(day(QUIET, touch, target))}, session=session())
    trade = Trade.objects.get()
    assert (trade.side, trade.entry_price, clock(trade.opened_at)) == ("SELL", ENTRY - COST, "07:20")
    assert (trade.close_reason, trade.exit_price, clock(trade.closed_at)) == ("TP", TARGET + COST, "07:25")
    order = Order.objects.get(tag="ENTRY")
    assert (order.type, order.price, clock(order.at), clock(order.good_till)) == ("STOP", ENTRY, "07:15", "10:00")
    assert (order.stop_loss, order.take_profit) == (STOP, TARGET)
    (engine,) = blocks(printed)[-1]["engines"]
    assert engine["counters"] == {
        "bos": "1",
        "clusters": "2",
        "confirmations": "1",
        "entries": "1",
        "signals": "1",
        "sweeps": "1",
    }


def test_a_stop_entry_that_the_market_jumps_over_fills_at_the_open(
    committed_db: CommittedDatabase, tmp_path: Path
) -> None:
    replay(tmp_path, {"EURUSD": bar_file(day("1.37900 1.37910 1.37880 1.37890"))}, session=session())
    trade = Trade.objects.get()
    assert (trade.entry_price, clock(trade.opened_at)) == (D("1.37900") - COST, "07:15")


@pytest.mark.parametrize("until", ["10:00", "10:15"])
def test_an_unfilled_stop_entry_ends_with_its_window(
    committed_db: CommittedDatabase, tmp_path: Path, until: str
) -> None:
    bars = day(until=until)
    late = following(bars, "1.37945 1.37950 1.37700 1.37800") if until == "10:15" else []
    printed = replay(tmp_path, {"EURUSD": bar_file([*bars, *late])}, session=session())
    assert Decision.objects.get().verdict == "APPROVED" and not Trade.objects.exists()
    states = dict(Order.objects.values_list("tag", "state"))
    ended = {"ENTRY": "EXPIRED", "STOP": "CANCELLED", "TP1": "CANCELLED"}
    assert states == (ended if late else {"ENTRY": "WORKING", "STOP": "PLANNED", "TP1": "PLANNED"})
    if late:
        order = Order.objects.get(tag="ENTRY")
        assert order.reason == "TIME_IN_FORCE_EXPIRED" and clock(order.events.latest("id").at) == "10:00"
    assert blocks(printed)[-1]["total"]["trades"] == "0"


def test_what_a_stop_entry_opened_is_left_when_the_window_ends(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    replay(tmp_path, {"EURUSD": bar_file(day("1.37945 1.37950 1.37920 1.37945"))}, session=session())
    trade = Trade.objects.get()
    assert (trade.close_reason, clock(trade.closed_at)) == ("TIME", "10:00")
