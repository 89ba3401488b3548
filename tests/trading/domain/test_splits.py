"""Splits: units and prices of before in those of after, and which differences look like one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.books import own_profit
from trading.domain.broker import Side
from trading.domain.splits import Execution, Split, in_units_of_now, split_ratio

D = Decimal
START = datetime(2026, 3, 2, tzinfo=UTC)


def on(day: int, quantity: str, price: str) -> Execution:
    """An execution on a day."""
    return Execution(START + timedelta(days=day), D(quantity), D(price))


def four_for_one(day: int) -> Split:
    """Every share becomes four."""
    return Split(START + timedelta(days=day), D(10), D(40))


def test_what_was_done_before_a_split_is_scaled_and_what_came_after_is_not() -> None:
    units = in_units_of_now([on(0, "10", "400")], [on(1, "2", "410"), on(5, "8", "101")], [four_for_one(3)])
    assert units.opened == (on(0, "40", "100"),)
    assert units.closed == (on(1, "8", "102.5"), on(5, "8", "101"))
    assert units.price(D(380)) == 95


def test_a_trade_that_had_ended_or_not_begun_is_left_alone() -> None:
    ended = in_units_of_now([on(0, "10", "400")], [on(1, "10", "410")], [four_for_one(3)])
    assert ended.opened == (on(0, "10", "400"),) and ended.splits == () and ended.price(D(380)) == 380
    later = in_units_of_now([on(4, "10", "100")], [], [four_for_one(3)])
    assert later.opened == (on(4, "10", "100"),) and later.splits == ()


def test_several_splits_multiply() -> None:
    units = in_units_of_now([on(0, "10", "400")], [], [four_for_one(3), Split(START + timedelta(days=4), D(40), D(20))])
    assert units.opened == (on(0, "20", "200"),) and units.price(D(380)) == 190


@pytest.mark.parametrize(
    ("before", "after", "price_before", "price_after", "ratio"),
    [
        ("10", "40", "400", "100", Fraction(4)),
        ("-10", "-40", "400", "100", Fraction(4)),
        ("30", "10", "5", "15", Fraction(1, 3)),
        ("10", "15", "100", "66.67", Fraction(3, 2)),
        ("10", "40", "400", "100.01", Fraction(4)),
        ("10", "40", "400", "100.02", None),
        ("10", "-40", "400", "100", None),
        ("10", "0", "400", "100", None),
        ("0", "40", "400", "100", None),
        ("10", "10", "400", "400", None),
        ("10", "20", "400", "400", None),
        ("101", "102", "102", "101", None),
    ],
)
def test_a_split_is_a_ratio_of_small_numbers_at_the_same_total_cost(
    before: str, after: str, price_before: str, price_after: str, ratio: Fraction | None
) -> None:
    found = split_ratio(
        before=D(before), after=D(after), price_before=D(price_before), price_after=D(price_after), tolerance=D("0.01")
    )
    assert found == ratio


@given(
    st.sampled_from(Side), st.integers(1, 100), st.integers(1, 500), st.integers(0, 100), st.integers(1, 500),
    st.sampled_from([(1, 4), (4, 1), (2, 3), (1, 20)]),
)  # fmt: skip
def test_a_split_realises_nothing(
    side: Side, bought: int, price: int, sold: int, exit_price: int, ratio: tuple[int, int]
) -> None:
    opened, closed = [on(0, str(bought), str(price))], [on(1, str(sold), str(exit_price))] if sold else []
    split = Split(START + timedelta(days=2), D(ratio[0]), D(ratio[1]))
    units = in_units_of_now(opened, closed, [split])

    def profit(
        some: tuple[Execution, ...] | list[Execution], others: tuple[Execution, ...] | list[Execution]
    ) -> Decimal:
        return own_profit(side, [(e.quantity, e.price) for e in some], [(e.quantity, e.price) for e in others])

    assert abs(profit(units.opened, units.closed) - profit(opened, closed)) < D("1e-6")
