"""What happens to an OANDA account without the tested client: other people's trades, the broker's own bookings.

What always holds here: everything but the two silent kinds leaves the transactions that OANDA would leave; the silent
kinds change cash or positions and leave none.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..core.instruments import FOREX, find_instrument
from ..core.market import Quote
from ..core.model import MARKET, Account, Order, Trade
from ..core.numbers import MONEY, ZERO, money, number, plain
from ..core.outside import happen
from ..core.world import World
from .corrections import Corrections
from .financing import Financing
from .render import Wire, amount
from .venue import OandaVenue, plan_fill


class External:
    """The external actions of one simulator's OANDA accounts."""

    def __init__(self, world: World, venue: OandaVenue) -> None:
        self.world, self.venue = world, venue
        self.financing = Financing(venue)
        self._corrections = Corrections(world, venue)
        self._kinds: dict[str, Callable[[Account, Wire], Wire]] = {
            "trade": self._trade,
            "cancel": self._cancel,
            "closeout": self._closeout,
            "financing": self._financing,
            "dividend": self._dividend,
            "fee": self._fee,
            "split": self._split,
            "bust": self._corrections.bust,
            "correct": self._corrections.correct,
            "transfer": self._transfer,
            "silent_cash": self._silent_cash,
            "silent_position": self._silent_position,
        }

    def apply(self, account: Account, body: Wire) -> Wire:
        """Do one external action; what it returns names its transactions. Raises ValueError with a sentence."""
        return happen(self._kinds, self.venue.batch(account), account, body, told_as="transaction_ids")

    def _name(self, body: Wire) -> str:
        item = find_instrument(str(body.get("instrument", "")))
        if item is None or item.name not in FOREX:
            raise ValueError(f"there is no instrument {body.get('instrument')!r}")
        return item.name

    def _trade(self, account: Account, body: Wire) -> Wire:
        """A trade that somebody makes by hand at the broker: no client id, at most a `comment`.

        With `trade_id` it closes that trade, wholly or (with `quantity`, its sign does not matter) in part.
        """
        if body.get("trade_id") is not None:
            return self._close_by_hand(account, body)
        name, units = self._name(body), number(body.get("quantity"))
        if units == 0:
            raise ValueError("quantity must not be zero: > 0 buys, < 0 sells")
        base: Wire = {"instrument": name, "units": plain(units), "timeInForce": "FOK", "positionFill": "DEFAULT"}
        order = Order(
            id="", instrument=name, type=MARKET, units=units, created_at=self.world.now, time_in_force="FOK",
            continued=True, wire={"base": {**base, **_comment(body)}, "state": {}},
        )  # fmt: skip
        quote = self._quote(name, body)
        self.venue.add_order(account, order, "CLIENT_ORDER")
        return self._force(account, order, quote)

    def _close_by_hand(self, account: Account, body: Wire) -> Wire:
        trade = account.trades.get(str(body["trade_id"]))
        if trade is None or not trade.is_open:
            raise ValueError(f"there is no open trade {body['trade_id']!r}")
        size = abs(number(body["quantity"])) if body.get("quantity") is not None else abs(trade.units)
        if not ZERO < size <= abs(trade.units):
            raise ValueError(f"trade {trade.id} holds {plain(abs(trade.units))} units")
        quote = self._quote(trade.instrument, body)
        why: Wire = {"tradeClose": {"units": plain(size), "tradeID": trade.id}, **_comment(body)}
        order = self.venue.close_units(account, trade, size, why)
        order.continued = True
        self.venue.add_order(account, order, "TRADE_CLOSE")
        return self._force(account, order, quote)

    def _quote(self, name: str, body: Wire) -> Quote:
        if body.get("price") is not None:
            price = number(body["price"])
            if price <= 0:
                raise ValueError("price must be above zero")
            return Quote(price, price, self.world.now)
        quote = self.world.quote(name)
        if quote is None:
            raise ValueError(f"{name} has no price yet: give one")
        return quote

    def _force(self, account: Account, order: Order, quote: Quote) -> Wire:
        """Fill the order whatever the market's hours or the margin say."""
        fill = self.venue.force(account, order, plan_fill(account, order, order.units), quote)
        return {"order_id": order.id, "fill_id": fill["id"]}

    def _split(self, account: Account, body: Wire) -> Wire:
        return self._corrections.split(account, self._name(body), body)

    def _cancel(self, account: Account, body: Wire) -> Wire:
        order = account.orders.get(str(body.get("order_id")))
        if order is None or not order.pending:
            raise ValueError(f"there is no pending order {body.get('order_id')!r}")
        self.venue.cancel(account, order, "CLIENT_REQUEST")
        return {"order_id": order.id}

    def _closeout(self, account: Account, body: Wire) -> Wire:
        name = self._name(body)
        held = account.open_trades(name)
        left = sum((abs(trade.units) for trade in held), ZERO)
        if body.get("quantity") is not None:
            left = min(left, abs(number(body["quantity"])))
        if left == 0:
            raise ValueError(f"nothing of {name} is held")
        quote = self._quote(name, body)
        fills = []
        for trade in held:
            size = min(left, abs(trade.units))
            if size:
                why: Wire = {"marginCloseout": {"reason": "MARGIN_CHECK_VIOLATION"}}
                order = self.venue.close_units(account, trade, size, why)
                self.venue.add_order(account, order, "MARGIN_CLOSEOUT")
                fills.append(self._force(account, order, quote)["fill_id"])
                left -= size
        return {"fill_ids": fills}

    def _amount(self, account: Account, body: Wire) -> Decimal:
        currency = body.get("currency", account.currency)
        if currency != account.currency:
            raise ValueError(f"the account keeps {account.currency}, not {currency}")
        value = number(body.get("amount"))
        if value == 0 or value != value.quantize(MONEY):
            raise ValueError("amount must not be zero and has at most four decimals")
        return money(value)

    def _shares(self, account: Account, body: Wire, value: Decimal) -> list[tuple[Trade, Decimal]]:
        """Spread an amount over the open trades it belongs to, by size; the last one takes what rounding leaves."""
        trades = account.open_trades(self._name(body) if body.get("instrument") else None)
        total = sum((abs(trade.units) for trade in trades), ZERO)
        shares, left = [], value
        for trade in trades:
            share = left if trade is trades[-1] else money(value * abs(trade.units) / total)
            shares.append((trade, share))
            left -= share
        return shares

    def _financing(self, account: Account, body: Wire) -> Wire:
        value = self._amount(account, body)
        name = self._name(body) if body.get("instrument") else ""
        row = self.financing.book(account, self._shares(account, body, value), name, value)
        return {"transaction_id": row["id"]}

    def _dividend(self, account: Account, body: Wire) -> Wire:
        value, name = self._amount(account, body), self._name(body)
        shares = self._shares(account, body, value)
        self.world.move_cash(account, "dividend", value)
        fields: Wire = {
            "instrument": name,
            "dividendAdjustment": amount(value),
            "quoteDividendAdjustment": amount(value),
            "accountBalance": amount(account.cash),
            "openTradeDividendAdjustments": [
                {"tradeID": trade.id, "dividendAdjustment": amount(share), "quoteDividendAdjustment": amount(share)}
                for trade, share in shares
            ],
        }
        return {"transaction_id": self.venue.write(account, "DIVIDEND_ADJUSTMENT", fields)["id"]}

    def _fee(self, account: Account, body: Wire) -> Wire:
        row = self.venue.transfer(account, self._amount(account, body), "ADJUSTMENT", "fee", kind="fee")
        return {"transaction_id": row["id"]}

    def _transfer(self, account: Account, body: Wire) -> Wire:
        row = self.venue.transfer(account, self._amount(account, body), "CLIENT_FUNDING")
        return {"transaction_id": row["id"]}

    def _silent_cash(self, account: Account, body: Wire) -> Wire:
        self.world.move_cash(account, "silent", self._amount(account, body))
        return {}

    def _silent_position(self, account: Account, body: Wire) -> Wire:
        name, units = self._name(body), number(body.get("quantity"))
        if units == 0:
            raise ValueError("quantity must not be zero: > 0 adds to the long side, < 0 to the short side")
        quote = self._quote(name, body)
        left = abs(units)
        for trade in account.open_trades(name):
            size = min(left, abs(trade.units)) if trade.units * units < 0 else ZERO
            if size:
                trade.units += size.copy_sign(units)
                left -= size
                if not trade.is_open:
                    trade.closed_at = self.world.now
                    account.open_ids.remove(trade.id)
                    self.venue.drop_linked(account, trade)
        if left:
            number_id = str(account.next_silent_id)
            account.next_silent_id += 1
            signed = left.copy_sign(units)
            price = FOREX[name].price(quote.ask if signed > 0 else quote.bid)
            self.venue.add_trade(account, Trade(number_id, name, price, self.world.now, signed, signed))
        self.venue.journal_position(account, name)
        return {}

    def truth(self, account: Account) -> dict[str, Any]:
        """The account as it really is."""
        positions = []
        for name in FOREX:
            for sign, side in ((1, "LONG"), (-1, "SHORT")):
                trades = [trade for trade in account.open_trades(name) if trade.units * sign > 0]
                if trades:
                    units = sum((abs(trade.units) for trade in trades), ZERO)
                    value = sum((abs(trade.units) * trade.price for trade in trades), ZERO)
                    positions.append(
                        {
                            "instrument": name, "side": side, "product": "margin", "quantity": plain(units),
                            "average_price": plain(FOREX[name].price(value / units)),
                        }
                    )  # fmt: skip
        return {
            "id": account.id,
            "broker": account.broker,
            "currency": account.currency,
            "hedging": account.hedging,
            "cash": {account.currency: plain(account.cash)},
            "positions": positions,
            "orders": [self._order(account, order) for order in account.orders.values()],
            "trades": [self._shown(trade) for trade in account.trades.values()],
            "last_event_id": str(len(account.history)),
        }

    def _order(self, account: Account, order: Order) -> Wire:
        units = order.units
        if not units:
            trade = account.trades[order.trade_id]
            units = -(trade.units or trade.initial_units)
        return {
            "id": order.id, "client_id": order.client_id, "instrument": order.instrument,
            "side": "BUY" if units > 0 else "SELL", "type": order.type, "quantity": plain(abs(units)),
            "filled": plain(abs(order.filled)), "status": order.status, "trade_id": order.trade_id,
            "price": plain(order.price) if order.price is not None else "",
        }  # fmt: skip

    def _shown(self, trade: Trade) -> Wire:
        return {
            "id": trade.id, "client_id": trade.client_id, "instrument": trade.instrument,
            "side": "LONG" if trade.initial_units > 0 else "SHORT", "quantity": plain(abs(trade.units)),
            "initial_quantity": plain(abs(trade.initial_units)), "price": plain(trade.price),
            "pl": plain(trade.realised), "financing": plain(trade.financing),
            "state": "OPEN" if trade.is_open else "CLOSED",
        }  # fmt: skip


def _comment(body: Wire) -> Wire:
    """What somebody noted beside an order made by hand."""
    return {"clientExtensions": {"comment": str(body["comment"])}} if body.get("comment") else {}
