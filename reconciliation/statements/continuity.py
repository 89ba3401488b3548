"""Whether the statements of an account follow one another: no day is missing, and each opens as the last one closed.

What always holds here: pure; a gap is named by its first day, so that it stays one case while it gets smaller; of
Saturdays and Sundays only those are missed of which our books hold something; statements that overlap miss nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
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


def gaps(parts: Sequence[Part], *, busy: Collection[date]) -> list[Gap]:
    """Every gap between the statements of one kind. `busy` are days of which our books hold something."""
    found: list[Gap] = []
    last: Part | None = None
    for part in sorted(parts, key=lambda part: (part.covers_from, part.covers_until, part.statement)):
        if last is not None:
            gap = _between(last, part, busy)
            found.extend([gap] if gap is not None else [])
        if last is None or part.covers_until > last.covers_until:
            last = part
    return found


def _between(last: Part, part: Part, busy: Collection[date]) -> Gap | None:
    days = [last.last_day + timedelta(days=n) for n in range(1, (part.first_day - last.last_day).days)]
    missing = [day for day in days if day.weekday() < SATURDAY or day in busy]
    if missing:
        words = f"{missing[0]}" if len(missing) == 1 else f"{len(missing)} days from {missing[0]} to {missing[-1]}"
        cause = (
            f"No statement covers {words}: one ends on {last.last_day} and the next begins on {part.first_day}. Import "
            "the statement of those days; where the broker was closed, import one that says that it covers them."
        )
        return Gap(part, f"{missing[0]}", cause, None)
    follows = part.covers_from > last.covers_until
    if not follows or part.opening is None or last.closing is None or part.opening == last.closing:
        return None
    cause = (
        f"The statement from {part.first_day} opens with {plain(part.opening)}, and the one before it, to "
        f"{last.last_day}, closes with {plain(last.closing)}: something between them is in neither."
    )
    return Gap(part, f"{part.first_day}", cause, part.opening - last.closing)
