"""When trading happens: daily windows in their own zone, the weekend of the currency market, the trading day.

What always holds here: a bar belongs to a window by its start, start inclusive and end exclusive; a window across
midnight belongs to the day on which it starts; clock times are local to the window's zone, so daylight saving moves
them in UTC; nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_NEW_YORK = ZoneInfo("America/New_York")
_WEEK_TURNS_AT = time(17)
_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6
EVERY_DAY = tuple(range(7))


@dataclass(frozen=True, slots=True)
class Window:
    """A daily span of local time, half-open. `end` before `start` means across midnight.

    `weekdays` (Monday is 0) and `holidays` are about the day on which the window starts.
    """

    start: time
    end: time
    tz: str = "UTC"
    weekdays: tuple[int, ...] = EVERY_DAY
    holidays: tuple[date, ...] = ()

    def contains(self, moment: datetime) -> bool:
        """Whether a bar that starts at `moment` (aware) is inside."""
        local = moment.astimezone(ZoneInfo(self.tz))
        clock = local.time()
        if self.start < self.end:
            inside, begun_on = self.start <= clock < self.end, local.date()
        else:
            inside = clock >= self.start or clock < self.end
            begun_on = local.date() if clock >= self.start else local.date() - timedelta(days=1)
        return inside and begun_on.weekday() in self.weekdays and begun_on not in self.holidays

    def ends_on(self, day: date) -> datetime:
        """The end, in UTC, of the window that starts on `day` of its zone."""
        ending = day if self.start < self.end else day + timedelta(days=1)
        return datetime.combine(ending, self.end, ZoneInfo(self.tz)).astimezone(UTC)

    def starts_on(self, day: date) -> datetime:
        """The start, in UTC, of the window that starts on `day` of its zone."""
        return datetime.combine(day, self.start, ZoneInfo(self.tz)).astimezone(UTC)


def in_any_window(windows: Iterable[Window], moment: datetime) -> bool:
    """Whether a bar that starts at `moment` is inside at least one window."""
    return any(window.contains(moment) for window in windows)


def window_end_after(windows: Sequence[Window], moment: datetime) -> datetime | None:
    """When the window that holds `moment` ends, in UTC: the latest one if several do; None outside all."""
    ends = []
    for window in windows:
        if window.contains(moment):
            local_day = moment.astimezone(ZoneInfo(window.tz)).date()
            candidates = (window.ends_on(local_day - timedelta(days=1)), window.ends_on(local_day))
            ends.append(min(end for end in candidates if end > moment))
    return max(ends, default=None)


def is_trading_bar(start: datetime) -> bool:
    """False for bars of the currency market's weekend: Friday 17:00 to Sunday 17:00 in New York."""
    local = start.astimezone(_NEW_YORK)
    weekday = local.weekday()
    if weekday == _SATURDAY:
        return False
    if weekday == _SUNDAY:
        return local.time() >= _WEEK_TURNS_AT
    return weekday != _FRIDAY or local.time() < _WEEK_TURNS_AT


def trading_day(moment: datetime, tz: str = "UTC") -> date:
    """The account's day that `moment` belongs to: it begins at midnight in the account's zone."""
    return moment.astimezone(ZoneInfo(tz)).date()
