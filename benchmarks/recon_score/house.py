"""One account of one seed: its instruments, its orders, its stream of trades and cash, and the runs over it.

What always holds: the same seed at the same broker gives the same account to the last digit; without a plant, broker
and books agree at every cut; `first` and `second` are held and guarded, `free` is flat and has an entry resting.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from benchmarks.recon_score.books import Books, Own
from benchmarks.recon_score.wire import Simulator
from reconciliation.domain.compare import reconcile
from reconciliation.domain.findings import Finding, Findings
from reconciliation.domain.fingerprint import fingerprint
from reconciliation.domain.lifecycle import ENDED, Case, State, plan
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.snapshots import InstrumentRule
from trading.domain.broker import (
    Accepted,
    BrokerSnapshot,
    Completeness,
    EventPage,
    OrderRequest,
    OrderType,
    ProtectiveLeg,
    Side,
)
from trading.domain.orders import OrderState, Tag

D = Decimal
RUN_EVERY = 300
POLICY = ReconciliationPolicy()


@dataclass(frozen=True, slots=True)
class Listed:
    """An instrument at a broker: its name there, about what it costs, its steps."""

    name: str
    around: Decimal
    tick: Decimal
    lot: Decimal

    @property
    def symbol(self) -> str:
        """Our name."""
        return self.name.replace("_", "").partition(":")[2] or self.name.replace("_", "")


def _listed(tick: str, *rows: tuple[str, str], lot: str = "1") -> tuple[Listed, ...]:
    return tuple(Listed(name, D(around), D(tick), D(lot)) for name, around in rows)


LISTED = {
    "oanda": _listed("0.00001", ("EUR_USD", "1.08"), ("GBP_USD", "1.27"), ("AUD_USD", "0.66"), ("USD_CAD", "1.36")),
    "alpaca": _listed("0.01", ("AAPL", "225"), ("GOOG", "170"), ("IBM", "215"), ("MSFT", "420")),
    "kite": _listed("0.05", ("NSE:INFY", "1500"), ("NSE:RELIANCE", "2900"), ("NSE:YESBANK", "22")),
}
# What the books have no name for.
UNNAMED = {
    "oanda": Listed("USD_CHF", D("0.88"), D("0.00001"), D(1)),
    "alpaca": Listed("SPY", D(550), D("0.01"), D(1)),
    "kite": Listed("NFO:NIFTY27DECFUT", D(26200), D("0.05"), D(75)),
}
CURRENCY = {"oanda": "USD", "alpaca": "USD", "kite": "INR"}
MOST = {"oanda": 5000, "alpaca": 40, "kite": 40}


@dataclass(slots=True)
class Held:
    """A case as the runs have left it. `opened_run` counts runs since the plant."""

    case: Case
    finding: Finding
    opened_run: int = 0
    opened_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the adapter said at one time: the news since the last reading, and the snapshot."""

    at: datetime
    page: EventPage
    snapshot: BrokerSnapshot


@dataclass(slots=True)
class House:
    """The account: simulator, books, and the cases that the runs have made."""

    broker: str
    seed: int
    sim: Simulator
    books: Books
    dice: random.Random
    roles: dict[str, Listed]
    prices: dict[str, Decimal] = field(default_factory=dict)
    cursor: str = ""
    cases: dict[str, Held] = field(default_factory=dict)
    runs: int = 0
    decisions: int = 0
    numbers: int = 0
    not_complete: list[str] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    clock: datetime | None = None
    posted_by_runs: int = 0

    @property
    def now(self) -> datetime:
        """The account's time: that of the reading that is compared, where the readings are kept ones."""
        return self.clock or self.sim.now

    @property
    def native(self) -> bool:
        """Whether the broker makes stops and targets by itself."""
        return self.sim.broker.capabilities.native_bracket

    @property
    def currency(self) -> str:
        """The account's currency."""
        return self.books.currency

    # orders of ours

    def _order(self, listed: Listed, side: Side, tag: Tag, quantity: Decimal, decision: int, **more: object) -> Own:
        self.numbers += 1  # a number never comes again, though a row may be lost
        number = self.numbers
        order = Own(number, f"s{self.seed}n{number}", listed.symbol, side, tag, quantity, decision)
        for name, value in more.items():
            setattr(order, name, value)
        self.books.orders.append(order)
        return order

    def near(self, listed: Listed, factor: str) -> Decimal:
        """A price so far from the present one, on the instrument's step."""
        steps = (self.prices[listed.name] * D(factor) / listed.tick).to_integral_value()
        return steps * listed.tick

    def send(
        self,
        order: Own,
        listed: Listed,
        type: OrderType = OrderType.MARKET,
        stop: ProtectiveLeg | None = None,
        target: ProtectiveLeg | None = None,
    ) -> Own:
        """Send an order through the adapter. Raises RuntimeError when the broker does not take it."""
        request = OrderRequest(
            order.client_id, listed.name, order.side, order.quantity, type, order.price, stop, target
        )
        answer = self.sim.broker.submit(request)
        if not isinstance(answer, Accepted):
            raise RuntimeError(f"{self.broker} seed {self.seed}: {order.tag} of {listed.name} was not taken: {answer}")
        order.broker_id = order.broker_id or answer.broker_order_id
        if order.state is OrderState.PLANNED:
            self.books.move(order, OrderState.WORKING, self.now)
        for leg in answer.legs:
            ours = self.books.find("", "", leg.parent_client_id, leg.leg)
            if ours is not None:
                ours.broker_id = leg.broker_order_id
        return order

    def enter(self, role: str, side: Side, quantity: Decimal, *, limit: Decimal | None = None) -> int:
        """A decision: an entry with its stop, and its target where the broker makes both; its number."""
        listed, sign = self.roles[role], side.sign
        self.decisions += 1
        decision = self.decisions
        entry = self._order(listed, side, Tag.ENTRY, quantity, decision, price=limit)
        stop, target = self.near(listed, "0.9" if sign > 0 else "1.1"), self.near(listed, "1.1" if sign > 0 else "0.9")
        legs: tuple[ProtectiveLeg, ...] = ()
        if self.native:
            more = {"parent": entry.client_id}
            guard = self._order(listed, side.opposite, Tag.STOP, quantity, decision, price=stop, **more)
            goal = self._order(listed, side.opposite, Tag.TP1, quantity, decision, price=target, **more)
            legs = ProtectiveLeg(guard.client_id, stop), ProtectiveLeg(goal.client_id, target)
        self.send(entry, listed, OrderType.MARKET if limit is None else OrderType.LIMIT, *legs)
        if not self.native and limit is None:
            guard = self._order(listed, side.opposite, Tag.STOP, quantity, decision, price=stop)
            self.send(guard, listed, OrderType.STOP)
        return decision

    def leave(self, decision: int, quantity: Decimal) -> Own:
        """Close so much of a decision at the market."""
        entry = next(o for o in self.books.orders if o.decision == decision and o.tag is Tag.ENTRY)
        listed = next(each for each in self.roles.values() if each.symbol == entry.instrument)
        return self.send(self._order(listed, entry.side.opposite, Tag.CLOSE, quantity, decision), listed)

    def own(self, role: str, tag: Tag) -> Own:
        """The order with this tag of what is held in a role, or what rests in `free`."""
        symbol = self.roles[role].symbol
        wanted = [o for o in self.books.orders if o.instrument == symbol and o.tag is tag]
        return next(o for o in reversed(wanted) if o.decision == self.held_by[role])

    @property
    def held_by(self) -> dict[str, int]:
        """The decision of each role."""
        return {"first": 1, "second": 2, "free": 4}

    def reprice(self, listed: Listed, price: Decimal) -> None:
        """Another price, bid and ask a step apart."""
        self.prices[listed.name] = price
        self.sim.price(listed.name, price - listed.tick, price)

    def some(self) -> Decimal:
        """Some units."""
        return D(self.dice.randint(4, MOST[self.broker]))

    # runs

    def read(self, after: int = RUN_EVERY) -> Reading:
        """Ask the adapter once so many seconds have passed."""
        self.sim.step(after)
        page = self.sim.broker.events_since(self.cursor)
        return Reading(self.sim.now, page, self.sim.broker.snapshot())

    def run(self) -> Findings:
        """One reconciliation: read what happened, fold it, compare, and move the cases."""
        reading = self.readings.pop(0) if self.readings else self.read()
        page, snapshot, at = reading.page, reading.snapshot, reading.at
        self.clock = at if self.clock is not None else None
        if page.completeness is not Completeness.COMPLETE:
            self.not_complete.append(page.reason)
        self.books.receive(page.events)
        self.cursor, before = page.cursor, self.books.posted()
        found = reconcile(snapshot, self.books.snapshot(at, self.cursor, snapshot), POLICY)
        self.posted_by_runs += before != self.books.posted()
        self.runs += 1
        by_name = {fingerprint(account=self.books.account, kind=f.kind, key=f.key): f for f in found.findings}
        steps = plan(
            standing={name: held.case for name, held in self.cases.items()},
            found=by_name,
            complete=found.completeness is Completeness.COMPLETE,
            at=at,
            policy=POLICY,
            parts=found.complete_parts,
        )
        for step in steps:
            self._move(step.fingerprint, step.to_state, step.finding, step.counts, at)
        return found

    def _move(self, name: str, state: State, finding: Finding | None, counts: bool, at: datetime) -> None:
        known = self.cases.get(name)
        if known is None:
            assert finding is not None
            case = Case(state, finding.substance, int(counts), at, relies_on=frozenset({finding.relies_on}))
            known = self.cases[name] = Held(case, finding)
        else:
            case, finding = known.case, finding or known.finding
            known.case = Case(
                state,
                finding.substance,
                case.times_seen + int(counts),
                case.first_seen_at,
                relies_on=frozenset({finding.relies_on}),
            )
            known.finding = finding
        if state is State.OPEN and known.opened_at is None:
            known.opened_run, known.opened_at = self.runs, at

    def alive(self) -> list[Held]:
        """The cases that stand open."""
        return [h for h in self.cases.values() if h.case.state not in ENDED and h.case.state is not State.SUSPECTED]


def build(broker: str, seed: int) -> House:
    """The account of a seed, its stream traded, read and booked."""
    dice = random.Random(f"{broker} {seed}")
    sim = Simulator(broker, seed)
    listed = list(LISTED[broker])
    dice.shuffle(listed)
    roles = dict(zip(("first", "second", "free"), listed, strict=False))
    pays = broker != "oanda"
    rules = {
        each.symbol: InstrumentRule(each.symbol, each.name, each.lot, each.tick, pays_cash=pays, cap=D(1_000_000))
        for each in LISTED[broker]
    }
    house = House(broker, seed, sim, Books(f"score-{broker}-{seed}", CURRENCY[broker], rules), dice, roles)
    for each in (*listed, UNNAMED[broker]):
        house.reprice(each, (each.around * D(dice.randint(900, 1100)) / 1000 // each.tick) * each.tick)
    sides = [Side.BUY, Side.SELL] if broker == "oanda" else [Side.BUY]
    house.enter("first", dice.choice(sides), house.some())
    house.enter("second", dice.choice(sides), house.some())
    house.decisions += 1
    _round_trip(house, "free", dice.choice(sides), house.decisions)
    _cash(house)
    house.enter("free", Side.BUY, house.some(), limit=house.near(roles["free"], "0.95"))
    for _ in range(dice.randint(0, 2)):
        house.sim.step(dice.randint(1, 200))
        dice.choice([_drift, _cash, _cancelled])(house)
    return house


def _round_trip(house: House, role: str, side: Side, decision: int) -> None:
    listed, size = house.roles[role], house.some()
    house.send(house._order(listed, side, Tag.ENTRY, size, decision), listed)
    _drift(house)
    part = D(house.dice.randint(1, int(size)))
    house.leave(decision, part)
    if size - part:
        house.leave(decision, size - part)


def _drift(house: House) -> None:
    """Prices move a little, short of every stop, target and limit."""
    for listed in house.roles.values():
        house.reprice(listed, house.near(listed, f"{house.dice.randint(990, 1010) / 1000:.3f}"))


def _cash(house: House) -> None:
    """Cash that the broker moves and tells; Kite tells none."""
    if house.broker != "kite":
        kind = house.dice.choice(["fee", "dividend", "financing", "transfer"])
        amount = D(house.dice.randint(1, 9999)) / 100 * house.dice.choice([1, -1])
        more = {"instrument": house.roles["first"].name} if kind == "dividend" else {}
        house.sim.external(kind, amount=str(amount), currency=house.currency, **more)


def _cancelled(house: House) -> None:
    """An order of ours that was cancelled before it filled."""
    house.decisions += 1
    listed = house.roles["second"]
    order = house._order(listed, Side.BUY, Tag.ENTRY, house.some(), house.decisions, price=house.near(listed, "0.94"))
    house.send(order, listed, OrderType.LIMIT)
    house.sim.broker.cancel(broker_order_id=order.broker_id, client_id=order.client_id)
