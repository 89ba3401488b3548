"""The liquidity sweep: its steps one by one on days made by hand, and that it never looks ahead."""

from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trading.domain.making import at, bar
from tests.trading.strategies.market import FIVE, following, random_bars
from trading.domain.bars import Bar
from trading.domain.broker import OrderType, Side
from trading.domain.instruments import instrument
from trading.domain.windows import Window
from trading.strategies.base import SignalIntent
from trading.strategies.lsg import LiquiditySweepGrab, LsgParams, largest_group
from trading.strategies.registry import effective_params

D = Decimal
DAY = "2014-05-01"
HIGHS = {20: "1.38100", 40: "1.38110"}
LOWS = {30: "1.37900", 50: "1.37890"}
# The last swings of the night, near enough for a break of structure, and alone: they make no level.
NEAR_HIGH, NEAR_LOW = {70: "1.38030"}, {75: "1.37970"}
AT_ONCE: dict[str, Any] = {"second_move_only": False}

SWEEP = "1.38090 1.38140 1.38080 1.38090"
BREAK = "1.38090 1.38090 1.37950 1.37955"
CONFIRM = "1.37955 1.37960 1.37930 1.37940"


def lsg(window: tuple[str, str] = ("07:00", "10:00"), symbol: str = "EURUSD", **params: Any) -> LiquiditySweepGrab:
    start, end = (time.fromisoformat(text) for text in window)
    return LiquiditySweepGrab(
        symbol=symbol,
        params=LsgParams(**params),
        spec=instrument(symbol),
        session_start=time(7),
        windows=(Window(start, end),),
    )


def night(
    highs: dict[int, str] = HIGHS | NEAR_HIGH, lows: dict[int, str] = LOWS | NEAR_LOW, *, bars: int = 84
) -> list[Bar]:
    """Bars from midnight to 07:00 around 1.38, quiet but for these extremes, by the number of the bar."""
    return [
        bar(
            at(f"{DAY} 00:00") + number * FIVE,
            f"1.38000 {highs.get(number, '1.38010')} {lows.get(number, '1.37990')} 1.38000",
        )
        for number in range(84 - bars, 84)
    ]


def morning(*prices: str) -> list[Bar]:
    before = night()
    return before + following(before, *prices)


def mirrored(bars: list[Bar]) -> list[Bar]:
    """The same day upside down, around 1.38."""
    return [
        bar(
            item.start,
            f"{D('2.76') - item.open} {D('2.76') - item.low} {D('2.76') - item.high} {D('2.76') - item.close}",
        )
        for item in bars
    ]


def signals(strategy: LiquiditySweepGrab, bars: list[Bar]) -> list[SignalIntent]:
    return [intent for item in bars if (intent := strategy.on_bar(item))]


def test_a_swept_and_confirmed_high_is_sold_at_a_stop_order_below_the_confirming_bar() -> None:
    strategy = lsg(**AT_ONCE)
    (intent,) = signals(strategy, morning(SWEEP, BREAK, CONFIRM))
    assert (intent.side, intent.order_type, intent.entry) == (Side.SELL, OrderType.STOP, D("1.37930"))
    assert intent.stop == D("1.38140") + D("0.0002")
    assert intent.target == D("1.37930") - (intent.stop - intent.entry)
    assert (intent.bar_start, intent.bar_end) == (at(f"{DAY} 07:10"), at(f"{DAY} 07:15"))
    assert intent.features["level"] == "1.38105"
    assert {name: strategy.counters[name] for name in ("clusters", "sweeps", "bos", "confirmations", "entries")} == {
        "clusters": 2,
        "sweeps": 1,
        "bos": 1,
        "confirmations": 1,
        "entries": 1,
    }


def test_a_swept_and_confirmed_low_is_bought_the_mirror_image() -> None:
    (intent,) = signals(lsg(**AT_ONCE), mirrored(morning(SWEEP, BREAK, CONFIRM)))
    assert (intent.side, intent.order_type) == (Side.BUY, OrderType.STOP)
    assert (intent.entry, intent.stop, intent.target) == (D("1.38070"), D("1.37840"), D("1.38300"))
    assert intent.features["level"] == "1.37895"


def test_with_second_move_only_the_first_break_is_let_go_and_the_order_rests_from_the_bar_after_it() -> None:
    first_break = "1.37940 1.37950 1.37920 1.37945"
    strategy = lsg()
    (intent,) = signals(strategy, morning(SWEEP, BREAK, CONFIRM, "1.37940 1.37950 1.37930 1.37945", first_break))
    assert (intent.entry, intent.bar_start) == (D("1.37930"), at(f"{DAY} 07:20"))
    assert signals(lsg(), morning(SWEEP, BREAK, CONFIRM)) == []


def test_trap_a_swing_that_is_not_confirmed_yet_is_no_level_and_no_structure() -> None:
    late = night({20: "1.38100", 82: "1.38110"})  # known at 07:05 only: two bars late
    strategy = lsg(**AT_ONCE)
    assert signals(strategy, late + following(late, SWEEP, BREAK, CONFIRM)) == []
    assert strategy.counters["sweeps"] == 0
    # A structure that the bar of 07:00 confirms may be broken from that bar on, not by the one that confirms it.
    near = night(lows=LOWS | {82: "1.37970"})
    assert len(signals(lsg(**AT_ONCE), near + following(near, SWEEP, BREAK, CONFIRM))) == 1


@pytest.mark.parametrize(
    ("prices", "found"),
    [
        (["1.38090 1.38134 1.38080 1.38090", BREAK, CONFIRM], 0),
        (["1.38090 1.38135 1.38080 1.38090", BREAK, CONFIRM], 1),
        ([SWEEP, "1.38090 1.38090 1.37950 1.37960", CONFIRM], 0),
        ([SWEEP, "1.38090 1.38090 1.37950 1.37959", CONFIRM], 1),
        ([SWEEP, BREAK, "1.37930 1.37960 1.37925 1.37940"], 0),
        (["1.38090 1.38140 1.37940 1.37950", CONFIRM, "1.37940 1.37960 1.37930 1.37950"], 0),
    ],
    ids=[
        "the sweep is too short",
        "the sweep is just far enough",
        "the structure holds",
        "the structure just breaks",
        "the body is of the other direction",
        "one bar sweeps and breaks: one step a bar",
    ],
)
def test_each_step_needs_its_distance_and_a_bar_of_its_own(prices: list[str], found: int) -> None:
    assert len(signals(lsg(**AT_ONCE), morning(*prices))) == found


def test_bodies_and_structure_matter_only_if_they_are_required() -> None:
    against = [SWEEP, BREAK, "1.37930 1.37960 1.37925 1.37940"]
    assert len(signals(lsg(confirm_body_required=False, **AT_ONCE), morning(*against))) == 1
    no_break = [SWEEP, "1.38090 1.38095 1.38050 1.38060"]
    assert signals(lsg(**AT_ONCE), morning(*no_break)) == []
    (intent,) = signals(lsg(bos_required=False, **AT_ONCE), morning(*no_break))
    assert intent.entry == D("1.38050")


def test_a_close_that_is_not_back_inside_the_level_confirms_nothing() -> None:
    beyond = [SWEEP, "1.38130 1.38135 1.38105 1.38106", "1.38106 1.38110 1.38100 1.38104"]
    (intent,) = signals(lsg(bos_required=False, **AT_ONCE), morning(*beyond))
    assert intent.bar_start == at(f"{DAY} 07:10")


def test_what_does_not_come_within_the_reentry_window_is_dropped() -> None:
    quiet = "1.38080 1.38100 1.38040 1.38050"
    in_time = [SWEEP, *[quiet] * 4, BREAK, CONFIRM]  # 07:30, thirty minutes after the sweep
    assert len(signals(lsg(**AT_ONCE), morning(*in_time))) == 1
    strategy = lsg(**AT_ONCE)
    assert signals(strategy, morning(SWEEP, *[quiet] * 5, BREAK, CONFIRM)) == []
    assert strategy.counters["timeouts"] == 1
    assert len(signals(lsg(reentry_window_m=35, **AT_ONCE), morning(SWEEP, *[quiet] * 5, BREAK, CONFIRM))) == 1


def test_the_stop_lies_beyond_the_furthest_price_since_the_sweep() -> None:
    further = "1.38120 1.38180 1.38090 1.38095"
    (intent,) = signals(lsg(**AT_ONCE), morning(SWEEP, further, BREAK, CONFIRM))
    assert intent.stop == D("1.38180") + D("0.0002")


def test_a_bar_that_sweeps_both_levels_tells_no_direction() -> None:
    strategy = lsg(**AT_ONCE)
    assert signals(strategy, morning("1.38000 1.38200 1.37800 1.38000", BREAK, CONFIRM)) == []
    assert strategy.counters["sweeps"] == 0


def test_one_swing_alone_or_two_far_apart_are_no_level() -> None:
    for highs in ({20: "1.38100"}, {20: "1.38100", 40: "1.38121"}):
        strategy, before = lsg(**AT_ONCE), night(highs)
        assert signals(strategy, before + following(before, SWEEP, BREAK, CONFIRM)) == []
        assert (strategy.counters["clusters"], strategy.counters["sweeps"]) == (1, 0)


def test_the_night_needs_ten_bars() -> None:
    # From the bar of this number on: two equal highs, and the low whose break is the structure's.
    highs, lows = {77: "1.38100", 80: "1.38110"}, {79: "1.37970"}
    for bars, found in ((9, 0), (10, 1)):
        before = night(highs, lows, bars=bars)
        assert len(signals(lsg(**AT_ONCE), before + following(before, SWEEP, BREAK, CONFIRM))) == found


def test_missing_bars_forget_the_night_because_they_hide_swings_and_sweeps() -> None:
    bars = morning(SWEEP, BREAK, CONFIRM)
    for missing in (45, 84 + 1):
        strategy = lsg(**AT_ONCE)
        assert signals(strategy, bars[:missing] + bars[missing + 1 :]) == []
    early = bars[1:]  # only what came after the break counts, and that is all that is needed
    assert len(signals(lsg(**AT_ONCE), early)) == 1
    strategy = lsg(**AT_ONCE)
    for item in bars[:85]:
        strategy.on_bar(item)
    assert strategy.ready
    strategy.reset_after_hole()
    assert not strategy.ready
    assert signals(strategy, bars[85:]) == []


def test_outside_the_window_nothing_is_swept_and_no_progress_is_kept() -> None:
    assert signals(lsg(("07:05", "10:00"), **AT_ONCE), morning(SWEEP, BREAK, CONFIRM)) == []
    assert len(signals(lsg(("07:00", "07:20"), **AT_ONCE), morning(SWEEP, BREAK, CONFIRM))) == 1


def test_an_order_that_no_bar_of_the_window_could_fill_is_not_asked_for() -> None:
    strategy = lsg(("07:00", "07:15"), **AT_ONCE)
    assert signals(strategy, morning(SWEEP, BREAK, CONFIRM)) == []
    assert (strategy.counters["too_late"], strategy.counters["entries"]) == (1, 0)


def test_there_is_one_entry_a_day_and_new_levels_the_next() -> None:
    bars = morning(SWEEP, BREAK, CONFIRM, SWEEP, BREAK, CONFIRM)
    strategy = lsg(**AT_ONCE)
    assert len(signals(strategy, bars)) == 1
    tomorrow = [
        bar(item.start + timedelta(days=1), f"{item.open} {item.high} {item.low} {item.close}") for item in bars
    ]
    (intent,) = signals(strategy, tomorrow)
    assert intent.bar_start == at("2014-05-02 07:10")
    assert strategy.counters["clusters"] == 4


def test_prices_off_the_step_go_outward() -> None:
    (intent,) = signals(
        lsg(**AT_ONCE), morning("1.38090 1.381402 1.38080 1.38090", BREAK, "1.37955 1.37960 1.379303 1.37940")
    )
    assert (intent.entry, intent.stop) == (D("1.37930"), D("1.38161"))


def test_the_largest_group_wins_and_of_equal_ones_the_outermost() -> None:
    two = D("0.0002")
    prices = [D("1.3800"), D("1.3802"), D("1.3803"), D("1.3805"), D("1.3807")]
    assert largest_group(prices, two, upward=True) == (D("1.3805"), D("1.3807"))
    assert largest_group([*prices, D("1.3804")], two, upward=True) == (D("1.3803"), D("1.3805"), D("1.3804"))
    assert largest_group([], two, upward=True) == ()
    assert largest_group(prices, two, upward=False) == (D("1.3800"), D("1.3802"))


def test_euro_five_minutes_are_tuned_and_the_file_has_the_last_word() -> None:
    assert effective_params("lsg", "EURUSD", "5m", {}).bos_buffer_pips == D("0.5")
    assert effective_params("lsg", "GBPUSD", "5m", {}).bos_buffer_pips == 1
    assert effective_params("lsg", "EURUSD", "5m", {"bos_buffer_pips": D("0.3")}).bos_buffer_pips == D("0.3")
    with pytest.raises(ValueError, match="must not be below zero"):
        LsgParams(sweep_pips=D(-1))


EASY: dict[str, Any] = {"bos_buffer_pips": D(0), "sweep_pips": D(1), "reentry_window_m": 90}


@pytest.mark.parametrize("second_move_only", [True, False])
def test_the_seeded_market_gives_signals_so_that_the_tests_below_can_fail(second_move_only: bool) -> None:
    found = signals(lsg(second_move_only=second_move_only, **EASY), random_bars(7, "2014-05-01 00:00", 12))
    assert len(found) >= 2
    assert {intent.side for intent in found} == {Side.BUY, Side.SELL}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(min_value=0, max_value=1000), cut=st.integers(min_value=1, max_value=2 * 288), second=st.booleans()
)
def test_cutting_the_future_off_never_changes_the_past(seed: int, cut: int, second: bool) -> None:
    bars = random_bars(seed, "2014-05-01 00:00", 2)
    whole, part = lsg(second_move_only=second, **EASY), lsg(second_move_only=second, **EASY)
    all_signals = [whole.on_bar(item) for item in bars]
    assert [part.on_bar(item) for item in bars[:cut]] == all_signals[:cut]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(min_value=0, max_value=1000), second=st.booleans())
def test_every_signal_is_a_trade_whose_prices_lie_in_its_direction_on_the_step(seed: int, second: bool) -> None:
    for intent in signals(lsg(second_move_only=second, **EASY), random_bars(seed, "2014-05-01 00:00", 2)):
        assert (intent.entry - intent.stop) * intent.side.sign > 0
        assert intent.target - intent.entry == intent.entry - intent.stop
        assert all(price % D("0.00001") == 0 for price in (intent.entry, intent.stop, intent.target))
        assert time(7) <= intent.bar_start.time() < time(9, 55)


def test_trap_a_run_that_starts_again_in_the_middle_and_is_warmed_up_gives_the_signals_of_the_whole_run() -> None:
    bars = random_bars(7, "2014-05-01 00:00", 12)
    whole = signals(lsg(**EASY), bars)
    for restarted_at in range(288, len(bars), 97):
        live = lsg(**EASY)
        midnight = bars[restarted_at].start.replace(hour=0, minute=0)
        for item in bars[:restarted_at]:
            if item.start >= midnight - timedelta(days=1):
                live.on_bar(item)
        rest = signals(live, bars[restarted_at:])
        assert rest == [intent for intent in whole if intent.bar_start >= bars[restarted_at].start]
