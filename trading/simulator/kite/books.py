"""The books of a Kite account: what becomes of orders, positions and cash, day by day.

What always holds here:
- every change of an order's status is a step of its history; lasting ones are rows of the journal and are told;
- a position is one trade of the core per instrument and product, at its average price, from flat to flat;
- shares for delivery and options move cash by quantity times price at once, everything else by what it realises;
- a new day begins with the first change on it: until then readers see the day that would begin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from ..core.model import CANCELLED as CORE_CANCELLED
from ..core.model import FILLED, Account, Order, Trade
from ..core.netting import shift
from ..core.nse import EXCHANGE
from ..core.numbers import ZERO, iso, plain
from ..core.world import World
from .contracts import CONTRACTS, EQUITY, FUTURE
from .facts import (
    CNC,
    COMPLETE,
    OPEN,
    PASSING,
    TERMINAL,
    Book,
    Line,
    facts,
    held,
    holding,
    in_book,
    line_key,
    product_of,
)
from .render import Wire, average, order_wire, side_of

_DAY = timedelta(days=1)


def pays_in_full(name: str, product: str) -> bool:
    """Whether what is bought is paid for at once, rather than with a margin."""
    kind = CONTRACTS[name].kind
    return product == CNC if kind == EQUITY else kind != FUTURE


def arrives_on(day: date) -> date:
    """The trading day on which shares bought on this trading day are delivered."""
    return EXCHANGE.following(day + _DAY).day


class Books:
    """Changes accounts. One batch is what one request, or one price, causes in one account."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._inside = False

    @contextmanager
    def batch(self, account: Account) -> Iterator[None]:
        """Everything done inside belongs together; an inner batch joins the outer one."""
        if self._inside:
            yield
            return
        self.world.past.remember(account)
        self._inside = True
        try:
            account.wire["book"] = self.book(account)
            yield
        finally:
            self._inside = False

    def open_account(self, account: Account, cash: Decimal) -> None:
        """The account's first day and its deposit."""
        account.wire["book"] = Book(EXCHANGE.day_of(self.world.now), opening=cash)
        self.move(account, "transfer", cash)

    def move(self, account: Account, kind: str, amount: Decimal) -> str:
        """Move cash and note the event; its id."""
        self.world.move_cash(account, kind, amount)
        row = {
            "id": f"C{len(account.history) + 1:08d}",
            "kind": kind,
            "amount": plain(amount),
            "at": iso(self.world.now),
        }
        account.history.append(row)
        return str(row["id"])

    # days

    def book(self, account: Account) -> Book:
        """The account's present day: the one that is kept, or the one that begins after it."""
        kept: Book = account.wire["book"]
        today = EXCHANGE.day_of(self.world.now)
        if kept.day == today:
            return kept
        book = Book(
            today, account.cash, len(account.orders), len(account.history),
            [key for key in account.pending_ids if in_book(account.orders[key])],
        )  # fmt: skip
        book.lots = {name: list(lots) for name, lots in kept.lots.items()}
        for key, line in kept.lines.items():
            name, _, product = key.rpartition("/")
            if product == CNC and line.day > 0:
                book.lots.setdefault(name, []).append((kept.day, line.day))
        book.lots = {name: [lot for lot in lots if today <= arrives_on(lot[0])] for name, lots in book.lots.items()}
        for trade in account.open_trades():
            if product_of(trade) != CNC:
                book.lines[line_key(trade.instrument, product_of(trade))] = Line(trade.units, trade.price)
        return book

    def line(self, account: Account, name: str, product: str) -> Line:
        """The present day's line of a position, for changes inside a batch."""
        book: Book = account.wire["book"]
        return book.lines.setdefault(line_key(name, product), Line())

    def todays_orders(self, account: Account) -> list[Order]:
        """The order book: what was placed today, and what still worked when the day began, oldest first."""
        book = self.book(account)
        keys = list(account.orders)[book.first_order :]
        return [account.orders[key] for key in (*book.carried, *keys) if in_book(account.orders[key])]

    def is_todays(self, account: Account, order: Order) -> bool:
        """Whether an order is in the order book."""
        book = self.book(account)
        return in_book(order) and (EXCHANGE.day_of(order.created_at) == book.day or order.id in book.carried)

    def todays_trades(self, account: Account) -> list[Wire]:
        """The events of today that are trades, oldest first."""
        return [row for row in account.history[self.book(account).first_event :] if row["kind"] == "trade"]

    # orders

    def add_order(self, account: Account, order: Order) -> None:
        """Put a new order into the account, silently: its first step comes next."""
        account.orders[order.id] = order
        account.pending_ids.append(order.id)

    def step(self, account: Account, order: Order, status: str, **changes: Any) -> None:
        """The order's next step; a lasting status is told and written into the journal."""
        known = facts(order)
        changes = {"message": "", "raw": "", **changes}
        known.steps.append(dataclasses.replace(known.now, status=status, at=self.world.now, **changes))
        if status in TERMINAL and order.pending:
            order.status = FILLED if status == COMPLETE else CORE_CANCELLED
            order.wakes_at = order.expires_at = None
            account.pending_ids.remove(order.id)
        if status not in PASSING:
            self.journal_order(account, order)
            self.world.tell(account.id, "order_update", order_wire(account, order))

    def journal_order(self, account: Account, order: Order) -> None:
        """Write the order's present state into the journal."""
        self.world.record("order", account.id, shown_order(order))

    def journal_position(self, account: Account, name: str, product: str) -> None:
        """Write the position after a change."""
        trade = holding(account, name, product)
        units = trade.units if trade is not None else ZERO
        data = {
            "instrument": name, "side": "SHORT" if units < 0 else "LONG", "product": product,
            "quantity": plain(abs(units)), "average_price": plain(average_of(trade)),
        }  # fmt: skip
        self.world.record("position", account.id, data)

    # fills

    def fill(self, account: Account, order: Order, units: Decimal, price: Decimal) -> Wire:
        """Fill `units` (signed) of the order at this price; returns the event."""
        known, name, world = facts(order), order.instrument, self.world
        order.filled += units
        account.last_fill_at = world.now
        row: Wire = {
            "id": f"{10_000_000 + world.next_number()}",
            "kind": "trade",
            "order_id": order.id,
            "price": plain(price),
            "quantity": plain(abs(units)),
            "at": iso(world.now),
        }
        account.history.append(row)
        realised = self.shift(account, name, known.product, units, price, row["id"])
        line = self.line(account, name, known.product)
        trade_on(line, units, price)
        paid = -units * price if pays_in_full(name, known.product) else realised
        world.move_cash(account, "trade", paid)
        trade = holding(account, name, known.product)
        world.filled(account, order, row["id"], trade.id if trade is not None and trade.id == row["id"] else "")
        world.record(
            "fill",
            account.id,
            {
                "id": row["id"], "order_id": order.id, "client_id": order.client_id, "instrument": name,
                "side": side_of(order), "product": known.product, "quantity": row["quantity"], "price": row["price"],
                "pl": plain(realised), "fee": "0",
            },
        )  # fmt: skip
        done = order.remaining == 0
        value = known.now.value + abs(units) * price
        self.step(account, order, COMPLETE if done else OPEN, filled=abs(order.filled), value=value)
        self.journal_position(account, name, known.product)
        return row

    def shift(self, account: Account, name: str, product: str, units: Decimal, price: Decimal, id: str) -> Decimal:
        """Change a position by `units` (signed) at a price; what that realises. `id` is a new position's own."""
        fresh = Trade(id, name, price, self.world.now, units, units, wire={"product": product})
        return shift(account, holding(account, name, product), fresh, self.world.now)

    def owned_at_opening(self, account: Account, name: str) -> Decimal:
        """Shares for delivery that were held when the day began."""
        line = self.book(account).lines.get(line_key(name, CNC), Line())
        return held(account, name, CNC) - line.day


def trade_on(line: Line, units: Decimal, price: Decimal) -> None:
    """A line of the day after buying or selling `units` (signed)."""
    if units > 0:
        line.bought, line.bought_value = line.bought + units, line.bought_value + units * price
    else:
        line.sold, line.sold_value = line.sold - units, line.sold_value - units * price


def average_of(trade: Trade | None) -> Decimal:
    """A position's average price with at most six decimals."""
    return average(trade.price, Decimal(1)) if trade is not None else ZERO


def shown_order(order: Order) -> Wire:
    """An order in the words of the journal and of the truth."""
    known = facts(order)
    return {
        "id": order.id,
        "client_id": order.client_id,
        "instrument": order.instrument,
        "side": side_of(order),
        "type": known.now.order_type,
        "product": known.product,
        "quantity": plain(abs(order.units)),
        "filled": plain(abs(order.filled)),
        "status": known.status,
    }
