"""What a broker's clients may not see yet, although it has happened.

What always holds here: only reads and streams look behind or before this veil; the engine, the journal and the truth
never do; hidden things appear when their time is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from .faults import Fault
from .model import Account, Order
from .numbers import moment


@dataclass(slots=True)
class Hidden:
    """Rows of history, orders and trades of one account that one fault hides.

    `due` is a moment of the wall clock, `until` one of the broker's; without both it is hidden until faults are
    cleared. With `ends`, history ends before the first hidden row.
    """

    account: str
    events: list[str] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    trades: list[str] = field(default_factory=list)
    due: float | None = None
    until: datetime | None = None
    ends: bool = False

    def in_force(self, wall: float, now: datetime) -> bool:
        """Whether it is still hidden."""
        if self.until is not None:
            return now < self.until
        return self.due is None or wall < self.due


@dataclass(frozen=True, slots=True)
class Veil:
    """All that is hidden from an account's clients at a moment; `ends` are the rows before which history ends."""

    events: frozenset[str] = frozenset()
    orders: frozenset[str] = frozenset()
    trades: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.events or self.orders or self.trades)


def veil(hidden: Iterable[Hidden], account: str, wall: float, now: datetime) -> Veil:
    """What is hidden from this account's clients."""
    parts = [one for one in hidden if one.account == account and one.in_force(wall, now)]
    return Veil(
        frozenset(id for one in parts for id in one.events),
        frozenset(id for one in parts for id in one.orders),
        frozenset(id for one in parts for id in one.trades),
        frozenset(id for one in parts if one.ends for id in one.events),
    )


def begin(fault: Fault, account: str, wall: float) -> Hidden:
    """A fault of kind hide begins to hide something of this account; `wall` is the wall clock."""
    args = fault.args
    until = moment(args["until"]) if "until" in args else None
    due = wall + float(args["seconds"]) if "seconds" in args else None
    return Hidden(account, due=due, until=until, ends=args.get("page") == "end")


def means_fill(fault: Fault, account: Account, order: Order) -> bool:
    """Whether this fault hides a fill of this order. `tag` also fits the order's type, as STOP_LOSS."""
    args = fault.args
    if not fault.hides_fill or fault.left <= 0 or fault.broker not in ("*", account.broker):
        return False
    if args.get("account", account.id) != account.id or args.get("client_id", order.client_id) != order.client_id:
        return False
    if order.instrument not in args.get("instruments", [order.instrument]):
        return False
    tag = order.wire.get("base", {}).get("clientExtensions", {}).get("tag", "")
    return args.get("tag", tag) in (tag, order.type)
