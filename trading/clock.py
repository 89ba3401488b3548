"""One clock: `now(account)` is the only source of `at`.

What always holds: wall time for accounts at real brokers and for the paper book that trades live beside nothing else;
for accounts in a simulator's world the broker's time computed from the last stored broker clock; in a replay the
bar's time. `recorded_at`, leases, time-outs and quarantines are wall time: `wall_now()`. Everything is aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.utils import timezone

from trading.models import Account, AccountClock

# Seconds of wall time below which a speed cannot be measured, and the most that a simulator runs at.
SHORTEST_MEASURE = 0.5
ZERO, MOST = Decimal(0), Decimal(1_000_000)
_replay: ContextVar[dict[int, datetime] | None] = ContextVar("replay_clock", default=None)


def wall_now() -> datetime:
    """The machine's time."""
    return timezone.now()


def now(account: Account) -> datetime:
    """The account's time: the bar's in a replay, the broker's for a simulator's account, else the wall's.

    A paper book follows the clock of the account it stands for: its own stored clock if there is one.
    """
    replayed = _replay.get()
    if replayed is not None and account.pk in replayed:
        return replayed[account.pk]
    if account.environment in (Account.Environment.SIMULATOR, Account.Environment.IN_PROCESS):
        clock = AccountClock.objects.filter(account=account).first()
        if clock is not None:
            passed = (wall_now() - clock.wall_at).total_seconds()
            return clock.broker_at + timedelta(seconds=passed * float(clock.speed))
    return wall_now()


def trading_day(account: Account, at: datetime | None = None) -> date:
    """The account's trading day at a moment: it begins at midnight in the account's time zone."""
    moment = at if at is not None else now(account)
    return moment.astimezone(ZoneInfo(account.time_zone)).date()


def day_bounds(account: Account, day: date) -> tuple[datetime, datetime]:
    """First and past-last moment of a trading day, in UTC."""
    zone = ZoneInfo(account.time_zone)
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    following = day + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    return start.astimezone(UTC), end.astimezone(UTC)


def store_broker_clock(*, account: Account, broker_at: datetime, speed: Decimal | None = None) -> None:
    """Remember what the broker's clock said just now; without a `speed` it is measured since the last reading."""
    seen_at = wall_now()
    if speed is None:
        speed = Decimal(1)
        last = AccountClock.objects.filter(account=account).first()
        if last is not None:
            passed = (seen_at - last.wall_at).total_seconds()
            if passed < SHORTEST_MEASURE:
                return
            speed = round(Decimal((broker_at - last.broker_at).total_seconds()) / Decimal(passed), 1)
    AccountClock.objects.update_or_create(
        account=account, defaults={"wall_at": seen_at, "broker_at": broker_at, "speed": min(max(speed, ZERO), MOST)}
    )


@contextmanager
def replay_clock(*account_ids: int) -> Iterator[dict[int, datetime]]:
    """In here `now` answers what the caller writes into the yielded mapping for these accounts."""
    times: dict[int, datetime] = {}
    token = _replay.set(times)
    try:
        yield times
    finally:
        _replay.reset(token)
