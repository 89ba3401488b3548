"""Working Alpaca orders: when they begin, fill, expire and end, and what that does to the orders of their group.

What always holds here:
- outside the market's hours an order waits as `accepted` and turns `new` with the first price of the session;
- the exits of a bracket are `held` until the entry is filled completely; then the target turns `new`, and the stop
  stays `held`, as the broker shows it, though it works, as long as there is a target beside it;
- one exit filling ends the other; a partly filled target shrinks the stop; a stop that triggers first takes the
  target away; an order that is cancelled, expires or is rejected takes the rest of its group with it;
- an order that closes a position never turns it around: what is no longer held is not sold.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import ROUND_DOWN, Decimal

from ..core import matching
from ..core.faults import take
from ..core.market import Quote
from ..core.model import LIMIT, MARKET, STOP, STOP_LOSS, TAKE_PROFIT, Account, Order
from ..core.numbers import ZERO
from .books import Books
from .facts import (
    ACCEPTED,
    CANCELED,
    DONE_FOR_DAY,
    EXPIRED,
    FILLED,
    HELD,
    NEW,
    PARTIALLY_FILLED,
    PENDING_CANCEL,
    PENDING_NEW,
    REJECTED,
    TERMINAL,
    facts,
    group,
    position,
    sibling,
)

_MOMENT = timedelta(seconds=1)
_SHARE = Decimal("0.000000001")


def shares_for(notional: Decimal, price: Decimal) -> Decimal:
    """How many shares an amount of money buys."""
    return (notional / price).quantize(_SHARE, rounding=ROUND_DOWN)


class AlpacaVenue(Books):
    """The dialect's side of matching: begins, executes, expires, ends."""

    # beginnings

    def receive(self, account: Account, order: Order) -> None:
        """The broker has taken an order in; its answer shows it as it is after this."""
        self.add_order(account, order)
        if facts(order).status == HELD:
            self.turn(account, order, HELD)
            return
        self.turn(account, order, PENDING_NEW if self._works_now(account, order) else ACCEPTED)
        self.world.placed(account, order)

    def _works_now(self, account: Account, order: Order) -> bool:
        hours = self.world.market.share_hours
        extended = order.extended and hours.is_extended(self.world.now)
        return not order.dormant and (extended or hours.is_open(self.world.now))

    def settle(self, account: Account, order: Order) -> None:
        """What happens to an order right after it was taken in: it is filled, ends at once, rests, or waits."""
        if not order.pending or order.dormant or self.world.holds(account, order):
            return
        at_once = facts(order).time_in_force in ("ioc", "fok")
        if not self._works_now(account, order):
            if at_once:
                self.turn(account, order, CANCELED)
            else:
                self._sleep(order)
            return
        self._begin(account, order)
        self.follow(account, order)
        if order.pending and at_once:
            self.turn(account, order, CANCELED)

    def follow(self, account: Account, order: Order) -> None:
        """Look whether the present price fills an order that works."""
        quote = self.world.quote(order.instrument)
        tradeable = self.world.tradeable(order.instrument, account.broker, order.extended)
        if quote is None or not tradeable or not order.pending or self.world.holds(account, order):
            return
        buys = order.units > 0
        matching.trail(order, buys, quote)
        if matching.is_triggered(order, buys, quote):
            self.execute(account, order, quote)

    def _begin(self, account: Account, order: Order) -> None:
        """The order works from now on."""
        known = facts(order)
        if known.status in (PENDING_NEW, ACCEPTED, DONE_FOR_DAY):
            self.turn(account, order, PARTIALLY_FILLED if order.filled else NEW, NEW)
        if known.time_in_force == "gtc" and not order.extended and not self.world.state.always_open:
            order.wakes_at = self.world.market.share_hours.running(self.world.now).closes

    def _sleep(self, order: Order) -> None:
        """The order waits for the market; the moment is a little late, so that the opening price comes first."""
        hours = self.world.market.share_hours
        session = hours.running(self.world.now)
        opens = session.extended_opens if order.extended else session.opens
        if opens <= self.world.now:
            session = hours.coming(self.world.now)
            opens = session.extended_opens if order.extended else session.opens
        order.wakes_at = opens + _MOMENT

    def wake(self, account: Account, order: Order) -> None:
        """The moment that an order waited for has come."""
        if self.world.holds(account, order):
            return
        with self.batch(account):
            if order.dormant:  # on the opening or on the closing of the market: now or never
                order.dormant = False
                self._begin(account, order)
                self.follow(account, order)
                if order.pending:
                    self._end_group(account, order, EXPIRED)
            elif self._works_now(account, order):
                self._begin(account, order)
                self.follow(account, order)
            else:
                if facts(order).status in (NEW, PARTIALLY_FILLED):
                    self.turn(account, order, DONE_FOR_DAY)
                self._sleep(order)

    # fills

    def execute(self, account: Account, order: Order, quote: Quote) -> None:
        """A price has triggered the order."""
        with self.batch(account):
            self._execute(account, order, quote)

    def _execute(self, account: Account, order: Order, quote: Quote) -> None:
        known, buys = facts(order), order.units > 0
        if known.status in (ACCEPTED, PENDING_NEW, DONE_FOR_DAY):
            self._begin(account, order)
        if order.type == STOP_LOSS and not known.triggered:
            self._take_target_away(account, order)
        if known.stop_price is not None and known.limit_price is not None and not known.triggered:
            known.triggered = True
            order.type, order.price = LIMIT, known.limit_price
            if not matching.is_triggered(order, buys, quote):
                return
        known.triggered = True
        price = matching.done_at(buys, quote)
        if known.notional is not None and not order.filled:
            order.units = shares_for(known.notional, price).copy_sign(order.units)
        units = self._fillable(account, order)
        if units == 0:
            self._end_group(account, order, CANCELED)
            return
        limit = None if order.continued else self.world.partial(account.broker)
        order.continued = True
        if limit is not None and ZERO < limit < abs(units):
            if known.time_in_force == "fok":
                self.turn(account, order, CANCELED)
                return
            units = limit.copy_sign(units)
        self.force(account, order, units, price)
        if not order.pending:
            return
        if known.time_in_force == "ioc" or self._fillable(account, order) == 0:
            self._end_group(account, order, CANCELED)
        elif order.price is None or order.type in (STOP, STOP_LOSS):
            order.type = MARKET  # a stop that has triggered goes on at any price

    def _take_target_away(self, account: Account, stop: Order) -> None:
        target = sibling(account, stop)
        if target is not None:
            self.turn(account, target, CANCELED)
        if facts(stop).status == HELD:
            self.turn(account, stop, NEW)

    def _fillable(self, account: Account, order: Order) -> Decimal:
        """How much of the order may be filled, signed: an order that closes a position takes what is left of it."""
        units = order.remaining
        if facts(order).opens:
            return units
        held = position(account, order.instrument)
        if held * units >= 0:
            return ZERO
        return min(abs(units), abs(held)).copy_sign(units)

    def force(self, account: Account, order: Order, units: Decimal, price: Decimal) -> str:
        """Fill `units` (signed) at this price, and let the group follow; the fill's id."""
        row = self.fill(account, order, units, price)
        other = sibling(account, order)
        if other is not None and order.type == TAKE_PROFIT and order.pending:
            self._shrink(account, other, order.remaining)
        elif other is not None and take(self.world.state.faults, account.broker, "both_legs") is not None:
            self.fill(account, other, other.remaining, price)
        elif other is not None:
            self.turn(account, other, CANCELED)
        elif facts(order).status == FILLED and facts(order).legs and order.type != TAKE_PROFIT:
            self._wake_exits(account, order)
        found: str = row["id"]
        return found

    def _shrink(self, account: Account, stop: Order, remaining: Decimal) -> None:
        stop.units = stop.filled + remaining
        facts(stop).quantity = abs(stop.units)
        self.turn(account, stop, facts(stop).status, "restated")

    def _wake_exits(self, account: Account, entry: Order) -> None:
        exits = [account.orders[key] for key in facts(entry).legs if account.orders[key].pending]
        for order in exits:
            order.dormant = False
        for order in exits:
            if order.type == TAKE_PROFIT or len(exits) == 1:
                self.turn(account, order, NEW)
                if facts(order).time_in_force == "gtc":
                    self._begin(account, order)
        for order in exits:
            if order.pending:
                self.follow(account, order)

    # ends

    def cancel(self, account: Account, order: Order) -> None:
        """The client wants the order no more; its group goes with it."""
        with self.batch(account):
            self.turn(account, order, PENDING_CANCEL)
            self._end_group(account, order, CANCELED)

    def expire(self, account: Account, order: Order, reason: str) -> None:
        """The order's time is over."""
        with self.batch(account):
            self._end_group(account, order, EXPIRED)

    def reject(self, account: Account, order: Order, reason: str) -> None:
        """The broker does not want an order any more that it has accepted."""
        with self.batch(account):
            self.turn(account, order, REJECTED)
            self._end_group(account, order, CANCELED)

    def _end_group(self, account: Account, order: Order, status: str) -> None:
        for one in [order, *group(account, order)]:
            if one.pending and facts(one).status not in TERMINAL:
                self.turn(account, one, status)

    def check_margin(self, account: Account) -> None:
        """Shares are paid for when they are bought: nothing is closed for want of margin."""
