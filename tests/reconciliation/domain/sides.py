"""Both sides of a comparison, made by hand or drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from reconciliation.domain.compare import reconcile
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.snapshots import (
    BooksHolding,
    BooksOrder,
    BooksPosition,
    BooksSnapshot,
    ChangedBody,
    InstrumentRule,
    UnpostedEvent,
)
from trading.domain.broker import (
    BrokerOrder,
    BrokerOrderStatus,
    BrokerPosition,
    BrokerSnapshot,
    CashData,
    Completeness,
    EventKind,
    FillData,
    Part,
    Side,
)
from trading.domain.orders import OrderState, Tag

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
COMPLETE = Part(Completeness.COMPLETE)
PARTIAL, FAILED = Part(Completeness.PARTIAL, "page 2 lost"), Part(Completeness.FAILED, "no answer")
NAMES = {"EURUSD": "EUR_USD", "GBPUSD": "GBP_USD", "XAUUSD": "XAU_USD", "AAPL": "AAPL"}
STEPS = {"XAUUSD": "0.001", "AAPL": "0.01"}
RULES = {
    ours: InstrumentRule(
        ours, theirs, Decimal(1), Decimal(STEPS.get(ours, "0.00001")), pays_cash=not theirs.endswith("_USD")
    )
    for ours, theirs in NAMES.items()
}
D = Decimal


def position(symbol: str = "EURUSD", quantity: str = "1000", price: str = "1.1") -> BrokerPosition:
    """The broker's position; a negative quantity is short."""
    number = D(quantity)
    side = Side.BUY if number > 0 else Side.SELL
    return BrokerPosition(NAMES.get(symbol, symbol), side, abs(number), D(price))


def held(symbol: str = "EURUSD", quantity: str = "1000", price: str | None = "1.1") -> BooksPosition:
    """Our position."""
    return BooksPosition(symbol, D(quantity), D(price) if price is not None else None)


def broker(
    *positions: BrokerPosition, cash: str = "100000", orders: Sequence[BrokerOrder] = (), **more: Any
) -> BrokerSnapshot:
    """The broker's side, complete unless `more` says otherwise."""
    made = BrokerSnapshot(
        account_id="101",
        currency="USD",
        at=AT,
        last_event_id="9",
        cash={"USD": D(cash)},
        cash_part=COMPLETE,
        positions=positions,
        positions_part=COMPLETE,
        orders=tuple(orders),
        orders_part=COMPLETE,
    )
    return replace(made, **more)


def books(*positions: BooksPosition, cash: str = "100000", **more: Any) -> BooksSnapshot:
    """Our side, at the same cut."""
    made = BooksSnapshot(
        account_id="101",
        currency="USD",
        at=AT,
        cut_event_id="9",
        cash={"USD": D(cash)},
        positions=positions,
        instruments=RULES,
    )
    return replace(made, **more)


def fill(
    identity: str = "7", quantity: str = "1000", price: str = "1.1", symbol: str = "EURUSD", realised: str = "0"
) -> FillData:
    """An execution; a negative quantity sells."""
    number = D(quantity)
    return FillData(
        external_id=identity,
        broker_order_id="6",
        client_id="",
        instrument=NAMES.get(symbol, symbol),
        side=Side.BUY if number > 0 else Side.SELL,
        quantity=abs(number),
        price=D(price),
        realised=D(realised),
        financing=D(0),
        commission=D(0),
    )


def event(
    *fills: FillData, identity: int = 1, ours: Sequence[str] = (), cash: Sequence[CashData] = ()
) -> UnpostedEvent:
    """A stored event that is not in the books."""
    return UnpostedEvent(identity, str(identity), identity, AT, tuple(fills), tuple(cash), frozenset(ours))


def movement(kind: EventKind = EventKind.FINANCING, amount: str = "-1.5") -> CashData:
    """A typed movement of cash."""
    return CashData("c1", kind, "USD", D(amount))


def working(identity: str = "20", client_id: str = "ours", **more: Any) -> BrokerOrder:
    """A working order as the broker shows it."""
    made = BrokerOrder(
        broker_order_id=identity,
        client_id=client_id,
        instrument="EUR_USD",
        side=Side.SELL,
        type="STOP",
        quantity=D(1000),
        filled=D(0),
        price=D("1.09"),
        status=BrokerOrderStatus.WORKING,
        raw_status="PENDING",
    )
    return replace(made, **more)


def order(client_id: str = "ours", **more: Any) -> BooksOrder:
    """The same order in our books."""
    made = BooksOrder(
        order_id=5,
        client_id=client_id,
        broker_order_id="20",
        instrument="EURUSD",
        side="SELL",
        tag=Tag.STOP,
        state=OrderState.WORKING,
        quantity=D(1000),
        filled=D(0),
        price=D("1.09"),
    )
    return replace(made, **more)


def holding(**more: Any) -> BooksHolding:
    """What a decision holds, guarded by the order `ours`."""
    return replace(BooksHolding(3, "EURUSD", "BUY", D(1000), ("ours",), True), **more)


EXACT = ReconciliationPolicy()


def one(theirs: BrokerSnapshot, ours: BooksSnapshot, policy: ReconciliationPolicy = EXACT) -> Finding:
    """The only finding."""
    findings = reconcile(theirs, ours, policy).findings
    assert len(findings) == 1, [(finding.kind, finding.key) for finding in findings]
    return findings[0]


def kinds(theirs: BrokerSnapshot, ours: BooksSnapshot, policy: ReconciliationPolicy = EXACT) -> list[Kind]:
    """The kinds found."""
    return [finding.kind for finding in reconcile(theirs, ours, policy).findings]


units = st.integers(-5, 5).map(lambda n: D(n * 100))
money = st.decimals(-1000, 1000, places=2, allow_nan=False)
prices = st.decimals(1, 2, places=5, allow_nan=False)
parts = st.sampled_from([COMPLETE, PARTIAL, FAILED])
symbols = st.sampled_from([*NAMES, "TRY_ZAR"])


@st.composite
def fills(draw: st.DrawFn) -> FillData:
    """Any execution."""
    return fill(
        identity=str(draw(st.integers(1, 10**6))),
        quantity=str(draw(units.filter(lambda u: u != 0))),
        price=str(draw(prices)),
        symbol=draw(symbols),
        realised=str(draw(money)),
    )


@st.composite
def events(draw: st.DrawFn) -> UnpostedEvent:
    """Any stored event, with fills of ours and others and cash."""
    made = draw(st.lists(fills(), max_size=2, unique_by=lambda f: f.external_id))
    ours = [f.external_id for f in made if draw(st.booleans())]
    cash = draw(st.lists(money.map(lambda a: replace(movement(), amount=a, external_id=f"c{a}")), max_size=1))
    return event(*made, identity=draw(st.integers(1, 10**6)), ours=ours, cash=cash)


@st.composite
def broker_orders(draw: st.DrawFn) -> BrokerOrder:
    """Any working order of the broker's."""
    return working(
        identity=str(draw(st.integers(20, 24))),
        client_id=draw(st.sampled_from(["", "a", "b", "foreign"])),
        price=draw(st.one_of(st.none(), prices)),
        side=draw(st.sampled_from([None, Side.BUY, Side.SELL])),
    )


@st.composite
def book_orders(draw: st.DrawFn) -> BooksOrder:
    """Any order of ours."""
    client = draw(st.sampled_from(["a", "b", "c"]))
    return order(
        client,
        broker_order_id=draw(st.sampled_from(["", "20", "21", "30"])),
        state=draw(st.sampled_from(list(OrderState))),
        filled=draw(st.sampled_from([D(0), D(400), D(1500)])),
    )


@st.composite
def changed_bodies(draw: st.DrawFn) -> ChangedBody:
    """Any event that was busted, corrected, or only shown in other words."""
    undone = draw(st.lists(fills().filter(lambda f: f.instrument != "TRY_ZAR"), max_size=2))
    instead = [replace(f, quantity=f.quantity * 2, price=draw(prices)) for f in undone if draw(st.booleans())]
    cash = draw(st.lists(money.map(lambda amount: replace(movement(), amount=amount)), max_size=1))
    name = str(draw(st.integers(4, 6)))
    return ChangedBody(name, "x", "y", int(name), tuple(undone), tuple(instead), tuple(cash))


@st.composite
def two_sides(draw: st.DrawFn) -> tuple[BrokerSnapshot, BooksSnapshot]:
    """Any two sides at the same cut."""
    shown = draw(st.lists(st.tuples(symbols, units.filter(lambda u: u != 0), prices), max_size=4))
    ours = draw(st.lists(st.tuples(st.sampled_from(list(NAMES)), units, prices), max_size=3, unique_by=lambda t: t[0]))
    theirs = broker(
        *(position(symbol, str(quantity), str(price)) for symbol, quantity, price in shown),
        cash=str(draw(money)),
        orders=draw(st.lists(broker_orders(), max_size=4)),
        positions_part=draw(parts),
        cash_part=draw(parts),
        orders_part=draw(parts),
    )
    mine = books(
        *(held(symbol, str(quantity), str(price)) for symbol, quantity, price in ours),
        cash=str(draw(money)),
        orders=tuple(draw(st.lists(book_orders(), max_size=3, unique_by=lambda o: o.client_id))),
        holdings=tuple(draw(st.lists(st.just(holding(stop_client_ids=("a",))), max_size=1))),
        unposted=tuple(draw(st.lists(events(), max_size=3, unique_by=lambda e: e.event_id))),
        hedging=draw(st.booleans()),
        changed=tuple(draw(st.lists(changed_bodies(), max_size=2, unique_by=lambda c: c.external_id))),
    )
    return theirs, mine
