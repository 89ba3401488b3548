"""What ordered faults do to accounts: halts, partial fills, orders that will be rejected, things that stay hidden.

What always holds here: everything is decided by the inputs and the times kept with them, so that it is decided the
same way when the world is rebuilt.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from .faults import Fault, take
from .hiding import Hidden, Veil, begin, means_fill, veil
from .model import Account, Order
from .numbers import number
from .past import Past


@dataclass(slots=True)
class Doomed:
    """An order that was accepted, fills nothing, and is rejected by the broker at a moment of the wall clock."""

    account: str
    order: str
    due: float
    reason: str


class State(Protocol):
    """The part of the world's state that faults are about."""

    now: datetime
    faults: list[Fault]
    hidden: list[Hidden]
    doomed: list[Doomed]


class Trouble:
    """The faults of one world. `wall` is the wall clock's time of the input that is being acted on."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.past = Past()
        self.wall = 0.0
        self._dooms: Fault | None = None

    def halted(self, name: str, broker: str) -> bool:
        """Whether an ordered halt is in force."""
        if not self._state.faults:
            return False
        halts = (fault for fault in self._state.faults if fault.action == "halt" and fault.broker in ("*", broker))
        return any(
            halt.args.get("instrument", name) == name and halt.in_force(self.wall, self._state.now) for halt in halts
        )

    def partial(self, broker: str) -> Decimal | None:
        """The quantity that an ordered partial fill allows the next order, once."""
        fault = take(self._state.faults, broker, "partial_fill")
        return None if fault is None else number(fault.args.get("quantity", "1"))

    def doom_next(self, fault: Fault | None) -> None:
        """The next order that is placed will be rejected later (None: no longer)."""
        self._dooms = fault

    def placed(self, account: Account, order: Order) -> None:
        """A venue says: this order rests now, and has not been matched yet."""
        if self._dooms is not None:
            due = self.wall + float(self._dooms.args.get("seconds", 1))
            reason = str(self._dooms.args.get("reason", ""))
            self._state.doomed.append(Doomed(account.id, order.id, due, reason))
            self._dooms = None

    def holds(self, account: Account, order: Order) -> bool:
        """Whether the order must not fill because it is going to be rejected."""
        return any(one.account == account.id and one.order == order.id for one in self._state.doomed)

    def filled(self, account: Account, order: Order, event: str, trade: str = "") -> None:
        """A venue says: this row of history tells a fill of this order, which opened this trade."""
        for hidden in self._state.hidden:
            if hidden.account == account.id and order.id in hidden.orders:
                hidden.events.append(event)
                hidden.trades += [trade] if trade else []
        fault = next((one for one in self._state.faults if means_fill(one, account, order)), None)
        if fault is not None:
            fault.left -= 1
            hidden = begin(fault, account.id, self.wall)
            hidden.events.append(event)
            self._state.hidden.append(hidden)

    def veil(self, account: str, wall: float) -> Veil:
        """What the account's clients may not see yet."""
        return veil(self._state.hidden, account, wall, self._state.now)
