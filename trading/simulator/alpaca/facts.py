"""What the Alpaca dialect knows of an order beyond the neutral core, and the words of its statuses.

What always holds here: `status` is the broker's own word; an order is over exactly when its status is in `TERMINAL`;
the members of a group (an entry with its exits, or two exits of which one may fill) name the group's first order in
`parent`, which is "" for that first order itself.

The core's type of an order says how it triggers: the exits of a group are TAKE_PROFIT and STOP_LOSS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from ..core.model import STOP_LOSS, TAKE_PROFIT, Account, Order
from ..core.numbers import ZERO

PENDING_NEW, ACCEPTED, NEW, HELD = "pending_new", "accepted", "new", "held"
PARTIALLY_FILLED, DONE_FOR_DAY = "partially_filled", "done_for_day"
FILLED, CANCELED, EXPIRED, REJECTED, REPLACED = "filled", "canceled", "expired", "rejected", "replaced"
PENDING_CANCEL, PENDING_REPLACE = "pending_cancel", "pending_replace"
TERMINAL = (FILLED, CANCELED, EXPIRED, REJECTED, REPLACED)
SIMPLE, BRACKET, OCO, OTO = "simple", "bracket", "oco", "oto"


@dataclass(slots=True)
class Facts:
    """The dialect's part of an order. `basis` is the price at which buying power is set aside for it."""

    type: str
    time_in_force: str
    order_class: str
    intent: str
    basis: Decimal
    status: str = PENDING_NEW
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    triggered: bool = False
    value: Decimal = ZERO
    parent: str = ""
    legs: list[str] = field(default_factory=list)
    replaces: str = ""
    replaced_by: str = ""
    moments: dict[str, datetime] = field(default_factory=dict)

    @property
    def opens(self) -> bool:
        """Whether it makes a position larger."""
        return self.intent.endswith("open")


def facts(order: Order) -> Facts:
    """The dialect's part of an order."""
    found: Facts = order.wire["facts"]
    return found


def group(account: Account, order: Order) -> list[Order]:
    """All orders of the group that this one belongs to, the first order first; a simple order is alone."""
    first = account.orders[facts(order).parent or order.id]
    return [first, *(account.orders[key] for key in facts(first).legs)]


def sibling(account: Account, order: Order) -> Order | None:
    """The other exit of a pair that is still alive; None for entries and single exits."""
    other = {TAKE_PROFIT: STOP_LOSS, STOP_LOSS: TAKE_PROFIT}.get(order.type)
    if other is None:
        return None
    return next((one for one in group(account, order) if one.type == other and one.pending), None)


def position(account: Account, name: str) -> Decimal:
    """Shares held, signed."""
    long, short = account.units(name)
    return long + short


def reserving(account: Account, name: str) -> list[Order]:
    """The working orders that close a position: of two exits of which one may fill, only the first counts."""
    return [
        order
        for order in account.pending_orders()
        if order.instrument == name
        and not facts(order).opens
        and not is_asleep(order)
        and not (order.type == STOP_LOSS and sibling(account, order) is not None)
    ]


def is_asleep(order: Order) -> bool:
    """Whether it is an exit whose entry is not filled yet."""
    return order.dormant and facts(order).status == HELD


def set_aside(account: Account, name: str) -> Decimal:
    """Shares that working orders will close, without sign."""
    return sum((abs(order.remaining) for order in reserving(account, name)), ZERO)
