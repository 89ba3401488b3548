"""Exchanges that are open by the day: their sessions, and the hours that follow from them.

What always holds here: days are the exchange's own, times are aware and in UTC; a session's regular hours lie inside
its extended ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from .hours import Hours

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day; the times are in UTC."""

    day: date
    opens: datetime
    closes: datetime
    extended_opens: datetime
    extended_closes: datetime


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange's calendar. `session` gives a day's session, None when it is closed; `closes` is the usual end."""

    zone: ZoneInfo
    session: Callable[[date], Session | None]
    closes: time

    def following(self, day: date) -> Session:
        """The session of this day or else the next one after it."""
        found = self.session(day)
        while found is None:
            day += _DAY
            found = self.session(day)
        return found

    def preceding(self, day: date) -> Session:
        """The session of this day or else the last one before it."""
        found = self.session(day)
        while found is None:
            day -= _DAY
            found = self.session(day)
        return found

    def day_of(self, at: datetime) -> date:
        """The exchange's date at this moment."""
        return at.astimezone(self.zone).date()

    def midnight(self, day: date) -> datetime:
        """When a day begins at the exchange, in UTC."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)


class SessionHours(Hours):
    """When an exchange's instruments are traded: the regular session of each trading day, and the extended one."""

    def __init__(self, exchange: Exchange, always_open: bool = False) -> None:
        super().__init__(always_open)
        self.exchange = exchange

    def is_open(self, at: datetime) -> bool:
        """Whether the regular session is on."""
        if self.always_open:
            return True
        found = self.exchange.session(self.exchange.day_of(at))
        return found is not None and found.opens <= at < found.closes

    def is_extended(self, at: datetime) -> bool:
        """Whether orders that ask for extended hours can be filled."""
        if self.always_open:
            return True
        found = self.exchange.session(self.exchange.day_of(at))
        return found is not None and found.extended_opens <= at < found.extended_closes

    def last_open(self, at: datetime) -> datetime:
        """`at` itself when the market is open, else the last moment before which it was open."""
        if self.is_open(at):
            return at
        found = self.exchange.preceding(self.exchange.day_of(at))
        if found.closes > at:
            found = self.exchange.preceding(found.day - _DAY)
        return found.closes - timedelta(microseconds=1)

    def next_open(self, at: datetime) -> datetime:
        """`at` itself when the market is open, else the next moment at which it opens."""
        return at if self.is_open(at) else self.coming(at).opens

    def coming(self, at: datetime) -> Session:
        """The first session that opens after this moment."""
        found = self.exchange.following(self.exchange.day_of(at))
        return found if found.opens > at else self.exchange.following(found.day + _DAY)

    def running(self, at: datetime) -> Session:
        """The session that is on, or else the next one."""
        found = self.exchange.following(self.exchange.day_of(at))
        return found if found.closes > at else self.exchange.following(found.day + _DAY)

    def day_ends(self, at: datetime, extended: bool) -> datetime:
        """When an order of the day that is placed now expires; an always open market has its days too."""
        if self.always_open:
            closes = datetime.combine(self.exchange.day_of(at), self.exchange.closes, self.exchange.zone)
            return (closes if closes > at else closes + _DAY).astimezone(UTC)
        found = self.exchange.following(self.exchange.day_of(at))
        if (found.extended_closes if extended else found.closes) <= at:
            found = self.exchange.following(found.day + _DAY)
        return found.extended_closes if extended else found.closes

    def overlap(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """The open stretches inside [start, end), in order."""
        if self.always_open:
            return [(start, end)] if start < end else []
        stretches: list[tuple[datetime, datetime]] = []
        found = self.exchange.following(self.exchange.day_of(start))
        while found.opens < end:
            low, high = max(found.opens, start), min(found.closes, end)
            if low < high:
                stretches.append((low, high))
            found = self.exchange.following(found.day + _DAY)
        return stretches
