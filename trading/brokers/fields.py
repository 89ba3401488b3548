"""The fields of a broker's JSON answers, read strictly: each refusal says which field was wrong.

What always holds: pure, no I/O. A field that is missing or of another kind raises `BadData`; numbers pass
`parse_decimal` (no NaN, no infinities, no floats), times are aware and in UTC; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from trading.brokers.errors import BadData
from trading.domain.money import BadNumber, parse_decimal

Row = Mapping[str, Any]


def text(row: Row, key: str) -> str:
    """A field that must be a non-empty text."""
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise BadData(f"{key} is missing or not text: {value!r:.80}")
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
    try:
        return parse_decimal(text(row, key))
    except BadNumber as error:
        raise BadData(f"{key}: {error}") from error


def positive(row: Row, key: str) -> Decimal:
    """A number that must be above zero, as every price is."""
    value = number(row, key)
    if value <= 0:
        raise BadData(f"{key} must be above zero, not {value}")
    return value


def whole(row: Row, key: str) -> int:
    """A whole number that JSON carries as a number."""
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 10**9:
        raise BadData(f"{key} is not a whole number: {value!r:.80}")
    return value


def flag(row: Row, key: str) -> bool:
    """A true or false."""
    value = row.get(key)
    if not isinstance(value, bool):
        raise BadData(f"{key} is neither true nor false: {value!r:.80}")
    return value


def moment(row: Row, key: str) -> datetime:
    """An aware time in UTC, cut to microseconds; a time without zone is refused."""
    value = text(row, key)
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise BadData(f"{key} has no time zone: {value!r:.80}")
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadData(f"{key} is not a time: {value!r:.80}") from error


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
