"""One fault of each kind at each broker, planted behind the desk's back: is it found within a cycle, and as what it is?

What always holds: faults are made through the simulator's control door alone, as if the broker or somebody with the
broker's own screen had done it; a broker has one new fault at a time, and what is alive at the end of a slot must be
exactly what was planted there so far; prices of an instrument stand still while a fault of it is looked for, so that
nothing else happens to it meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from benchmarks.clean_week.desk import WeekDesk

if TYPE_CHECKING:
    from trading.models import Account, Trade

# What nobody's strategy trades, by broker: a position without history, and a trade that somebody makes by hand. Kite's
# simulator has only one share that is left over.
SILENT = {"OANDA": ("AUDUSD", "5000"), "ALPACA": ("IBM", "10")}
BY_HAND = {"OANDA": ("USDCHF", "8000"), "ALPACA": ("GOOG", "5"), "KITE": ("YESBANK", "100")}
CASH = Decimal("-37.50")
# So long before the end of its window a position of a strategy's is still there when its fault has been found.
AHEAD = timedelta(minutes=45)
# Slots after which a fault that is not found will not be, and slots to wait for a position to plant one on.
GIVE_UP, PATIENCE = 5, 600
HIDDEN_SECONDS = 100_000
PUT_RIGHT = "none: the desk puts it right"


@dataclass(frozen=True, slots=True)
class Placed:
    """A fault that stands: the kind and key of the case that it must become; `undo` takes it back.

    `also` are the kinds and keys of cases that are the same fault seen from another side; where the desk puts a fault
    right by itself, `cured` says whether it has, and there must be no case.

    `cycles` is how many slots it may take until it is suspected: a broker that cannot be read becomes a case only
    after as many runs as the policy tries.
    """

    kind: str
    key: str
    undo: Callable[[], object] | None = None
    cycles: int = 1
    also: frozenset[tuple[str, str]] = frozenset()
    cured: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. `plant` returns None while there is nothing yet on which it could be planted."""

    name: str
    plant: Callable[[WeekDesk, Any], Placed | None]


@dataclass
class Search:
    """The faults of one account, one after the other: the one that stands, and what has been found."""

    account: Account
    left: list[Fault]
    now: Fault | None = None
    placed: Placed | None = None
    at: datetime | None = None
    wall: float = 0.0
    slots: int = 0
    runs: int = 0
    first: dict[str, dict[str, float]] = field(default_factory=dict)
    standing: set[tuple[str, str]] = field(default_factory=set)
    found: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether every fault was planted and looked for."""
        return self.now is None and not self.left

    def plant(self, desk: WeekDesk) -> None:
        """Plant the next fault that can be, unless one stands."""
        if self.now is not None:
            return
        for fault in self.left:
            placed = fault.plant(desk, self.account)
            if placed is not None:
                self.left.remove(fault)
                self.now, self.placed, self.at = fault, placed, desk.now()
                self.wall, self.slots, self.first = time.perf_counter(), 0, {}
                self.runs = desk.runs_of(self.account)
                return

    def look(self, desk: WeekDesk) -> None:
        """After a slot: what is alive of this account, and what has become of the fault that stands."""
        live = [sight for sight in desk.live() if sight.account == self.account.name]
        wanted = set(self.standing)
        if self.now is not None and self.placed is not None and self.at is not None:
            wanted |= {(self.placed.kind, self.placed.key), *self.placed.also}
            self.slots += 1
            if self.placed.cured is not None and self.placed.cured():
                self._seen(desk, "OPEN")
            for sight in live:
                if (sight.kind, sight.key) == (self.placed.kind, self.placed.key):
                    self._seen(desk, sight.state)
        strange = [str(sight) for sight in live if (sight.kind, sight.key) not in wanted]
        self.wrong.extend(f"{self._name}: {sight}" for sight in strange)
        if "OPEN" in self.first or self.slots >= GIVE_UP:
            self._finish()

    @property
    def _name(self) -> str:
        return self.now.name if self.now is not None else "between faults"

    def _seen(self, desk: WeekDesk, state: str) -> None:
        assert self.at is not None
        told = {
            "slots": self.slots,
            "runs": desk.runs_of(self.account) - self.runs,
            "seconds": (desk.now() - self.at).total_seconds(),
            "wall_seconds": round(time.perf_counter() - self.wall, 2),
        }
        self.first.setdefault("SUSPECTED", told)
        if state == "OPEN":
            self.first.setdefault("OPEN", told)

    def _finish(self) -> None:
        assert self.now is not None and self.placed is not None
        row: dict[str, Any] = {
            "account": self.account.name,
            "fault": self.now.name,
            "kind": self.placed.kind,
            "key": self.placed.key,
            "cycles": self.placed.cycles,
        }
        self.found.append({**row, **{state.lower(): told for state, told in self.first.items()}})
        if self.placed.undo is None:
            self.standing |= {(self.placed.kind, self.placed.key), *self.placed.also}
        else:
            self.placed.undo()
        self.now, self.placed, self.slots, self.first = None, None, 0, {}


def search(desk: WeekDesk, show: Callable[[str], None], patience: int = PATIENCE) -> list[Search]:
    """Plant and look for every fault at every broker, within so many slots."""
    searches = [Search(account, faults_at(account.broker)) for account in desk.accounts]
    total = sum(len(one.left) for one in searches)
    for _ in range(patience):
        for one in searches:
            one.plant(desk)
        desk.step()
        for one in searches:
            one.look(desk)
        show(f"faults: {sum(len(one.found) for one in searches)} of {total}")
        if all(one.done for one in searches):
            break
    return searches


def unmet(searches: Sequence[Search]) -> list[str]:
    """What was not found within one cycle, or not opened with the next, and what was never planted."""
    found: list[str] = []
    for one in searches:
        found.extend(f"{one.account.name}: {fault.name} could not be planted" for fault in one.left)
        found.extend(f"{one.account.name}: the time was over for {fault.name}" for fault in [one.now] if fault)
        for row in one.found:
            for state, more in (("suspected", 0), ("open", 1)):
                told = row.get(state)
                if told is None or told["slots"] > row["cycles"] + more:
                    found.append(f"{row['account']}: {row['fault']} is {told or 'never'} as {state} {row['kind']}")
    return found


# what is planted


def _broker_name(account: Account, symbol: str) -> str:
    from trading.models import Instrument
    from trading.selectors.instruments import broker_symbol

    return broker_symbol(account, Instrument.objects.get(symbol=symbol))


def _silent_position(desk: WeekDesk, account: Account) -> Placed | None:
    symbol, quantity = SILENT[account.broker]
    name = _broker_name(account, symbol)
    desk.control.external(account.external_id, "silent_position", instrument=name, quantity=quantity)
    return Placed("EXTERNAL_POSITION", symbol)


def _trade_by_hand(desk: WeekDesk, account: Account) -> Placed | None:
    symbol, quantity = BY_HAND[account.broker]
    name = _broker_name(account, symbol)
    desk.control.external(account.external_id, "trade", instrument=name, quantity=quantity)
    return Placed("EXTERNAL_POSITION", symbol)


def _silent_cash(desk: WeekDesk, account: Account) -> Placed | None:
    def move(amount: Decimal) -> None:
        desk.control.external(account.external_id, "silent_cash", currency=account.currency, amount=str(amount))

    move(CASH)
    return Placed("CASH_UNEXPLAINED", account.currency, lambda: move(-CASH))


def _other_quantity(desk: WeekDesk, account: Account) -> Placed | None:
    trade = _held(desk, account)
    if trade is None:
        return None
    name, symbol = _freeze(desk, account, trade), trade.instrument.symbol
    more = 1 if trade.side == "BUY" else -1

    def add(units: int) -> None:
        desk.control.external(account.external_id, "silent_position", instrument=name, quantity=str(units))

    add(more)
    if account.broker == "OANDA":  # there the unit taken back would be one of the trade that our stop covers
        return Placed("QUANTITY_MISMATCH", symbol)
    return Placed("QUANTITY_MISMATCH", symbol, lambda: add(-more))


def _cancelled_stop(desk: WeekDesk, account: Account) -> Placed | None:
    trade = _held(desk, account)
    if trade is None:
        return None
    _freeze(desk, account, trade)
    stop = _stop_of(account, trade)
    desk.control.external(account.external_id, "cancel", order_id=stop)
    if account.broker == "KITE":  # there stops are orders of the desk's own, which places another at once
        return Placed(PUT_RIGHT, "", cured=lambda: _stop_of(account, trade) not in ("", stop))
    return Placed("UNPROTECTED_POSITION", f"decision:{trade.decision_id}")


def _withheld_fill(desk: WeekDesk, account: Account) -> Placed | None:
    from trading.selectors.policies import policy_of

    trade = _held(desk, account)
    if trade is None:
        return None
    name = _freeze(desk, account, trade)
    args = {"what": "fill", "seconds": HIDDEN_SECONDS, "account": account.external_id, "instruments": [name]}
    desk.control.add_fault(broker=account.broker.lower(), route="*", when="after", action="hide", times=1, args=args)
    desk.control.external(account.external_id, "closeout", instrument=name)
    if account.broker != "ALPACA":  # their histories show that something is missing, and are not believed at all
        return Placed("FETCH_FAILED", "answer", cycles=int(policy_of(account).max_retries))
    money = frozenset({("CASH_UNEXPLAINED", account.currency)})  # what was paid for the shares is there, too
    return Placed("PHANTOM_POSITION", trade.instrument.symbol, also=money)


FAULTS: tuple[Fault, ...] = (
    Fault("one unit more than we hold", _other_quantity),
    Fault("a stop that is cancelled at the broker", _cancelled_stop),
    Fault("cash that leaves in silence", _silent_cash),
    Fault("a position without history", _silent_position),
    Fault("a trade made by hand", _trade_by_hand),
    Fault("a closing fill that is withheld", _withheld_fill),
)


def faults_at(broker: str) -> list[Fault]:
    """The faults that can be planted at a broker, in the order in which they are."""
    return [fault for fault in FAULTS if fault.plant is not _silent_position or broker in SILENT]


def _held(desk: WeekDesk, account: Account) -> Trade | None:
    """A trade of a strategy's that has its stop at the broker, will not end by itself soon, and has no case."""
    from trading.domain.session import in_any_window
    from trading.models import Trade

    (session,) = (setup.session for setup in desk.setups if setup.feed_account.pk == account.pk)
    windows = {item.name: item.windows for item in session.strategies}
    busy = {sight.key for sight in desk.live() if sight.account == account.name}
    trades = Trade.objects.filter(account=account, state=Trade.State.OPEN).select_related("instrument").order_by("pk")
    for trade in trades:
        stays = in_any_window(windows[trade.strategy], desk.now() + AHEAD)
        if stays and trade.instrument.symbol not in busy and _stop_of(account, trade):
            return trade
    return None


def _stop_of(account: Account, trade: Trade) -> str:
    """The broker's id of the trade's live stop; "" without one."""
    from trading.models import Order

    stops = Order.objects.filter(account=account, decision=trade.decision_id, tag="STOP", state="WORKING")
    return str(stops.exclude(broker_order_id="").values_list("broker_order_id", flat=True).first() or "")


def _freeze(desk: WeekDesk, account: Account, trade: Trade) -> str:
    """The market of the trade's instrument stands still from now on; the broker's name of it."""
    from trading.engine.connections import broker_for

    name = _broker_name(account, trade.instrument.symbol)
    broker = broker_for(account)
    try:
        (price,) = broker.prices([name])
    finally:
        broker.close()
    desk.control.set_price(name, price.bid, price.ask)
    return name
