"""One text for one value."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.canonical import canonical_json, sha256_hex, utc_text


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Pair:
    b: Decimal
    a: int


def test_keys_are_sorted_numbers_plain_and_nothing_is_spaced() -> None:
    value = {"b": [Decimal("1.50"), True, None], "a": Pair(Decimal("-0.0"), 3), "c": Colour.RED, "é": (1, "ü")}
    assert canonical_json(value) == '{"a":{"a":3,"b":"0"},"b":["1.5",true,null],"c":"red","é":[1,"ü"]}'


def test_times_are_utc_with_microseconds_wherever_they_were_written() -> None:
    moment = datetime(2014, 5, 1, 9, 5, tzinfo=timezone(timedelta(hours=2)))
    assert canonical_json([moment, date(2014, 5, 1), time(7, 5)]) == (
        '["2014-05-01T07:05:00.000000Z","2014-05-01","07:05:00"]'
    )
    assert utc_text(moment) == utc_text(moment.astimezone(UTC))


@pytest.mark.parametrize("value", [1.5, {1, 2}, {1: "a"}, datetime(2014, 5, 1), object(), Pair])  # noqa: DTZ001
def test_a_value_without_one_text_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json({"x": value})


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_the_order_in_which_keys_arrive_changes_nothing(value: dict[str, Any]) -> None:
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


def test_the_hash_is_that_of_the_text_in_utf_8() -> None:
    assert sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_hex("é") == "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"
