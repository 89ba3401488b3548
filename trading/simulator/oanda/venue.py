"""Filling orders the OANDA way: what a fill closes and opens, what may forbid it, and what follows from it.

What always holds here: one ORDER_FILL may close, reduce and open trades at once; its `pl` is the sum of its parts;
a fill that is forbidden cancels the order instead; stops and targets asked for on fill exist right after the fill.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from ..core import matching, valuation
from ..core.instruments import FOREX
from ..core.market import Quote
from ..core.model import (
    LIMIT,
    MARKET,
    STOP_LOSS,
    TAKE_PROFIT,
    TRAILING_STOP_LOSS,
    Account,
    Order,
    Trade,
)
from ..core.numbers import ZERO, iso, plain
from .books import Books
from .brackets import bracket_orders, refused_bracket
from .render import Wire, amount, book_wire, extensions, price_text

_REASONS = {
    "MARKET": "MARKET_ORDER", "LIMIT": "LIMIT_ORDER", "STOP": "STOP_ORDER",
    "MARKET_IF_TOUCHED": "MARKET_IF_TOUCHED_ORDER", "TAKE_PROFIT": "TAKE_PROFIT_ORDER",
    "STOP_LOSS": "STOP_LOSS_ORDER", "TRAILING_STOP_LOSS": "TRAILING_STOP_LOSS_ORDER",
    "FIXED_PRICE": "FIXED_PRICE_ORDER_ADMINISTRATIVE_ACTION",
}  # fmt: skip
_CLOSES = {
    "tradeClose": "MARKET_ORDER_TRADE_CLOSE", "longPositionCloseout": "MARKET_ORDER_POSITION_CLOSEOUT",
    "shortPositionCloseout": "MARKET_ORDER_POSITION_CLOSEOUT", "marginCloseout": "MARKET_ORDER_MARGIN_CLOSEOUT",
}  # fmt: skip


@dataclass(slots=True)
class Plan:
    """What a fill would do: trades with the units (of the fill's sign) that close them, and the units it opens."""

    closes: list[tuple[Trade, Decimal]] = field(default_factory=list)
    opens: Decimal = ZERO
    forbidden: str = ""

    @property
    def units(self) -> Decimal:
        """All units of the fill, signed."""
        return sum((units for _, units in self.closes), self.opens)


def plan_fill(account: Account, order: Order, units: Decimal) -> Plan:
    """Split `units` into what closes trades, first in first out, and what opens a new one."""
    if order.trade_id:
        trade = account.trades[order.trade_id]
        size = min(abs(units), abs(trade.units))
        return Plan([(trade, size.copy_sign(units))] if size else [], forbidden="" if size else "LINKED_TRADE_CLOSED")
    effect = order.effect
    if effect == "DEFAULT":
        effect = "OPEN_ONLY" if account.hedging else "REDUCE_FIRST"
    opposite = [trade for trade in account.open_trades(order.instrument) if trade.units * units < 0]
    if effect == "OPEN_ONLY":
        return Plan(opens=units, forbidden="FIFO_VIOLATION" if opposite and not account.hedging else "")
    plan, rest = Plan(), abs(units)
    for trade in opposite:
        size = min(rest, abs(trade.units))
        if size:
            plan.closes.append((trade, size.copy_sign(units)))
            rest -= size
    if effect == "REDUCE_FIRST":
        plan.opens = rest.copy_sign(units) if rest else ZERO
    elif not plan.closes:
        plan.forbidden = "INSUFFICIENT_LIQUIDITY"
    return plan


class OandaVenue(Books):
    """The dialect's side of matching: executes, expires, closes out."""

    def execute(self, account: Account, order: Order, quote: Quote) -> None:
        """Fill the order at this quote, or cancel it with the reason that forbids it."""
        with self.batch(account):
            self._execute(account, order, quote)

    def _execute(self, account: Account, order: Order, quote: Quote) -> None:
        buys = self.world.buys(account, order)
        price = matching.done_at(buys, quote)
        units = order.remaining if order.units else -account.trades[order.trade_id].units
        plan = plan_fill(account, order, units)
        if matching.breaks_bound(order, buys, price):
            self.cancel(account, order, "BOUNDS_VIOLATION")
            return
        reason = plan.forbidden or self._forbidden(account, order, plan, price, quote)
        if reason:
            self.cancel(account, order, reason)
            return
        limit = None
        if not order.continued and order.type not in (TAKE_PROFIT, STOP_LOSS, TRAILING_STOP_LOSS):
            limit = self.world.partial(account.broker)
        if limit is not None and ZERO < limit < abs(plan.units):
            plan = plan_fill(account, order, limit.copy_sign(units))
            fill = self._fill(account, order, plan, price, quote)
            self._after_partial(account, order, fill)
        else:
            fill = self._fill(account, order, plan, price, quote)
            self.end_filled(account, order)
        self._after_fill(account, order, fill, quote)

    def force(self, account: Account, order: Order, plan: Plan, quote: Quote) -> Wire:
        """Fill an order at this quote without asking whether it may be filled; returns the fill."""
        fill = self._fill(account, order, plan, matching.done_at(plan.units > 0, quote), quote)
        self.end_filled(account, order)
        self._after_fill(account, order, fill, quote)
        return fill

    def _forbidden(self, account: Account, order: Order, plan: Plan, price: Decimal, quote: Quote) -> str:
        if not plan.opens:
            return ""
        wanted = order.wire["base"].get("tradeClientExtensions", {}).get("id", "")
        taken = any(trade.client_id == wanted for trade in account.open_trades())
        if wanted and taken and not order.continued:
            return "CLIENT_TRADE_ID_ALREADY_EXISTS"
        refused = refused_bracket(account, order, plan.opens > 0, price, quote)
        if refused:
            return refused
        return "" if self._has_margin(account, order.instrument, plan) else "INSUFFICIENT_MARGIN"

    def _has_margin(self, account: Account, name: str, plan: Plan) -> bool:
        world = self.world
        worth = valuation.worth(world.market, world.now, account)
        long, short = account.units(name)
        for _, units in plan.closes:
            long, short = (long, short + units) if units > 0 else (long + units, short)
        long, short = (long + plan.opens, short) if plan.opens > 0 else (long, short + plan.opens)
        rate = valuation.margin_rate(account, name)
        needed = valuation.value_of(world.market, world.now, account, name, max(long, -short)) * rate
        others = worth.margin_used - valuation.margin_of(world.market, world.now, account, name)
        return worth.net >= others + needed

    def _fill(self, account: Account, order: Order, plan: Plan, price: Decimal, quote: Quote) -> Wire:
        world, name = self.world, order.instrument
        factors = valuation.factors(world.market, world.now, FOREX[name].quote, account.currency)
        number = str(len(account.history) + 1)
        half = (quote.ask - quote.bid) / 2
        total, closed, reduced = ZERO, [], None
        for trade, units in plan.closes:
            realised = factors.convert(-units * (price - trade.price))
            total += realised
            self.reduce(account, trade, -units, price, realised)
            trade.closing_ids.append(number)
            row: Wire = {
                "tradeID": trade.id, "units": plain(units), "price": price_text(name, price),
                "realizedPL": amount(realised), "financing": "0.0000", "guaranteedExecutionFee": "0.0000",
                "halfSpreadCost": amount(abs(units) * half * factors.mid),
            }  # fmt: skip
            if trade.is_open:
                reduced = row
            else:
                closed.append(row)
        account.last_fill_at = world.now
        fields: Wire = {"orderID": order.id}
        if order.client_id:
            fields["clientOrderID"] = order.client_id
        fields.update(
            instrument=name,
            units=plain(plan.units),
            gainQuoteHomeConversionFactor=plain(factors.gain),
            lossQuoteHomeConversionFactor=plain(factors.loss),
            price=price_text(name, price),
            fullVWAP=price_text(name, price),
            fullPrice={"time": iso(quote.at), **book_wire(name, quote)},
            reason=self._reason(order),
            pl=amount(total),
            financing="0.0000",
            commission="0.0000",
            guaranteedExecutionFee="0.0000",
        )
        world.move_cash(account, "realised", total)
        fields["accountBalance"] = amount(account.cash)
        if plan.opens:
            fields["tradeOpened"] = self._open(account, order, number, plan.opens, price, half * factors.mid)
        if closed:
            fields["tradesClosed"] = closed
        if reduced is not None:
            fields["tradeReduced"] = reduced
        fields["halfSpreadCost"] = amount(abs(plan.units) * half * factors.mid)
        fill = self.write(account, "ORDER_FILL", fields)
        self.finish(account, order, fill)
        world.filled(account, order, fill["id"], number if plan.opens else "")
        self._journal_fill(account, order, fill, total)
        return fill

    def _open(self, account: Account, order: Order, number: str, units: Decimal, price: Decimal, half: Decimal) -> Wire:
        world, name = self.world, order.instrument
        value = valuation.value_of(world.market, world.now, account, name, units)
        trade = Trade(number, name, price, world.now, units, units)
        trade.initial_margin = value * valuation.margin_rate(account, name)
        given = dict(order.wire["base"].get("tradeClientExtensions", {}))
        if order.continued:
            given.pop("id", None)
        trade.client_id = given.get("id", "")
        trade.wire = {"clientExtensions": given} if given else {}
        self.add_trade(account, trade)
        return {
            "tradeID": number, "units": plain(units), "price": price_text(name, price),
            "guaranteedExecutionFee": "0.0000", "halfSpreadCost": amount(abs(units) * half),
            "initialMarginRequired": amount(trade.initial_margin), **extensions("", trade.wire),
        }  # fmt: skip

    def _reason(self, order: Order) -> str:
        base = order.wire["base"]
        return next((reason for key, reason in _CLOSES.items() if key in base), _REASONS[order.type])

    def _journal_fill(self, account: Account, order: Order, fill: Wire, total: Decimal) -> None:
        units = Decimal(fill["units"])
        self.world.record(
            "fill",
            account.id,
            {
                "id": fill["id"],
                "order_id": order.id,
                "client_id": order.client_id,
                "instrument": order.instrument,
                "side": "BUY" if units > 0 else "SELL",
                "quantity": plain(abs(units)),
                "price": fill["price"],
                "pl": plain(total),
                "fee": "0",
            },
        )

    def _after_partial(self, account: Account, order: Order, fill: Wire) -> None:
        """The rest of a partly filled order: cancelled (IOC), kept (market), or reissued as a new order."""
        if order.time_in_force == "IOC":
            self.cancel(account, order, "TIME_IN_FORCE_EXPIRED")
            return
        if order.type == MARKET or order.time_in_force == "FOK":
            order.continued = True
            self.journal_order(account, order, "PARTIALLY_FILLED")
            return
        rest = order.remaining
        self.end_filled(account, order)
        base = {**order.wire["base"], "units": plain(rest)}
        again = Order(
            id="", instrument=order.instrument, type=order.type, units=rest, created_at=self.world.now,
            time_in_force=order.time_in_force, price=order.price, bound=order.bound, expires_at=order.expires_at,
            effect=order.effect, trigger=order.trigger, client_id=order.client_id, continued=True,
            wire={"base": base, "state": {"replacesOrderID": order.id}},
        )  # fmt: skip
        row = self.add_order(account, again, "REPLACEMENT", {"replacesOrderID": order.id})
        order.wire["state"]["replacedByOrderID"] = row["id"]
        if order.started_above is not None:
            again.started_above = order.started_above

    def _after_fill(self, account: Account, order: Order, fill: Wire, quote: Quote) -> None:
        for row in [*fill.get("tradesClosed", [])]:
            self.cancel_linked(account, account.trades[row["tradeID"]], order.id)
        if "tradeOpened" in fill:
            trade = account.trades[fill["tradeOpened"]["tradeID"]]
            for made in bracket_orders(order, trade, self.world.now):
                self.add_order(account, made, "ON_FILL", {"orderFillTransactionID": fill["id"]})
        self.journal_position(account, order.instrument)

    # what the broker does by itself

    def close_units(self, account: Account, trade: Trade, units: Decimal, base: Wire) -> Order:
        """A market order that takes `units` (> 0) out of one trade; `base` says why on the wire."""
        signed = units.copy_sign(-trade.units)
        wire: Wire = {
            "instrument": trade.instrument, "units": plain(signed), "timeInForce": "FOK",
            "positionFill": "REDUCE_ONLY", **base,
        }  # fmt: skip
        return Order(
            id="", instrument=trade.instrument, type=MARKET, units=signed, created_at=self.world.now,
            time_in_force="FOK", effect="REDUCE_ONLY", trade_id=trade.id, wire={"base": wire, "state": {}},
        )  # fmt: skip

    def check_margin(self, account: Account) -> None:
        """Close everything when less than half of the margin in use is covered."""
        worth = valuation.worth(self.world.market, self.world.now, account)
        if worth.closeout_percent < 1:
            return
        with self.batch(account):
            for trade in account.open_trades():
                quote = self.world.quote(trade.instrument)
                if quote is None or not self.world.tradeable(trade.instrument, account.broker):
                    continue
                why: Wire = {"marginCloseout": {"reason": "MARGIN_CHECK_VIOLATION"}}
                order = self.close_units(account, trade, abs(trade.units), why)
                self.add_order(account, order, "MARGIN_CLOSEOUT")
                order.continued = True
                self._execute(account, order, quote)

    def wake(self, account: Account, order: Order) -> None:
        """No order of this broker waits for a moment."""

    def settle(self, account: Account, order: Order) -> None:
        """What happens to an order right after it was created: fill, cancel at once, or rest."""
        if self.world.holds(account, order):
            return
        at_once = order.type == MARKET or order.time_in_force in ("FOK", "IOC")
        quote = self.world.quote(order.instrument)
        if quote is None or not self.world.tradeable(order.instrument, account.broker):
            if at_once:
                self.cancel(account, order, "MARKET_HALTED")
            return
        if matching.is_triggered(order, self.world.buys(account, order), quote):
            self._execute(account, order, quote)
        elif at_once:
            self.cancel(account, order, "TIME_IN_FORCE_EXPIRED" if order.type == LIMIT else "INSUFFICIENT_LIQUIDITY")
