"""Working Kite orders: when they begin, trigger, fill, expire and end, and the broker's own square-off.

What always holds here:
- an after-market order waits as AMO REQ RECEIVED and becomes OPEN with the first price of the next session;
- a stop order is TRIGGER PENDING until a price reaches its trigger, and OPEN from then on;
- an order for delivery never sells what is not held; an intraday position does not outlive 15:20;
- an order that waits for a trigger of its own kind (a GTT) is not of the order book: its keeper is told.
"""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Protocol

from ..core import matching
from ..core.market import Quote
from ..core.model import LIMIT, MARKET, STOP, Account, Order
from ..core.nse import EXCHANGE, INDIA
from ..core.numbers import ZERO
from ..core.world import Roll, World
from . import parse
from .books import Books
from .contracts import CONTRACTS
from .facts import (
    AMO,
    AMO_RECEIVED,
    CANCELLED,
    CANCELLING,
    CNC,
    ICEBERG,
    MIS,
    OPEN,
    OPENING,
    RECEIVED,
    REGULAR,
    REJECTED,
    TRIGGER_PENDING,
    VALIDATING,
    Facts,
    Step,
    facts,
    held,
    in_book,
    product_of,
)

BROKER = "kite"
SQUARE_OFF = time(15, 20)
_MOMENT = timedelta(seconds=1)
_AUTOMATIC = Decimal(3)


class GttKeeper(Protocol):
    """Who is told what becomes of the orders that wait for a trigger."""

    def triggered(self, account: Account, order: Order, quote: Quote) -> None: ...

    def ended(self, account: Account, order: Order) -> None: ...


def square_off_after(at: datetime) -> datetime:
    """The next moment at which the broker closes intraday positions."""
    session = EXCHANGE.following(EXCHANGE.day_of(at))
    while True:
        moment = datetime.combine(session.day, SQUARE_OFF, INDIA).astimezone(UTC)
        if moment > at:
            return moment
        session = EXCHANGE.following(session.day + timedelta(days=1))


class KiteVenue(Books):
    """The dialect's side of matching: begins, executes, expires, ends."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.gtt: GttKeeper | None = None
        if not world.state.always_open:
            world.rolls.append(Roll(BROKER, square_off_after, self.square_off))

    # beginnings

    def make(self, account: Account, wanted: parse.Asked, *, parent: str = "", meta: Any = None) -> Order:
        """An order as the broker takes it in: it exists, and nothing is checked yet."""
        world, contract = self.world, wanted.contract
        number = world.next_number()
        order = Order(
            id=f"{EXCHANGE.day_of(world.now):%y%m%d}{number:09d}", instrument=contract.item.name, type=MARKET,
            units=wanted.quantity if wanted.side == "BUY" else -wanted.quantity, created_at=world.now,
            time_in_force=wanted.validity, client_id=wanted.tag,
        )  # fmt: skip
        limits, stops = wanted.order_type in (parse.LIMIT, parse.SL), wanted.order_type in (parse.SL, parse.SL_M)
        step = Step(
            RECEIVED, world.now, wanted.order_type, wanted.quantity,
            wanted.price if limits and wanted.price is not None else ZERO,
            wanted.trigger_price if stops and wanted.trigger_price is not None else ZERO,
            wanted.validity, wanted.ttl, wanted.disclosed, wanted.market_protection,
        )  # fmt: skip
        guid = hashlib.sha256(f"{account.id}/{number}".encode()).hexdigest()[:16]
        order.wire["facts"] = Facts(
            wanted.variety, wanted.product, wanted.tag, guid, wanted.placed_by, parent=parent, meta=meta or {},
            steps=[step],
        )  # fmt: skip
        self.add_order(account, order)
        self.step(account, order, VALIDATING)
        return order

    def refuse(self, account: Account, order: Order, message: str, raw: str) -> None:
        """The broker's risk management does not let the order through."""
        self.step(account, order, REJECTED, message=message, raw=raw)

    def receive(self, account: Account, order: Order) -> None:
        """The order has passed the checks: it goes to the exchange, or waits for it to open."""
        self._time(order)
        if facts(order).variety == AMO:
            self.step(account, order, AMO_RECEIVED)
            self.world.placed(account, order)
            order.dormant = True
            order.wakes_at = self.world.market.indian_hours.coming(self.world.now).opens + _MOMENT
            return
        self._begin(account, order)
        self.world.placed(account, order)
        self.settle(account, order)

    def _time(self, order: Order) -> None:
        """When the order's time is over."""
        now, hours = self.world.now, self.world.market.indian_hours
        known = facts(order)
        if known.now.validity == "TTL":
            order.expires_at = now + timedelta(minutes=known.now.ttl)
            return
        order.expires_at = hours.day_ends(now, extended=False)
        if known.product == MIS and not self.world.state.always_open:
            order.expires_at = min(order.expires_at, square_off_after(now))

    def _begin(self, account: Account, order: Order) -> None:
        """The order is at the exchange from now on."""
        known = facts(order)
        self.step(account, order, OPENING)
        known.exchange_order_id = f"11{self.world.next_number():014d}"
        known.exchange_at = self.world.now
        self.shape(order)
        stops = known.now.order_type in (parse.SL, parse.SL_M)
        self.step(account, order, TRIGGER_PENDING if stops and not known.triggered else OPEN, listed=True)

    def shape(self, order: Order) -> None:
        """Let the core know how the order triggers and at which price it is limited."""
        known, now = facts(order), facts(order).now
        if now.order_type in (parse.SL, parse.SL_M) and not known.triggered:
            order.type, order.price = STOP, now.trigger_price
        elif now.order_type in (parse.LIMIT, parse.SL):
            order.type, order.price = LIMIT, now.price
        else:
            order.type, order.price = self._protected(order)

    def _protected(self, order: Order) -> tuple[str, Decimal | None]:
        """A market order, or the limit that its market protection makes of it."""
        share, quote = facts(order).now.protection, self.world.quote(order.instrument)
        if share == 0 or quote is None:
            return MARKET, None
        share = _AUTOMATIC if share < 0 else share
        price = matching.done_at(order.units > 0, quote)
        limit = price * (1 + (share if order.units > 0 else -share) / 100)
        return LIMIT, CONTRACTS[order.instrument].item.price(limit)

    def settle(self, account: Account, order: Order) -> None:
        """What happens to an order right after it came to the exchange."""
        if not order.pending or self.world.holds(account, order):
            return
        self.follow(account, order)
        if order.pending and facts(order).now.validity == "IOC":
            self.step(account, order, CANCELLED)

    def follow(self, account: Account, order: Order) -> None:
        """Look whether the present price fills an order that works."""
        quote = self.world.quote(order.instrument)
        tradeable = self.world.tradeable(order.instrument, account.broker)
        if quote is None or not tradeable or not order.pending or self.world.holds(account, order):
            return
        if matching.is_triggered(order, order.units > 0, quote):
            self.execute(account, order, quote)

    def wake(self, account: Account, order: Order) -> None:
        """The exchange has opened: an after-market order goes there."""
        if self.world.holds(account, order) or not in_book(order):
            return
        with self.batch(account):
            order.dormant = False
            self._begin(account, order)
            self.settle(account, order)

    # fills

    def execute(self, account: Account, order: Order, quote: Quote) -> None:
        """A price has triggered the order."""
        if not in_book(order):
            if self.gtt is not None:
                with self.batch(account):
                    self.gtt.triggered(account, order, quote)
            return
        with self.batch(account):
            self._execute(account, order, quote)

    def _execute(self, account: Account, order: Order, quote: Quote) -> None:
        known, buys = facts(order), order.units > 0
        if known.status == TRIGGER_PENDING:
            known.triggered = True
            self.shape(order)
            self.step(account, order, OPEN)
            if not matching.is_triggered(order, buys, quote):
                return
        units = self._fillable(account, order)
        if units == 0:
            self.step(account, order, CANCELLED, message="Insufficient stock holding", raw="RMS:Rule: Check holdings")
            return
        limit = None if order.continued else self.world.partial(account.broker)
        order.continued = True
        if limit is not None and ZERO < limit < abs(units):
            units = limit.copy_sign(units)
        self.force(account, order, units, matching.done_at(buys, quote))

    def _fillable(self, account: Account, order: Order) -> Decimal:
        """How much of the order may be filled, signed."""
        units = order.remaining
        if facts(order).product != CNC or units > 0:
            return units
        owned = max(ZERO, held(account, order.instrument, CNC))
        return -min(abs(units), owned)

    def force(self, account: Account, order: Order, units: Decimal, price: Decimal) -> str:
        """Fill `units` (signed) at this price; the fill's id."""
        row = self.fill(account, order, units, price)
        if not order.pending and facts(order).variety == ICEBERG:
            self._next_leg(account, order)
        return str(row["id"])

    def _next_leg(self, account: Account, order: Order) -> None:
        """The next part of an order that shows only a part at a time."""
        known, iceberg = facts(order), facts(order).meta["iceberg"]
        left = Decimal(iceberg["remaining_quantity"])
        if left <= 0:
            return
        size = min(left, Decimal(iceberg["leg_quantity"]))
        contract, now = CONTRACTS[order.instrument], known.now
        wanted = parse.Asked(
            ICEBERG, contract.exchange, contract.symbol, "BUY" if order.units > 0 else "SELL", size, known.product,
            now.order_type, now.price or None, now.trigger_price or None, now.validity, now.ttl, tag=known.tag,
        )  # fmt: skip
        meta = {"iceberg": {**iceberg, "leg": iceberg["leg"] + 1, "remaining_quantity": int(left - size)}}
        self.receive(account, self.make(account, wanted, parent=known.parent or order.id, meta=meta))

    # ends

    def cancel(self, account: Account, order: Order) -> None:
        """The client wants the order no more."""
        with self.batch(account):
            self.step(account, order, CANCELLING)
            self.step(account, order, CANCELLED)

    def expire(self, account: Account, order: Order, reason: str) -> None:
        """The order's time is over."""
        with self.batch(account):
            if in_book(order):
                self.step(account, order, CANCELLED)
            elif self.gtt is not None:
                self.gtt.ended(account, order)

    def reject(self, account: Account, order: Order, reason: str) -> None:
        """The exchange does not want an order that the broker accepted."""
        with self.batch(account):
            if in_book(order):
                message = reason or "The order was rejected by the exchange."
                self.step(account, order, REJECTED, message=message, raw=message)

    def check_margin(self, account: Account) -> None:
        """The broker squares nothing off between its times of day."""

    def square_off(self, account: Account) -> None:
        """The broker cancels intraday orders and closes intraday positions, at whatever price there is."""
        with self.batch(account):
            for order in account.pending_orders():
                if in_book(order) and facts(order).product == MIS:
                    self.step(account, order, CANCELLED, message="Cancelled by the square-off of intraday positions")
            for trade in account.open_trades():
                quote = self.world.quote(trade.instrument)
                if product_of(trade) == MIS and quote is not None:
                    price = matching.done_at(trade.units < 0, quote)
                    self.foreign(account, trade.instrument, MIS, -trade.units, price, "ADMINSQF")

    def foreign(
        self, account: Account, name: str, product: str, units: Decimal, price: Decimal, placed_by: str
    ) -> dict[str, str]:
        """An order of somebody else, filled whatever the market's hours or the margin say."""
        contract = CONTRACTS[name]
        wanted = parse.Asked(
            REGULAR, contract.exchange, contract.symbol, "BUY" if units > 0 else "SELL", abs(units), product,
            parse.MARKET, placed_by=placed_by,
        )  # fmt: skip
        order = self.make(account, wanted)
        order.continued = True
        self._begin(account, order)
        return {"order_id": order.id, "fill_id": self.force(account, order, units, price)}

    def restate(self, account: Account, order: Order, **changes: Any) -> None:
        """Write the order's present step anew, with other numbers: a correction."""
        known = facts(order)
        known.steps[-1] = dataclasses.replace(known.now, **changes)
        self.journal_order(account, order)
