"""The desk in numbers: accounts with their time and state, equity by currency, orders of the day, runs, heartbeats."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Count, Q

from reconciliation.models import Run
from trading.clock import day_bounds, now, trading_day, wall_now
from trading.domain.money import ZERO
from trading.models import Account, Anchor, ChainBlock, ChainHead, EquityPoint, Heartbeat, Order, Restriction
from trading.services.restrictions import OPEN, trading_state

MANY = 2  # a measured speed of 19.9 is said as 20
ANCHORED = timedelta(seconds=90)  # a minute, and time to notice
FRESH, STALE = timedelta(seconds=30), timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class AccountLine:
    """An account as the home page knows it. `at` is its own clock's time, `day_start` the begin of its trading day."""

    account: Account
    at: datetime
    day_start: datetime
    state: str
    reasons: tuple[str, ...]
    limited: tuple[str, ...] = ()
    equity: Decimal | None = None
    day_change: Decimal | None = None

    @property
    def enabled(self) -> bool:
        """Whether entries may be made at all."""
        return self.state == OPEN

    @property
    def word(self) -> str:
        """ENABLED, REDUCE ONLY or HALTED."""
        return {OPEN: "ENABLED", "REDUCE_ONLY": "REDUCE ONLY"}.get(self.state, "HALTED")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency and what the day changed; `share` is that change in percent of the day's begin."""

    currency: str
    amount: Decimal
    change: Decimal | None
    share: Decimal | None


@dataclass(frozen=True, slots=True)
class Beat:
    """A part of the desk and how long ago it was alive; `tone` is good, waiting or bad."""

    name: str
    age: timedelta
    tone: str
    says: str = ""


@dataclass(frozen=True, slots=True)
class RunLine:
    """The last run of an account, and how long ago it ended (wall time)."""

    run: Run
    age: timedelta


@dataclass(slots=True)
class OrdersToday:
    """How many orders of the accounts' trading day are in each state."""

    by_state: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_state.values())


def accounts() -> list[AccountLine]:
    """The active accounts of the desk's own world, those at brokers first, with equity and trading state."""
    rows = list(Account.objects.filter(is_active=True, scope="").select_related("clock").order_by("pk"))
    rows.sort(key=lambda account: (account.is_paper_book, account.pk))
    times = {account.pk: now(account) for account in rows}
    starts = {row.pk: day_bounds(row, trading_day(row, times[row.pk]))[0] for row in rows}
    latest, before = _equity(rows, starts)
    limited = _limited(rows, times)
    lines = []
    for row in rows:
        state, reasons = trading_state(row, at=times[row.pk])
        equity, first = latest.get(row.pk), before.get(row.pk)
        change = equity - first if equity is not None and first is not None else None
        lines.append(
            AccountLine(
                row, times[row.pk], starts[row.pk], state, tuple(reasons), tuple(limited[row.pk]), equity, change
            )
        )
    return lines


@dataclass(frozen=True, slots=True)
class MarketClock:
    """The time in the simulated market, and how many times faster than the wall's it goes."""

    at: datetime
    speed: Decimal


def market_clock(lines: list[AccountLine]) -> MarketClock | None:
    """The clock of the first account at a simulator; None where there is none or it was not read yet."""
    for line in lines:
        if line.account.environment == Account.Environment.SIMULATOR and hasattr(line.account, "clock"):
            return MarketClock(line.at, round(line.account.clock.speed, 0 if line.account.clock.speed >= MANY else 1))
    return None


def _equity(rows: list[Account], starts: dict[int, datetime]) -> tuple[dict[int, Decimal], dict[int, Decimal]]:
    """The newest equity of each account, and the one that its trading day began with: the last one from before, or
    for an account whose first day it is, its first."""
    if not rows:
        return {}, {}
    earlier = Q()
    for row in rows:
        earlier |= Q(account=row, at__lt=starts[row.pk])
    points = EquityPoint.objects.filter(account__in=rows).values_list("account_id", "equity")
    newest = points.order_by("account_id", "-at").distinct("account_id")
    oldest = points.order_by("account_id", "at").distinct("account_id")
    latest = dict(newest)
    counted = points.order_by().values_list("account_id").annotate(number=Count("id"))
    several = {account_id for account_id, number in counted if number > 1}
    began = {account_id: equity for account_id, equity in oldest if account_id in several}
    return latest, began | dict(newest.filter(earlier))


def _limited(rows: list[Account], times: dict[int, datetime]) -> dict[int, list[str]]:
    """Instruments and strategies that are restricted while the account itself may trade."""
    found: dict[int, list[str]] = defaultdict(list)
    part = Restriction.objects.filter(lifted_at=None, account__in=rows).exclude(strategy="", instrument=None)
    for restriction in part.select_related("instrument").order_by("id"):
        account_id = restriction.account_id
        if account_id is not None and (restriction.until is None or restriction.until > times[account_id]):
            found[account_id].append(str(restriction.instrument or restriction.strategy))
    return found


def equity_by_currency(lines: list[AccountLine]) -> list[Money]:
    """What the broker accounts hold together, per currency; the paper books only where there is no broker account."""
    at_brokers = [line for line in lines if not line.account.is_paper_book]
    sums: dict[str, list[AccountLine]] = defaultdict(list)
    for line in at_brokers or lines:
        if line.equity is not None:
            sums[line.account.currency].append(line)
    shown = []
    for currency, members in sums.items():
        amount = sum((line.equity or ZERO for line in members), ZERO)
        known = [line.day_change for line in members if line.day_change is not None]
        change = sum(known, ZERO) if known else None
        began = amount - change if change is not None else ZERO
        share = round(change * 100 / began, 2) if change is not None and began > 0 else None
        shown.append(Money(currency, amount, change, share))
    return shown


def orders_today(lines: list[AccountLine]) -> OrdersToday:
    """Orders decided since each account's trading day began."""
    if not lines:
        return OrdersToday()
    wanted = Q()
    for line in lines:
        wanted |= Q(account=line.account, at__gte=line.day_start)
    counted = Order.objects.filter(wanted).order_by().values_list("state").annotate(number=Count("id"))
    return OrdersToday(dict(counted))


def last_runs(lines: list[AccountLine], limit: int = 5) -> tuple[list[RunLine], list[RunLine]]:
    """The newest run of each account, and the newest runs of all."""
    wall = wall_now()
    wanted = [line.account for line in lines]
    runs = Run.objects.filter(account__in=wanted).select_related("account")
    newest = [RunLine(run, wall - run.recorded_at) for run in runs.order_by("-id")[:limit]]
    looks = runs.exclude(trigger=Run.Trigger.STATEMENT)
    each = looks.order_by("account_id", "-id").distinct("account_id")
    return [RunLine(run, wall - run.recorded_at) for run in each], newest


def beats(lines: list[AccountLine]) -> list[Beat]:
    """Every part of the desk that reports, and each broker by the time its clock was last read."""
    wall = wall_now()
    rows = list(Heartbeat.objects.order_by("name"))
    shown = [_beat(row, wall) for row in rows]
    asked = [row.at for row in rows if row.name in TICKS]
    if asked:  # beat leaves no row of its own: it is alive when a worker was asked by it
        shown.insert(0, Beat("Beat", wall - max(asked), _tone(wall - max(asked)), "asks the workers what is due"))
    return [*shown, *(_anchor_beat(wall) if shown else []), *_broker_beats(lines, wall)]


TICKS = ("signals", "orders", "reconciliation", "slow")


PARTS = {
    "signals": ("Worker: signals", "bars and exits"),
    "orders": ("Worker: orders", "sending and watching"),
    "reconciliation": ("Worker: reconciliation", "runs and applications"),
    "slow": ("Worker: digests, settlement", "what may wait"),
    "streams": ("Streams", "keeps the brokers' streams open"),
    "stream.events": ("Events of {}", "the broker's own news, as they happen"),
    "stream.prices": ("Prices of {}", "ticks that become bars"),
}


def _beat(row: Heartbeat, wall: datetime) -> Beat:
    """A part as people call it; a stream that says it is not connected is not, however lately it said so."""
    kind, _, account = row.name.partition(":")
    name, says = PARTS.get(kind, (row.name, ""))
    if row.details.get("connected") is False:
        return Beat(name.format(account), wall - row.at, "bad", "not connected")
    return Beat(name.format(account), wall - row.at, _tone(wall - row.at), says)


def _anchor_beat(wall: datetime) -> list[Beat]:
    """The last anchor; it is late when books that were sealed since wait for the next one longer than they should."""
    head, last = ChainHead.objects.get(), Anchor.objects.order_by("-id").first()
    newest = ChainBlock.objects.filter(number=head.number).first()
    if newest is None:
        return []
    says = f"block {head.number} was sealed {int((wall - newest.sealed_at).total_seconds())} s ago"
    if last is None:
        return [Beat("Anchor of the books", wall - newest.sealed_at, "waiting", f"none yet; {says}")]
    own = ChainBlock.objects.filter(table_name=Anchor._meta.db_table, last_id=last.pk).values("transaction")
    waiting = ChainBlock.objects.filter(number__gt=last.number).exclude(transaction__in=own).order_by("number").first()
    late = wall - waiting.sealed_at if waiting is not None else timedelta(0)
    tone = "good" if late <= ANCHORED else "waiting" if late <= 2 * ANCHORED else "bad"
    return [Beat("Anchor of the books", wall - last.at, tone, f"block {last.number} is anchored; {says}")]


def _broker_beats(lines: list[AccountLine], wall: datetime) -> list[Beat]:
    clocked = Account.objects.filter(pk__in=[line.account.pk for line in lines], clock__isnull=False)
    rows = clocked.select_related("clock").order_by("pk")
    return [
        Beat(row.name, wall - row.clock.wall_at, _tone(wall - row.clock.wall_at), f"{row.broker} answered")
        for row in rows
        if not row.is_paper_book
    ]


def _tone(age: timedelta) -> str:
    return "good" if age <= FRESH else "waiting" if age <= STALE else "bad"
