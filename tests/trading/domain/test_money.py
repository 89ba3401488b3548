"""Numbers: what gets in, how it is written, how it is rounded."""

import threading
from decimal import Decimal, getcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.money import (
    BadNumber,
    ceil_to_step,
    floor_to_step,
    parse_decimal,
    plain,
    round_to_step,
    use_money_context,
)

numbers = st.decimals(min_value=Decimal("-1e20"), max_value=Decimal("1e20"), places=12)
steps = st.sampled_from([Decimal(text) for text in ("1", "0.00001", "0.001", "0.1", "75", "0.05", "1e-12")])


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "nan", "sNaN", "Infinity", "-inf", "1_000", " 1", "1 ", "1\n", "", "+", ".", "e5", "0x10", "1,5"),
        *("١٢", "１２", "1e31", "1e-31", "1e9999999", "1e", "--1", "1" * 61),
    ],
)
def test_text_that_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(BadNumber):
        parse_decimal(text)


@pytest.mark.parametrize("value", [1.5, 1, None, True, Decimal("1")])
def test_a_value_that_is_no_text_is_refused_because_a_float_has_lost_digits_already(value: object) -> None:
    with pytest.raises(BadNumber):
        parse_decimal(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "number"),
    [("1.386745", "1.386745"), ("-0", "0"), ("+5.", "5"), (".5", "0.5"), ("1e30", "1" + "0" * 30), ("12E-2", "0.12")],
)
def test_a_plain_number_is_read_exactly(text: str, number: str) -> None:
    assert parse_decimal(text) == Decimal(number)


@pytest.mark.parametrize(
    ("number", "text"),
    [("-0", "0"), ("-0.000", "0"), ("1E+5", "100000"), ("1.50", "1.5"), ("100", "100"), ("1E-12", "0.000000000001")],
)
def test_a_number_has_one_plain_text(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


@pytest.mark.parametrize("text", ["NaN", "Infinity"])
def test_what_is_not_finite_has_no_plain_text(text: str) -> None:
    with pytest.raises(BadNumber):
        plain(Decimal(text))


@given(numbers)
def test_reading_the_plain_text_of_a_number_gives_the_number_back(number: Decimal) -> None:
    assert parse_decimal(plain(number)) == number


@given(numbers, steps)
def test_rounding_to_a_step_brackets_the_number_and_lands_on_the_step(number: Decimal, step: Decimal) -> None:
    below, above, nearest = floor_to_step(number, step), ceil_to_step(number, step), round_to_step(number, step)
    assert below <= number <= above
    assert above - below in (0, step)
    assert below % step == above % step == 0
    assert nearest in (below, above)
    assert abs(number - nearest) * 2 <= step


def test_rounding_exactly_between_two_steps_takes_the_even_one() -> None:
    step = Decimal("0.01")
    assert round_to_step(Decimal("0.005"), step) == 0
    assert round_to_step(Decimal("0.015"), step) == Decimal("0.02")
    assert round_to_step(Decimal("-0.005"), step) == 0
    assert round_to_step(Decimal("-0.015"), step) == Decimal("-0.02")


def test_a_step_must_be_above_zero() -> None:
    with pytest.raises(BadNumber):
        floor_to_step(Decimal(1), Decimal(0))


def test_the_digits_that_the_default_context_would_round_away_survive_in_every_new_thread() -> None:
    number = Decimal("12345678901234567890.123456789012")
    seen: list[Decimal] = []
    thread = threading.Thread(target=lambda: seen.append(number * 10 + Decimal("0.1") ** 12))
    thread.start()
    thread.join()
    assert seen == [Decimal("123456789012345678901.234567890121")]


def test_a_thread_that_used_decimals_with_another_context_can_be_put_right() -> None:
    digits: list[int] = []

    def work() -> None:
        getcontext().prec = 5
        use_money_context()
        digits.append(getcontext().prec)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert digits == [60]
