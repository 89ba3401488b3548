"""The life of an order: its states, the moves between them, the tags of its legs.

What always holds here: a move that is not in `ALLOWED` does not happen; a terminal state is left only by a late fill,
and such a row says so (`late=True`: book it and raise a discrepancy); UNKNOWN is entered only from SENDING and
CANCELLING and left only by evidence or by a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from trading.domain.broker import BrokerOrderStatus


class OrderState(StrEnum):
    """Where an order is in its life."""

    PLANNED = "PLANNED"
    SENDING = "SENDING"
    WORKING = "WORKING"
    PARTIAL = "PARTIAL"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"
    CANCELLING = "CANCELLING"


class Tag(StrEnum):
    """What an order is for within its intent."""

    ENTRY = "ENTRY"
    STOP = "STOP"
    TP1 = "TP1"
    TP2 = "TP2"
    CLOSE = "CLOSE"
    FLATTEN = "FLATTEN"
    REPAIR = "REPAIR"


PROTECTIVE_TAGS = frozenset({Tag.STOP, Tag.TP1, Tag.TP2})
TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})
# States in which the broker may hold the order: what blocks another order of the same kind and what a kill cancels.
MAY_LIVE_AT_BROKER = frozenset(
    {OrderState.SENDING, OrderState.WORKING, OrderState.PARTIAL, OrderState.UNKNOWN, OrderState.CANCELLING}
)


@dataclass(frozen=True, slots=True)
class Move:
    """One allowed transition. `reason` explains the odd ones; `late` marks a fill after the end."""

    source: OrderState
    target: OrderState
    reason: str = ""
    late: bool = False


def _moves() -> tuple[Move, ...]:
    state = OrderState
    late = "a fill that the broker reports after the order had ended for us: booked, and raised as a discrepancy"
    leg = "a protective leg that the broker makes by itself: never sent by us, first seen in the broker's events"
    return (
        Move(state.PLANNED, state.SENDING),
        Move(state.PLANNED, state.WORKING, leg),
        Move(state.PLANNED, state.PARTIAL, leg),
        Move(state.PLANNED, state.FILLED, leg + ", already filled"),
        Move(state.PLANNED, state.CANCELLED, "never sent: the entry did not fill, or trading stopped first"),
        Move(state.PLANNED, state.EXPIRED, "never sent: its time had passed before anybody could send it"),
        Move(state.SENDING, state.WORKING),
        Move(state.SENDING, state.PARTIAL, "filled in part at once"),
        Move(state.SENDING, state.FILLED, "filled at once"),
        Move(state.SENDING, state.CANCELLED, "accepted and cancelled at once by the broker"),
        Move(state.SENDING, state.REJECTED, "a refusal on the short allow-list"),
        Move(state.SENDING, state.EXPIRED),
        Move(state.SENDING, state.PLANNED, "turned away for want of a login: it waits under the same id"),
        Move(state.SENDING, state.UNKNOWN, "the request may have left and no usable answer came"),
        Move(state.WORKING, state.PARTIAL),
        Move(state.WORKING, state.FILLED),
        Move(state.WORKING, state.CANCELLED),
        Move(state.WORKING, state.EXPIRED),
        Move(state.WORKING, state.REJECTED, "accepted first, refused later by the venue"),
        Move(state.WORKING, state.CANCELLING),
        Move(state.PARTIAL, state.PARTIAL, "one more partial fill"),
        Move(state.PARTIAL, state.FILLED),
        Move(state.PARTIAL, state.CANCELLED, "the rest was cancelled; what filled stays filled"),
        Move(state.PARTIAL, state.EXPIRED, "the rest expired; what filled stays filled"),
        Move(state.PARTIAL, state.CANCELLING),
        Move(state.CANCELLING, state.CANCELLED),
        Move(state.CANCELLING, state.FILLED, "it filled before the cancel arrived"),
        Move(state.CANCELLING, state.CANCELLING, "a part filled before the cancel arrived"),
        Move(state.CANCELLING, state.WORKING, "the cancel was refused: the order lives on"),
        Move(state.CANCELLING, state.PARTIAL, "the cancel was refused: the rest lives on"),
        Move(state.CANCELLING, state.REJECTED),
        Move(state.CANCELLING, state.EXPIRED),
        Move(state.CANCELLING, state.UNKNOWN, "no usable answer to the cancel: it may live or not"),
        Move(state.UNKNOWN, state.PLANNED, "absent in every look-up after the quarantine: the same id is sent again"),
        Move(state.UNKNOWN, state.WORKING, "evidence: the broker has it"),
        Move(state.UNKNOWN, state.PARTIAL, "evidence: the broker filled a part"),
        Move(state.UNKNOWN, state.FILLED, "evidence: the broker filled it"),
        Move(state.UNKNOWN, state.CANCELLED, "evidence, or a person's decision"),
        Move(state.UNKNOWN, state.REJECTED, "evidence: the broker refused it"),
        Move(state.UNKNOWN, state.EXPIRED, "evidence: it expired at the broker"),
        *(
            Move(ended, target, late, late=True)
            for ended in (state.CANCELLED, state.REJECTED, state.EXPIRED)
            for target in (state.PARTIAL, state.FILLED)
        ),
        Move(state.FILLED, state.FILLED, "more filled than ordered: booked, and raised as a discrepancy", late=True),
    )


ALLOWED: Mapping[tuple[OrderState, OrderState], Move] = MappingProxyType(
    {(move.source, move.target): move for move in _moves()}
)


def may_move(source: OrderState, target: OrderState) -> bool:
    """Whether an order may go from `source` to `target`, late fills included."""
    return (source, target) in ALLOWED


def is_late(source: OrderState, target: OrderState) -> bool:
    """Whether this allowed move is a fill after the end, which also raises a discrepancy."""
    move = ALLOWED.get((source, target))
    return move is not None and move.late


def state_after_fill(current: OrderState, *, ordered: Decimal, filled: Decimal) -> OrderState:
    """The state once `filled` units in all (this fill included) of `ordered` are known.

    A partial fill leaves CANCELLING as it is: the cancel is still under way.
    """
    if filled >= ordered:
        return OrderState.FILLED
    return OrderState.CANCELLING if current is OrderState.CANCELLING else OrderState.PARTIAL


_FROM_BROKER: Mapping[BrokerOrderStatus, OrderState | None] = {
    BrokerOrderStatus.WORKING: OrderState.WORKING,
    BrokerOrderStatus.PARTIAL: OrderState.PARTIAL,
    BrokerOrderStatus.FILLED: OrderState.FILLED,
    BrokerOrderStatus.CANCELLED: OrderState.CANCELLED,
    BrokerOrderStatus.REJECTED: OrderState.REJECTED,
    BrokerOrderStatus.EXPIRED: OrderState.EXPIRED,
    BrokerOrderStatus.OTHER: None,
}


def state_from_broker(status: BrokerOrderStatus) -> OrderState | None:
    """Our state for a broker's word; None for a word that changes no state (it is kept as evidence)."""
    return _FROM_BROKER[status]
