"""Orders: planned from an intent under a derived id, and moved by one writer.

What always holds: the same intent, account and leg give the same order; `state` changes only in `move`, only along
the table of `domain.orders`, together with an OrderEvent. Callers of `move` hold the account's lock.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Max

from trading.domain.ids import client_order_id
from trading.domain.money import ZERO
from trading.domain.orders import TERMINAL, OrderState, Tag, is_late, may_move
from trading.locks import lock_account
from trading.models import (
    Account,
    Application,
    BrokerEvent,
    BrokerMessage,
    Decision,
    ExitIntent,
    Instrument,
    Order,
    OrderEvent,
    OrderGroup,
)

from . import audit
from .audit import Actor
from .errors import RuleBroken

Intent = Decision | ExitIntent | Application


def intent_key(intent: Intent) -> str:
    """The text that stands for an intent in the derived id."""
    if isinstance(intent, Decision):
        return f"decision:{intent.client_plan_id}"
    if isinstance(intent, ExitIntent):
        earlier = ExitIntent.objects.filter(account=intent.account, decision=intent.decision, pk__lt=intent.pk).count()
        return f"exit:{intent.decision.client_plan_id}:{earlier + 1}"
    return f"application:{intent.proposal_id}:{intent.proposal.payload_sha256}"


@transaction.atomic
def plan_order(
    *,
    account: Account,
    intent: Intent,
    tag: str,
    instrument: Instrument,
    side: str,
    quantity: Decimal,
    type: str,
    at: datetime,
    price: Decimal | None = None,
    stop_loss: Decimal | None = None,
    take_profit: Decimal | None = None,
    reduce_only: bool = False,
    rides_on: Order | None = None,
    group: OrderGroup | None = None,
    good_till: datetime | None = None,
    sequence: int = 1,
    actor: Actor,
) -> Order:
    """Write the intent's leg as a PLANNED order, or find the one that stands. Nothing is sent here."""
    lock_account(account.pk)
    client_id = client_order_id(intent=intent_key(intent), account=account.name, tag=tag, sequence=sequence)
    standing = Order.objects.filter(client_order_id=client_id).first()
    if standing is not None:
        return standing
    order = Order.objects.create(
        account=account,
        decision=intent if isinstance(intent, Decision) else None,
        exit_intent=intent if isinstance(intent, ExitIntent) else None,
        application=intent if isinstance(intent, Application) else None,
        parent_group=group,
        rides_on=rides_on,
        tag=tag,
        sequence=sequence,
        client_order_id=client_id,
        instrument=instrument,
        side=side,
        type=type,
        quantity=quantity,
        price=price,
        stop_loss=stop_loss,
        take_profit=take_profit,
        reduce_only=reduce_only,
        good_till=good_till,
        at=at,
    )
    OrderEvent.objects.create(order=order, sequence=1, to_state=OrderState.PLANNED, at=at, reason="planned")
    audit.record(
        kind="order.planned",
        actor=actor,
        account=account,
        obj=order,
        after={
            "state": str(OrderState.PLANNED),
            "client_order_id": client_id,
            "tag": tag,
            "side": side,
            "instrument": instrument.symbol,
            "quantity": quantity,
            "price": price,
        },
        at=at,
    )
    return order


def move(
    order: Order,
    to: OrderState,
    *,
    at: datetime,
    reason: str,
    message: BrokerMessage | None = None,
    broker_event: BrokerEvent | None = None,
    application: Application | None = None,
) -> OrderEvent:
    """Move a row that the caller has locked, and write the event. Raises RuleBroken off the table."""
    source = OrderState(order.state)
    if not may_move(source, to):
        raise RuleBroken(
            f"Order {order.client_order_id} cannot go from {source} to {to} ({reason}). Its state is unchanged; "
            "reconciliation will show what the broker has."
        )
    order.state = to
    order.reason = reason[:300]
    order.save()
    last = OrderEvent.objects.filter(order=order).aggregate(last=Max("sequence"))["last"] or 0
    event = OrderEvent.objects.create(
        order=order,
        sequence=last + 1,
        from_state=source,
        to_state=to,
        at=at,
        attempt=order.attempt,
        reason=reason[:300],
        message=message,
        broker_event=broker_event,
        application=application,
    )
    audit.record(
        kind="order.moved",
        actor=Actor.system("orders"),
        account=order.account,
        obj=order,
        before={"state": source},
        after={"state": to},
        reason=reason,
        level="WARNING" if is_late(source, to) or to in (OrderState.UNKNOWN, OrderState.REJECTED) else "INFO",
        at=at,
    )
    if to in TERMINAL and order.tag == Tag.ENTRY and order.filled_quantity == ZERO:
        _drop_legs(order, at=at)
    if order.exit_intent is not None:
        _follow(order.exit_intent, to)
    return event


def locked(order_id: int) -> Order:
    """The order's row, locked, under its account's lock. Call inside a transaction."""
    account_id = Order.objects.values_list("account_id", flat=True).get(pk=order_id)
    lock_account(account_id)
    return (
        Order.objects.select_for_update(no_key=True, of=("self",))
        .select_related("account", "instrument")
        .get(pk=order_id)
    )


def _drop_legs(entry: Order, *, at: datetime) -> None:
    """An entry that ended without a fill takes its planned legs with it: the broker never made them."""
    for leg in Order.objects.filter(rides_on=entry, state=OrderState.PLANNED).order_by("pk"):
        move(leg, OrderState.CANCELLED, at=at, reason=f"its entry ended {entry.state} without a fill")
    if entry.parent_group_id is not None:
        OrderGroup.objects.filter(pk=entry.parent_group_id).update(state=OrderGroup.State.CLOSED)


_INTENT_STATE = {
    OrderState.WORKING: ExitIntent.State.SUBMITTED,
    OrderState.PARTIAL: ExitIntent.State.PARTIAL,
    OrderState.FILLED: ExitIntent.State.FILLED,
    OrderState.CANCELLED: ExitIntent.State.CANCELLED,
    OrderState.REJECTED: ExitIntent.State.CANCELLED,
    OrderState.EXPIRED: ExitIntent.State.MISSED,
}


def _follow(intent: ExitIntent, state: OrderState) -> None:
    """The intent goes with its order; a late fill never brings one back to life, another may be alive by then."""
    wanted = _INTENT_STATE.get(state)
    revived = wanted in ExitIntent.LIVE and intent.state not in ExitIntent.LIVE
    if wanted is not None and intent.state != wanted and not revived:
        intent.state = wanted
        intent.save(update_fields=["state"])
