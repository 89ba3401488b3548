"""What happens to a Kite account without the tested client: other people's trades, the broker's own bookings.

What always holds here: everything but the two silent kinds leaves the orders, trades and events that Kite would leave;
the silent kinds change cash or positions and leave none. `product` (CNC, MIS, NRML) may be named where a position is
meant; without it shares are for delivery and derivatives NRML. A busted trade is no longer in the trade book, a
corrected one has its new numbers; orders tell what remains of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal

from ..core.model import Account, Order
from ..core.netting import restate
from ..core.numbers import ZERO, decimals, iso, number, plain
from ..core.outside import amount_in, correction_in, happen, price_in
from ..core.world import World
from .books import average_of, pays_in_full, shown_order, trade_on
from .contracts import CONTRACTS, EQUITY
from .facts import CANCELLED, CNC, COMPLETE, NRML, OPEN, facts, held, holding, in_book, line_key, product_of, session_of
from .parse import PRODUCTS
from .render import Wire
from .session import request_token
from .venue import KiteVenue


class External:
    """The external actions of one simulator's Kite accounts."""

    def __init__(self, world: World, venue: KiteVenue) -> None:
        self.world, self.venue = world, venue
        self._kinds: dict[str, Callable[[Account, Wire], Wire]] = {
            "trade": self._trade,
            "cancel": self._cancel,
            "closeout": self._closeout,
            "financing": self._booking("financing"),
            "dividend": self._booking("dividend"),
            "fee": self._booking("fee"),
            "transfer": self._booking("transfer"),
            "split": self._split,
            "bust": self._bust,
            "correct": self._correct,
            "silent_cash": self._silent_cash,
            "silent_position": self._silent_position,
        }

    def apply(self, account: Account, body: Wire) -> Wire:
        """Do one external action; what it returns names its events. Raises ValueError with a sentence."""
        return happen(self._kinds, self.venue.batch(account), account, body, told_as="event_ids")

    # what bodies say

    def _name(self, body: Wire) -> str:
        name = str(body.get("instrument", ""))
        if name not in CONTRACTS:
            raise ValueError(f"there is no instrument {name!r}; there are: {', '.join(CONTRACTS)}")
        return name

    def _product(self, body: Wire, name: str) -> str:
        equity = CONTRACTS[name].kind == EQUITY
        product = str(body.get("product") or (CNC if equity else NRML))
        if product not in PRODUCTS or product == (NRML if equity else CNC):
            raise ValueError(f"{name} has no product {product}")
        return product

    def _quantity(self, body: Wire) -> Decimal:
        value = number(body.get("quantity"))
        if value == 0 or decimals(value):
            raise ValueError("quantity must be a whole number that is not zero (> 0 buys, < 0 sells)")
        return value

    # orders and trades

    def _trade(self, account: Account, body: Wire) -> Wire:
        name, units = self._name(body), self._quantity(body)
        price = price_in(self.world, name, body, units)
        return self.venue.foreign(account, name, self._product(body, name), units, price, account.id)

    def _cancel(self, account: Account, body: Wire) -> Wire:
        order = account.orders.get(str(body.get("order_id")))
        if order is None or not order.pending or not in_book(order):
            raise ValueError(f"there is no working order {body.get('order_id')!r}")
        self.venue.cancel(account, order)
        return {"order_id": order.id}

    def _closeout(self, account: Account, body: Wire) -> Wire:
        name = self._name(body)
        products = [str(body["product"])] if body.get("product") else list(PRODUCTS)
        wanted = abs(number(body["quantity"])) if body.get("quantity") is not None else None
        done: list[dict[str, str]] = []
        for order in account.pending_orders():
            if in_book(order) and order.instrument == name and facts(order).product in products:
                self.venue.cancel(account, order)
        for product in products:
            there = held(account, name, product)
            size = abs(there) if wanted is None else min(wanted, abs(there))
            if size:
                units = -size.copy_sign(there)
                price = price_in(self.world, name, body, units)
                done.append(self.venue.foreign(account, name, product, units, price, "ADMINSQF"))
        if not done:
            raise ValueError(f"nothing of {name} is held")
        return {"order_ids": [one["order_id"] for one in done], "fill_ids": [one["fill_id"] for one in done]}

    # cash

    def _booking(self, word: str) -> Callable[[Account, Wire], Wire]:
        def book(account: Account, body: Wire) -> Wire:
            value = amount_in(account, body)
            if word == "dividend" or body.get("instrument"):
                self._name(body)
            if word == "financing":
                account.financing += value
            elif word == "fee":
                account.fees -= value
            return {"event_id": self.venue.move(account, word, value)}

        return book

    def _silent_cash(self, account: Account, body: Wire) -> Wire:
        self.world.move_cash(account, "silent", amount_in(account, body))
        return {}

    # positions

    def _silent_position(self, account: Account, body: Wire) -> Wire:
        name, units = self._name(body), self._quantity(body)
        product, price = self._product(body, name), price_in(self.world, name, body, units)
        realised, before = account.realised, copy.deepcopy(account.totals)
        trade_on(self.venue.line(account, name, product), units, price)
        self.venue.shift(account, name, product, units, price, f"P{self.world.next_number():08d}")
        account.realised, account.totals = realised, before
        self.venue.journal_position(account, name, product)
        return {}

    def _split(self, account: Account, body: Wire) -> Wire:
        name, ratio = self._name(body), number(body.get("ratio"))
        if not 0 < ratio <= 1000 or ratio == 1 or CONTRACTS[name].kind != EQUITY:
            raise ValueError("ratio is how many new shares one old share becomes: above 0, not 1, at most 1000")
        trades = account.open_trades(name)
        if not trades or any((trade.units * ratio) % 1 for trade in trades):
            raise ValueError(f"nothing of {name} is held" if not trades else "the split leaves fractions of shares")
        cancelled = [one for one in account.pending_orders() if in_book(one) and one.instrument == name]
        for order in cancelled:
            self.venue.cancel(account, order)
        book = self.venue.book(account)
        for trade in trades:
            trade.units, trade.initial_units = trade.units * ratio, trade.units * ratio
            trade.price /= ratio
            line = book.lines.get(line_key(name, product_of(trade)))
            if line is not None:
                line.overnight, line.bought, line.sold = line.overnight * ratio, line.bought * ratio, line.sold * ratio
                line.overnight_price /= ratio
            self.venue.journal_position(account, name, product_of(trade))
        book.lots[name] = [(day, size * ratio) for day, size in book.lots.get(name, [])]
        return {"order_ids": [one.id for one in cancelled]}

    # corrections

    def _fill_row(self, account: Account, body: Wire) -> Wire:
        wanted = str(body.get("fill_id"))
        for row in account.history:
            if row["id"] == wanted and row["kind"] in ("trade", "busted"):
                if row["kind"] == "busted":
                    raise ValueError(f"the fill {wanted} is busted already")
                return row
        raise ValueError(f"there is no fill {wanted!r}")

    def _bust(self, account: Account, body: Wire) -> Wire:
        row = self._fill_row(account, body)
        self._amend(account, row, "bust", ZERO, Decimal(row["price"]))
        row["kind"] = "busted"
        return {"fill_id": row["id"]}

    def _correct(self, account: Account, body: Wire) -> Wire:
        row = self._fill_row(account, body)
        price, size = correction_in(body, Decimal(row["price"]), Decimal(row["quantity"]), 0)
        self._amend(account, row, "correct", size, price)
        row.update(price=plain(price), quantity=plain(size))
        return {"fill_id": row["id"]}

    def _amend(self, account: Account, row: Wire, word: str, size: Decimal, price: Decimal) -> None:
        """Undo a fill and do it again with other numbers: in the position, the cash and the order."""
        order = account.orders[row["order_id"]]
        name, product, sign = order.instrument, facts(order).product, 1 if order.units > 0 else -1
        old_size, old_price = Decimal(row["quantity"]), Decimal(row["price"])
        before, trade = account.realised, holding(account, name, product)
        if not restate(trade, (sign * old_size, old_price), (sign * size, price)):
            self._shift(account, name, product, -sign * old_size, old_price)
            if size:
                self._shift(account, name, product, sign * size, price)
        paid = sign * (old_size * old_price - size * price)
        self.world.move_cash(account, word, paid if pays_in_full(name, product) else account.realised - before)
        self._amend_line(account, order, row, size, price)
        order.filled += sign * (size - old_size)
        now = facts(order).now
        status = now.status
        if status == COMPLETE and order.remaining:
            status = CANCELLED  # what was taken away again is not traded anew
        elif status == OPEN and not order.remaining:
            status = COMPLETE
        self.world.record(
            "correction", account.id, {"id": row["id"], "kind": word, "quantity": plain(size), "price": plain(price)}
        )
        value = now.value + size * price - old_size * old_price
        self.venue.step(account, order, status, filled=abs(order.filled), value=value)
        self.venue.journal_position(account, name, product)

    def _shift(self, account: Account, name: str, product: str, units: Decimal, price: Decimal) -> None:
        self.venue.shift(account, name, product, units, price, f"P{self.world.next_number():08d}")

    def _amend_line(self, account: Account, order: Order, row: Wire, size: Decimal, price: Decimal) -> None:
        """The day's line, as if the fill had been the other one."""
        line = self.venue.line(account, order.instrument, facts(order).product)
        more = size - Decimal(row["quantity"])
        worth = size * price - Decimal(row["quantity"]) * Decimal(row["price"])
        if order.units > 0:
            line.bought, line.bought_value = line.bought + more, line.bought_value + worth
        else:
            line.sold, line.sold_value = line.sold + more, line.sold_value + worth

    # truth

    def truth(self, account: Account) -> Wire:
        """The account as it really is."""
        session = session_of(account)
        orders = [order for order in account.orders.values() if in_book(order)]
        return {
            "id": account.id,
            "broker": account.broker,
            "currency": account.currency,
            "hedging": False,
            "cash": {account.currency: plain(account.cash)},
            "positions": [
                {
                    "instrument": trade.instrument, "side": "LONG" if trade.units > 0 else "SHORT",
                    "product": product_of(trade), "quantity": plain(abs(trade.units)),
                    "average_price": plain(average_of(trade)),
                }
                for trade in account.open_trades()
            ],
            "orders": [
                {
                    **shown_order(order), "price": plain(facts(order).now.price or facts(order).now.trigger_price),
                    "parent_id": facts(order).parent, "created_at": iso(order.created_at),
                }
                for order in orders
            ],
            "trades": [
                {
                    "id": trade.id, "client_id": "", "instrument": trade.instrument, "product": product_of(trade),
                    "side": "LONG" if trade.initial_units > 0 else "SHORT", "quantity": plain(abs(trade.units)),
                    "initial_quantity": plain(abs(trade.initial_units)), "price": plain(average_of(trade)),
                    "pl": plain(trade.realised), "state": "OPEN" if trade.is_open else "CLOSED",
                }
                for trade in account.trades.values()
            ],
            "last_event_id": account.history[-1]["id"] if account.history else "",
            "session": {
                "request_token": request_token(account), "access_token": session.access_token,
                "dies_at": iso(session.dies_at),
            },
        }  # fmt: skip
