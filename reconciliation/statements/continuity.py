"""Whether the statements of an account follow one another: no day is missing, and each opens as the last one closed.

What always holds here: pure; a gap is named by its first day, so that it stays one case while it gets smaller; of
Saturdays and Sundays, and of the rest of a day after a statement that ends within it, only what our books hold
something of is missed; statements that overlap miss nothing; no two gaps have one name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from trading.domain.money import plain

SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One statement that stands (no corrected one replaced it). `known_at` is when it was imported."""

    statement: int
    covers_from: datetime
    covers_until: datetime
    first_day: date
    last_day: date
    opening: Decimal | None
    closing: Decimal | None
    known_at: datetime


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing before a statement. `key` is its name for ever."""

    before: Part
    key: str
    cause: str
    difference: Decimal | None


Held = Callable[[datetime, datetime], bool]
"""Whether our books hold something of the time between two moments, both exclusive."""


def _nothing(begin: datetime, end: datetime) -> bool:
    return False


def gaps(parts: Sequence[Part], *, busy: Collection[date], held: Held = _nothing) -> list[Gap]:
    """Every gap between the statements of one kind. `busy` are days of which our books hold something."""
    found: list[Gap] = []
    named: set[str] = set()
    last: Part | None = None
    for part in sorted(parts, key=lambda part: (part.covers_from, part.covers_until, part.statement)):
        if last is not None:
            gap = _between(last, part, busy, held)
            if gap is not None:
                gap = gap if gap.key not in named else replace(gap, key=_moment(part.covers_from))
                named.add(gap.key)
                found.append(gap)
        if last is None or part.covers_until > last.covers_until:
            last = part
    return found


def _between(last: Part, part: Part, busy: Collection[date], held: Held) -> Gap | None:
    days = [last.last_day + timedelta(days=n) for n in range(1, (part.first_day - last.last_day).days)]
    missing = [day for day in days if day.weekday() < SATURDAY or day in busy]
    if missing:
        words = f"{missing[0]}" if len(missing) == 1 else f"{len(missing)} days from {missing[0]} to {missing[-1]}"
        cause = (
            f"No statement covers {words}: one ends on {last.last_day} and the next begins on {part.first_day}. Import "
            "the statement of those days; where the broker was closed, import one that says that it covers them."
        )
        return Gap(part, f"{missing[0]}", cause, None)
    if part.covers_from <= last.covers_until or (part.opening is not None and part.opening == last.closing):
        return None
    if part.opening is None or last.closing is None:
        return _rest(last, part) if held(last.covers_until, part.covers_from) else None
    cause = (
        f"The statement from {part.first_day} opens with {plain(part.opening)}, and the one before it, to "
        f"{last.last_day}, closes with {plain(last.closing)}: something between them is in neither."
    )
    return Gap(part, f"{part.first_day}", cause, part.opening - last.closing)


def _rest(last: Part, part: Part) -> Gap:
    begin, end = _moment(last.covers_until), _moment(part.covers_from)
    cause = (
        f"Our books hold something of the time between {begin} and {end} (UTC), and no statement covers it: one "
        "ends and the next begins within the day. Import a statement of the whole day."
    )
    return Gap(part, begin, cause, None)


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
