"""What every strategy can rely on."""

from datetime import time
from decimal import Decimal

import pytest

from tests.trading.domain.making import bar, flat_bars
from tests.trading.strategies.own import Always, Params
from trading.domain.instruments import instrument
from trading.domain.windows import Window


def strategy(tz: str = "UTC") -> Always:
    return Always(
        symbol="EURUSD",
        params=Params(),
        spec=instrument("EURUSD"),
        session_start=time(7),
        windows=(Window(time(7), time(10)),),
        tz=tz,
    )


def test_there_is_at_most_one_signal_a_trading_day() -> None:
    runner = strategy()
    bars = flat_bars("2014-05-01 00:00", 288 * 2, "1.38")
    signals = [intent for item in bars if (intent := runner.on_bar(item))]
    assert [intent.bar_start.isoformat() for intent in signals] == [
        "2014-05-01T07:00:00+00:00",
        "2014-05-02T07:00:00+00:00",
    ]
    assert (runner.counters["signals"], runner.counters["days"]) == (2, 2)


def test_the_trading_day_begins_at_midnight_of_the_strategy_s_zone() -> None:
    runner = strategy("Asia/Tokyo")
    for item in flat_bars("2014-05-01 14:50", 4, "1.38"):
        runner.on_bar(item)
    assert runner.counters["days"] == 2


def test_a_bar_of_another_symbol_is_refused() -> None:
    with pytest.raises(ValueError, match="was given a bar of XAUUSD"):
        strategy().on_bar(bar("2014-05-01 07:00", "1300 1300 1300 1300", "XAUUSD"))


@pytest.mark.parametrize("again", ["2014-05-01 07:00", "2014-05-01 06:55"])
def test_warm_up_and_live_bars_never_overlap(again: str) -> None:
    runner = strategy()
    runner.on_bar(bar("2014-05-01 07:00", "1 1 1 1"))
    with pytest.raises(ValueError, match="is not a new one"):
        runner.on_bar(bar(again, "1 1 1 1"))


def test_any_break_in_the_bars_restarts_the_indicators_and_bars_in_a_row_do_not() -> None:
    runner = strategy()
    for start in ("07:00", "07:05", "07:10"):
        runner.on_bar(bar(f"2014-05-01 {start}", "1 1 1 1"))
    assert runner.counters["restarts"] == 0
    runner.on_bar(bar("2014-05-01 07:20", "1 1 1 1"))
    assert runner.counters["restarts"] == 1
    runner.reset_after_hole()
    assert (runner.counters["restarts"], runner.counters["holes"]) == (2, 1)


def test_distances_come_from_the_instrument_s_pip() -> None:
    intent = strategy().on_bar(bar("2014-05-01 07:00", "1.38 1.38 1.38 1.38"))
    assert intent is not None
    assert intent.entry - intent.stop == Decimal("0.0010")
