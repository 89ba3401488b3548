"""Protection: a stop for all that is held, and no stop or target for what is not held any more.

What always holds here: that something is missing is said only of a COMPLETE list of orders, that nothing is held only
of a COMPLETE list of positions; units that the broker does not hold need no stop there; a leg that waits for its entry
is no orphan, and what our books have just sent, or are just taking back, is left alone while it is on its way.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from reconciliation.domain.actions import actions_for
from reconciliation.domain.bad_data import Inspection
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksHolding, BooksOrder, BooksSnapshot
from trading.domain.broker import BrokerOrder, BrokerSnapshot, Completeness, Side
from trading.domain.money import ZERO, plain
from trading.domain.orders import PROTECTIVE_TAGS, TERMINAL, OrderState, Tag

Linked = tuple[BrokerOrder, BooksOrder]
Units = Mapping[tuple[str, str], Decimal]
_LEAVING = frozenset({Tag.CLOSE, Tag.FLATTEN})


@dataclass(frozen=True, slots=True)
class _Sides:
    """What both sides say about protection. `there` and `here` are units by instrument and side of the position.

    `foreign` are the units, by the same, of stops that hang on a trade at the broker and that we cannot name;
    `unknown` are the client ids of working orders there that our books do not have.
    """

    books: BooksSnapshot
    working: Sequence[Linked]
    there: Units
    here: Units
    foreign: Units
    unknown: frozenset[str]
    patience: timedelta

    def is_fresh(self, order: BooksOrder) -> bool:
        """Whether something has just happened to an order of ours, so that the broker may not show it yet."""
        return order.news_at is not None and self.books.at - order.news_at < self.patience


def compare_protection(
    broker: BrokerSnapshot,
    books: BooksSnapshot,
    policy: ReconciliationPolicy,
    seen: Inspection,
    working: Sequence[Linked],
    strange: Sequence[BrokerOrder] = (),
) -> list[Finding]:
    """Holdings without a stop for all of them, and legs without a holding.

    `working` are the broker's working orders that are ours, `strange` those that are not.
    """
    patience = timedelta(seconds=policy.race_window_seconds)
    unknown = frozenset(order.client_id for order in strange if order.client_id)
    sides = _Sides(books, working, _there(broker, seen), _here(books), _foreign(strange, seen), unknown, patience)
    found: list[Finding] = []
    positions = broker.positions_part.completeness
    all_listed = broker.orders_part.completeness is Completeness.COMPLETE and not seen.bad_orders
    if all_listed and positions is not Completeness.FAILED:
        left = _excuses(sides)
        found.extend(finding for holding in books.holdings if (finding := _uncovered(holding, sides, left)) is not None)
    if positions is Completeness.COMPLETE:
        for order, ours in working:
            rule = seen.by_broker_symbol.get(order.instrument)
            is_same = rule is not None and rule.symbol == ours.instrument and rule.symbol not in seen.bad_symbols
            if is_same and ours.tag in PROTECTIVE_TAGS and (why := _orphaned(order, ours, sides)):
                found.append(_orphan(order, ours, why))
    return found


def _there(broker: BrokerSnapshot, seen: Inspection) -> Units:
    units: dict[tuple[str, str], Decimal] = {}
    for position in broker.positions:
        rule = seen.by_broker_symbol.get(position.instrument)
        if rule is not None and rule.symbol not in seen.bad_symbols:
            key = (rule.symbol, str(position.side))
            units[key] = units.get(key, ZERO) + position.quantity
    return units


def _here(books: BooksSnapshot) -> Units:
    units: dict[tuple[str, str], Decimal] = {}
    for holding in books.holdings:
        key = (holding.instrument, holding.side)
        units[key] = units.get(key, ZERO) + max(holding.quantity, ZERO)
    return units


def _foreign(strange: Sequence[BrokerOrder], seen: Inspection) -> Units:
    units: dict[tuple[str, str], Decimal] = {}
    for order in strange:
        rule = seen.by_broker_symbol.get(order.instrument)
        if rule is not None and order.trade_id and "STOP" in order.type and order.side is not None:
            key = (rule.symbol, str(order.side.opposite))
            units[key] = units.get(key, ZERO) + (_left(order) or ZERO)
    return units


def _left(order: BrokerOrder) -> Decimal | None:
    """What the broker's order may still fill; None where the broker names no quantity."""
    return order.quantity - order.filled if order.quantity is not None else None


def _excuses(sides: _Sides) -> dict[tuple[str, str], Decimal]:
    """Units of a side that need no stop of ours: held only by our books, or guarded by a stop that we cannot name."""
    excuses = dict(sides.foreign)
    for key, here in sides.here.items():
        excuses[key] = excuses.get(key, ZERO) + max(here - sides.there.get(key, ZERO), ZERO)
    return excuses


def _uncovered(
    holding: BooksHolding, sides: _Sides, excuses: MutableMapping[tuple[str, str], Decimal]
) -> Finding | None:
    """What is held without a stop, or with one for only a part; an exit that the broker has counts as one.

    `excuses` are the side's units that need no stop of ours. Whoever lacks no more than they are takes its part of
    them: units excuse one holding, not each.
    """
    key = (holding.instrument, holding.side)
    there = sides.there.get(key, ZERO)
    if not holding.stop_planned or holding.quantity <= 0 or there <= 0:
        return None
    covering = [pair for pair in sides.working if _covers(pair[1], holding)]
    on_its_way = sum((o.quantity - o.filled for o in sides.books.orders if _is_coming(o, holding, sides)), ZERO)
    if not covering:
        return _unprotected(holding) if on_its_way < holding.quantity else None
    parts = [_left(order) for order, _ in covering]
    if any(part is None for part in parts):
        return None
    covered = sum((part for part in parts if part is not None), ZERO)
    lacking = max(holding.quantity - covered - on_its_way, ZERO)
    if lacking <= excuses.get(key, ZERO):
        excuses[key] = excuses.get(key, ZERO) - lacking
        return None
    return _partly(holding, covered, covering)


def _covers(ours: BooksOrder, holding: BooksHolding) -> bool:
    if ours.client_id in holding.stop_client_ids:
        return True
    return ours.tag in _LEAVING and ours.decision_id == holding.decision_id


def _is_coming(ours: BooksOrder, holding: BooksHolding, sides: _Sides) -> bool:
    unsent = ours.state is OrderState.PLANNED and not ours.rides_on_entry
    return _covers(ours, holding) and (unsent or ours.state is OrderState.SENDING) and sides.is_fresh(ours)


def _unprotected(holding: BooksHolding) -> Finding:
    actions, suggestion = actions_for(Kind.UNPROTECTED_POSITION)
    return Finding(
        kind=Kind.UNPROTECTED_POSITION,
        key=f"decision:{holding.decision_id}",
        severity=severity_of(Kind.UNPROTECTED_POSITION),
        cause=(
            f"Decision {holding.decision_id} holds {holding.side} {plain(holding.quantity)} {holding.instrument}, and "
            "the broker's complete list of working orders has no stop for it: the loss is not limited. Place a stop at "
            "the broker, or close the position."
        ),
        relies_on=Confidence.PROTECTION,
        instrument=holding.instrument,
        books_value=holding.quantity,
        evidence={"decision": holding.decision_id, "stops": list(holding.stop_client_ids)},
        actions=actions,
        suggestion=suggestion,
        matter=plain(holding.quantity),
    )


def _partly(holding: BooksHolding, covered: Decimal, covering: Sequence[Linked]) -> Finding:
    actions, suggestion = actions_for(Kind.PARTIAL_PROTECTION)
    missing = holding.quantity - covered
    told = ", ".join(f"{ours.tag} {ours.client_id} for {plain(_left(order) or ZERO)}" for order, ours in covering)
    return Finding(
        kind=Kind.PARTIAL_PROTECTION,
        key=f"decision:{holding.decision_id}",
        severity=severity_of(Kind.PARTIAL_PROTECTION),
        cause=(
            f"Decision {holding.decision_id} holds {holding.side} {plain(holding.quantity)} {holding.instrument}, and "
            f"the broker works only {told}: {plain(missing)} have no stop, and their loss is not limited. Make the "
            "stop cover all of it, or close the rest."
        ),
        relies_on=Confidence.PROTECTION,
        instrument=holding.instrument,
        books_value=holding.quantity,
        broker_value=covered,
        evidence={
            "decision": holding.decision_id,
            "stops": list(holding.stop_client_ids),
            "covering": [
                {"order": ours.order_id, "client_id": ours.client_id, "left": plain(_left(order) or ZERO)}
                for order, ours in covering
            ],
            "missing": plain(missing),
        },
        actions=actions,
        suggestion=suggestion,
        matter=f"{plain(covered)} of {plain(holding.quantity)}",
    )


def _orphaned(order: BrokerOrder, ours: BooksOrder, sides: _Sides) -> str:
    """Why a stop or target should not rest any more; "" when it should, or when that cannot be said."""
    if ours.decision_id is None or _waits_for_its_entry(ours, sides) or order.parent_client_id in sides.unknown:
        return ""
    if ours.state is OrderState.CANCELLING and sides.is_fresh(ours):
        return ""
    holding = next((h for h in sides.books.holdings if h.decision_id == ours.decision_id and h.quantity > 0), None)
    if holding is None:
        key = (ours.instrument, str(Side(ours.side).opposite))
        there, here = sides.there.get(key, ZERO), sides.here.get(key, ZERO)
        if there > here:
            return ""  # whose the rest is must be said first: this leg may be all that guards it
        hit = "it would close what others hold" if there else "it would open a position that nobody wants"
        return f"nothing of it is held any more: {hit}"
    if ours.state not in TERMINAL:
        return ""
    others = [_left(o) for o, mine in sides.working if _covers(mine, holding) and mine.client_id != ours.client_id]
    covered = sum((part for part in others if part is not None), ZERO)
    if ours.tag is Tag.STOP and None not in others and covered < holding.quantity:
        return ""  # it is all that guards the trade, whatever our books say of it
    return f"our books know it as {ours.state}: it may close {plain(_left(order) or ours.quantity)} a second time"


def _waits_for_its_entry(leg: BooksOrder, sides: _Sides) -> bool:
    entries = {o.client_id for o in sides.books.orders if o.tag is Tag.ENTRY and o.decision_id == leg.decision_id}
    alive = {o.client_id for o in sides.books.orders if o.client_id in entries and o.state not in TERMINAL}
    return bool(alive or entries & {ours.client_id for _, ours in sides.working})


def _orphan(order: BrokerOrder, ours: BooksOrder, why: str) -> Finding:
    actions, suggestion = actions_for(Kind.OCO_ORPHAN)
    left = _left(order)
    size = f"{ours.side} {plain(left if left is not None else ours.quantity)} {ours.instrument}"
    return Finding(
        kind=Kind.OCO_ORPHAN,
        key=f"order:{ours.client_id}",
        severity=severity_of(Kind.OCO_ORPHAN),
        cause=(
            f"Our {ours.tag} order {ours.client_id} ({size}) of decision {ours.decision_id} rests at the broker, and "
            f"{why}. Cancel it."
        ),
        relies_on=Confidence.PROTECTION,
        instrument=ours.instrument,
        broker_value=left,
        evidence={
            "decision": ours.decision_id,
            "order": ours.order_id,
            "client_id": ours.client_id,
            "broker_order": order.broker_order_id,
            "state": ours.state,
        },
        actions=actions,
        suggestion=suggestion,
        matter=why,
    )
