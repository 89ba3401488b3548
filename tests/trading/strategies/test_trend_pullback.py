"""The swing strategy: its points, its conditions, its exits, and that it never looks ahead."""

from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trading.strategies.days import NEW_YORK, midnight, random_days, rising, then, weekdays
from trading.domain.bars import Bar
from trading.domain.broker import OrderType, Side
from trading.domain.indicators import Atr
from trading.domain.instruments import instrument
from trading.domain.windows import Window
from trading.strategies.base import Held, SignalIntent
from trading.strategies.swing import SwingIndicators, SwingView
from trading.strategies.trend_pullback import TrendPullback, TrendPullbackParams

D = Decimal


def pullback(symbol: str = "SPY", **params: Any) -> TrendPullback:
    return TrendPullback(
        symbol=symbol,
        params=TrendPullbackParams(**params),
        spec=instrument(symbol),
        session_start=time(0),
        windows=(Window(time(0), time(0), NEW_YORK),),
        tz=NEW_YORK,
    )


def signals(strategy: TrendPullback, bars: list[Bar]) -> list[SignalIntent]:
    return [intent for item in bars if (intent := strategy.on_bar(item))]


GOOD = SwingView(
    close=D(100),
    fast=D(98),
    slow=D(90),
    slope=D("0.01"),
    below_high_pct=D("4.99"),
    below_year_high_pct=D(5),
    volume_ratio=D("1.21"),
    atr=D("2.9"),
    atr_pct=D("2.9"),
)


@pytest.mark.parametrize(
    ("point", "just", "not_quite"),
    [
        ("above_sma_200", {"slow": D("99.99")}, {"slow": D(100)}),
        ("sma_20_rising", {"slope": D("0.000001")}, {"slope": D(0)}),
        ("near_20_day_high", {"below_high_pct": D("4.999999")}, {"below_high_pct": D(5)}),
        ("busy", {"volume_ratio": D("1.200001")}, {"volume_ratio": D("1.2")}),
        ("calm", {"atr_pct": D("2.999999")}, {"atr_pct": D(3)}),
    ],
)
def test_each_point_of_the_confidence_has_its_bound(
    point: str, just: dict[str, Decimal], not_quite: dict[str, Decimal]
) -> None:
    assert GOOD.confidence == 5 and all(GOOD.points.values())
    assert replace(GOOD, **just).points[point]
    missed = replace(GOOD, **not_quite)
    assert (missed.points[point], missed.confidence) == (False, 4)


def test_no_point_at_all_is_the_lowest_confidence() -> None:
    worst = replace(
        GOOD, slow=D(200), slope=D(-1), below_high_pct=D(30), volume_ratio=D(1), atr_pct=D(9), below_year_high_pct=D(50)
    )
    assert worst.confidence == 1


def test_the_indicators_are_those_of_the_bars_and_none_before_210_of_them() -> None:
    bars, indicators, atr = rising(260), SwingIndicators(), Atr()
    views = []
    for item in bars:
        views.append(indicators.on_bar(item))
        atr.on_bar(item)
    assert [view is None for view in views] == [True] * 209 + [False] * 51
    view = views[-1]
    assert view is not None and indicators.ready
    closes = [item.close for item in bars]
    assert view.fast == sum(closes[-20:]) / 20 and view.slow == sum(closes[-200:]) / 200
    assert view.slope == D("0.50"), "five days, ten cents each"
    high = closes[-1] + D("0.50")
    assert view.below_high_pct == view.below_year_high_pct == (D("50") / high).quantize(D("1e-12"))
    assert view.volume_ratio == 1 and view.atr == atr.value


def test_the_high_of_52_weeks_is_forgotten_after_252_days() -> None:
    bars = rising(300, step="0.00")
    spike = 30
    bars[spike] = replace(bars[spike], high=D(200))
    indicators = SwingIndicators()
    views = [indicators.on_bar(item) for item in bars]
    before, after = views[spike + 251], views[spike + 252]
    assert before is not None and before.below_year_high_pct == 50
    assert after is not None and after.below_year_high_pct < 1


def test_a_quiet_rise_is_bought_at_the_close_with_the_target_ten_percent_above() -> None:
    bars = rising(210)
    (intent,) = signals(pullback(), bars)
    last = bars[-1]
    assert (intent.side, intent.order_type, intent.entry) == (Side.BUY, OrderType.MARKET, last.close)
    assert intent.stop == last.close - 2 * D("1.00"), "two average true ranges of a dollar"
    assert intent.target == D("132.99"), "120.90 and a tenth"
    assert (intent.bar_start, intent.bar_end) == (last.start, last.end)
    assert (intent.confidence, intent.score) == (4, D("0.8"))
    assert intent.feature_scores == {
        "above_sma_200": "1",
        "sma_20_rising": "1",
        "near_20_day_high": "1",
        "busy": "0",
        "calm": "1",
    }
    assert intent.features["confidence"] == "4" and intent.features["volume_ratio"] == "1"


def test_a_busy_day_makes_it_five() -> None:
    bars = rising(210)
    (intent,) = signals(pullback(), [*bars[:-1], replace(bars[-1], volume=D(2000))])
    assert intent.confidence == 5 and intent.score == 1


def test_there_is_no_signal_before_210_days_in_a_row_and_none_after_a_hole_until_they_are_there_again() -> None:
    bars = rising(420)
    assert signals(pullback(), bars[:209]) == []
    strategy = pullback()
    found = signals(strategy, [*bars[:100], *bars[106:]])
    assert found[0].bar_start == bars[106 + 209].start
    told = pullback()
    for item in bars[:100]:
        told.on_bar(item)
    told.reset_after_hole()
    assert not told.ready and signals(told, bars[100:])[0].bar_start == bars[309].start


@pytest.mark.parametrize(
    ("closes", "why"),
    [
        (["115.00", "114.50"], "the pullback is deeper than five percent of the year's high"),
        (["121.00", "130.00"], "the price shakes: calm is gone, and with it the fourth point"),
    ],
)
def test_what_does_not_fit_gives_no_signal(closes: list[str], why: str) -> None:
    bars = rising(210)
    deep = then(bars, *closes)
    if closes[1] == "130.00":
        deep = [replace(item, high=item.high + 9, low=item.low - 9) for item in deep]
    found = signals(pullback(), [*bars, *deep])
    assert {intent.bar_start for intent in found}.isdisjoint({deep[-1].start}), why


def test_a_falling_share_is_never_bought() -> None:
    assert signals(pullback(), rising(300, step="-0.10")) == []


def test_the_position_is_left_at_the_close_of_the_twentieth_day_after_the_signal() -> None:
    bars, strategy = rising(260), pullback()
    (intent, *_) = signals(strategy, bars[:210])
    held = Held(Side.BUY, intent.entry, intent.bar_end)
    answers = []
    for item in bars[210:231]:
        strategy.on_bar(item)
        answers.append(strategy.exit_reason(item, held))
    assert answers == [""] * 19 + ["held for 20 days"] * 2


def test_the_position_is_left_when_a_day_closes_below_the_average_of_200() -> None:
    bars, strategy = rising(210), pullback()
    (intent,) = signals(strategy, bars)
    held = Held(Side.BUY, intent.entry, intent.bar_end)
    slow = sum(item.close for item in bars[-199:]) + D("111.00")
    on_it, below = then(bars, "111.10", "110.00")
    strategy.on_bar(on_it)
    assert slow / 200 < D("111.10") and strategy.exit_reason(on_it, held) == ""
    strategy.on_bar(below)
    assert strategy.exit_reason(below, held).startswith("closed at 110, below the 200-day average of 11")


def test_the_days_of_a_position_go_on_counting_over_a_hole_and_the_averages_do_not() -> None:
    bars, strategy = rising(260), pullback(max_days=5)
    (intent, *_) = signals(strategy, bars[:210])
    held = Held(Side.BUY, intent.entry, intent.bar_end)
    for item in bars[210:214]:
        strategy.on_bar(item)
    strategy.reset_after_hole()
    crash = replace(bars[214], low=D(1), close=D(1))
    assert strategy.exit_reason(bars[213], held) == ""
    strategy.on_bar(crash)
    assert strategy.exit_reason(crash, held) == "held for 5 days"


def test_weekends_and_clock_changes_neither_reset_the_averages_nor_the_count() -> None:
    bars = rising(210)
    assert {item.start.hour for item in bars} == {4, 5} and midnight(weekdays(1)[0]).hour == 5
    assert pullback().counters["restarts"] == 0 and len(signals(pullback(), bars)) == 1


def test_a_stop_that_would_lie_at_zero_or_below_is_no_trade() -> None:
    strategy = pullback()
    assert signals(strategy, [replace(item, low=D("0.01"), high=item.high * 3) for item in rising(215)]) == []


def test_the_seeded_market_gives_signals_so_that_the_tests_below_can_fail() -> None:
    assert len(signals(pullback(), random_days(3, 400))) >= 5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(min_value=0, max_value=1000), cut=st.integers(min_value=1, max_value=300))
def test_cutting_the_future_off_never_changes_the_past(seed: int, cut: int) -> None:
    bars = random_days(seed, 300)
    whole, part = pullback(), pullback()
    all_signals = [whole.on_bar(item) for item in bars]
    assert [part.on_bar(item) for item in bars[:cut]] == all_signals[:cut]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(min_value=0, max_value=1000))
def test_every_signal_is_a_purchase_on_the_step_with_its_stop_below_and_its_target_above(seed: int) -> None:
    for intent in signals(pullback(), random_days(seed, 300)):
        assert intent.side is Side.BUY and intent.confidence in (4, 5)
        assert 0 < intent.stop < intent.entry < intent.target
        assert all(price % D("0.01") == 0 for price in (intent.entry, intent.stop, intent.target))


def test_trap_a_run_that_starts_again_in_the_middle_and_is_warmed_up_says_what_the_whole_run_says() -> None:
    bars = random_days(3, 400)
    whole, expected = pullback(), {}
    held = Held(Side.BUY, bars[250].close, bars[250].end)
    for item in bars:
        expected[item.start] = (whole.on_bar(item), whole.exit_reason(item, held))
    for restarted_at in range(275, 400, 31):
        live = pullback()
        # The history that the live engine looks back on: a year and a month, a little more than 252 days.
        since = bars[restarted_at].start - timedelta(days=400)
        for item in bars[:restarted_at]:
            if item.start >= since:
                live.on_bar(item)
        for item in bars[restarted_at:]:
            intent, reason = live.on_bar(item), live.exit_reason(item, held)
            wanted, wanted_reason = expected[item.start]
            assert (intent is None, reason) == (wanted is None, wanted_reason)
            assert (
                intent is None
                or wanted is None
                or (intent.entry, intent.confidence) == (wanted.entry, wanted.confidence)
            )
