"""Closed days: a trading day that two people signed off takes approved entries only.

What always holds: the database refuses every other entry of such a day, whoever writes it; what is said here comes
before that, so that people read which day it is and what becomes of the money. A day is closed once, after its end,
under the application of an approved proposal, and never opened again. Days are closed in any order.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from trading.clock import day_bounds, now, trading_day
from trading.models import Account, Application, ClosedDay

from . import audit
from .audit import Actor
from .errors import RuleBroken


def is_closed(account: Account, day: date) -> bool:
    """Whether the trading day was signed off."""
    return ClosedDay.objects.filter(account=account, trading_day=day).exists()


def must_be_open(account: Account, at: datetime) -> None:
    """Raises RuleBroken when what happened at that moment falls into a day that was signed off."""
    day = trading_day(account, at)
    if is_closed(account, day):
        raise RuleBroken(
            f"It happened on {day}, and that day of {account.name} was signed off: two people must approve it first. "
            "It is kept and not booked; the next reconciliation shows it as a case."
        )


def first_open_day(account: Account, day: date) -> date:
    """That day, or the first after it that was not signed off."""
    while is_closed(account, day):
        day += timedelta(days=1)
    return day


def close_day(*, account: Account, day: date, application: Application, actor: Actor) -> ClosedDay:
    """Close a trading day under an application. Callers hold the account's lock.

    Raises RuleBroken before the day's end on the account's clock, and for a day that is closed already.
    """
    end = day_bounds(account, day)[1]
    if now(account) < end:
        raise RuleBroken(f"{day} of {account.name} ends at {end:%Y-%m-%d %H:%M} UTC: it can be closed after that.")
    if is_closed(account, day):
        raise RuleBroken(f"{day} of {account.name} was signed off already. Nothing was changed.")
    row = ClosedDay.objects.create(at=now(account), account=account, trading_day=day, application=application)
    audit.record(
        kind="day.closed",
        actor=actor,
        account=account,
        obj=row,
        after={"day": day.isoformat()},
        reason=application.proposal.reason,
    )
    return row
