"""Which accounts a digest is about, and which stretch of each account's own time.

What always holds: an account that decides (a paper book, or any account that mirrors nobody) and its mirrors are kept
apart, so that no trade is ever added up twice; days and hours are those of the account's own clock and time zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Max

from trading.clock import day_bounds, now, trading_day
from trading.models import Account, Entry

DESK = "desk"


class UnknownAccount(LookupError):
    """There is no account of that name. The text says which there are."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The accounts of a digest: those that decide, and their mirrors beside them. `name` goes into its key."""

    name: str
    deciding: tuple[Account, ...]
    mirrors: tuple[Account, ...] = ()

    @property
    def accounts(self) -> tuple[Account, ...]:
        """All of them, those that decide first."""
        return (*self.deciding, *self.mirrors)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of an account's time: the whole trading day `day`, or without one everything after `since`.

    Both end at `until`, inclusive; `over` says that nothing more can happen in it.
    """

    account: Account
    since: datetime
    until: datetime
    day: date | None
    over: bool


def desk_accounts() -> Selection:
    """The active accounts of the desk's own world; where there is none yet, those of the newest replay."""
    rows = list(Account.objects.filter(is_active=True, scope="").order_by("name"))
    if rows:
        return _apart(DESK, rows)
    newest = Account.objects.exclude(scope="").filter(mirror_of=None).order_by("-pk").first()
    if newest is None:
        return Selection(DESK, ())
    return _apart(newest.name, list(Account.objects.filter(scope=newest.scope).order_by("name")))


def choose(name: str) -> Selection:
    """The account of that name alone, or without a name all of the desk's. Raises UnknownAccount."""
    if not name:
        return desk_accounts()
    account = Account.objects.filter(name=name).first()
    if account is None:
        known = ", ".join(Account.objects.order_by("name").values_list("name", flat=True)) or "none yet"
        raise UnknownAccount(f"There is no account {name!r}, so no digest was made. Known are: {known}.")
    return Selection(account.name, (account,))


def account_now(account: Account) -> datetime:
    """The account's time. A replay's world stands still where its books end."""
    if account.scope:
        last: datetime | None = Entry.objects.filter(account=account).aggregate(last=Max("at"))["last"]
        return last or account.opened_at
    return now(account)


def day_span(account: Account, day: date | None = None) -> Span:
    """A trading day of the account; without one the day that it is in now."""
    moment = account_now(account)
    wanted = day or trading_day(account, moment)
    since, until = day_bounds(account, wanted)
    return Span(account, since, until, wanted, over=moment >= until)


def hours_span(account: Account, hours: int) -> Span:
    """The last `hours` of the account's time."""
    moment = account_now(account)
    return Span(account, moment - timedelta(hours=hours), moment, None, over=False)


def _apart(name: str, rows: list[Account]) -> Selection:
    return Selection(
        name,
        tuple(row for row in rows if row.mirror_of_id is None),
        tuple(row for row in rows if row.mirror_of_id is not None),
    )
