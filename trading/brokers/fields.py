"""The fields of a broker's JSON answers, read strictly: each refusal says which field was wrong.

What always holds: pure, no I/O. A field that is missing or of another kind raises `BadData`; numbers pass
`parse_decimal` (no NaN, no infinities, no floats), times are aware and in UTC; nothing is guessed. What the books could
not keep is refused here, so that one bad row stops where it came in: numbers and texts without an end, ids longer than
their column, words for a currency that are none, times that no broker of ours can mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from trading.brokers.errors import BadData
from trading.domain.money import BadNumber, parse_decimal

Row = Mapping[str, Any]

LONGEST_TEXT = 4000
# What the columns for the broker's ids keep.
LONGEST_ID = 64
# A written-out number of more digits could not be read again by `parse_decimal`.
MOST_DIGITS = 60
# Year 1 is how some brokers write "never"; later than this, sequences that are made of times fit no column.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2066, 1, 1, tzinfo=UTC)
_CURRENCY = re.compile("[A-Z]{3}")


def text(row: Row, key: str) -> str:
    """A field that must be a non-empty text."""
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise BadData(f"{key} is missing or not text: {value!r:.80}")
    if len(value) > LONGEST_TEXT:
        raise BadData(f"{key} has {len(value)} characters: {value[:60]!r} …")
    return value


def identity(row: Row, key: str) -> str:
    """An id of the broker's: printable ASCII that the column for it keeps."""
    value = text(row, key)
    if len(value) > LONGEST_ID or not value.isascii() or not value.isprintable():
        raise BadData(f"{key} is not an id: {value!r:.80}")
    return value


def optional_identity(row: Row, key: str) -> str:
    """An id that may be missing, "" then."""
    return identity(row, key) if optional_text(row, key) else ""


def currency(row: Row, key: str) -> str:
    """The three letters of a currency."""
    value = text(row, key)
    if _CURRENCY.fullmatch(value) is None:
        raise BadData(f"{key} is not a currency: {value!r:.40}")
    return value


def optional_text(row: Row, key: str) -> str:
    """A field that may be missing, "" then; anything but text is refused."""
    value = row.get(key)
    return "" if value is None else text(row, key) if value != "" else ""


def number(row: Row, key: str, default: Decimal | None = None) -> Decimal:
    """A decimal number written as text; `default` stands for a missing field where the vendor may omit it."""
    value = row.get(key)
    if value is None and default is not None:
        return default
    return exact(text(row, key), key)


def exact(written: str, key: str) -> Decimal:
    """The number that a text writes; one whose digits would not fit when written out is refused."""
    try:
        found = parse_decimal(written)
    except BadNumber as error:
        raise BadData(f"{key}: {error}") from error
    if found.adjusted() >= MOST_DIGITS:
        raise BadData(f"{key} is beyond any amount: {written:.80}")
    return found


def positive(row: Row, key: str) -> Decimal:
    """A number that must be above zero, as every price is."""
    value = number(row, key)
    if value <= 0:
        raise BadData(f"{key} must be above zero, not {value}")
    return value


def whole(row: Row, key: str, *, least: int = 0, most: int = 10**9) -> int:
    """A whole number from `least` to `most` that JSON carries as a number."""
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadData(f"{key} is not a whole number from {least} to {most}: {value!r:.80}")
    return value


def flag(row: Row, key: str) -> bool:
    """A true or false."""
    value = row.get(key)
    if not isinstance(value, bool):
        raise BadData(f"{key} is neither true nor false: {value!r:.80}")
    return value


def moment(row: Row, key: str) -> datetime:
    """An aware time in UTC, cut to microseconds; one without zone, or of no broker's time, is refused."""
    value = text(row, key)
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise BadData(f"{key} has no time zone: {value!r:.80}")
        return plausible(at.astimezone(UTC), key)
    except (ValueError, OverflowError) as error:
        raise BadData(f"{key} is not a time: {value!r:.80}") from error


def plausible(at: datetime, key: str) -> datetime:
    """The time itself, if it is one that a broker can mean."""
    if not EARLIEST <= at < LATEST:
        raise BadData(f"{key} is no time of a broker: {at.isoformat()}")
    return at


def child(row: Row, key: str) -> Row:
    """A nested object that must be there."""
    value = row.get(key)
    if not isinstance(value, dict):
        raise BadData(f"{key} is missing or not an object")
    return value


def optional_child(row: Row, key: str) -> Row:
    """A nested object that may be missing, an empty one then."""
    return {} if row.get(key) is None else child(row, key)


def rows(row: Row, key: str) -> list[Row]:
    """A list of objects that must be there; it may be empty."""
    value = row.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadData(f"{key} is missing or not a list of objects")
    return value
