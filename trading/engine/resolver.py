"""UNKNOWN orders: resolved by evidence, never by a time-out; and the sweep that finds what nobody woke.

What always holds: an UNKNOWN order leaves that state only when the broker shows it, or when every look-up was
COMPLETE and negative after the quarantine; then the same id is sent again. The first 404 proves nothing.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from trading.clock import now, wall_now
from trading.domain.broker import Absent, BrokerUnreachable, Found, OrderPort
from trading.domain.orders import OrderState, state_from_broker
from trading.models import Account, Order
from trading.services import orders

from .connections import broker_for
from .inflow import catch_up
from .messages import keep

RECHECK = timedelta(seconds=2)


@transaction.atomic
def expire_lease(*, order_id: int) -> bool:
    """SENDING with a lease that ran out becomes UNKNOWN: its sender died, and the order may have left."""
    order = orders.locked(order_id)
    if order.state != OrderState.SENDING or order.lease_until is None or order.lease_until > wall_now():
        return False
    order.lease_token += 1  # fences the sender off, should it only have been stopped
    order.next_check_at = wall_now()
    orders.move(order, OrderState.UNKNOWN, at=now(order.account), reason="the sender's lease ran out before an answer")
    return True


def resolve_unknown(*, order_id: int, broker: OrderPort | None = None) -> Order:
    """Look an UNKNOWN order up and act on the evidence. Raises nothing for an unreachable broker: it stays UNKNOWN."""
    order = Order.objects.select_related("account").get(pk=order_id)
    if order.state != OrderState.UNKNOWN:
        return order
    opened = None
    if broker is None:
        opened = broker = broker_for(order.account)
    try:
        try:
            catch_up(account=order.account, broker=broker)
        except BrokerUnreachable:
            _postpone(order_id)
            return Order.objects.get(pk=order_id)
        order.refresh_from_db()
        if order.state != OrderState.UNKNOWN:
            return order
        outcome = broker.order_by_client_id(order.client_order_id, since=order.since_event_id)
        _apply(order_id, outcome)
        return Order.objects.get(pk=order_id)
    finally:
        if opened is not None:
            opened.close()


def _apply(order_id: int, outcome: object) -> None:
    with transaction.atomic():
        order = orders.locked(order_id)
        if order.state != OrderState.UNKNOWN:
            return
        moment = now(order.account)
        if isinstance(outcome, Found):
            message = keep(order, "lookup", outcome.evidence)
            order.broker_order_id = order.broker_order_id or outcome.order.broker_order_id
            wanted = state_from_broker(outcome.order.status)
            fills_tell = wanted in (OrderState.FILLED, OrderState.PARTIAL)
            to = OrderState.WORKING if wanted is None or fills_tell else wanted
            reason = f"the broker has it: {outcome.order.broker_order_id} {outcome.order.raw_status}"
            orders.move(order, to, at=moment, reason=reason, message=message)
        elif isinstance(outcome, Absent) and order.quarantine_until is not None and wall_now() >= order.quarantine_until:
            message = keep(order, "lookup", outcome.evidence)
            reason = "absent in every look-up after the quarantine; the same id is sent again"
            orders.move(order, OrderState.PLANNED, at=moment, reason=reason, message=message)
        else:
            order.next_check_at = wall_now() + RECHECK
            order.save(update_fields=["next_check_at", "updated_at"])


@transaction.atomic
def _postpone(order_id: int) -> None:
    order = orders.locked(order_id)
    order.next_check_at = wall_now() + RECHECK
    order.save(update_fields=["next_check_at", "updated_at"])


def needing_work(account: Account | None = None) -> list[Order]:
    """Orders at brokers that a sweep must look at now: unsent, with an expired lease, or UNKNOWN and due."""
    moment = wall_now()
    rows = Order.objects.filter(state__in=["PLANNED", "SENDING", "UNKNOWN"], rides_on=None).exclude(
        account__broker=Account.Broker.PAPER
    )
    if account is not None:
        rows = rows.filter(account=account)
    return [
        order
        for order in rows.select_related("account").order_by("id")
        if order.state == OrderState.PLANNED
        or (order.state == OrderState.SENDING and order.lease_until is not None and order.lease_until <= moment)
        or (order.state == OrderState.UNKNOWN and (order.next_check_at is None or order.next_check_at <= moment))
    ]
