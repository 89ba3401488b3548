"""Decimals and times as the simulator reads and writes them.

What always holds here: a number read from outside is a finite Decimal in plain notation or a ValueError; a time is
aware and in UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

ZERO = Decimal(0)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONEY = Decimal("0.0001")
PRECISION = 60
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?\Z", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|z|[+-]\d\d:\d\d)?\Z", re.ASCII)
_SECONDS = re.compile(r"\d{1,11}(\.\d{1,9})?\Z", re.ASCII)


def number(value: Any) -> Decimal:
    """A finite Decimal from a JSON string or integer (a JSON float is taken by its shortest text).

    Raises ValueError for anything else: NaN, Infinity, underscores, blanks, non-ASCII digits.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ValueError(f"{value!r} is not a number")
    text = str(value)
    if len(text) > 60 or not _PLAIN.match(text):
        raise ValueError(f"{value!r} is not a decimal number")
    return Decimal(text)


def decimals(value: Decimal) -> int:
    """How many decimals a number needs, trailing zeros not counted."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def money(value: Decimal) -> Decimal:
    """An amount of an account's currency: four decimals, half to even."""
    return value.quantize(MONEY, rounding=ROUND_HALF_EVEN)


def plain(value: Decimal) -> str:
    """A number without exponent and without trailing zeros."""
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def moment(value: Any) -> datetime:
    """An aware UTC time from RFC 3339 (up to nine decimals; no zone means UTC) or UNIX seconds as text or number.

    Raises ValueError for anything else.
    """
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    found = _TIME.match(text)
    if found:
        base = datetime.fromisoformat(found[1] + (found[2] or ".000000")[:7].ljust(7, "0"))
        zone = found[3]
        if zone in (None, "Z", "z"):
            return base.replace(tzinfo=UTC)
        return datetime.fromisoformat(base.isoformat() + zone).astimezone(UTC)
    if not isinstance(value, bool) and _SECONDS.match(text):
        whole, _, part = text.partition(".")
        return EPOCH + timedelta(seconds=int(whole), microseconds=int(part[:6].ljust(6, "0") or 0))
    raise ValueError(f"{value!r} is not a time: write it like 2026-01-05T14:30:00Z")


def iso(at: datetime) -> str:
    """RFC 3339 in UTC with nine decimals, as brokers write it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond:06d}000Z"


def unix(at: datetime) -> str:
    """UNIX seconds with nine decimals, without going through a float."""
    span = at - EPOCH
    return f"{span.days * 86400 + span.seconds}.{span.microseconds:06d}000"


def seconds_of(at: datetime) -> int:
    """Whole seconds since the epoch."""
    span = at - EPOCH
    return span.days * 86400 + span.seconds


def at_second(seconds: int) -> datetime:
    """The time a whole number of seconds after the epoch."""
    return EPOCH + timedelta(seconds=seconds)
