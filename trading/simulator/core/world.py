"""The world: time, market, accounts and journal together. Everything that happens goes through here.

What always holds here: time only moves forward; what time brings (prices, bars, expiries) happens in the order of
its time; the same inputs give the same world, so the world can be rebuilt from the inputs alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from . import matching
from .candles import Bar
from .faults import Fault, take
from .hours import Hours
from .instruments import INSTRUMENTS
from .journal import Journal
from .market import Driven, Market, MarketState, Quote
from .model import Account, Order
from .numbers import ZERO, at_second, iso, moment, number, plain, seconds_of
from .walk import STEP


@dataclass(slots=True)
class Schedule:
    """Bars that are to be played as the clock passes: rows [start second, interval, o, h, l, c, volume]."""

    rows: list[list[Any]]
    next: int = 0
    point: int = 0


@dataclass(slots=True)
class Late:
    """A request whose answer was lost and that is acted on later, at a moment of the wall clock."""

    id: str
    due: float
    broker: str
    authorization: str
    method: str
    path: str
    query: str
    body: str


@dataclass(slots=True)
class WorldState:
    """All that must be kept to rebuild the world."""

    now: datetime
    speed: Decimal
    always_open: bool
    market: MarketState
    accounts: dict[str, Account] = field(default_factory=dict)
    journal: Journal = field(default_factory=Journal)
    faults: list[Fault] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    requests: int = 0
    made: int = 0


class Venue(Protocol):
    """What a dialect does with an order of one of its accounts when its moment comes."""

    def open_account(self, account: Account, cash: Decimal) -> None: ...

    def execute(self, account: Account, order: Order, quote: Quote) -> None: ...

    def expire(self, account: Account, order: Order, reason: str) -> None: ...

    def check_margin(self, account: Account) -> None: ...


class World:
    """The one place that changes the simulated market and accounts."""

    def __init__(self, state: WorldState) -> None:
        self.state = state
        self.hours = Hours(state.always_open)
        self.market = Market(state.market, self.hours)
        self.venues: dict[str, Venue] = {}

    @property
    def now(self) -> datetime:
        """The time up to which everything has happened."""
        return self.state.now

    @property
    def accounts(self) -> dict[str, Account]:
        """All accounts by id."""
        return self.state.accounts

    def record(self, kind: str, account: str, data: dict[str, Any]) -> None:
        """Write one row of the journal at the present time."""
        self.state.journal.add(kind, self.now, account, data)

    def next_request(self) -> str:
        """A new request id."""
        self.state.requests += 1
        return f"{42_000_000_000_000_000 + self.state.requests}"

    def move_cash(self, account: Account, kind: str, amount: Decimal) -> None:
        """Move an account's cash and write it down; nothing happens for zero."""
        if amount == 0:
            return
        account.cash += amount
        self.record(
            "cash",
            account.id,
            {"kind": kind, "currency": account.currency, "amount": plain(amount), "balance": plain(account.cash)},
        )

    def quote(self, name: str) -> Quote | None:
        """The present price."""
        return self.market.quote(name, self.now)

    def tradeable(self, name: str) -> bool:
        """Whether orders fill now: the market is open and no ordered halt is in force."""
        for fault in self.state.faults:
            if fault.action == "halt" and fault.args.get("instrument", name) == name:
                until = fault.args.get("until")
                if until is None or self.now < moment(until):
                    return False
        return self.market.tradeable(name, self.now)

    def partial(self, broker: str) -> Decimal | None:
        """The quantity that an ordered partial fill allows the next order, once."""
        fault = take(self.state.faults, broker, "partial_fill")
        return None if fault is None else number(fault.args.get("quantity", "1"))

    # time

    def put_back(self, to: datetime) -> None:
        """Begin again at an earlier time, to play history. Raises ValueError while anything is open or resting."""
        for account in self.accounts.values():
            if account.pending_ids or account.open_ids:
                raise ValueError(
                    f"the clock is not put back from {iso(self.now)}: account {account.id} has open trades or orders"
                )
        self.state.now = to

    def advance(self, to: datetime) -> bool:
        """Let time pass up to `to`; True when anything happened on the way."""
        happened = False
        while True:
            moment = self._next_moment(to)
            if moment is None:
                break
            happened = True
            before = self.state.now
            self.state.now = max(before, moment)
            self._expire()
            self._play(moment)
            for name in self._watched():
                for quote in self.market.ticks(name, moment - timedelta(microseconds=1), moment):
                    self.match(name, quote)
        self.state.now = max(self.state.now, to)
        return happened

    def _next_moment(self, to: datetime) -> datetime | None:
        found = [row for row in self._due() if row <= to]
        if self._watched():
            second = seconds_of(self.state.now)
            tick = at_second(second + STEP - second % STEP)
            if not self.hours.is_open(tick):
                tick = self._reopening(tick)
            if tick <= to:
                found.append(tick)
        return min(found) if found else None

    def _reopening(self, tick: datetime) -> datetime:
        opens = self.hours.next_open(tick)
        second = seconds_of(opens)
        return at_second(-(-second // STEP) * STEP)

    def _due(self) -> Iterable[datetime]:
        for account in self.accounts.values():
            for order in account.pending_orders():
                if order.expires_at is not None:
                    yield order.expires_at
        for schedule in self.state.schedules.values():
            if schedule.next < len(schedule.rows):
                start, interval = schedule.rows[schedule.next][:2]
                yield at_second(start) + timedelta(seconds=interval) * schedule.point / 4

    def _watched(self) -> set[str]:
        """Instruments that walk and on which some account has an order or a trade."""
        names: set[str] = set()
        for account in self.accounts.values():
            names.update(account.orders[key].instrument for key in account.pending_ids)
            names.update(account.trades[key].instrument for key in account.open_ids)
        return {name for name in names if not self.market.is_driven(name)}

    def _expire(self) -> None:
        for account in self.accounts.values():
            for order in account.pending_orders():
                if order.expires_at is not None and order.expires_at <= self.now and order.pending:
                    self.venues[account.broker].expire(account, order, "TIME_IN_FORCE_EXPIRED")

    # prices

    def set_price(self, name: str, bid: Decimal, ask: Decimal) -> None:
        """A new price from outside: the market jumps to it."""
        driven = self.market.drive(name, self.now)
        quote = Quote(bid, ask, self.now)
        driven.series.add(seconds_of(self.now), quote.mid)
        self._show(driven, quote)
        self.match(name, quote)

    def schedule(self, name: str, rows: list[list[Any]]) -> None:
        """Play these bars as the clock passes; those that are over already become history."""
        driven = self.market.drive(name, self.now, walked=False)
        schedule = Schedule(rows)
        while schedule.next < len(rows) and at_second(rows[schedule.next][0] + rows[schedule.next][1]) <= self.now:
            row = rows[schedule.next]
            start, interval, prices, volume = row[0], row[1], [Decimal(text) for text in row[2:6]], int(row[6])
            for point, mid in enumerate(bar_path(*prices)):
                driven.series.add(start + interval * point // 4, mid, _volume(volume, point))
                self._show(driven, self.market.around(name, mid, at_second(start + interval * point // 4)))
            schedule.next += 1
        self.state.schedules[name] = schedule

    def _play(self, moment: datetime) -> None:
        for name, schedule in self.state.schedules.items():
            while schedule.next < len(schedule.rows):
                row = schedule.rows[schedule.next]
                start, interval = at_second(row[0]), timedelta(seconds=row[1])
                if start + interval * schedule.point / 4 > moment:
                    break
                mids = bar_path(*(Decimal(text) for text in row[2:6]))
                self.trade_point(name, start, interval, schedule.point, mids[schedule.point], int(row[6]))
                schedule.point += 1
                if schedule.point == 4:
                    schedule.next, schedule.point = schedule.next + 1, 0

    def play_bar(self, name: str, start: datetime, interval: timedelta, bar: Bar) -> None:
        """Trade one bar through, moving the clock along it; it is a candle once its time is over."""
        self.market.drive(name, self.now)
        for point, mid in enumerate(bar_path(bar.open, bar.high, bar.low, bar.close)):
            self.advance(max(self.now, start + interval * point / 4))
            self.trade_point(name, start, interval, point, mid, bar.volume)
        self.advance(max(self.now, start + interval))

    def trade_point(
        self, name: str, start: datetime, interval: timedelta, point: int, mid: Decimal, volume: int
    ) -> None:
        """Trade one of a bar's four points. The first may jump; the others are reached continuously."""
        driven = self.market.drive(name, self.now)
        driven.series.add(seconds_of(start + interval * point / 4), mid, _volume(volume, point))
        target = self.market.around(name, mid, self.now)
        if point and driven.bid is not None and driven.ask is not None:
            self._travel(name, driven, target)
        self._show(driven, target)
        self.match(name, target)

    def _show(self, driven: Driven, quote: Quote) -> None:
        driven.bid, driven.ask, driven.at = quote.bid, quote.ask, quote.at

    # matching

    def _travel(self, name: str, driven: Driven, target: Quote) -> None:
        """Go from the present price to the target, stopping at every order that triggers on the way."""
        if not self.tradeable(name):
            return
        for _ in range(10_000):
            now = self.quote(name)
            if now is None:
                return
            stops = []
            for account, order in self._resting(name):
                buys = self.buys(account, order)
                reached = matching.crossing(order, buys, now, target)
                if reached is not None:
                    stops.append((abs(reached.bid - now.bid), reached))
            if not stops:
                return
            reached = min(stops, key=lambda stop: stop[0])[1]
            self._show(driven, reached)
            self.match(name, reached)
            if reached == target:
                return

    def match(self, name: str, quote: Quote) -> None:
        """Fill every order that this price triggers, then let trailing stops follow and margins be checked."""
        if not self.tradeable(name):
            return
        for account, order in self._resting(name):
            if order.pending and matching.is_triggered(order, self.buys(account, order), quote):
                self.venues[account.broker].execute(account, order, quote)
        for account, order in self._resting(name):
            matching.trail(order, self.buys(account, order), quote)
        for account in self.accounts.values():
            if any(account.trades[key].instrument == name for key in account.open_ids):
                self.venues[account.broker].check_margin(account)

    def _resting(self, name: str) -> list[tuple[Account, Order]]:
        return [
            (account, account.orders[key])
            for account in self.accounts.values()
            for key in account.pending_ids
            if account.orders[key].instrument == name
        ]

    def buys(self, account: Account, order: Order) -> bool:
        """Whether the order buys; an order that closes a trade does the opposite of the trade."""
        if order.trade_id:
            return account.trades[order.trade_id].units < 0
        return order.units > ZERO


def _volume(volume: int, point: int) -> int:
    """A bar's own volume is put on its first price; a bar without one counts its four prices."""
    if volume <= 0:
        return 1
    return volume if point == 0 else 0


def bar_path(opened: Decimal, high: Decimal, low: Decimal, close: Decimal) -> tuple[Decimal, ...]:
    """The order in which a bar's prices are traded: open, the nearer of high and low, the other, close."""
    if abs(high - opened) <= abs(opened - low):
        return (opened, high, low, close)
    return (opened, low, high, close)


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError with a sentence when a name is not an instrument of the simulator."""
    for name in names:
        if name not in INSTRUMENTS:
            raise ValueError(f"there is no instrument {name}; there are: {', '.join(INSTRUMENTS)}")
