"""Working orders: linked by client id, then by broker id; then missing, strange, double, given up, or stale.

What always holds here: an order of ours is called unconfirmed only against a COMPLETE list; an order still being sent
is left alone; what `protection` says of an order is not said again as a drift of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from reconciliation.domain.actions import actions_for
from reconciliation.domain.bad_data import Inspection
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.links import WORKING, Links
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.protection import Linked, compare_protection
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksOrder, BooksSnapshot
from trading.domain.broker import BrokerOrder, BrokerSnapshot, Completeness
from trading.domain.money import ZERO, plain
from trading.domain.orders import PROTECTIVE_TAGS, TERMINAL, OrderState

_CLAIMED_LIVE = frozenset({OrderState.WORKING, OrderState.PARTIAL, OrderState.CANCELLING, OrderState.UNKNOWN})


def compare_orders(
    broker: BrokerSnapshot, books: BooksSnapshot, policy: ReconciliationPolicy, seen: Inspection
) -> list[Finding]:
    """The findings about working orders and protection."""
    completeness = broker.orders_part.completeness
    if completeness is Completeness.FAILED:
        return []
    links = Links.of(books)
    shown = [o for o in broker.orders if o.status in WORKING and o.broker_order_id not in seen.bad_orders]
    strange = [order for order in shown if links.ours(order) is None]
    working = [(order, ours) for order in shown if (ours := links.ours(order)) is not None]
    found = [*_doubles(working), *(_external(order, seen) for order in strange)]
    doubled = {finding.key for finding in found if finding.kind is Kind.DUPLICATE_ORDER}
    single = [pair for pair in working if f"order:{pair[1].client_id}" not in doubled]
    guards = compare_protection(broker, books, policy, seen, working, strange)
    found.extend(guards)
    told = _Told.of(guards, books)
    for order, ours in single:
        if ours.client_id in told.orphans:
            continue
        is_back = ours.given_up and ours.state in TERMINAL
        found.extend([_given_up(order, ours)] if is_back else _drift(order, ours, policy, seen, told))
        found.extend(_stale(order, ours, books, policy))
    if completeness is Completeness.COMPLETE and not seen.bad_orders:
        visible = {ours.client_id for _, ours in working}
        lost = [o for o in books.orders if o.state in _CLAIMED_LIVE and o.client_id not in visible]
        filled = _filled_unbooked(books) if lost else frozenset()
        found.extend(_unconfirmed(o) for o in lost if not {o.client_id, o.broker_order_id or None} & filled)
    return found


@dataclass(frozen=True, slots=True)
class _Told:
    """What needs not be said of an order: `orphans` by client id, the sizes of stops that `protection` has judged.

    `covered` is what the decision of a stop or target holds.
    """

    orphans: frozenset[str]
    short: frozenset[str]
    covered: Mapping[str, Decimal]

    @classmethod
    def of(cls, guards: Sequence[Finding], books: BooksSnapshot) -> _Told:
        holds: dict[int | None, Decimal] = {holding.decision_id: holding.quantity for holding in books.holdings}
        short = [f.evidence["covering"] for f in guards if f.kind is Kind.PARTIAL_PROTECTION]
        return cls(
            frozenset(f.evidence["client_id"] for f in guards if f.kind is Kind.OCO_ORPHAN),
            frozenset(each["client_id"] for covering in short for each in covering),
            {
                **{leg.client_id: holds[leg.decision_id] for leg in books.orders if _is_leg_of(leg, holds)},
                **{stop: holding.quantity for holding in books.holdings for stop in holding.stop_client_ids},
            },
        )


def _is_leg_of(order: BooksOrder, holds: Mapping[int | None, Decimal]) -> bool:
    return order.tag in PROTECTIVE_TAGS and order.decision_id in holds


def _doubles(working: Sequence[Linked]) -> list[Finding]:
    by_client: dict[str, list[BrokerOrder]] = defaultdict(list)
    for order, ours in working:
        by_client[ours.client_id].append(order)
    actions, suggestion = actions_for(Kind.DUPLICATE_ORDER)
    return [
        Finding(
            kind=Kind.DUPLICATE_ORDER,
            key=f"order:{client_id}",
            severity=severity_of(Kind.DUPLICATE_ORDER),
            cause=(
                f"The broker works {len(orders)} orders for our one order {client_id} "
                f"({', '.join(order.broker_order_id for order in orders)}): both may fill. Cancel one at the broker."
            ),
            relies_on=Confidence.ORDERS,
            evidence={"broker_orders": [order.broker_order_id for order in orders]},
            actions=actions,
            suggestion=suggestion,
            matter=",".join(order.broker_order_id for order in orders),
        )
        for client_id, orders in sorted(by_client.items())
        if len(orders) > 1
    ]


def _external(order: BrokerOrder, seen: Inspection) -> Finding:
    rule = seen.by_broker_symbol.get(order.instrument)
    actions, suggestion = actions_for(Kind.EXTERNAL_ORDER)
    size = f" {order.side} {plain(order.quantity)}" if order.side and order.quantity is not None else ""
    price = f" at {plain(order.price)}" if order.price is not None else ""
    return Finding(
        kind=Kind.EXTERNAL_ORDER,
        key=f"order:{order.broker_order_id}",
        severity=severity_of(Kind.EXTERNAL_ORDER),
        cause=(
            f"The broker works order {order.broker_order_id} ({order.type}{size} {order.instrument}{price}) that is "
            "not ours: neither its client id nor its broker id is known here. It may fill at any time."
        ),
        relies_on=Confidence.ORDERS,
        instrument=rule.symbol if rule else "",
        broker_value=order.quantity,
        evidence={
            "broker_order": order.broker_order_id,
            "client_id": order.client_id,
            "type": order.type,
            "trade": order.trade_id,
        },
        actions=actions,
        suggestion=suggestion,
        matter=f"{order.type}{size}{price}",
    )


def _drift(
    order: BrokerOrder,
    ours: BooksOrder,
    policy: ReconciliationPolicy,
    seen: Inspection,
    told: _Told,
) -> list[Finding]:
    differs: list[str] = []
    if ours.state in TERMINAL or (ours.state is OrderState.PLANNED and not ours.rides_on_entry):
        differs.append(f"the broker works it while it is {ours.state} here")
    rule = seen.rules.get(ours.instrument)
    named = seen.by_broker_symbol.get(order.instrument)
    if named is not None and named.symbol != ours.instrument:
        differs.append(f"it is for {named.symbol} there and {ours.instrument} here")
    if order.side is not None and order.side != ours.side:
        differs.append(f"it is a {order.side} there and a {ours.side} here")
    moved = abs(order.price - ours.price) if order.price is not None and ours.price is not None else ZERO
    if rule is not None and moved > policy.price_tolerance(rule):
        differs.append(f"its price is {plain(order.price or ZERO)} there and {plain(ours.price or ZERO)} here")
    untouched = order.filled == 0 and ours.filled == 0
    # A broker's own legs are as large as their trade: while its entry fills in parts, beside a target that has, and
    # when others change the trade, which is a difference of units. Whether they cover it, `protection` says.
    wanted = (ours.quantity, told.covered.get(ours.client_id, ours.quantity))
    is_judged = ours.client_id in told.short or (bool(order.trade_id) and ours.tag in PROTECTIVE_TAGS)
    if order.quantity is not None and untouched and order.quantity not in wanted and not is_judged:
        differs.append(f"its quantity is {plain(order.quantity)} there and {plain(ours.quantity)} here")
    if not differs:
        return []
    actions, suggestion = actions_for(Kind.STATUS_DRIFT)
    return [
        Finding(
            kind=Kind.STATUS_DRIFT,
            key=f"order:{ours.client_id}",
            severity=severity_of(Kind.STATUS_DRIFT),
            cause=f"Our {ours.tag} order {ours.client_id} differs at the broker: {'; '.join(differs)}.",
            relies_on=Confidence.ORDERS,
            instrument=ours.instrument,
            evidence={"order": ours.order_id, "broker_order": order.broker_order_id, "raw_status": order.raw_status},
            actions=actions,
            suggestion=suggestion,
            matter="; ".join(differs),
        )
    ]


def _given_up(order: BrokerOrder, ours: BooksOrder) -> Finding:
    """An order that two people had called ended, and that rests at the broker after all."""
    actions, suggestion = actions_for(Kind.LATE_ACK)
    return Finding(
        kind=Kind.LATE_ACK,
        key=f"order:{ours.client_id}",
        severity=severity_of(Kind.LATE_ACK),
        cause=(
            f"Our {ours.tag} order {ours.client_id} ({ours.side} {plain(ours.quantity)} {ours.instrument}) was given "
            f"up as {ours.state}, and the broker works it as {order.broker_order_id}: it may fill at any time. Cancel "
            "it at the broker if it is not wanted any more."
        ),
        relies_on=Confidence.ORDERS,
        instrument=ours.instrument,
        books_value=ours.quantity,
        broker_value=order.quantity,
        evidence={"order": ours.order_id, "ended": ours.state, "broker_order": order.broker_order_id},
        actions=actions,
        suggestion=suggestion,
        matter=f"{ours.state}, and rests",
    )


def _stale(order: BrokerOrder, ours: BooksOrder, books: BooksSnapshot, policy: ReconciliationPolicy) -> list[Finding]:
    """An order that rests without any news for longer than the policy allows, and beyond its own time if it has one.

    Stops and targets rest for as long as their trade lives.
    """
    if ours.tag in PROTECTIVE_TAGS or ours.state not in _CLAIMED_LIVE or ours.news_at is None:
        return []
    allowed = ours.news_at + timedelta(minutes=policy.stale_order_minutes)
    due = max(allowed, ours.good_till) if ours.good_till is not None else allowed
    if books.at <= due:
        return []
    actions, suggestion = actions_for(Kind.STALE_ORDER)
    over = f", and was to end at {ours.good_till:%Y-%m-%d %H:%M}" if ours.good_till is not None else ""
    return [
        Finding(
            kind=Kind.STALE_ORDER,
            key=f"order:{ours.client_id}",
            severity=severity_of(Kind.STALE_ORDER, age=books.at - due),
            cause=(
                f"Our {ours.tag} order {ours.client_id} ({ours.side} {plain(ours.quantity - ours.filled)} "
                f"{ours.instrument}) rests at the broker without any news since {ours.news_at:%Y-%m-%d %H:%M}{over}. "
                "Cancel it if it is not wanted any more."
            ),
            relies_on=Confidence.ORDERS,
            instrument=ours.instrument,
            books_value=ours.quantity - ours.filled,
            broker_value=order.quantity,
            evidence={"order": ours.order_id, "broker_order": order.broker_order_id, "since": ours.news_at},
            actions=actions,
            suggestion=suggestion,
            matter=ours.state,
        )
    ]


def _filled_unbooked(books: BooksSnapshot) -> frozenset[str]:
    """The names of our orders of which the history tells where they went: by a fill that is a finding of its own."""
    told = [fill for event in books.unposted for fill in event.fills if fill.external_id in event.ours]
    return frozenset(name for fill in told for name in (fill.client_id, fill.broker_order_id) if name)


def _unconfirmed(order: BooksOrder) -> Finding:
    actions, suggestion = actions_for(Kind.ORDER_UNCONFIRMED)
    state = "may live at the broker or not" if order.state is OrderState.UNKNOWN else f"is {order.state} here"
    return Finding(
        kind=Kind.ORDER_UNCONFIRMED,
        key=f"order:{order.client_id}",
        severity=severity_of(Kind.ORDER_UNCONFIRMED),
        cause=(
            f"Our {order.tag} order {order.client_id} ({order.side} {plain(order.quantity)} {order.instrument}) "
            f"{state}, and the broker's complete list of working orders does not have it."
        ),
        relies_on=Confidence.ORDERS,
        instrument=order.instrument,
        books_value=order.quantity - order.filled,
        evidence={"order": order.order_id, "state": order.state, "broker_order": order.broker_order_id},
        actions=actions,
        suggestion=suggestion,
        matter=order.state,
    )
