"""Which days' digests are due, asked by a tick in wall time and answered on the accounts' own clocks.

What always holds: a day is due when it is over for every account that decides, so that it is sent once and whole; the
days of an absence are made up for, within a week of the last digest; else only the latest finished day is due.
"""

from __future__ import annotations

from datetime import date, timedelta

from django.db.models import Min

from trading.clock import day_bounds, trading_day
from trading.models import Entry, Notification
from trading.services import notifications

from .books import DESK, account_now, desk_accounts

GRACE = timedelta(minutes=2)
"""Account's time after midnight in which the day's last events may still come in."""
MOST_DAYS = 7


def due_days() -> list[date]:
    """The days whose digest is to be made or sent now, oldest first; empty without accounts of the desk's own."""
    selection = desk_accounts()
    if selection.name != DESK or not selection.deciding:
        return []
    moments = {account: account_now(account) for account in selection.deciding}
    latest = min(trading_day(account, moment - GRACE) for account, moment in moments.items()) - timedelta(days=1)
    # Not `opened_at`: that is wall time, and a simulator's world may be days behind it.
    begun = Entry.objects.filter(account__in=selection.accounts).aggregate(first=Min("at"))["first"]
    if begun is None or all(begun >= day_bounds(account, latest)[1] for account in selection.deciding):
        return []  # the books are younger than that day
    week = [latest - timedelta(days=back) for back in reversed(range(MOST_DAYS))]
    made = {row.key: row for row in Notification.objects.filter(key__in=[_key(day) for day in week])}
    first = next((day for day in week if _key(day) in made), latest)
    waiting = _waiting()
    return [day for day in week if (day >= first and _key(day) not in made) or day in waiting]


def _waiting() -> set[date]:
    """Days with a message that was surely not delivered and may be tried again now."""
    rows = Notification.objects.filter(state=Notification.State.PLANNED, key__startswith="digest:").exclude(channel="")
    days = set()
    for row in rows:
        _, day, name, *_ = row.key.split(":")
        if name == DESK and notifications.is_due(row):
            days.add(date.fromisoformat(day))
    return days


def _key(day: date) -> str:
    return f"digest:{day.isoformat()}:{DESK}"
