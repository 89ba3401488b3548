"""What happens to an Alpaca account without the tested client: other people's trades, the broker's own bookings.

What always holds here: everything but the two silent kinds leaves the orders and activities that Alpaca would leave;
the silent kinds change cash or positions and leave none. A split cancels the working orders of its share. A busted
fill stays in the history with the status `canceled`, a corrected one with `correct` and its new numbers; orders tell
what remains of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..core.instruments import SHARES, find_instrument
from ..core.model import MARKET, Account, Order
from ..core.netting import restate
from ..core.numbers import decimals, iso, number, plain
from ..core.outside import amount_in, correction_in, happen, price_in
from ..core.world import World
from .books import shown_order
from .facts import NEW, PENDING_NEW, SIMPLE, Facts, facts, position
from .orders import OrderCalls, inferred
from .render import Wire, average, order_wire
from .venue import AlpacaVenue

_MOST_DECIMALS = 9


class External:
    """The external actions of one simulator's Alpaca accounts."""

    def __init__(self, world: World, venue: AlpacaVenue, orders: OrderCalls) -> None:
        self.world, self.venue, self.orders = world, venue, orders
        self._kinds: dict[str, Callable[[Account, Wire], Wire]] = {
            "trade": self._trade,
            "cancel": self._cancel,
            "closeout": self._closeout,
            "financing": self._financing,
            "dividend": self._dividend,
            "fee": self._fee,
            "transfer": self._transfer,
            "split": self._split,
            "bust": self._bust,
            "correct": self._correct,
            "silent_cash": self._silent_cash,
            "silent_position": self._silent_position,
        }

    def apply(self, account: Account, body: Wire) -> Wire:
        """Do one external action; what it returns names its activities. Raises ValueError with a sentence."""
        return happen(self._kinds, self.venue.batch(account), account, body, told_as="activity_ids")

    def _name(self, body: Wire) -> str:
        item = find_instrument(str(body.get("instrument", "")))
        if item is None or item.name not in SHARES:
            raise ValueError(f"there is no share {body.get('instrument')!r}; there are: {', '.join(SHARES)}")
        return item.name

    def _quantity(self, body: Wire) -> Decimal:
        value = number(body.get("quantity"))
        if value == 0 or decimals(value) > _MOST_DECIMALS:
            raise ValueError("quantity must not be zero (> 0 buys, < 0 sells) and has at most nine decimals")
        return value

    def _trade(self, account: Account, body: Wire) -> Wire:
        name, units = self._name(body), self._quantity(body)
        return self._fill(account, name, units, price_in(self.world, name, body, units))

    def _fill(self, account: Account, name: str, units: Decimal, price: Decimal) -> Wire:
        """An order of somebody else, filled whatever the market's hours or the buying power say."""
        world = self.world
        order = Order(
            id=world.next_uuid(), instrument=name, type=MARKET, units=units, created_at=world.now,
            time_in_force="DAY", client_id=world.next_uuid(), continued=True,
        )  # fmt: skip
        order.wire["facts"] = Facts(
            type="market", time_in_force="day", order_class=SIMPLE, basis=price, quantity=abs(units),
            intent=inferred(account, name, "buy" if units > 0 else "sell"),
        )  # fmt: skip
        self.venue.add_order(account, order)
        self.venue.turn(account, order, PENDING_NEW)
        self.venue.turn(account, order, NEW)
        return {"order_id": order.id, "fill_id": self.venue.force(account, order, units, price)}

    def _cancel(self, account: Account, body: Wire) -> Wire:
        order = account.orders.get(str(body.get("order_id")))
        if order is None or not order.pending:
            raise ValueError(f"there is no working order {body.get('order_id')!r}")
        self.venue.cancel(account, order)
        return {"order_id": order.id}

    def _closeout(self, account: Account, body: Wire) -> Wire:
        name = self._name(body)
        held = position(account, name)
        size = abs(held)
        if body.get("quantity") is not None:
            size = min(size, abs(number(body["quantity"])))
        if size == 0:
            raise ValueError(f"nothing of {name} is held")
        units = -size.copy_sign(held)
        price = price_in(self.world, name, body, units)
        self.orders.cancel_open(account, name)
        done = self._fill(account, name, units, price)
        return {"order_ids": [done["order_id"]], "fill_ids": [done["fill_id"]]}

    # cash

    def _symbol(self, body: Wire) -> dict[str, str]:
        return {"symbol": self._name(body)} if body.get("instrument") else {}

    def _financing(self, account: Account, body: Wire) -> Wire:
        value, symbol = amount_in(account, body), self._symbol(body)
        account.financing += value
        row = self.venue.book(account, "INT", value, "financing", description="Interest", **symbol)
        return {"activity_id": row["id"]}

    def _dividend(self, account: Account, body: Wire) -> Wire:
        value, name = amount_in(account, body), self._name(body)
        shares = position(account, name)
        more = {"qty": plain(shares), "per_share_amount": average(value / shares)} if shares else {}
        row = self.venue.book(account, "DIV", value, "dividend", symbol=name, activity_sub_type="CDIV", **more)
        return {"activity_id": row["id"]}

    def _fee(self, account: Account, body: Wire) -> Wire:
        value, symbol = amount_in(account, body), self._symbol(body)
        account.fees -= value
        row = self.venue.book(account, "FEE", value, "fee", description="Fee", **symbol)
        return {"activity_id": row["id"]}

    def _transfer(self, account: Account, body: Wire) -> Wire:
        value = amount_in(account, body)
        row = self.venue.book(account, "CSD" if value > 0 else "CSW", value, "transfer")
        return {"activity_id": row["id"]}

    def _silent_cash(self, account: Account, body: Wire) -> Wire:
        self.world.move_cash(account, "silent", amount_in(account, body))
        return {}

    # shares

    def _silent_position(self, account: Account, body: Wire) -> Wire:
        name, units = self._name(body), self._quantity(body)
        price = price_in(self.world, name, body, units)
        realised, before = account.realised, copy.deepcopy(account.totals)
        self.venue.shift(account, name, units, price, self.world.next_uuid())
        account.realised, account.totals = realised, before
        self.venue.journal_position(account, name)
        return {}

    def _split(self, account: Account, body: Wire) -> Wire:
        name, ratio = self._name(body), number(body.get("ratio"))
        if not 0 < ratio <= 1000 or ratio == 1:
            raise ValueError("ratio is how many new shares one old share becomes: above 0, not 1, at most 1000")
        trade = next(iter(account.open_trades(name)), None)
        if trade is None:
            raise ValueError(f"nothing of {name} is held")
        cancelled = self.orders.cancel_open(account, name)
        before = trade.units
        trade.units = (before * ratio).quantize(Decimal("0.000000001"))
        trade.price = trade.price * before / trade.units
        trade.initial_units = trade.units
        row = self.venue.activity(
            account, "SPLIT", symbol=name, qty=plain(trade.units - before), description=f"{plain(ratio)}:1 split",
            activity_sub_type="FSPLIT" if ratio > 1 else "RSPLIT",
        )  # fmt: skip
        self.venue.journal_position(account, name)
        return {"activity_id": row["id"], "order_ids": cancelled}

    # corrections

    def _fill_row(self, account: Account, body: Wire) -> Wire:
        wanted = str(body.get("fill_id"))
        for row in account.history:
            if row["id"] == wanted and row["activity_type"] == "FILL":
                if row.get("status") == "canceled":
                    raise ValueError(f"the fill {wanted} is busted already")
                return row
        raise ValueError(f"there is no fill {wanted!r}")

    def _bust(self, account: Account, body: Wire) -> Wire:
        row = self._fill_row(account, body)
        self._amend(account, row, "bust", Decimal(0), Decimal(row["price"]))
        row["status"] = "canceled"
        return {"fill_id": row["id"]}

    def _correct(self, account: Account, body: Wire) -> Wire:
        row = self._fill_row(account, body)
        price, size = correction_in(body, Decimal(row["price"]), Decimal(row["qty"]), _MOST_DECIMALS)
        self._amend(account, row, "correct", size, price)
        row.update(status="correct", price=plain(price), qty=plain(size))
        return {"fill_id": row["id"]}

    def _amend(self, account: Account, row: Wire, word: str, size: Decimal, price: Decimal) -> None:
        """Undo a fill and do it again with other numbers: in the position, the cash and the order."""
        order = account.orders[row["order_id"]]
        known, name, sign = facts(order), order.instrument, 1 if row["side"] == "buy" else -1
        old_size, old_price = Decimal(row["qty"]), Decimal(row["price"])
        trade = next(iter(account.open_trades(name)), None)
        if not restate(trade, (sign * old_size, old_price), (sign * size, price)):
            self.venue.shift(account, name, -sign * old_size, old_price, self.world.next_uuid())
            if size:
                self.venue.shift(account, name, sign * size, price, self.world.next_uuid())
        self.world.move_cash(account, word, sign * (old_size * old_price - size * price))
        order.filled += sign * (size - old_size)
        known.value += size * price - old_size * old_price
        known.moments["updated_at"] = self.world.now
        data: dict[str, Any] = {"id": row["id"], "kind": word, "quantity": plain(size), "price": plain(price)}
        self.world.record("correction", account.id, data)
        self.venue.journal_order(account, order)
        self.venue.journal_position(account, name)
        self.venue.tell(
            account, order, f"trade_{word}", price=plain(price), qty=plain(size),
            position_qty=plain(position(account, name)), previous_execution_id=row["id"].split("::")[-1],
        )  # fmt: skip

    # truth

    def truth(self, account: Account) -> Wire:
        """The account as it really is."""
        return {
            "id": account.id,
            "broker": account.broker,
            "currency": account.currency,
            "hedging": False,
            "cash": {account.currency: plain(account.cash)},
            "positions": [
                {
                    "instrument": trade.instrument, "side": "LONG" if trade.units > 0 else "SHORT",
                    "product": "cash", "quantity": plain(abs(trade.units)), "average_price": average(trade.price),
                }
                for trade in account.open_trades()
            ],
            "orders": [self._order(account, order) for order in account.orders.values()],
            "trades": [
                {
                    "id": trade.id, "client_id": "", "instrument": trade.instrument,
                    "side": "LONG" if trade.initial_units > 0 else "SHORT", "quantity": plain(abs(trade.units)),
                    "initial_quantity": plain(abs(trade.initial_units)), "price": average(trade.price),
                    "pl": plain(trade.realised), "state": "OPEN" if trade.is_open else "CLOSED",
                }
                for trade in account.trades.values()
            ],
            "last_event_id": account.history[-1]["id"] if account.history else "",
        }  # fmt: skip

    def _order(self, account: Account, order: Order) -> Wire:
        wire = order_wire(account, order)
        return {
            **shown_order(order), "price": wire["limit_price"] or wire["stop_price"] or "",
            "parent_id": facts(order).parent, "created_at": iso(order.created_at),
        }  # fmt: skip
