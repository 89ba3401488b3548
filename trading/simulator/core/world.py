"""The world: time, market, accounts and journal together. Everything that happens goes through here.

What always holds here: time only moves forward; what time brings (prices, bars, expiries) happens in the order of
its time; the same inputs give the same world, so the world can be rebuilt from the inputs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID, uuid5

from . import matching
from .bars import bar_path, bar_volume, point_at
from .candles import Bar
from .faults import Fault
from .hiding import Hidden
from .journal import Journal
from .market import Driven, Market, MarketState, Quote
from .model import Account, Order
from .numbers import ZERO, at_second, iso, plain, seconds_of
from .trouble import Doomed, Trouble
from .walk import STEP

_NAMESPACE = UUID("6f1d3c52-6c1b-4f0e-9a57-0d2f6b7a9e11")
Listener = Callable[[str, str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Roll:
    """What a broker does by itself at times of day to its accounts that hold anything."""

    broker: str
    following: Callable[[datetime], datetime]
    act: Callable[[Account], None]


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
    hidden: list[Hidden] = field(default_factory=list)
    doomed: list[Doomed] = field(default_factory=list)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    requests: int = 0
    made: int = 0
    named: int = 0


class Venue(Protocol):
    """What a dialect does with an order of one of its accounts when its moment comes."""

    def open_account(self, account: Account, cash: Decimal) -> None: ...

    def execute(self, account: Account, order: Order, quote: Quote) -> None: ...

    def expire(self, account: Account, order: Order, reason: str) -> None: ...

    def wake(self, account: Account, order: Order) -> None: ...

    def check_margin(self, account: Account) -> None: ...

    def reject(self, account: Account, order: Order, reason: str) -> None: ...


class World(Trouble):
    """The one place that changes the simulated market and accounts."""

    def __init__(self, state: WorldState) -> None:
        super().__init__(state)
        self.state: WorldState = state
        self.market = Market(state.market, state.always_open)
        self.venues: dict[str, Venue] = {}
        # Called with (account id, kind, data) whenever a client could be told something; they change nothing.
        self.listeners: list[Listener] = []
        self.rolls: list[Roll] = []

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
        if kind != "request":
            self.past.touch(account)
        self.state.journal.add(kind, self.now, account, data)

    def tell(self, account: str, kind: str, data: dict[str, Any]) -> None:
        """Let the open streams know what happened in an account."""
        for listener in self.listeners:
            listener(account, kind, data)

    def next_request(self) -> str:
        """A new request id."""
        self.state.requests += 1
        return f"{42_000_000_000_000_000 + self.state.requests}"

    def next_uuid(self) -> str:
        """A new id that looks random but follows from the seed and from how many were made before."""
        return str(uuid5(_NAMESPACE, f"{self.state.market.seed}/{self.next_number()}"))

    def next_number(self) -> int:
        """A new whole number that no other name was made from."""
        self.state.named += 1
        return self.state.named

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

    def tradeable(self, name: str, broker: str, extended: bool = False) -> bool:
        """Whether orders (or only those for `extended` hours) fill now at this broker: open, and not halted."""
        return self.market.tradeable(name, self.now, extended) and not self.halted(name, broker)

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
            self._roll(before)
            self._expire()
            self._wake()
            self._play(moment)
            for name in self._watched():
                for quote in self.market.ticks(name, moment - timedelta(microseconds=1), moment):
                    self.match(name, quote)
        self.state.now = max(self.state.now, to)
        return happened

    def _next_moment(self, to: datetime) -> datetime | None:
        found = [row for row in self._due() if row <= to]
        second = seconds_of(self.state.now)
        tick = at_second(second + STEP - second % STEP)
        for hours in {self.market.hours_of(name) for name in self._watched()}:
            opens = seconds_of(hours.next_open(tick))
            following = at_second(-(-opens // STEP) * STEP)
            if following <= to:
                found.append(following)
        return min(found) if found else None

    def _due(self) -> Iterable[datetime]:
        for account in self.accounts.values():
            for order in account.pending_orders():
                if order.expires_at is not None:
                    yield order.expires_at
                if order.wakes_at is not None:
                    yield order.wakes_at
        for name, schedule in self.state.schedules.items():
            if schedule.next < len(schedule.rows):
                start, interval = schedule.rows[schedule.next][:2]
                yield point_at(name, at_second(start), timedelta(seconds=interval), schedule.point)
        for roll in self.rolls:
            if any(account.open_ids for account in self.accounts.values() if account.broker == roll.broker):
                yield roll.following(self.state.now)

    def _roll(self, before: datetime) -> None:
        for roll in self.rolls:
            if roll.following(before) <= self.state.now:
                for account in self.accounts.values():
                    if account.broker == roll.broker and account.open_ids:
                        roll.act(account)

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

    def _wake(self) -> None:
        for account in self.accounts.values():
            for order in account.pending_orders():
                if order.pending and order.wakes_at is not None and order.wakes_at <= self.now:
                    order.wakes_at = None
                    self.venues[account.broker].wake(account, order)

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
                second = seconds_of(point_at(name, at_second(start), timedelta(seconds=interval), point))
                driven.series.add(second, mid, bar_volume(volume, point))
                self._show(driven, self.market.around(name, mid, at_second(second)))
            schedule.next += 1
        self.state.schedules[name] = schedule

    def _play(self, moment: datetime) -> None:
        for name, schedule in self.state.schedules.items():
            while schedule.next < len(schedule.rows):
                row = schedule.rows[schedule.next]
                start, interval = at_second(row[0]), timedelta(seconds=row[1])
                if point_at(name, start, interval, schedule.point) > moment:
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
            self.advance(max(self.now, point_at(name, start, interval, point)))
            self.trade_point(name, start, interval, point, mid, bar.volume)
        self.advance(max(self.now, start + interval))

    def trade_point(
        self, name: str, start: datetime, interval: timedelta, point: int, mid: Decimal, volume: int
    ) -> None:
        """Trade one of a bar's four points. The first may jump; the others are reached continuously."""
        driven = self.market.drive(name, self.now)
        driven.series.add(seconds_of(point_at(name, start, interval, point)), mid, bar_volume(volume, point))
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
        for account, order in self._resting(name):
            if order.pending and not order.dormant and matching.is_triggered(order, self.buys(account, order), quote):
                self.venues[account.broker].execute(account, order, quote)
        for account, order in self._resting(name):
            matching.trail(order, self.buys(account, order), quote)
        for account in self.accounts.values():
            held = any(account.trades[key].instrument == name for key in account.open_ids)
            if held and self.tradeable(name, account.broker):
                self.venues[account.broker].check_margin(account)

    def _resting(self, name: str) -> list[tuple[Account, Order]]:
        """The orders that this price may fill."""
        usual = {broker for broker in self.venues if self.tradeable(name, broker)}
        extended = {broker for broker in self.venues if self.tradeable(name, broker, extended=True)}
        found = []
        for account in self.accounts.values():
            if account.broker in extended:
                for order in account.pending_orders():
                    fits = order.instrument == name and not order.dormant and not self.holds(account, order)
                    if fits and (account.broker in usual or order.extended):
                        found.append((account, order))
        return found

    def buys(self, account: Account, order: Order) -> bool:
        """Whether the order buys; an order that closes a trade does the opposite of the trade."""
        if order.trade_id:
            return account.trades[order.trade_id].units < 0
        return order.units > ZERO
