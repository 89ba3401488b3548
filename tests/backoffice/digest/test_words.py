"""Other people's text in a digest: it formats nothing, mentions nobody and calculates nothing."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backoffice.digest import words


@given(st.text())
def test_markdown_leaves_nothing_that_formats(text: str) -> None:
    shown = words.markdown(text)
    assert "\n" not in shown and "\r" not in shown
    bare = re.sub(r"\\(.)", "", shown)
    assert not set(bare) & set("\\`*{}[]<>()#+!|~@:")
    assert re.sub(r"\\(.)", r"\1", shown) == words.clean(text)


@given(st.text())
def test_a_cell_is_never_a_formula(text: str) -> None:
    shown = words.cell(text)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("orb", "orb"),
        ("trend_pullback", "trend_pullback"),
        ("@everyone", r"\@everyone"),
        ("<@123> [x](http://y)", r"\<\@123\> \[x\]\(http\://y\)"),
        ("_slanted_", r"\_slanted\_"),
        ("a\n# b", r"a \# b"),
        ("\u202ereversed\u0007", "reversed"),
        ("a|b", r"a\|b"),
    ],
)
def test_markdown_by_example(text: str, shown: str) -> None:
    assert words.markdown(text) == shown


def test_account_numbers_are_cut_down() -> None:
    told = words.without_numbers("oanda-101-001-1234567-001 and 101-001-1234567-0011", ["101-001-1234567-001"])
    assert told == "oanda-…001 and …0011"


@pytest.mark.parametrize(
    ("number", "places", "shown"),
    [("1234.565", 2, "+1,234.56"), ("-0.001", 2, "0.00"), ("0", 2, "0.00"), ("-1.115", 3, "-1.115"), ("2", 0, "+2")],
)
def test_numbers_have_their_sign(number: str, places: int, shown: str) -> None:
    assert words.signed(Decimal(number), places) == shown


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (timedelta(seconds=59), "0 m"),
        (timedelta(minutes=59), "59 m"),
        (timedelta(hours=3, minutes=12), "3 h 12 m"),
        (timedelta(days=2, hours=4, minutes=59), "2 d 4 h"),
    ],
)
def test_ages_are_short(age: timedelta, shown: str) -> None:
    assert words.age_text(age) == shown
