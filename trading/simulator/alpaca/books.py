"""The books of an Alpaca account: what becomes of orders, shares and cash, and the activities that tell it.

What always holds here: every change of an order's status is a row of the journal and an event for the streams, with
the order as it is at that moment; a fill is one activity and moves cash by exactly quantity times price at once;
a position is one trade of the core at its average price, from flat to flat.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice

from ..core.model import CANCELLED, Account, Order, Trade
from ..core.model import FILLED as CORE_FILLED
from ..core.netting import shift
from ..core.numbers import ZERO, iso, plain
from ..core.nyse import day_of
from ..core.world import World
from .facts import (
    CANCELED,
    EXPIRED,
    FILLED,
    PARTIALLY_FILLED,
    REJECTED,
    REPLACED,
    TERMINAL,
    facts,
    position,
)
from .render import Wire, activity_prefix, average, order_wire, side_of

_MOMENT_OF = {
    FILLED: "filled_at", CANCELED: "canceled_at", EXPIRED: "expired_at", REJECTED: "failed_at",
    REPLACED: "replaced_at",
}  # fmt: skip


class Books:
    """Changes accounts. One batch is what one request, or one price, causes in one account."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._inside = False
        self._client_ids: dict[str, tuple[Account, dict[str, str]]] = {}

    @contextmanager
    def batch(self, account: Account) -> Iterator[None]:
        """Everything done inside belongs together; an inner batch joins the outer one."""
        if self._inside:
            yield
            return
        self.world.past.remember(account)
        self._inside = True
        try:
            yield
        finally:
            self._inside = False

    def open_account(self, account: Account, cash: Decimal) -> None:
        """The first activity: the deposit."""
        if cash:
            self.book(account, "CSD", cash, "transfer")

    # activities

    def book(self, account: Account, kind: str, amount: Decimal, word: str, **fields: str) -> Wire:
        """Move cash (`word` is the journal's for it) and write the activity that tells it."""
        self.world.move_cash(account, word, amount)
        return self.activity(account, kind, net_amount=plain(amount), **fields)

    def activity(self, account: Account, kind: str, **fields: str) -> Wire:
        """Write an activity that is no fill."""
        now = self.world.now
        row: Wire = {
            "id": f"{activity_prefix(now)}::{self.world.next_uuid()}",
            "activity_type": kind,
            "date": day_of(now).isoformat(),
            "created_at": iso(now),
            "net_amount": "0",
            "description": "",
            "status": "executed",
            "currency": account.currency,
            **fields,
        }
        account.history.append(row)
        return row

    # orders

    def find_by_client_id(self, account: Account, client_id: str) -> Order | None:
        """The order that has, or had, this client id."""
        owner, known = self._client_ids.get(account.id, (None, {}))
        if owner is not account or len(known) > len(account.orders):
            known = {}
            self._client_ids[account.id] = (account, known)
        for key in islice(account.orders, len(known), None):
            known[account.orders[key].client_id] = key
        found = known.get(client_id)
        return account.orders[found] if found is not None else None

    def add_order(self, account: Account, order: Order) -> None:
        """Put a new order into the account, silently: its first status comes next."""
        now = self.world.now
        facts(order).moments.update(updated_at=now, submitted_at=now)
        account.orders[order.id] = order
        account.pending_ids.append(order.id)

    def turn(self, account: Account, order: Order, status: str, event: str = "", **more: str) -> None:
        """The order's status becomes this one: told to the streams (as `event`) and written into the journal."""
        known, now = facts(order), self.world.now
        known.status = status
        known.moments["updated_at"] = now
        if status in _MOMENT_OF:
            known.moments[_MOMENT_OF[status]] = now
        if status in TERMINAL and order.pending:
            order.status = CORE_FILLED if status == FILLED else CANCELLED
            order.wakes_at = None
            account.pending_ids.remove(order.id)
        self.journal_order(account, order)
        self.tell(account, order, event or status, **more)

    def tell(self, account: Account, order: Order, event: str, **more: str) -> None:
        """One message of the stream of trade updates."""
        data: Wire = {
            "event": event,
            "execution_id": more.pop("execution_id", None) or self.world.next_uuid(),
            "order": order_wire(account, order),
            "timestamp": iso(self.world.now),
            **more,
        }
        self.world.tell(account.id, "trade_update", data)

    def journal_order(self, account: Account, order: Order) -> None:
        """Write the order's present state into the journal."""
        self.world.record("order", account.id, shown_order(order))

    def journal_position(self, account: Account, name: str) -> None:
        """Write the position after a change."""
        trade = next(iter(account.open_trades(name)), None)
        units = trade.units if trade is not None else ZERO
        price = average(trade.price) if trade is not None else "0"
        side = "SHORT" if units < 0 else "LONG"
        data = {"instrument": name, "side": side, "quantity": plain(abs(units)), "average_price": price}
        self.world.record("position", account.id, data)

    # fills

    def fill(self, account: Account, order: Order, units: Decimal, price: Decimal) -> Wire:
        """Fill `units` (signed) of the order at this price; returns the activity."""
        known, name, world = facts(order), order.instrument, self.world
        order.filled += units
        known.value += abs(units) * price
        account.last_fill_at = world.now
        done = order.remaining == 0
        execution = world.next_uuid()
        realised = self.shift(account, name, units, price, execution)
        world.move_cash(account, "trade", -units * price)
        row: Wire = {
            "id": f"{activity_prefix(world.now)}::{execution}",
            "activity_type": "FILL",
            "transaction_time": iso(world.now),
            "type": "fill" if done else "partial_fill",
            "price": plain(price),
            "qty": plain(abs(units)),
            "side": side_of(order),
            "symbol": name,
            "leaves_qty": plain(abs(order.remaining)),
            "order_id": order.id,
            "cum_qty": plain(abs(order.filled)),
            "order_status": FILLED if done else PARTIALLY_FILLED,
        }
        account.history.append(row)
        trade = next(iter(account.open_trades(name)), None)
        world.filled(account, order, row["id"], trade.id if trade is not None and trade.id == execution else "")
        world.record(
            "fill",
            account.id,
            {
                "id": row["id"],
                "order_id": order.id,
                "client_id": order.client_id,
                "instrument": name,
                "side": side_of(order).upper(),
                "quantity": row["qty"],
                "price": row["price"],
                "pl": plain(realised),
                "fee": "0",
            },
        )
        self.turn(
            account, order, row["order_status"], row["type"], execution_id=execution, price=row["price"],
            qty=row["qty"], position_qty=plain(position(account, name)),
        )  # fmt: skip
        self.journal_position(account, name)
        return row

    def shift(self, account: Account, name: str, units: Decimal, price: Decimal, id: str) -> Decimal:
        """Change a position by `units` (signed) at a price; what that realises. `id` is a new position's own."""
        fresh = Trade(id, name, price, self.world.now, units, units)
        return shift(account, next(iter(account.open_trades(name)), None), fresh, self.world.now)


def shown_order(order: Order) -> Wire:
    """An order in the words of the journal and of the truth."""
    known = facts(order)
    return {
        "id": order.id,
        "client_id": order.client_id,
        "instrument": order.instrument,
        "side": side_of(order).upper(),
        "type": known.type.upper(),
        "quantity": plain(abs(order.units)),
        "filled": plain(abs(order.filled)),
        "status": known.status.upper(),
    }
