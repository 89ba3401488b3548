"""Bars from ticks: what a stream of prices comes to, in whatever order, cut or silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.bars import Bar, validate_bars
from trading.domain.tick_bars import SETTLING, ClosedBar, TickBars, slot_of

START = datetime(2026, 3, 6, 10, tzinfo=UTC)
FIVE = timedelta(minutes=5)
Tick = tuple[datetime, Decimal]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def listening(interval: int = 300) -> TickBars:
    bars = TickBars("EURUSD", interval)
    bars.listen(at(-1))
    return bars


def price(text: str) -> Decimal:
    return Decimal(text)


def bar(start: datetime, *numbers: str, volume: int, interval: int = 300) -> Bar:
    opened, high, low, close = (price(number) for number in numbers)
    return Bar("EURUSD", start, interval, opened, high, low, close, Decimal(volume))


def test_a_bar_has_the_true_high_and_low_and_is_closed_by_the_next_tick() -> None:
    bars = listening()
    for seconds, mid in ((0, "1.10"), (60, "1.13"), (120, "1.08"), (299.999, "1.11")):
        assert bars.tick(at(seconds), price(mid)) == []
    assert bars.tick(at(300), price("1.20")) == [
        ClosedBar(bar(START, "1.10", "1.13", "1.08", "1.11", volume=4), whole=True)
    ]


def test_a_tick_exactly_on_the_boundary_begins_the_new_bar() -> None:
    bars = listening()
    bars.tick(at(299), price("1.10"))
    bars.tick(at(300), price("1.20"))
    (closed,) = bars.tick(at(600), price("1.30"))
    assert closed.bar == bar(at(300), "1.20", "1.20", "1.20", "1.20", volume=1)


def test_the_last_bar_of_a_session_is_closed_without_a_next_tick() -> None:
    for close in (lambda bars: bars.hear(at(305)), lambda bars: [*bars.hear(at(300)), *bars.timer(at(301))]):
        bars = listening()
        bars.tick(at(10), price("1.10"))
        assert [(item.bar.start, item.whole) for item in close(bars)] == [(START, True)]
        assert bars.hear(at(1000)) == [] and bars.timer(at(2000)) == [], "it is closed once"


def test_a_heartbeat_on_the_boundary_waits_for_prices_that_are_on_their_way() -> None:
    bars = listening()
    bars.tick(at(10), price("1.10"))
    assert bars.hear(at(300)) == []
    assert bars.tick(at(299.9), price("1.20")) == []
    (closed,) = bars.hear(at(300) + SETTLING)
    assert closed.bar.close == price("1.20") and closed.whole


def test_a_stream_that_went_silent_before_the_end_gives_no_whole_bar() -> None:
    bars = listening()
    bars.tick(at(290), price("1.10"))
    assert bars.timer(at(400)) == [], "nobody knows whether a tick is missing"
    bars.broke()
    bars.listen(at(420))
    assert [item.whole for item in bars.timer(at(420))] == [False]


def test_a_bar_that_was_broken_or_joined_late_is_not_whole_and_the_next_one_is() -> None:
    bars = TickBars("EURUSD", 300)
    bars.listen(at(1))
    bars.tick(at(2), price("1.10"))
    (joined_late,) = bars.tick(at(301), price("1.10"))
    bars.broke()
    bars.listen(at(400))
    (broken,) = bars.tick(at(601), price("1.10"))
    (whole,) = bars.tick(at(901), price("1.10"))
    assert [joined_late.whole, broken.whole, whole.whole] == [False, False, True]


def test_a_broker_whose_clock_was_put_back_is_heard_again_but_its_old_bar_is_not_whole() -> None:
    bars = listening()
    bars.tick(at(910), price("1.10"))
    bars.broke()
    bars.listen(at(10))
    bars.tick(at(20), price("1.20"))
    (joined,) = bars.tick(at(310), price("1.30"))
    (whole,) = bars.tick(at(610), price("1.40"))
    assert (joined.bar.start, joined.whole, whole.bar.start, whole.whole) == (START, False, at(300), True)


def test_late_ticks_are_dropped_and_counted_and_never_change_a_closed_bar() -> None:
    bars = listening()
    bars.tick(at(10), price("1.10"))
    (closed,) = bars.tick(at(310), price("1.20"))
    assert bars.tick(at(299), price("9")) == [] and bars.tick(at(-50), price("9")) == []
    assert bars.late == 2
    (following,) = bars.tick(at(600), price("1.20"))
    assert closed.bar.high == price("1.10") and following.bar.high == price("1.20")


def test_empty_intervals_give_no_bar() -> None:
    bars = listening()
    bars.tick(at(10), price("1.10"))
    assert len(bars.hear(at(302))) == 1
    assert bars.hear(at(3600)) == [] and bars.timer(at(7200)) == []
    assert bars.tick(at(7200), price("1.20")) == []
    (closed,) = bars.tick(at(7500), price("1.20"))
    assert closed.bar.start == at(7200)


@pytest.mark.parametrize("interval", [60, 300, 3600])
def test_the_grid_begins_at_midnight(interval: int) -> None:
    assert slot_of(START + timedelta(seconds=interval, microseconds=-1), interval) == START
    assert slot_of(START + timedelta(seconds=interval), interval) == START + timedelta(seconds=interval)


ticks = st.lists(
    st.tuples(
        st.integers(0, 1800 * 4).map(lambda quarter: at(quarter / 4)),
        st.integers(9000, 11000).map(lambda pips: Decimal(pips) / 10000),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda tick: tick[0],
)


def expected(given_ticks: list[Tick]) -> list[Bar]:
    """What the bars of these ticks are, said another way."""
    slots: dict[datetime, list[Tick]] = {}
    for tick in sorted(given_ticks):
        slots.setdefault(slot_of(tick[0], 300), []).append(tick)
    made = []
    for start, inside in slots.items():
        mids = [mid for _, mid in inside]
        made.append(Bar("EURUSD", start, 300, mids[0], max(mids), min(mids), mids[-1], Decimal(len(mids))))
    return made


@given(ticks, st.randoms(use_true_random=False))
def test_order_and_repeats_within_a_bar_do_not_matter(given_ticks: list[Tick], random: object) -> None:
    shuffled = list(given_ticks) * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    shuffled.sort(key=lambda tick: slot_of(tick[0], 300))
    bars = listening()
    closed = [item for tick in shuffled for item in bars.tick(*tick)]
    closed += bars.hear(at(10_000))
    assert [item.bar for item in closed] == expected(given_ticks)
    assert all(item.whole for item in closed) and bars.late == 0
    validate_bars([item.bar for item in closed])


@given(ticks, st.lists(st.tuples(st.sampled_from(["hear", "timer", "broke", "listen"]), st.integers(0, 2400))))
def test_no_bar_is_given_twice_or_out_of_order_and_a_whole_one_is_the_markets(
    given_ticks: list[Tick], happenings: list[tuple[str, int]]
) -> None:
    bars, closed = listening(), []
    story = [(moment, "tick", mid) for moment, mid in given_ticks]
    story += [(at(seconds), kind, Decimal(0)) for kind, seconds in happenings]
    deaf = False
    for moment, kind, mid in sorted(story, key=lambda item: item[0]):
        if kind == "tick":
            closed += [] if deaf else bars.tick(moment, mid)  # what happens while it is cut, it does not see
        elif kind in ("hear", "timer"):
            closed += bars.timer(moment) if kind == "timer" else [] if deaf else bars.hear(moment)
        elif kind == "broke":
            bars.broke()
            deaf = True
        else:
            bars.listen(moment)
            deaf = False
    starts = [item.bar.start for item in closed]
    assert starts == sorted(set(starts))
    market = {each.start: each for each in expected(given_ticks)}
    for item in closed:
        assert not item.whole or item.bar == market[item.bar.start]
