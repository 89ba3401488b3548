"""Order endpoints: place, list, read, replace, cancel.

What always holds here: an order is checked wholly before anything changes; the answer to a new order shows it as it was
taken in, before any fill; a client order id belongs to one order of the account for ever.
"""

from __future__ import annotations

import dataclasses
from datetime import time, timedelta
from decimal import Decimal
from uuid import UUID

from ..core.calls import Answer, Call
from ..core.hours import NEW_YORK
from ..core.model import (
    LIMIT,
    MARKET,
    STOP,
    STOP_LOSS,
    TAKE_PROFIT,
    TRAILING_STOP_LOSS,
    Account,
    Order,
)
from ..core.nyse import day_of, session
from ..core.world import World
from .answers import malformed, not_found, unprocessable
from .changes import CHANGEABLE, changed
from .facts import (
    HELD,
    OCO,
    PENDING_NEW,
    PENDING_REPLACE,
    REPLACED,
    SIMPLE,
    TERMINAL,
    Facts,
    facts,
    group,
    position,
)
from .parse import (
    Asked,
    Exit,
    asked,
    bad_direction,
    check_exits,
    client_id_in,
    count_in,
    given,
    time_in,
    true_in,
)
from .power import need_power, need_shares
from .render import Wire, market_price, order_wire, side_of
from .venue import AlpacaVenue, shares_for

_GOOD_FOR = timedelta(days=90)
_SECOND = timedelta(seconds=1)
_EVENING = time(19)
_TYPES = {
    "market": MARKET, "limit": LIMIT, "stop": STOP, "stop_limit": STOP, "trailing_stop": TRAILING_STOP_LOSS,
}  # fmt: skip


def inferred(account: Account, symbol: str, side: str) -> str:
    """Whether an order of this side would open or close a position."""
    held = position(account, symbol)
    closes = held < 0 if side == "buy" else held > 0
    return f"{side}_to_{'close' if closes else 'open'}"


class OrderCalls:
    """The order endpoints of one simulator."""

    def __init__(self, world: World, venue: AlpacaVenue) -> None:
        self.world, self.venue = world, venue

    # placing

    def create(self, account: Account, call: Call) -> Answer:
        """POST /orders."""
        return Answer(200, self.place(account, asked(call.json())), outcome="changed")

    def place(self, account: Account, wanted: Asked) -> Wire:
        """Take in an order that a client asks for; how it looks then. Raises Refusal."""
        if wanted.client_id and self.venue.find_by_client_id(account, wanted.client_id) is not None:
            raise malformed("client_order_id must be unique")
        orders = self._made(account, wanted)
        first = orders[0]
        for order in orders:
            self.venue.receive(account, order)
        shown = order_wire(account, first, nested=True)
        self.venue.settle(account, first)
        for order in orders[1:]:
            self.venue.settle(account, order)
        return shown

    def _made(self, account: Account, wanted: Asked) -> list[Order]:
        intent = inferred(account, wanted.symbol, wanted.side)
        if wanted.intent not in ("any", intent):
            raise unprocessable(f"position intent mismatch, inferred: {intent}, specified: {wanted.intent}")
        enters = intent.endswith("open")
        if wanted.order_class not in (SIMPLE, OCO) and not enters:
            raise unprocessable(f"{wanted.order_class} orders must be entry orders")
        if wanted.order_class == OCO and enters:
            raise unprocessable("oco orders must be exit orders")
        basis = self._basis(wanted)
        check_exits(wanted, basis, enters)
        units = wanted.quantity
        if units is None:
            assert wanted.notional is not None
            units = shares_for(wanted.notional, basis)
        if intent == "sell_to_open" and (wanted.notional is not None or units % 1):
            raise unprocessable("fractional orders cannot be sold short")
        if enters:
            need_power(self.world, account, wanted.notional or units * basis)
        else:
            need_shares(account, wanted.symbol, units)
        signed = units if wanted.side == "buy" else -units
        if wanted.order_class == OCO:
            assert wanted.take_profit is not None and wanted.stop_loss is not None
            first = self._exit(wanted, signed, wanted.take_profit, basis)
            first.client_id = wanted.client_id or first.client_id
            facts(first).status, first.dormant = PENDING_NEW, False
            legs = [self._exit(wanted, signed, wanted.stop_loss, basis)]
            legs[0].dormant = False
        else:
            first = self._order(wanted, signed, intent, basis)
            exits = [one for one in (wanted.take_profit, wanted.stop_loss) if one is not None]
            legs = [self._exit(wanted, -signed, one, basis) for one in exits]
        facts(first).legs = [leg.id for leg in legs]
        for leg in legs:
            facts(leg).parent = first.id
        return [first, *legs]

    def _basis(self, wanted: Asked) -> Decimal:
        """The price at which an order is reckoned: its own, or the market's."""
        if wanted.order_class == OCO and wanted.take_profit is not None and wanted.take_profit.limit_price is not None:
            return wanted.take_profit.limit_price
        known = wanted.limit_price or wanted.stop_price
        if known is not None:
            return known
        quote = self.world.quote(wanted.symbol)
        if quote is None:
            return market_price(self.world, wanted.symbol)
        return quote.ask if wanted.side == "buy" else quote.bid

    def _order(self, wanted: Asked, units: Decimal, intent: str, basis: Decimal) -> Order:
        world = self.world
        order = Order(
            id=world.next_uuid(), instrument=wanted.symbol, type=_TYPES[wanted.type], units=units,
            created_at=world.now, time_in_force=wanted.time_in_force.upper(),
            price=wanted.stop_price or wanted.limit_price, distance=wanted.trail_price,
            share=wanted.trail_percent / 100 if wanted.trail_percent is not None else None,
            extended=wanted.extended_hours, client_id=wanted.client_id or world.next_uuid(),
        )  # fmt: skip
        order.wire["facts"] = Facts(
            type=wanted.type, time_in_force=wanted.time_in_force, order_class=wanted.order_class, intent=intent,
            basis=basis, quantity=wanted.quantity, notional=wanted.notional, limit_price=wanted.limit_price,
            stop_price=wanted.stop_price, trail_price=wanted.trail_price, trail_percent=wanted.trail_percent,
        )  # fmt: skip
        self._time(order)
        return order

    def _exit(self, wanted: Asked, units: Decimal, leg: Exit, basis: Decimal) -> Order:
        """A leg that waits for its entry."""
        kind = "limit" if leg.stop_price is None else "stop" if leg.limit_price is None else "stop_limit"
        side = "buy" if units > 0 else "sell"
        part = dataclasses.replace(
            wanted, side=side, type=kind, limit_price=leg.limit_price, stop_price=leg.stop_price, client_id="",
            trail_price=None, trail_percent=None,
        )  # fmt: skip
        order = self._order(part, units, f"{side}_to_close", basis)
        order.type = TAKE_PROFIT if leg.stop_price is None else STOP_LOSS
        order.dormant, facts(order).status = True, HELD
        return order

    def _time(self, order: Order) -> None:
        """How long the order is good, and the moment that it waits for. Raises Refusal."""
        world, hours, kind = self.world, self.world.market.share_hours, facts(order).time_in_force
        now = world.now
        if kind == "day":
            order.expires_at = hours.day_ends(now, order.extended)
        elif kind == "gtc":
            order.expires_at = hours.day_ends(now + _GOOD_FOR, extended=False)
        elif kind in ("opg", "cls"):
            today = session(day_of(now))
            if today is not None:
                last = today.opens - timedelta(minutes=2) if kind == "opg" else today.closes - timedelta(minutes=10)
                if last <= now and now.astimezone(NEW_YORK).time() < _EVENING:
                    raise unprocessable(f"{kind} orders cannot be placed between the cut-off and 7:00pm")
            order.dormant = True
            order.wakes_at = hours.coming(now).opens + _SECOND if kind == "opg" else hours.running(now).closes - _SECOND

    # reading

    def _find(self, account: Account, id: str) -> Order:
        try:
            wanted = str(UUID(id))
        except ValueError:
            raise malformed(f"invalid order id: {id}") from None
        order = account.orders.get(wanted)
        if order is None:
            raise not_found(f"order not found for {id}")
        return order

    def get(self, account: Account, call: Call, id: str) -> Answer:
        """GET /orders/{id}."""
        nested = true_in(call.parameters(), "nested")
        return Answer(200, order_wire(account, self._find(account, id), nested=nested))

    def by_client_id(self, account: Account, call: Call) -> Answer:
        """GET /orders:by_client_order_id?client_order_id=."""
        wanted = call.parameters().get("client_order_id", "")
        if not wanted:
            raise malformed("client_order_id is required")
        order = self.venue.find_by_client_id(account, wanted)
        if order is None:
            raise not_found(f"order not found for {wanted}")
        return Answer(200, order_wire(account, order, nested=true_in(call.parameters(), "nested")))

    def listed(self, account: Account, call: Call) -> Answer:
        """GET /orders: open ones, at most 50, the newest first, unless asked otherwise."""
        given = call.parameters()
        status, direction = given.get("status") or "open", given.get("direction") or "desc"
        if status not in ("open", "closed", "all"):
            raise malformed(f"invalid status: {status}")
        if direction not in ("asc", "desc"):
            raise bad_direction(direction)
        nested, most = true_in(given, "nested"), count_in(given, "limit", 50, 500)
        after, until = time_in(given, "after"), time_in(given, "until")
        symbols = {part.upper() for part in given.get("symbols", "").split(",") if part}
        side = given.get("side", "")
        keys = list(account.orders)
        low, high = 0, len(keys)
        if given.get("after_order_id"):
            low = keys.index(self._find(account, given["after_order_id"]).id) + 1
        if given.get("before_order_id"):
            high = keys.index(self._find(account, given["before_order_id"]).id)
        found = []
        for key in keys[low:high] if direction == "asc" else reversed(keys[low:high]):
            order = account.orders[key]
            known = facts(order)
            if (
                (status == "all" or (status == "open") == (known.status not in TERMINAL))
                and (after is None or order.created_at > after)
                and (until is None or order.created_at < until)
                and (not symbols or order.instrument in symbols)
                and (not side or side_of(order) == side)
                and not (nested and known.parent)
            ):
                found.append(order_wire(account, order, nested=nested))
                if len(found) == most:
                    break
        return Answer(200, found)

    # cancelling

    def cancel(self, account: Account, call: Call, id: str) -> Answer:
        """DELETE /orders/{id}."""
        order = self._find(account, id)
        if not order.pending:
            raise unprocessable(f'order is already in "{facts(order).status}" state')
        self.venue.cancel(account, order)
        return Answer(204, None, outcome="changed")

    def cancel_all(self, account: Account, call: Call) -> Answer:
        """DELETE /orders."""
        return Answer(207, [{"id": id, "status": 200} for id in self.cancel_open(account)], outcome="changed")

    def cancel_open(self, account: Account, name: str = "") -> list[str]:
        """Cancel every working order (of one symbol); their ids."""
        orders = [order for order in account.pending_orders() if name in ("", order.instrument)]
        for order in orders:
            if order.pending:
                self.venue.cancel(account, order)
        return [order.id for order in orders]

    # replacing

    def replace(self, account: Account, call: Call, id: str) -> Answer:
        """PATCH /orders/{id}: a new order with a new id; `qty` is what it is still to trade."""
        order = self._find(account, id)
        body = given(call.json(), CHANGEABLE)
        if not order.pending:
            raise unprocessable(f'order is already in "{facts(order).status}" state')
        if facts(order).notional is not None:
            raise unprocessable("notional orders cannot be replaced")
        client_id = client_id_in(body)
        if client_id and self.venue.find_by_client_id(account, client_id) is not None:
            raise malformed("client_order_id must be unique")
        fresh = changed(order, body, len(group(account, order)) > 1)
        left, freed = abs(fresh.units), abs(order.remaining)
        if facts(fresh).opens:
            need_power(self.world, account, left * facts(fresh).basis, freed * facts(order).basis)
        elif not order.dormant:
            need_shares(account, order.instrument, left, freed)
        fresh.id, fresh.client_id = self.world.next_uuid(), client_id or self.world.next_uuid()
        fresh.created_at = self.world.now
        if facts(fresh).time_in_force != facts(order).time_in_force:
            self._time(fresh)
        self._swap(account, order, fresh)
        self.venue.receive(account, fresh)
        shown = order_wire(account, fresh, nested=True)
        self.venue.settle(account, fresh)
        return Answer(200, shown, outcome="changed")

    def _swap(self, account: Account, order: Order, fresh: Order) -> None:
        """Put a new order into the place of one that works."""
        known, following = facts(order), facts(fresh)
        self.venue.turn(account, order, PENDING_REPLACE)
        known.replaced_by, following.replaces = fresh.id, order.id
        if known.parent:
            legs = facts(account.orders[known.parent]).legs
            legs[legs.index(order.id)] = fresh.id
        for key in following.legs:
            facts(account.orders[key]).parent = fresh.id
        known.legs = []
        self.venue.turn(account, order, REPLACED)
