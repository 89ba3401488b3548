"""A strategy's view of its position against books and price: it agrees, says nothing, or is told why not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.broker import Side
from trading.domain.position_features import PREFIX, SCALES, TOLERANCE_PIPS, BooksView, fault, scaled

D = Decimal
FLAT = BooksView(None, None, D("1.1"), D("0.0001"))
LONG = BooksView(Side.BUY, D("1.1000"), D("1.1030"), D("0.0001"))  # 30 pips
SHORT = replace(LONG, side=Side.SELL)  # −30 pips


def says(books: BooksView, **otherwise: object) -> dict[str, str]:
    """The features of a strategy that agrees with the books, but for `otherwise`."""
    numbers: dict[str, object] = dict.fromkeys(SCALES, 0)
    if books.side is not None:
        assert books.equity_pips is not None
        numbers |= {"equity_pips": scaled("equity_pips", books.equity_pips), "has_position": 1}
        numbers |= {"is_long": int(books.side is Side.BUY), "is_short": int(books.side is Side.SELL)}
        numbers |= {"bars_since_entry": scaled("bars_since_entry", 12), "efficiency": 0.4, "drawdown_sum": 0.1}
    numbers |= otherwise
    return {f"{PREFIX}{name}": str(value) for name, value in numbers.items()}


@pytest.mark.parametrize("books", [FLAT, LONG, SHORT], ids=["flat", "long", "short"])
def test_who_agrees_with_books_and_price_has_no_fault(books: BooksView) -> None:
    assert fault(says(books), books) == ""


def test_who_says_nothing_of_a_position_is_not_asked() -> None:
    assert fault({"range_pips": "12"}, LONG) == ""


def test_flat_is_nine_zeros() -> None:
    assert "nothing, but its drawdown_sum" in fault(says(FLAT, drawdown_sum=0.2), FLAT)


@pytest.mark.parametrize(
    ("told", "books", "why"),
    [
        (says(LONG), FLAT, "believes to hold a long position, the books say nothing"),
        (says(FLAT), LONG, "believes to hold nothing, the books say a long position"),
        (says(LONG), SHORT, "a long position, the books say a short position"),
        (says(LONG, is_short=1), LONG, "contradict each other"),
        (says(LONG, has_position=0, is_long=0), LONG, "nothing, but its"),
        (says(LONG, is_long=0.5), LONG, "neither 0 nor 1"),
        (says(LONG, efficiency="nan"), LONG, "not from -1 to 1"),
        (says(LONG, efficiency="1.01"), LONG, "not from -1 to 1"),
        (says(LONG, efficiency="much"), LONG, "no number"),
        (says(LONG, equity_pips=1), LONG, "endlessly many"),
        (says(LONG), replace(LONG, price=None), "not known"),
        ({name: text for name, text in says(LONG).items() if "efficiency" not in name}, LONG, "not the nine"),
        ({**says(LONG), f"{PREFIX}mood": "1"}, LONG, "10 numbers of its position and not the nine: mood"),
    ],
)
def test_who_is_wrong_is_told_in_which_way(told: dict[str, str], books: BooksView, why: str) -> None:
    assert why in fault(told, books)


@given(gained=st.integers(-100_000, 100_000), off=st.floats(-50, 50), long=st.booleans())
def test_a_gain_is_right_within_the_tolerance_and_nowhere_else(gained: int, off: float, long: bool) -> None:
    side = Side.BUY if long else Side.SELL
    books = BooksView(side, D(20), D(20) + side.sign * D(gained) / 10000, D("0.0001"))
    told = says(books, equity_pips=scaled("equity_pips", gained + off))
    if abs(off) < TOLERANCE_PIPS * 0.999:
        assert fault(told, books) == ""
    elif abs(off) > TOLERANCE_PIPS * 1.001 and abs(gained) < 20_000:  # beyond, a float tells pips no longer apart
        assert "believes to have gained" in fault(told, books)


@given(st.dictionaries(st.text(max_size=12).map(lambda name: PREFIX + name), st.text(max_size=8)))
def test_whatever_is_said_gets_a_sentence_and_no_exception(told: dict[str, str]) -> None:
    assert bool(fault(told, FLAT)) is bool(told)
