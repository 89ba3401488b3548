"""Working orders: linked by client id, then by broker id; then missing, strange, double or naked.

What always holds here: an order of ours is called unconfirmed only against a COMPLETE list; an order still being sent
is left alone; protection is judged only while the broker's position is known to be there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from reconciliation.domain.actions import actions_for
from reconciliation.domain.bad_data import Inspection
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksHolding, BooksOrder, BooksSnapshot
from trading.domain.broker import BrokerOrder, BrokerOrderStatus, BrokerSnapshot, Completeness
from trading.domain.money import ZERO, plain
from trading.domain.orders import TERMINAL, OrderState

_WORKING = frozenset({BrokerOrderStatus.WORKING, BrokerOrderStatus.PARTIAL, BrokerOrderStatus.OTHER})
_CLAIMED_LIVE = frozenset({OrderState.WORKING, OrderState.PARTIAL, OrderState.CANCELLING, OrderState.UNKNOWN})


def compare_orders(
    broker: BrokerSnapshot, books: BooksSnapshot, policy: ReconciliationPolicy, seen: Inspection
) -> list[Finding]:
    """The findings about working orders and protection."""
    completeness = broker.orders_part.completeness
    if completeness is Completeness.FAILED:
        return []
    working = [o for o in broker.orders if o.status in _WORKING and o.broker_order_id not in seen.bad_orders]
    links = {order.broker_order_id: linked for order in working if (linked := _link(order, books)) is not None}
    found: list[Finding] = []
    covered = {stop: holding.quantity for holding in books.holdings for stop in holding.stop_client_ids}
    found.extend(_doubles(working, books))
    doubled = {finding.key for finding in found}
    for order in working:
        ours = links.get(order.broker_order_id)
        if ours is not None and f"order:{ours.client_id}" in doubled:
            continue
        found.extend([_external(order, seen)] if ours is None else _drift(order, ours, policy, seen, covered))
    if completeness is Completeness.COMPLETE and not seen.bad_orders:
        visible = {order.client_id for order in links.values()}
        lost = [o for o in books.orders if o.state in _CLAIMED_LIVE and o.client_id not in visible]
        found.extend(_unconfirmed(order) for order in lost if not _filled_unbooked(order, books))
        found.extend(_naked(broker, books, seen, visible))
    return found


def count_linked(broker: BrokerSnapshot, books: BooksSnapshot) -> int:
    """How many of the broker's orders are orders of ours."""
    return sum(1 for order in broker.orders if _link(order, books) is not None)


def _link(order: BrokerOrder, books: BooksSnapshot) -> BooksOrder | None:
    if order.client_id:
        for ours in books.orders:
            if ours.client_id == order.client_id:
                return ours
    for ours in books.orders:
        if ours.broker_order_id and ours.broker_order_id == order.broker_order_id:
            return ours
    return None


def _doubles(working: list[BrokerOrder], books: BooksSnapshot) -> list[Finding]:
    by_client: dict[str, list[BrokerOrder]] = defaultdict(list)
    for order in working:
        linked = _link(order, books)
        if linked is not None:
            by_client[linked.client_id].append(order)
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
    covered: Mapping[str, Decimal],
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
    # A broker makes the stop beside a target that filled in part smaller: it covers what is left, as it should.
    wanted = (ours.quantity, covered.get(ours.client_id, ours.quantity))
    if order.quantity is not None and untouched and order.quantity not in wanted:
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


def _filled_unbooked(order: BooksOrder, books: BooksSnapshot) -> bool:
    """Whether the history already tells where the order went: a fill of it that is a finding of its own."""
    for event in books.unposted:
        for fill in event.fills:
            same = fill.client_id == order.client_id or (
                order.broker_order_id != "" and fill.broker_order_id == order.broker_order_id
            )
            if fill.external_id in event.ours and same:
                return True
    return False


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


def _naked(broker: BrokerSnapshot, books: BooksSnapshot, seen: Inspection, visible: set[str]) -> list[Finding]:
    if broker.positions_part.completeness is Completeness.FAILED:
        return []
    return [
        _unprotected(holding, seen)
        for holding in books.holdings
        if holding.stop_planned
        and holding.quantity > 0
        and seen.broker_quantity(holding.instrument) * (1 if holding.side == "BUY" else -1) > 0
        and not visible & set(holding.stop_client_ids)
    ]


def _unprotected(holding: BooksHolding, seen: Inspection) -> Finding:
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
        relies_on=Confidence.ORDERS,
        instrument=holding.instrument,
        books_value=holding.quantity,
        evidence={"stops": list(holding.stop_client_ids)},
        actions=actions,
        suggestion=suggestion,
        matter=plain(holding.quantity),
    )
