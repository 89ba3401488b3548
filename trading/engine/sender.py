"""The order sender: claim in a transaction, send on the wire, store in a transaction. The Order row is the outbox.

What always holds: nothing is sent before its intent is committed, nor inside a transaction; only the holder of the
current token sends; an outcome that is not a real refusal or an acceptance is UNKNOWN and is never resent from here.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from trading.clock import now, wall_now
from trading.domain.broker import (
    Accepted,
    OrderPort,
    BrokerOrderStatus,
    BrokerUnreachable,
    OrderRequest,
    OrderType,
    ProtectiveLeg,
    Refused,
    Side,
    SubmitOutcome,
)
from trading.domain.orders import OrderState, Tag
from trading.failpoints import failpoint
from trading.models import Order
from trading.selectors.instruments import broker_symbol
from trading.selectors.policies import policy_of
from trading.services import cursors, orders
from trading.services.inbox import INFLOW
from trading.services.restrictions import OPEN, trading_state

from .connections import broker_for
from .inflow import catch_up
from .messages import keep

NOT_SENT = "NOT_SENT"
REQUEST_DEADLINE = timedelta(seconds=3)
LEASE = timedelta(seconds=8)


def send_order(*, order_id: int, broker: OrderPort | None = None) -> Order:
    """Send a PLANNED order once. Safe to call at any time, by anyone, any number of times.

    Raises MissingCredentials when the account's broker cannot be reached at all for want of them; the order stays
    PLANNED then. Never raises for what the broker does: that is stored on the order.
    """
    order = Order.objects.select_related("account").get(pk=order_id)
    opened = None
    if broker is None:
        opened = broker = broker_for(order.account)
    try:
        claimed = _claim(order_id)
        if claimed is None:
            return Order.objects.get(pk=order_id)
        failpoint("claimed")
        request = build_request(claimed)
        if not _still_ours(claimed):
            return Order.objects.get(pk=order_id)
        failpoint("before_send")
        outcome = broker.submit(request)
        failpoint("after_send")
        _store(claimed, outcome)
        failpoint("stored")
        if isinstance(outcome, Accepted):
            try:
                catch_up(account=claimed.account, broker=broker)
            except BrokerUnreachable:
                pass  # the order is stored as accepted; the watcher fetches its events
        return Order.objects.get(pk=order_id)
    finally:
        if opened is not None:
            opened.close()


@transaction.atomic
def _claim(order_id: int) -> Order | None:
    order = orders.locked(order_id)
    if order.state != OrderState.PLANNED or order.rides_on_id is not None:
        return None
    moment = now(order.account)
    if order.good_till is not None and moment > order.good_till:
        orders.move(order, OrderState.EXPIRED, at=moment, reason="its time had passed before it could be sent")
        return None
    if order.tag == Tag.ENTRY:
        strategy = order.decision.signal.strategy if order.decision is not None else ""
        state, reasons = trading_state(order.account, strategy, order.instrument)
        if state != OPEN:
            orders.move(order, OrderState.CANCELLED, at=moment, reason=f"not sent: {'; '.join(reasons)}")
            return None
    order.attempt += 1
    order.lease_token += 1
    order.lease_until = wall_now() + LEASE
    order.quarantine_until = (
        wall_now() + REQUEST_DEADLINE + timedelta(seconds=int(policy_of(order.account).quarantine_seconds))
    )
    if not order.since_event_id:
        order.since_event_id = cursors.get(order.account, INFLOW)
    orders.move(order, OrderState.SENDING, at=moment, reason=f"attempt {order.attempt}")
    return order


def _still_ours(claimed: Order) -> bool:
    """The fence: a worker that was stopped and woke up after its lease passed must not send."""
    return Order.objects.filter(
        pk=claimed.pk, state=OrderState.SENDING, lease_token=claimed.lease_token, lease_until__gt=wall_now()
    ).exists()


def build_request(order: Order) -> OrderRequest:
    """The port's request for an order row, its riding legs included."""
    legs = {leg.tag: leg for leg in Order.objects.filter(rides_on=order)}
    stop, target = legs.get(Tag.STOP), legs.get(Tag.TP1)
    decision = order.decision or (order.exit_intent.decision if order.exit_intent is not None else None)
    label = f"AXFL::{decision.signal.strategy}::{order.instrument.symbol}::{order.tag}" if decision else f"AXFL::{order.tag}"
    return OrderRequest(
        client_id=order.client_order_id,
        instrument=broker_symbol(order.account, order.instrument),
        side=Side(order.side),
        quantity=order.quantity.normalize(),
        type=OrderType(order.type),
        price=order.price,
        stop_loss=ProtectiveLeg(stop.client_order_id, stop.price) if stop is not None and stop.price is not None else None,
        take_profit=(
            ProtectiveLeg(target.client_order_id, target.price) if target is not None and target.price is not None else None
        ),
        reduce_only=order.reduce_only,
        good_till=order.good_till if order.type != OrderType.MARKET else None,
        label=label,
    )


@transaction.atomic
def _store(claimed: Order, outcome: SubmitOutcome) -> None:
    order = orders.locked(claimed.pk)
    message = keep(order, "submit", outcome.evidence)
    if order.lease_token != claimed.lease_token:
        return  # somebody else has taken it on; what we saw is kept as evidence
    if isinstance(outcome, Accepted) and outcome.broker_order_id and not order.broker_order_id:
        order.broker_order_id = outcome.broker_order_id
        order.save(update_fields=["broker_order_id", "updated_at"])
    if order.state != OrderState.SENDING:
        return  # the broker's events were faster than its answer
    moment = now(order.account)
    if isinstance(outcome, Accepted):
        ended = outcome.status is BrokerOrderStatus.CANCELLED
        to = OrderState.CANCELLED if ended else OrderState.WORKING
        orders.move(order, to, at=moment, reason=outcome.reason or "accepted", message=message)
    elif isinstance(outcome, Refused) and outcome.code != NOT_SENT:
        reason = f"{outcome.code}: {outcome.message}"
        orders.move(order, OrderState.REJECTED, at=moment, reason=reason, message=message)
    else:
        reason = outcome.message if isinstance(outcome, Refused) else outcome.reason
        order.next_check_at = wall_now()
        orders.move(order, OrderState.UNKNOWN, at=moment, reason=reason, message=message)
