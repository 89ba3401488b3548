"""When trading happens: daily windows in their own zone, the hours of the markets, the trading day.

What always holds here: a bar belongs to a window by its start, start inclusive and end exclusive; a window across
midnight belongs to the day on which it starts; clock times are local to the window's zone, so daylight saving moves
them in UTC; nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

MIDNIGHT = time(0)
_NEW_YORK = ZoneInfo("America/New_York")
_WEEK_TURNS_AT = time(17)
_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6
EVERY_DAY = tuple(range(7))


@dataclass(frozen=True, slots=True)
class Window:
    """A daily span of local time, half-open. `end` before `start` means across midnight; midnight as both, all day.

    `weekdays` (Monday is 0) and `holidays` are about the day on which the window starts.
    """

    start: time
    end: time
    tz: str = "UTC"
    weekdays: tuple[int, ...] = EVERY_DAY
    holidays: tuple[date, ...] = ()

    @property
    def ends_at(self) -> str:
        """The end as people write it: a window that ends with its day ends at 24:00."""
        return "24:00" if self.end == MIDNIGHT else f"{self.end:%H:%M}"

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


@dataclass(frozen=True, slots=True)
class Exchange:
    """A market with an opening and a closing bell, Monday to Friday on its own clock, half-open.

    Holidays are the session file's; of a day that closes early the file's windows should not use the missing hours.
    """

    tz: str
    opens: time
    closes: time

    def is_trading(self, start: datetime, *, daily: bool, holidays: Iterable[date] = ()) -> bool:
        """Whether a bar that starts then is of a regular session; a `daily` bar is if its day is a trading day."""
        local = start.astimezone(ZoneInfo(self.tz))
        if local.weekday() >= _SATURDAY or local.date() in holidays:
            return False
        return daily or self.opens <= local.time() < self.closes


# By the venue that a session file names; OANDA's is the currency market, see `is_trading_bar`.
EXCHANGES: Mapping[str, Exchange] = MappingProxyType(
    {
        "ALPACA": Exchange("America/New_York", time(9, 30), time(16)),
        "KITE": Exchange("Asia/Kolkata", time(9, 15), time(15, 30)),
    }
)


# How soon a closed exchange is asked again: within its hours, as on a holiday, or shortly before them; and else.
_SOON, _LATER = timedelta(seconds=30), timedelta(minutes=5)
_BEFORE_THE_BELL = timedelta(minutes=10)


def until_open(venue: str, moment: datetime) -> timedelta:
    """How long to wait before an order is offered again that a closed exchange would not take at `moment`."""
    exchange = EXCHANGES.get(venue)
    if exchange is None:
        return _SOON
    near = any(exchange.is_trading(at, daily=False) for at in (moment, moment + _BEFORE_THE_BELL))
    return _SOON if near else _LATER


def trading_day(moment: datetime, tz: str = "UTC") -> date:
    """The account's day that `moment` belongs to: it begins at midnight in the account's zone."""
    return moment.astimezone(ZoneInfo(tz)).date()
