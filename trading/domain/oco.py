"""OCO groups of our own: what is to be done next for a trade whose broker links no orders, from its facts alone.

What always holds: the same facts give the same actions, so that nothing has to be remembered over a restart; legs exist
only for what has filled; the stops that may live never cover more than is open, and cover all of it once everything
asked for is confirmed; a leg's place is free only when its end is known; nothing here closes what was closed too much.

Stop and target both rest, although nothing links them where they rest: a target that waited for its price here would
be late, and would need us to be awake. So both can fill within one moment. The stop goes first and the target only
once the stop rests; every fill of one makes the other smaller at once; what was closed too much is found and said.
Where resting legs reserve units (`can_rest_beside` is False) only the stop rests, and targets are left to whoever
watches the price.

How a leg becomes smaller, or moves: in place where the broker keeps an order's id when it is replaced; elsewhere it is
cancelled, and the next one is placed when the cancel is confirmed: shortly uncovered is better than twice covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading.domain.broker import Side
from trading.domain.money import ZERO, floor_to_step, plain
from trading.domain.orders import TERMINAL, OrderState, Tag

MOST_REFUSALS = 3
"""After so many refusals in a row a stop is not asked for again: the trade is left instead, a target given up."""
AT_BROKER = frozenset({OrderState.WORKING, OrderState.PARTIAL, OrderState.CANCELLING})
RESTING = frozenset({OrderState.WORKING, OrderState.PARTIAL})
NOT_KNOWN = frozenset({OrderState.SENDING, OrderState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Leg:
    """One order of the group that closes. `refused` is True for one that its broker never let rest."""

    order_id: int
    tag: Tag
    sequence: int
    state: OrderState
    quantity: Decimal
    filled: Decimal
    price: Decimal
    refused: bool = False

    @property
    def left(self) -> Decimal:
        """What it may still close."""
        return ZERO if self.state in TERMINAL else self.quantity - self.filled


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What is known of a group. Quantities in units, `side` the entry's; no leg is made for a price that is None.

    `open` is what the trade holds, `over_closed` what was closed beyond that and not yet put right. `leaving` is what
    exits of the trade will close, `leaving_at_broker` the part of it whose exit the broker surely has. `break_even`
    is where the stop goes once the first of two targets has filled.
    """

    side: Side
    lot_size: Decimal
    entry_id: int
    entry_state: OrderState
    entered: Decimal
    open: Decimal
    stop: Decimal | None
    first_target: Decimal | None = None
    second_target: Decimal | None = None
    break_even: Decimal | None = None
    legs: tuple[Leg, ...] = ()
    over_closed: Decimal = ZERO
    leaving: Decimal = ZERO
    leaving_at_broker: Decimal = ZERO
    keeps_id: bool = False
    can_rest_beside: bool = True

    def of(self, tag: Tag) -> list[Leg]:
        """The legs of one kind, the oldest first."""
        return sorted((leg for leg in self.legs if leg.tag is tag), key=lambda leg: leg.sequence)


@dataclass(frozen=True, slots=True)
class Place:
    """Plan this leg and send it."""

    tag: Tag
    sequence: int
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class Send:
    """Send this leg, which was planned before."""

    order_id: int


@dataclass(frozen=True, slots=True)
class Resize:
    """Let this resting leg fill only `left` more, or at another price, in its place."""

    order_id: int
    left: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class Cancel:
    """Take this order back; its end is known only when the broker has said so."""

    order_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Close the trade by an exit of its own: no stop can be had for it."""

    quantity: Decimal
    reason: str


Action = Place | Send | Resize | Cancel | Leave


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order. `unsafe` says why the exposure is not covered now, "" when it is.

    `is_lasting` tells that this will not be over in a moment: a stop was refused, or too much was closed. `is_over` is
    True when nothing is open and nothing can fill any more.
    """

    actions: tuple[Action, ...] = ()
    unsafe: str = ""
    is_lasting: bool = False
    is_over: bool = False


def plan(facts: GroupFacts) -> Plan:
    """The next actions for a group, and whether its exposure is covered."""
    live = [leg for leg in facts.legs if leg.state not in TERMINAL]
    if facts.over_closed > 0:
        why = f"{plain(facts.over_closed)} more were closed than were open: two legs have filled before one could end"
        return Plan(_cancels(live, "the trade is closed, and more than that"), why, is_lasting=True)
    if facts.open <= 0:
        ended = facts.entry_state in TERMINAL
        actions = _cancels(live, "its trade is closed")
        if facts.entered > 0 and facts.entry_state in RESTING:
            actions += (Cancel(facts.entry_id, "what had filled of it is closed again"),)
        return Plan(actions, is_over=ended and not live and facts.leaving <= 0)
    unsafe, is_lasting = _uncovered(facts)
    if facts.leaving > 0:
        return Plan((), unsafe, is_lasting)  # the exit makes its own room, and no leg may come into it
    actions = _stops(facts) if facts.stop is not None else ()
    if any(isinstance(action, Leave) for action in actions):
        return Plan(actions, unsafe, is_lasting)
    return Plan((*actions, *_targets(facts, may_place=not actions and not unsafe)), unsafe, is_lasting)


def first_part(facts: GroupFacts) -> Decimal:
    """What the first target closes of all that was entered: all of it, or with a second one half, in whole lots."""
    if facts.second_target is None:
        return facts.entered
    return floor_to_step(facts.entered / 2, facts.lot_size)


def stop_price(facts: GroupFacts) -> Decimal | None:
    """Where the stop belongs now: at break-even once the first of two targets has filled, never further away."""
    if facts.stop is None or facts.break_even is None or facts.second_target is None:
        return facts.stop
    taken = sum((leg.filled for leg in facts.of(Tag.TP1)), ZERO)
    refused = any(leg.refused and leg.price == facts.break_even for leg in facts.of(Tag.STOP))
    if refused or not 0 < first_part(facts) <= taken:
        return facts.stop
    return max(facts.stop, facts.break_even) if facts.side is Side.BUY else min(facts.stop, facts.break_even)


def _uncovered(facts: GroupFacts) -> tuple[str, bool]:
    """Why the open quantity is not covered by stops and exits that the broker has, and whether that lasts."""
    if facts.stop is None:
        return "", False
    stops = facts.of(Tag.STOP)
    covered = sum((leg.left for leg in stops if leg.state in AT_BROKER), facts.leaving_at_broker)
    if covered >= facts.open:
        return "", False
    missing = f"{plain(facts.open - covered)} of {plain(facts.open)} have no stop at the broker"
    if _refusals(stops):
        return f"{missing}: it refused the last {_refusals(stops)}", True
    if any(leg.state in NOT_KNOWN for leg in stops):
        return f"{missing}: nobody knows yet whether one has arrived", False
    return missing, False


def _refusals(legs: Sequence[Leg]) -> int:
    """How many of them were refused since one last rested."""
    count = 0
    for leg in reversed(legs):
        if leg.refused:
            count += 1
        elif leg.state is not OrderState.PLANNED and leg.state not in NOT_KNOWN:
            break
    return count


def _stops(facts: GroupFacts) -> tuple[Action, ...]:
    price = stop_price(facts)
    assert price is not None
    missing = facts.open - sum((leg.left for leg in facts.of(Tag.STOP)), ZERO)
    if missing > 0 and _refusals(facts.of(Tag.STOP)) >= MOST_REFUSALS:
        return (Leave(facts.open, f"its broker refused a stop {MOST_REFUSALS} times"),)
    return _fit(facts, Tag.STOP, facts.open, price, may_place=True)


def _targets(facts: GroupFacts, *, may_place: bool) -> tuple[Action, ...]:
    """Targets for what the trade still holds; they are only made smaller while the stop is not in its place."""
    if not facts.can_rest_beside:
        return ()
    actions: tuple[Action, ...] = ()
    room, part = facts.open, first_part(facts)
    for tag, price, share in (
        (Tag.TP1, facts.first_target, part),
        (Tag.TP2, facts.second_target, facts.entered - part),
    ):
        legs = facts.of(tag)
        if price is None:
            continue
        taken = sum((leg.filled for leg in legs), ZERO)
        wanted = max(min(share - taken, room), ZERO)
        room -= wanted
        allowed = may_place and _refusals(legs) < MOST_REFUSALS
        actions += _fit(facts, tag, wanted, price, may_place=allowed)
    return actions


def _fit(facts: GroupFacts, tag: Tag, wanted: Decimal, price: Decimal, *, may_place: bool) -> tuple[Action, ...]:
    """Make the legs of one kind come to `wanted` units at `price`."""
    legs = facts.of(tag)
    actions: list[Action] = []
    known = [leg for leg in legs if leg.state in RESTING or leg.state is OrderState.PLANNED]
    known.sort(key=lambda leg: (-leg.left, leg.sequence))
    excess = sum((leg.left for leg in known), ZERO) - wanted
    staying = []
    for leg in known:
        if 0 < leg.left <= excess:
            actions.append(Cancel(leg.order_id, "the trade does not hold that much any more"))
            excess -= leg.left
        else:
            staying.append(leg)
    for leg in staying:
        if excess > 0 or leg.price != price:
            left, excess = leg.left - max(excess, ZERO), min(excess, ZERO)
            if facts.keeps_id and leg.state in RESTING:
                actions.append(Resize(leg.order_id, left, price))
            else:
                actions.append(Cancel(leg.order_id, f"{plain(left)} at {plain(price)} take its place"))
        elif leg.state is OrderState.PLANNED and may_place:
            actions.append(Send(leg.order_id))
    missing = wanted - sum((leg.left for leg in legs), ZERO)
    if missing > 0 and may_place:
        sequence = max((leg.sequence for leg in legs), default=0) + 1
        actions.append(Place(tag, sequence, missing, price))
    return tuple(actions)


def _cancels(legs: Sequence[Leg], reason: str) -> tuple[Action, ...]:
    """A cancel for each leg that can be taken back now; one that nobody knows of must first be found."""
    asked = [leg for leg in legs if leg.state in RESTING or leg.state is OrderState.PLANNED]
    return tuple(Cancel(leg.order_id, reason) for leg in asked)
