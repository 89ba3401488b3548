"""The paper book: a broker's matching engine for bars, as explicit state and pure steps.

What always holds here:
- a market order fills where it is submitted; stops and limits rest and are looked at from the next bar on, by touch,
  at the bar's open when it opens beyond them; every fill, entry or exit, is worse by the cost model;
- each entry is a trade of its own, and its bracket guards exactly what is still open of it: one strategy never closes
  another's quantity. Stop and target count from the bar after the fill; the stop is looked at before the target;
- the same requests and bars give the same events with the same external ids (made from the client ids), so a second
  run adds nothing; sequence numbers rise by one;
- realised profit is rounded once, here, to 5 decimals of the account's currency, half to even: it is the broker's
  own number, which the books take as it is. Commission is at or below zero, as it moves the account's cash;
- a margin instrument moves the balance by what it realises; a cash instrument (a share) by the whole payment, as a
  broker of shares does, and its fills say no realised profit. It is traded in the account's own currency only;
- the book knows bars, not moments: what happens inside a bar is stamped with the bar's start. Callers therefore give
  it all bars of one start before anything that is submitted at their close.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from trading.domain import paper_events as events
from trading.domain.bars import Bar
from trading.domain.broker import (
    BrokerEvent,
    BrokerOrderStatus,
    BrokerPosition,
    FillData,
    OrderNews,
    OrderRequest,
    OrderType,
    ProtectiveLeg,
    Side,
)
from trading.domain.costs import CostModel
from trading.domain.money import ZERO
from trading.domain.paper_state import OpenEntry, WorkingOrder, gap_or_touch, protective_fill
from trading.domain.settlement import payment

MONEY_STEP = Decimal("0.00001")
Emitted = list[BrokerEvent]


class PaperBook:
    """One paper account. `costs` by instrument; all money in `currency`. State is readable and restorable."""

    def __init__(self, *, currency: str, costs: Mapping[str, CostModel]) -> None:
        self.currency = currency
        self.costs = dict(costs)
        self.balance = ZERO
        self.last_sequence = 0
        self._entries: dict[str, OpenEntry] = {}
        self._working: dict[str, WorkingOrder] = {}
        self._known: set[str] = set()

    @classmethod
    def restore(
        cls,
        *,
        currency: str,
        costs: Mapping[str, CostModel],
        balance: Decimal,
        last_sequence: int,
        open_entries: Iterable[OpenEntry] = (),
        working_orders: Iterable[WorkingOrder] = (),
        known_client_ids: Iterable[str] = (),
    ) -> PaperBook:
        """The book as it was: it goes on as if it had never stopped.

        `known_client_ids` are orders that ended already, so that a resend of one is recognised.
        """
        book = cls(currency=currency, costs=costs)
        book.balance = balance
        book.last_sequence = last_sequence
        book._entries = {entry.client_id: entry for entry in open_entries}
        book._working = {order.request.client_id: order for order in working_orders}
        book._known = {*known_client_ids, *book._entries, *book._working}
        return book

    @property
    def open_entries(self) -> tuple[OpenEntry, ...]:
        """Trades that are open, oldest first."""
        return tuple(self._entries.values())

    @property
    def working_orders(self) -> tuple[WorkingOrder, ...]:
        """Resting orders, oldest first; brackets are on their entries."""
        return tuple(self._working.values())

    def knows(self, client_id: str) -> bool:
        """Whether an order of that id was ever submitted."""
        return client_id in self._known

    def positions(self) -> tuple[BrokerPosition, ...]:
        """Open quantity and average price per instrument and side."""
        totals: dict[tuple[str, Side], tuple[Decimal, Decimal]] = {}
        for entry in self._entries.values():
            quantity, cost = totals.get((entry.instrument, entry.side), (ZERO, ZERO))
            key = (entry.instrument, entry.side)
            totals[key] = (quantity + entry.quantity, cost + entry.quantity * entry.price)
        return tuple(
            BrokerPosition(instrument, side, quantity, cost / quantity)
            for (instrument, side), (quantity, cost) in totals.items()
        )

    def worth(self, entry: OpenEntry, *, mid: Decimal | None, rate: Decimal) -> Decimal:
        """What an open trade adds to the balance at a price: its value if it was paid for, else its open profit.

        Without a price it is worth what it cost.
        """
        spec = self.costs[entry.instrument].spec
        paid_for = ZERO if spec.margin else entry.price
        gain = (entry.price if mid is None else mid) - entry.price + paid_for
        return gain * entry.side.sign * entry.quantity * spec.multiplier * rate

    def deposit(self, amount: Decimal, at: datetime, *, external_id: str = "opening-deposit") -> Emitted:
        """Cash comes in; the opening deposit is the account's first event."""
        self.balance += amount
        return [events.transfer(self._next(), external_id, at, self.currency, amount, self.balance)]

    def submit(
        self,
        request: OrderRequest,
        *,
        at: datetime,
        mid: Decimal,
        atr: Decimal | None,
        rate: Decimal,
        closes: str = "",
    ) -> Emitted:
        """Take an order. MARKET fills now around `mid`; the rest waits for the next bars.

        `rate` is what one unit of the quote currency is worth in the account's. A `reduce_only` order closes the entry
        whose client id is `closes`, or, when that is empty, the oldest ones of the other side. A client id that was
        submitted before changes nothing and gives no events.
        """
        if request.client_id in self._known:
            return []
        self._known.add(request.client_id)
        refusal = self._refusal(request, closes)
        if refusal:
            return [events.rejected(self._next(), request, at, refusal, self.balance)]
        emitted = [events.created(self._next(), request, at, self.balance)]
        if request.type is OrderType.MARKET:
            return emitted + self._execute(request, at=at, mid=mid, atr=atr, rate=rate, closes=closes)
        self._working[request.client_id] = WorkingOrder(request, at, mid, closes)
        return emitted

    def cancel(self, client_id: str, *, at: datetime, reason: str = "CLIENT_REQUEST") -> Emitted:
        """Take back a resting order or one leg of a bracket. Nothing when there is no such live order."""
        if client_id in self._working:
            return [self._drop(client_id, at, reason, BrokerOrderStatus.CANCELLED)]
        for entry in self._entries.values():
            for leg in entry.legs:
                if leg.client_id == client_id:
                    self._entries[entry.client_id] = entry.without(leg)
                    return [self._leg_cancelled(leg, entry, at, reason)]
        return []

    def change(self, client_id: str, *, quantity: Decimal | None, price: Decimal) -> bool:
        """Give a resting order another quantity (None: the same) and price; False when there is no such order."""
        standing = self._working.get(client_id)
        if standing is None:
            return False
        self._working[client_id] = replace(
            standing, request=replace(standing.request, quantity=quantity or standing.request.quantity, price=price)
        )
        return True

    def on_bar(self, bar: Bar, *, atr: Decimal | None, rate: Decimal) -> Emitted:
        """Everything that a closed bar does to the book: brackets first, then resting orders.

        `atr` is the average true range known before this bar; using the bar's own would look ahead.
        """
        emitted: Emitted = []
        for entry in [item for item in self._entries.values() if item.instrument == bar.symbol]:
            if entry.filled_at <= bar.start:
                emitted += self._guard(entry, bar, atr, rate)
        for order in [item for item in self._working.values() if item.request.instrument == bar.symbol]:
            if order.submitted_at > bar.start:
                continue
            client_id, good_till = order.request.client_id, order.request.good_till
            if good_till is not None and good_till <= bar.start:
                emitted.append(self._drop(client_id, bar.start, "TIME_IN_FORCE_EXPIRED", BrokerOrderStatus.EXPIRED))
                continue
            mid = gap_or_touch(order, bar)
            if mid is not None:
                del self._working[client_id]
                emitted += self._execute(
                    order.request, at=bar.start, mid=mid, atr=atr, rate=rate, closes=order.closes, fill_bar=bar
                )
        return emitted

    def _guard(self, entry: OpenEntry, bar: Bar, atr: Decimal | None, rate: Decimal) -> Emitted:
        hit = protective_fill(entry, bar)
        if hit is None:
            return []
        leg, mid, reason = hit
        costs = self.costs[entry.instrument]
        price = costs.fill_price(entry.side.opposite, mid, atr)
        fill = self._closing_fill(leg.client_id, [(entry, entry.quantity)], price, rate, reason)
        del self._entries[entry.client_id]
        emitted = [self._filled(fill, bar.start, events.leg_news(leg, entry, BrokerOrderStatus.FILLED, reason))]
        sibling = entry.take_profit if leg is entry.stop_loss else entry.stop_loss
        if sibling is not None:
            emitted.append(self._leg_cancelled(sibling, entry, bar.start, "LINKED_TRADE_CLOSED"))
        return emitted

    def _execute(
        self,
        request: OrderRequest,
        *,
        at: datetime,
        mid: Decimal,
        atr: Decimal | None,
        rate: Decimal,
        closes: str,
        fill_bar: Bar | None = None,
    ) -> Emitted:
        price = self.costs[request.instrument].fill_price(request.side, mid, atr)
        if request.reduce_only:
            return self._reduce(request, at, price, rate, closes)
        # A resting entry fills somewhere inside its bar, so its bracket waits for the bar after.
        guarded_from = at if fill_bar is None else fill_bar.end
        entry = OpenEntry(
            client_id=request.client_id,
            instrument=request.instrument,
            side=request.side,
            quantity=request.quantity,
            price=price,
            filled_at=guarded_from,
            stop_loss=request.stop_loss,
            take_profit=request.take_profit,
            label=request.label,
        )
        self._entries[entry.client_id] = entry
        self._known.update(leg.client_id for leg in entry.legs)
        fill = FillData(
            external_id=f"{request.client_id}:fill",
            broker_order_id=events.order_id(request.client_id),
            client_id=request.client_id,
            instrument=request.instrument,
            side=request.side,
            quantity=request.quantity,
            price=price,
            realised=ZERO,
            financing=ZERO,
            commission=-self.costs[request.instrument].commission(request.quantity),
            reason=request.type.value,
            opened_trade_id=entry.trade_id,
        )
        emitted = [self._filled(fill, at, events.news(request, BrokerOrderStatus.FILLED, trade_id=entry.trade_id))]
        for leg in entry.legs:
            emitted.append(events.leg_created(self._next(), leg, entry, at, self.balance))
        return emitted

    def _reduce(self, request: OrderRequest, at: datetime, price: Decimal, rate: Decimal, closes: str) -> Emitted:
        remaining = request.quantity
        parts: list[tuple[OpenEntry, Decimal]] = []
        for entry in self._reducible(request, closes):
            units = min(remaining, entry.quantity)
            if units > 0:
                parts.append((entry, units))
                remaining -= units
        if not parts:
            reason = "REDUCE_ONLY_NOTHING_OPEN"
            return [events.ended(self._next(), request, at, reason, BrokerOrderStatus.CANCELLED, self.balance)]
        fill = self._closing_fill(request.client_id, parts, price, rate, request.type.value)
        emitted = [self._filled(fill, at, events.news(request, BrokerOrderStatus.FILLED))]
        for entry, units in parts:
            if units < entry.quantity:
                self._entries[entry.client_id] = replace(entry, quantity=entry.quantity - units)
                continue
            del self._entries[entry.client_id]
            emitted += [self._leg_cancelled(leg, entry, at, "LINKED_TRADE_CLOSED") for leg in entry.legs]
        return emitted

    def _closing_fill(
        self, client_id: str, parts: list[tuple[OpenEntry, Decimal]], price: Decimal, rate: Decimal, reason: str
    ) -> FillData:
        first = parts[0][0]
        costs = self.costs[first.instrument]
        quote = ZERO
        if costs.spec.margin:
            quote = sum(
                ((price - entry.price) * entry.side.sign * units * costs.spec.multiplier for entry, units in parts),
                ZERO,
            )
        quantity = sum((units for _, units in parts), ZERO)
        return FillData(
            external_id=f"{client_id}:fill",
            broker_order_id=events.order_id(client_id),
            client_id=client_id,
            instrument=first.instrument,
            side=first.side.opposite,
            quantity=quantity,
            price=price,
            realised=(quote * rate).quantize(MONEY_STEP),
            financing=ZERO,
            commission=-costs.commission(quantity),
            reason=reason,
            closed=tuple((entry.trade_id, units) for entry, units in parts),
        )

    def _filled(self, fill: FillData, at: datetime, news: OrderNews) -> BrokerEvent:
        spec = self.costs[fill.instrument].spec
        if not spec.margin:
            self.balance += payment(fill.side, fill.quantity, fill.price, multiplier=spec.multiplier)
        self.balance += fill.realised + fill.commission + fill.financing
        return events.filled(self._next(), fill, at, news, self.balance)

    def _drop(self, client_id: str, at: datetime, reason: str, status: BrokerOrderStatus) -> BrokerEvent:
        order = self._working.pop(client_id)
        return events.ended(self._next(), order.request, at, reason, status, self.balance)

    def _leg_cancelled(self, leg: ProtectiveLeg, entry: OpenEntry, at: datetime, reason: str) -> BrokerEvent:
        return events.leg_cancelled(self._next(), leg, entry, at, reason, self.balance)

    def _reducible(self, request: OrderRequest, closes: str) -> list[OpenEntry]:
        return [
            entry
            for entry in self._entries.values()
            if entry.instrument == request.instrument
            and entry.side is request.side.opposite
            and closes in ("", entry.client_id)
        ]

    def _refusal(self, request: OrderRequest, closes: str) -> str:
        """The code of a real refusal, "" when the order is taken."""
        if request.instrument not in self.costs:
            return "INSTRUMENT_UNKNOWN"
        spec = self.costs[request.instrument].spec
        if not spec.margin and spec.quote != self.currency:
            return "CURRENCY_NOT_HELD"
        if not request.quantity.is_finite() or request.quantity <= 0:
            return "UNITS_INVALID"
        if (request.price is None) != (request.type is OrderType.MARKET):
            return "PRICE_INVALID"
        if request.reduce_only and not self._reducible(request, closes):
            return "REDUCE_ONLY_NOTHING_OPEN"
        return ""

    def _next(self) -> int:
        self.last_sequence += 1
        return self.last_sequence


__all__ = ["MONEY_STEP", "OpenEntry", "PaperBook", "WorkingOrder"]
