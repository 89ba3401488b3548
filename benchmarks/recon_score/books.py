"""Books of one account in memory: a small fold of the broker's events by the rules of the inbox, told as a snapshot.

What always holds: an event is stored once; fills of our orders and typed cash are booked by the broker's own numbers,
what others did stays stored and unposted; an event shown again with another body is kept and changes nothing. It
shares no code with the services that keep the books in the database, so that each is judged without the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from reconciliation.domain.snapshots import (
    BooksHolding,
    BooksOrder,
    BooksPosition,
    BooksSnapshot,
    ChangedBody,
    InstrumentRule,
    LateOrder,
    OverClosed,
    UnmappedTrade,
    UnpostedEvent,
    cash_of,
    sides_of,
)
from trading.domain.books import OpenLot, apply_fill, average_price, net_quantity, pooled_price
from trading.domain.broker import (
    BrokerEvent,
    BrokerOrderStatus,
    BrokerSnapshot,
    CashData,
    EventKind,
    FillData,
    LegRole,
    OrderNews,
    Side,
)
from trading.domain.canonical import canonical_json, sha256_hex
from trading.domain.money import STORED_STEP, ZERO, round_to_step
from trading.domain.orders import TERMINAL, OrderState, Tag, is_late, may_move, state_after_fill, state_from_broker

Part = FillData | CashData


@dataclass(slots=True)
class Own:
    """An order of ours. `parent` is the client id of the entry on which a broker's leg rides."""

    number: int
    client_id: str
    instrument: str
    side: Side
    tag: Tag
    quantity: Decimal
    decision: int
    price: Decimal | None = None
    parent: str = ""
    broker_id: str = ""
    state: OrderState = OrderState.PLANNED
    filled: Decimal = ZERO
    news_at: datetime | None = None
    since: datetime | None = None
    given_up: bool = False
    ended_at: datetime | None = None


@dataclass(slots=True)
class Stored:
    """An event as it was first told, what of it is booked, and its body as it was told last."""

    number: int
    event: BrokerEvent
    sha256: str
    said: BrokerEvent
    said_sha256: str
    booked: dict[str, Part] = field(default_factory=dict)


@dataclass(slots=True)
class Books:
    """The books of one account. `refuses` says of a fill or movement that its booking fails: it stays unposted."""

    account: str
    currency: str
    rules: Mapping[str, InstrumentRule]
    orders: list[Own] = field(default_factory=list)
    stored: dict[str, Stored] = field(default_factory=dict)
    cash: dict[str, Decimal] = field(default_factory=dict)
    lots: dict[str, tuple[OpenLot, ...]] = field(default_factory=dict)
    executions: dict[str, list[tuple[Side, Decimal, Decimal]]] = field(default_factory=dict)
    late: list[LateOrder] = field(default_factory=list)
    refuses: Callable[[Part], bool] = lambda part: False

    @property
    def by_broker(self) -> dict[str, InstrumentRule]:
        """The instruments by the broker's names."""
        return {rule.broker_symbol: rule for rule in self.rules.values()}

    # what is told

    def receive(self, events: Iterable[BrokerEvent]) -> None:
        """Store and apply what was read, in the broker's order."""
        for event in sorted(events, key=lambda each: each.sequence):
            body = sha256_hex(canonical_json(event.raw))
            known = self.stored.get(event.external_id)
            if known is not None:
                known.said, known.said_sha256 = event, body
                continue
            row = Stored(len(self.stored) + 1, event, body, event, body)
            self.stored[event.external_id] = row
            for news in event.orders:
                self._news(news, event)
            parts: tuple[Part, ...] = (*event.fills, *event.cash)
            for part in parts:
                self._book(row, part)
        for row in self.stored.values():  # what became ours only by an id that was told later
            for fill in row.event.fills:
                if fill.external_id not in row.booked:
                    self._book(row, fill)

    def find(self, client_id: str, broker_id: str, parent: str = "", leg: LegRole | None = None) -> Own | None:
        """Our order behind a broker's words: by client id, by broker id, as the leg of an order of ours."""
        for order in self.orders:
            if client_id and order.client_id == client_id:
                return order
        for order in self.orders:
            if broker_id and order.broker_id == broker_id:
                return order
        if parent and leg is not None:
            legs = (each for each in self.orders if each.parent == parent and each.tag == Tag(leg))
            return next((each for each in legs if not each.broker_id), None)
        return None

    def _news(self, news: OrderNews, event: BrokerEvent) -> None:
        order = self.find(news.client_id, news.broker_order_id, news.parent_client_id, news.leg)
        if order is None and news.replaces:
            order = self.find("", news.replaces)
        if order is None:
            return
        if news.replaced_by:
            order.broker_id = news.replaced_by
            return
        order.broker_id = news.broker_order_id if news.replaces else order.broker_id or news.broker_order_id
        wanted = state_from_broker(news.status)
        if wanted is None or news.status in (BrokerOrderStatus.FILLED, BrokerOrderStatus.PARTIAL):
            return
        if wanted is not order.state and may_move(order.state, wanted) and not is_late(order.state, wanted):
            self.move(order, wanted, event.at)

    def move(self, order: Own, state: OrderState, at: datetime) -> None:
        """An order goes into another state."""
        order.state, order.news_at = state, at
        if state in TERMINAL:
            order.ended_at = at

    def _book(self, row: Stored, part: Part) -> None:
        if self.refuses(part):
            return
        if isinstance(part, CashData):
            if part.kind not in (EventKind.OTHER,):
                for currency, amount in sides_of(part):
                    self.cash[currency] = self.cash.get(currency, ZERO) + amount
                row.booked[part.external_id] = part
            return
        order = self.find(part.client_id, part.broker_order_id)
        rule = self.by_broker.get(part.instrument)
        if order is None or rule is None:
            return
        order.filled += part.quantity
        before = order.state
        after = state_after_fill(before, ordered=order.quantity, filled=order.filled)
        if is_late(before, after) and before is not OrderState.FILLED:
            self.late.append(_late(order, before, row.event.at))
        self.move(order, after, row.event.at)
        row.booked[part.external_id] = part
        self.execute(part, rule)

    def execute(self, fill: FillData, rule: InstrumentRule) -> None:
        """Book one execution: units, cost and cash."""
        name = rule.symbol
        self.lots[name], _ = apply_fill(self.lots.get(name, ()), fill.side, fill.quantity, fill.price)
        self.executions.setdefault(name, []).append((fill.side, fill.quantity, fill.price))
        self.cash[self.currency] = self.cash.get(self.currency, ZERO) + cash_of(fill, rule)

    # what they say

    def held(self, symbol: str) -> Decimal:
        """Units of an instrument, below zero for short."""
        return net_quantity(self.lots.get(symbol, ()))

    def snapshot(self, at: datetime, cut: str, broker: BrokerSnapshot) -> BooksSnapshot:
        """The books at one moment, with the orders that matter to the broker's answer."""
        shown = {o.client_id for o in broker.orders if o.client_id}
        ids = {o.broker_order_id for o in broker.orders if o.broker_order_id}
        return BooksSnapshot(
            account_id=self.account,
            currency=self.currency,
            at=at,
            cut_event_id=cut,
            cash=dict(self.cash),
            positions=tuple(self._position(name) for name, lots in sorted(self.lots.items()) if lots),
            orders=tuple(
                _told(order)
                for order in self.orders
                if order.state not in TERMINAL
                or order.filled > order.quantity
                or order.client_id in shown
                or order.broker_id in ids
            ),
            holdings=tuple(self._holdings()),
            over_closed=tuple(self._over_closed()),
            unposted=tuple(self._unposted()),
            changed=tuple(self._changed()),
            instruments=dict(self.rules),
            late=tuple(self.late),
            unmapped=tuple(
                UnmappedTrade(o.decision, o.number, o.client_id, o.instrument, o.state, o.since)
                for o in self.orders
                if o.tag is Tag.ENTRY and not o.broker_id and o.since is not None and o.state not in TERMINAL
            ),
        )

    def _position(self, name: str) -> BooksPosition:
        lots, rule = self.lots[name], self.rules[name]
        pooled = pooled_price(self.executions[name]) if rule.pays_cash else None
        cost = average_price(lots)
        return BooksPosition(
            name,
            net_quantity(lots),
            round_to_step(cost, STORED_STEP) if cost is not None else None,
            pooled_price=round_to_step(pooled, STORED_STEP) if pooled is not None else None,
        )

    def _decisions(self) -> dict[int, tuple[Own, Decimal, Decimal]]:
        """Of each decision its entry, what that opened and what the other orders closed."""
        found: dict[int, tuple[Own, Decimal, Decimal]] = {}
        for entry in self.orders:
            if entry.tag is Tag.ENTRY:
                closed = sum((o.filled for o in self.orders if o.decision == entry.decision and o is not entry), ZERO)
                found[entry.decision] = (entry, entry.filled, closed)
        return found

    def _holdings(self) -> Iterable[BooksHolding]:
        for decision, (entry, opened, closed) in self._decisions().items():
            stops = tuple(o.client_id for o in self.orders if o.decision == decision and o.tag is Tag.STOP)
            if opened > closed:
                yield BooksHolding(decision, entry.instrument, entry.side, opened - closed, stops, bool(stops))

    def _over_closed(self) -> Iterable[OverClosed]:
        for decision, (entry, opened, closed) in self._decisions().items():
            beyond = min(closed - opened, -entry.side.sign * self.held(entry.instrument))
            if closed > opened > 0 and beyond > 0:
                yield OverClosed(decision, entry.instrument, entry.side, opened, closed, beyond)

    def _unposted(self) -> Iterable[UnpostedEvent]:
        for row in self.stored.values():
            fills = tuple(f for f in row.said.fills if f.external_id not in row.booked)
            cash = tuple(c for c in row.said.cash if c.external_id not in row.booked)
            if fills or cash:
                ours = frozenset(f.external_id for f in fills if self.find(f.client_id, f.broker_order_id) is not None)
                yield UnpostedEvent(
                    row.number, row.event.external_id, row.event.sequence, row.event.at, fills, cash, ours
                )

    def _changed(self) -> Iterable[ChangedBody]:
        for row in self.stored.values():
            if row.said_sha256 == row.sha256:
                continue
            said: tuple[Part, ...] = (*row.said.fills, *row.said.cash)
            now = {part.external_id: part for part in said}
            undone = [part for name, part in row.booked.items() if not _same(part, now.get(name))]
            instead = [now[part.external_id] for part in undone if part.external_id in now]
            yield ChangedBody(
                row.event.external_id,
                row.sha256,
                row.said_sha256,
                row.number,
                undone=tuple(p for p in undone if isinstance(p, FillData)),
                instead=tuple(p for p in instead if isinstance(p, FillData)),
                cash_undone=tuple(p for p in undone if isinstance(p, CashData)),
                cash_instead=tuple(p for p in instead if isinstance(p, CashData)),
            )

    def posted(self) -> tuple[object, ...]:
        """All that the books hold: what no run may change."""
        orders = tuple((o.client_id, o.broker_id, o.state, o.quantity, o.filled, o.price) for o in self.orders)
        booked = tuple((name, tuple(row.booked.items())) for name, row in self.stored.items() if row.booked)
        return tuple(self.cash.items()), tuple(self.lots.items()), orders, booked

    def copied(self) -> Books:
        """The same books, to go on from more than once. What the broker said never changes and is shared."""
        return replace(
            self,
            orders=[copy.copy(order) for order in self.orders],
            stored={name: replace(row, booked=dict(row.booked)) for name, row in self.stored.items()},
            cash=dict(self.cash),
            lots=dict(self.lots),
            executions={name: list(done) for name, done in self.executions.items()},
            late=list(self.late),
        )


def _same(booked: Part, says: Part | None) -> bool:
    if isinstance(booked, FillData) and isinstance(says, FillData):
        return (booked.side, booked.quantity, booked.price, booked.commission) == (
            says.side,
            says.quantity,
            says.price,
            says.commission,
        )
    return booked == says


def _told(order: Own) -> BooksOrder:
    return BooksOrder(
        order_id=order.number,
        client_id=order.client_id,
        broker_order_id=order.broker_id,
        instrument=order.instrument,
        side=order.side,
        tag=order.tag,
        state=order.state,
        quantity=order.quantity,
        filled=order.filled,
        price=order.price,
        rides_on_entry=bool(order.parent),
        decision_id=order.decision,
        news_at=order.news_at,
        given_up=order.given_up,
    )


def _late(order: Own, ended: OrderState, at: datetime) -> LateOrder:
    return LateOrder(
        order_id=order.number,
        client_id=order.client_id,
        instrument=order.instrument,
        side=order.side,
        tag=order.tag,
        quantity=order.quantity,
        filled=order.filled,
        ended=ended,
        ended_at=order.ended_at or at,
        ended_by_broker=False,
        filled_at=at,
    )
