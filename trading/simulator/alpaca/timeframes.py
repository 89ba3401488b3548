"""The bars of the data interface: which stretch of time a bar covers. Pure functions.

What always holds here: a bar is [start, end) in UTC seconds; bars of minutes and hours are counted from midnight in
New York and end with the day at the latest, days begin at that midnight, weeks on Monday.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from ..core.numbers import at_second, seconds_of
from ..core.nyse import day_of, midnight

_FRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)\Z", re.ASCII)
_UNITS = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
_ALLOWED = {
    "Min": range(1, 60), "Hour": range(1, 24), "Day": range(1, 2), "Week": range(1, 2), "Month": (1, 2, 3, 4, 6, 12),
}  # fmt: skip


def timeframe(text: str) -> str:
    """A time frame in its long form, as 5Min. Raises ValueError."""
    found = _FRAME.match(text)
    if found:
        count, unit = int(found[1]), _UNITS.get(found[2], found[2])
        if count in _ALLOWED[unit]:
            return f"{count}{unit}"
    raise ValueError(f"invalid timeframe: {text}")


def is_intraday(frame: str) -> bool:
    """Whether its bars are shorter than a day."""
    return frame.endswith(("Min", "Hour"))


def bucket(frame: str, second: int) -> tuple[int, int]:
    """The bar [start, end) of this time frame (in its long form) that holds `second`."""
    found = _FRAME.match(frame)
    assert found is not None
    count, unit = int(found[1]), found[2]
    day = day_of(at_second(second))
    if unit in ("Min", "Hour"):
        length = count * (60 if unit == "Min" else 3600)
        opens, closes = seconds_of(midnight(day)), seconds_of(midnight(day + timedelta(days=1)))
        start = opens + (second - opens) // length * length
        return start, min(start + length, closes)
    first, after = day, day + timedelta(days=1)
    if unit == "Week":
        first = day - timedelta(days=day.weekday())
        after = first + timedelta(days=7)
    elif unit == "Month":
        month = day.year * 12 + day.month - 1
        month -= month % count
        first, after = _month(month), _month(month + count)
    return seconds_of(midnight(first)), seconds_of(midnight(after))


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)
