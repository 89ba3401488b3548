"""What a broker's staff does to what has already happened: a fill that never was, a fill that was different, a split.

What always holds here: history is never rewritten. A bust takes a fill back by orders of kind FIXED_PRICE at the
fill's own price, so that cash and open profit together are as if it had not been; a correction busts the fill and
books it again as it should have been. Stops and targets of a trade that is taken back go with it.
"""

from __future__ import annotations

from decimal import Decimal

from ..core.instruments import FOREX
from ..core.market import Quote
from ..core.model import Account, Order
from ..core.numbers import ZERO, decimals, number, plain
from ..core.world import World
from .render import Wire, price_text
from .venue import OandaVenue, Plan, plan_fill

FIXED_PRICE = "FIXED_PRICE"
_BY_STAFF = "TRADE_CLOSE_ADMINISTRATIVE_ACTION"


class Corrections:
    """Busts, corrections and splits of one simulator's OANDA accounts."""

    def __init__(self, world: World, venue: OandaVenue) -> None:
        self.world, self.venue = world, venue

    def bust(self, account: Account, body: Wire) -> Wire:
        """Take a fill back. Raises ValueError when there is no such fill, or later fills stand on it."""
        return {"fill_ids": self._take_back(account, self._fill(account, body))}

    def correct(self, account: Account, body: Wire) -> Wire:
        """Take a fill back and book it again at another price, in another quantity (> 0), or both."""
        row = self._fill(account, body)
        if body.get("price") is None and body.get("quantity") is None:
            raise ValueError("a correction gives a price, a quantity, or both")
        price = number(body["price"]) if body.get("price") is not None else Decimal(row["price"])
        size = number(body["quantity"]) if body.get("quantity") is not None else abs(Decimal(row["units"]))
        if price <= 0 or size <= 0:
            raise ValueError("price and quantity must be above zero")
        units = size.copy_sign(Decimal(row["units"]))
        fills = self._take_back(account, row)
        order = self._order(account, row, units, price, "correction")
        return {"fill_ids": [*fills, self._book(account, order, plan_fill(account, order, units), price)]}

    def _fill(self, account: Account, body: Wire) -> Wire:
        text = str(body.get("fill_id"))
        known = text.isdecimal() and 1 <= int(text) <= len(account.history)
        row = account.history[int(text) - 1] if known else {}
        if row.get("type") != "ORDER_FILL":
            raise ValueError(f"there is no fill {body.get('fill_id')!r}")
        notes = {_note(word, text) for word in ("bust", "correction")}
        if any(row.get("clientExtensions", {}).get("comment") in notes for row in account.history):
            raise ValueError(f"fill {text} has been taken back already")
        return row

    def _take_back(self, account: Account, row: Wire) -> list[str]:
        price, fills = Decimal(row["price"]), []
        left = Decimal(row["units"])
        if "tradeOpened" in row:
            opened = Decimal(row["tradeOpened"]["units"])
            trade = account.trades[row["tradeOpened"]["tradeID"]]
            if trade.units != opened:
                raise ValueError(
                    f"trade {trade.id} is not as fill {row['id']} left it: take its later fills back first"
                )
            order = self._order(account, row, -opened, price, "bust", trade.id)
            fills.append(self._book(account, order, Plan([(trade, -opened)]), price))
            left -= opened
        if left:
            order = self._order(account, row, -left, price, "bust")
            fills.append(self._book(account, order, plan_fill(account, order, -left), price))
        return fills

    def _order(
        self, account: Account, row: Wire, units: Decimal, price: Decimal, word: str, trade_id: str = ""
    ) -> Order:
        base: Wire = {
            "instrument": row["instrument"], "units": plain(units), "price": price_text(row["instrument"], price),
            "positionFill": "DEFAULT", "tradeState": "OPEN", "clientExtensions": {"comment": _note(word, row["id"])},
        }  # fmt: skip
        return Order(
            id="", instrument=row["instrument"], type=FIXED_PRICE, units=units, created_at=self.world.now,
            time_in_force="FOK", continued=True, trade_id=trade_id, wire={"base": base, "state": {}},
        )  # fmt: skip

    def _book(self, account: Account, order: Order, plan: Plan, price: Decimal) -> str:
        self.venue.add_order(account, order, _BY_STAFF)
        fill = self.venue.force(account, order, plan, Quote(price, price, self.world.now))
        return str(fill["id"])

    def split(self, account: Account, name: str, body: Wire) -> Wire:
        """Each unit becomes `ratio` units (2: two for one) at the price divided by it; orders follow.

        OANDA has no transaction for it: the position changes without one. Raises ValueError when it leaves fractions.
        """
        ratio = number(body.get("ratio"))
        if ratio <= 0 or ratio == 1:
            raise ValueError("ratio must be above zero and not one: 2 makes two out of one")
        held = account.open_trades(name)
        waiting = [order for order in account.pending_orders() if order.instrument == name]
        sizes = [trade.units for trade in held] + [order.units for order in waiting]
        if any(decimals(units * ratio) > FOREX[name].unit_decimals for units in sizes):
            raise ValueError(f"the split would leave fractions of a unit of {name}")
        for trade in held:
            trade.price = _divided(name, trade.price, ratio)
            trade.units, trade.initial_units = trade.units * ratio, trade.initial_units * ratio
            trade.closed_units *= ratio
        for order in waiting:
            base = order.wire["base"]
            order.units, order.filled = order.units * ratio, order.filled * ratio
            if order.units:
                base["units"] = plain(order.units)
            for key, wire_key in (
                ("price", "price"),
                ("bound", "priceBound"),
                ("distance", "distance"),
                ("trailing", ""),
            ):
                value = getattr(order, key)
                if value is not None:
                    setattr(order, key, FOREX[name].price(value / ratio))
                    if wire_key in base:
                        base[wire_key] = price_text(name, getattr(order, key))
            self.venue.journal_order(account, order)
        self.venue.journal_position(account, name)
        return {"trade_ids": [trade.id for trade in held], "order_ids": [order.id for order in waiting]}


def _note(word: str, fill_id: str) -> str:
    return f"{word} of fill {fill_id}"


def _divided(name: str, price: Decimal, ratio: Decimal) -> Decimal:
    """A price after a split, with as many decimals as keep the value of what is held."""
    exact = price / ratio
    kept = exact.quantize(FOREX[name].tick.scaleb(-6))
    return kept.normalize() if kept != ZERO else exact
