"""Indicators grow bar by bar and never look ahead."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.trading.domain.making import at, bar
from trading.domain.bars import Bar
from trading.domain.indicators import Atr, Ema, Sma, Swings, true_range


def test_an_average_follows_its_formula_and_is_ready_after_its_period() -> None:
    average = Ema(3)
    values = []
    for number in ("1", "2", "3", "4"):
        average.add(Decimal(number))
        values.append(average.value)
    assert values == [None, None, Decimal("2.25"), Decimal("3.125")]
    average.reset()
    average.add(Decimal(9))
    assert average.value is None
    assert not average.ready


@given(
    st.lists(st.decimals(min_value=1, max_value=2000, places=2), min_size=1, max_size=40),
    st.integers(min_value=1, max_value=8),
)
def test_a_simple_average_is_that_of_the_last_values(values: list[Decimal], period: int) -> None:
    average = Sma(period)
    for index, value in enumerate(values, 1):
        average.add(value)
        assert average.ready is (index >= period)
        last = values[max(0, index - period) : index]
        expected = (sum(last) / Decimal(period)).quantize(Decimal("1e-12")) if index >= period else None
        assert average.value == expected
    average.reset()
    assert average.value is None and not average.ready


def test_the_true_range_counts_from_the_previous_close() -> None:
    current = bar("2014-05-01 00:05", "1.20 1.25 1.18 1.22")
    assert true_range(current, None) == Decimal("0.07")
    assert true_range(current, Decimal("1.10")) == Decimal("0.15")
    assert true_range(current, Decimal("1.30")) == Decimal("0.12")


def test_the_average_true_range_is_the_fourteen_bar_average_of_it() -> None:
    atr = Atr()
    for index in range(14):
        assert atr.value is None
        atr.on_bar(bar(at("2014-05-01 00:00") + index * timedelta(minutes=5), "1.1 1.2 1.0 1.1"))
    assert atr.value == Decimal("0.2")
    atr.on_bar(bar("2014-05-01 01:10", "1.1 1.25 1.0 1.1"))
    assert atr.value == (Decimal("0.2") + Decimal(2) / 15 * Decimal("0.05")).quantize(Decimal("1e-12"))


def peak(highs: list[str]) -> list[Bar]:
    return [
        bar(at("2014-05-01 00:00") + index * timedelta(minutes=5), f"1.0 {high} 1.0 1.0")
        for index, high in enumerate(highs)
    ]


def test_trap_a_swing_with_two_bars_on_each_side_is_known_two_bars_later_and_not_before() -> None:
    swings = Swings()
    bars = peak(["1.1", "1.2", "1.5", "1.3", "1.2", "1.1"])
    found = [swings.on_bar(item) for item in bars]
    assert [len(item) for item in found] == [0, 0, 0, 0, 1, 0]
    swing = found[4][0]
    assert (swing.is_high, swing.price, swing.bar, swing.confirmed_by) == (True, Decimal("1.5"), bars[2], bars[4])


def test_equal_extremes_are_no_swing() -> None:
    swings = Swings()
    assert not any(swings.on_bar(item) for item in peak(["1.1", "1.5", "1.5", "1.3", "1.2", "1.1"]))


@given(st.lists(st.decimals(min_value=1, max_value=2, places=4), min_size=6, max_size=30), st.data())
def test_cutting_the_future_off_changes_no_swing_of_the_past(highs: list[Decimal], data: st.DataObject) -> None:
    bars = peak([str(high) for high in highs])
    cut = data.draw(st.integers(min_value=1, max_value=len(bars)))
    whole, part = Swings(), Swings()
    assert [whole.on_bar(item) for item in bars][:cut] == [part.on_bar(item) for item in bars[:cut]]
