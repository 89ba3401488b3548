"""The opening range breakout: its rules one by one, and that it never looks ahead."""

from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trading.domain.making import at
from tests.trading.strategies.market import following, random_bars, rising_until
from trading.domain.bars import Bar
from trading.domain.broker import OrderType, Side
from trading.domain.instruments import instrument
from trading.domain.windows import Window
from trading.strategies.base import SignalIntent
from trading.strategies.orb import OpeningRangeBreakout, OrbParams

D = Decimal
DAY = "2014-05-01"
RANGE = "1.38000 1.38050 1.37990 1.38010"
SIMPLE: dict[str, Any] = {"retest": False}


def orb(
    session_start: str = "07:00", window: tuple[str, str] = ("07:05", "10:00"), **params: Any
) -> OpeningRangeBreakout:
    start, end = (time.fromisoformat(text) for text in window)
    return OpeningRangeBreakout(
        symbol="EURUSD",
        params=OrbParams(**params),
        spec=instrument("EURUSD"),
        session_start=time.fromisoformat(session_start),
        windows=(Window(start, end),),
    )


def signals(strategy: OpeningRangeBreakout, bars: list[Bar]) -> list[SignalIntent]:
    return [intent for item in bars if (intent := strategy.on_bar(item))]


def morning(*prices: str, up: bool = True, until: str = "07:00", opening: str = RANGE) -> list[Bar]:
    """A trend until the opening range, the range, then these bars."""
    before = rising_until(DAY, until, up=up)
    return before + following(before, opening, *prices)


BREAK_UP = "1.38040 1.38090 1.38030 1.38085"


def test_a_close_beyond_the_range_in_the_trend_s_direction_is_the_entry() -> None:
    (intent,) = signals(orb(**SIMPLE), morning(BREAK_UP))
    assert (intent.side, intent.order_type, intent.entry) == (Side.BUY, OrderType.MARKET, D("1.38085"))
    assert intent.stop == D("1.37990") - D("0.0001")
    assert intent.target - intent.entry == intent.entry - intent.stop
    assert (intent.bar_start, intent.bar_end) == (at(f"{DAY} 07:05"), at(f"{DAY} 07:10"))
    assert intent.features["range_pips"] == "6"
    assert intent.features["close_beyond_edge_pips"] == "3.5"


def test_the_other_direction_mirrors_it() -> None:
    (intent,) = signals(orb(**SIMPLE), morning("1.38000 1.38000 1.37940 1.37950", up=False))
    assert (intent.side, intent.entry, intent.stop, intent.target) == (
        Side.SELL,
        D("1.37950"),
        D("1.38060"),
        D("1.37840"),
    )


def test_trap_the_range_is_the_bar_at_the_session_start_of_the_file_and_not_at_fixed_hours() -> None:
    bars = morning(BREAK_UP, until="12:30")
    (intent,) = signals(orb("12:30", ("12:35", "16:00"), **SIMPLE), bars)
    assert intent.bar_start == at(f"{DAY} 12:35")
    assert intent.features["range_high"] == "1.3805"
    (other,) = signals(orb("07:00", ("12:35", "16:00"), retest=False, filter_min_or_pips=D(0)), bars)
    assert other.features["range_high"] != "1.3805"


def test_the_session_start_is_a_local_time() -> None:
    strategy = OpeningRangeBreakout(
        symbol="EURUSD",
        params=OrbParams(retest=False),
        spec=instrument("EURUSD"),
        session_start=time(8),
        windows=(Window(time(8, 5), time(11), "Europe/London"),),
        tz="Europe/London",
    )
    (intent,) = signals(strategy, morning(BREAK_UP))
    assert intent.bar_start == at(f"{DAY} 07:05")


def test_a_break_smaller_than_the_threshold_is_none() -> None:
    assert signals(orb(**SIMPLE), morning("1.38040 1.38079 1.38030 1.38075")) == []
    assert len(signals(orb(**SIMPLE), morning("1.38040 1.38080 1.38030 1.38075"))) == 1


def test_a_break_that_closes_inside_waits_for_a_close_beyond_the_edge() -> None:
    bars = morning("1.38040 1.38090 1.38030 1.38040", "1.38040 1.38055 1.38030 1.38051")
    (intent,) = signals(orb(**SIMPLE), bars)
    assert intent.bar_start == at(f"{DAY} 07:10")
    assert intent.entry == D("1.38051")


def test_a_small_range_skips_the_day() -> None:
    strategy = orb(**SIMPLE)
    small = "1.38010 1.38040 1.38001 1.38020"
    assert signals(strategy, morning(BREAK_UP, opening=small)) == []
    assert strategy.counters["small_ranges"] == 1
    assert len(signals(orb(retest=False, filter_min_or_pips=D(2)), morning(BREAK_UP, opening=small))) == 1


def test_with_retest_the_price_must_come_back_to_the_edge_after_the_break() -> None:
    away = "1.38085 1.38120 1.38080 1.38115"
    back = "1.38115 1.38120 1.38070 1.38100"
    assert signals(orb(), morning(BREAK_UP, away)) == []
    (intent,) = signals(orb(), morning(BREAK_UP, away, back))
    assert intent.bar_start == at(f"{DAY} 07:15")
    assert signals(orb(retest_tol_pips=D(1)), morning(BREAK_UP, away, back)) == []


def test_the_bar_that_breaks_is_not_its_own_retest() -> None:
    assert signals(orb(), morning(BREAK_UP)) == []


def test_against_the_trend_there_is_no_entry_unless_the_filter_is_off() -> None:
    bars = morning(BREAK_UP, up=False)
    strategy = orb(**SIMPLE)
    assert signals(strategy, bars) == []
    assert strategy.counters["against_trend"] == 1
    assert len(signals(orb(retest=False, use_trend_filter=False), bars)) == 1


def test_outside_the_window_nothing_is_entered() -> None:
    assert signals(orb(window=("07:10", "10:00"), **SIMPLE), morning(BREAK_UP)) == []
    assert signals(orb(window=("06:00", "07:05"), **SIMPLE), morning(BREAK_UP)) == []


def test_there_is_one_signal_a_day_and_a_new_range_the_next() -> None:
    bars = morning(*[BREAK_UP] * 5)
    assert len(signals(orb(**SIMPLE), bars)) == 1
    next_day = [replace(item, start=item.start + timedelta(days=1)) for item in bars]
    found = signals(orb(**SIMPLE), bars + next_day)
    assert [intent.bar_start for intent in found] == [at("2014-05-01 07:05"), at("2014-05-02 07:05")]


def test_a_day_without_the_range_bar_gives_no_signal() -> None:
    bars = [item for item in morning(BREAK_UP, BREAK_UP) if item.start != at(f"{DAY} 07:00")]
    assert signals(orb(retest=False, use_trend_filter=False), bars) == []


def test_bars_missing_after_the_range_end_the_day_because_they_hide_what_the_price_did() -> None:
    bars = morning("1.38010 1.38020 1.38000 1.38010", "1.38010 1.38020 1.38000 1.38010", BREAK_UP)
    without_filter = {"retest": False, "use_trend_filter": False}
    assert len(signals(orb(**without_filter), bars)) == 1
    del bars[-2]
    assert signals(orb(**without_filter), bars) == []


def test_after_a_hole_in_the_morning_the_trend_must_fill_again_before_there_is_a_signal() -> None:
    def after_hole_at(clock: str) -> OpeningRangeBreakout:
        strategy = orb(**SIMPLE)
        bars = [item for item in morning(BREAK_UP) if item.start != at(f"{DAY} {clock}")]
        found = signals(strategy, bars)
        assert bool(found) is strategy.ready
        return strategy

    assert after_hole_at("01:00").ready
    late = after_hole_at("05:00")
    assert not late.ready
    assert late.counters["not_ready"] == 1


def test_a_hole_that_the_engine_reports_has_the_same_effect() -> None:
    strategy = orb(**SIMPLE)
    bars = morning(BREAK_UP)
    for item in bars[:60]:
        strategy.on_bar(item)
    assert strategy.ready
    strategy.reset_after_hole()
    assert not strategy.ready
    assert signals(strategy, bars[60:]) == []


def test_gold_counts_in_pips_of_ten_cents() -> None:
    def gold(bars: list[Bar]) -> list[Bar]:
        return [
            replace(
                item,
                symbol="XAUUSD",
                **{
                    name: (getattr(item, name) * 1000).quantize(D("0.001")) for name in ("open", "high", "low", "close")
                },
            )
            for item in bars
        ]

    strategy = OpeningRangeBreakout(
        symbol="XAUUSD",
        params=OrbParams(retest=False),
        spec=instrument("XAUUSD"),
        session_start=time(7),
        windows=(Window(time(7, 5), time(10)),),
    )
    (intent,) = signals(strategy, gold(morning(BREAK_UP)))
    assert (intent.entry, intent.stop) == (D("1380.850"), D("1379.900") - D("0.1"))


def test_parameters_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be below zero"):
        OrbParams(buffer_pips=D(-1))


@pytest.mark.parametrize("retest", [True, False])
def test_the_seeded_market_gives_signals_so_that_the_tests_below_can_fail(retest: bool) -> None:
    assert len(signals(orb(retest=retest), random_bars(7, "2014-05-01 00:00", 5))) >= 2


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(min_value=0, max_value=1000), cut=st.integers(min_value=1, max_value=2 * 288), retest=st.booleans()
)
def test_cutting_the_future_off_never_changes_the_past(seed: int, cut: int, retest: bool) -> None:
    bars = random_bars(seed, "2014-05-01 00:00", 2)
    whole, part = orb(retest=retest), orb(retest=retest)
    all_signals = [whole.on_bar(item) for item in bars]
    assert [part.on_bar(item) for item in bars[:cut]] == all_signals[:cut]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(min_value=0, max_value=1000))
def test_another_future_never_changes_the_past(seed: int) -> None:
    bars = random_bars(seed, "2014-05-01 00:00", 2)
    half = len(bars) * 2 // 3
    other = [replace(item, open=item.low, close=item.high) for item in bars[half:]]
    one, two = orb(**SIMPLE), orb(**SIMPLE)
    assert [one.on_bar(item) for item in bars][:half] == [two.on_bar(item) for item in bars[:half] + other][:half]


def test_trap_a_run_that_starts_again_in_the_middle_and_is_warmed_up_gives_the_signals_of_the_whole_run() -> None:
    bars = random_bars(7, "2014-05-01 00:00", 5)
    whole = signals(orb(**SIMPLE), bars)
    for restarted_at in range(288, len(bars), 97):
        live = orb(**SIMPLE)
        midnight = bars[restarted_at].start.replace(hour=0, minute=0)
        for item in bars[:restarted_at]:
            if item.start >= midnight - timedelta(days=1):
                live.on_bar(item)
        rest = signals(live, bars[restarted_at:])
        expected = [intent for intent in whole if intent.bar_start >= bars[restarted_at].start]
        assert [(item.bar_start, item.side, item.entry) for item in rest] == [
            (item.bar_start, item.side, item.entry) for item in expected
        ]
