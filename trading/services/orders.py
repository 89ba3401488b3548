"""Orders: planned from an intent under a derived id, and moved by one writer.

What always holds: the same intent, account and leg give the same order; `state` changes only in `move`, only along
the table of `domain.orders`, together with an OrderEvent. Callers of `move` hold the account's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from .notifications import note

Intent = Decision | ExitIntent | Application


def intent_key(intent: Intent) -> str:
    """The text that stands for an intent in the derived id."""
    if isinstance(intent, Decision):
        return f"decision:{intent.client_plan_id}"
    if isinstance(intent, ExitIntent):
        earlier = ExitIntent.objects.filter(account=intent.account, decision=intent.decision, pk__lt=intent.pk).count()
        return f"exit:{intent.decision.client_plan_id}:{earlier + 1}"
    return f"application:{intent.proposal_id}:{intent.proposal.payload_sha256}"


@dataclass(frozen=True, slots=True)
class Leg:
    """One order of an intent, to be planned: what is to be bought or sold, and how. Prices in quote currency."""

    tag: str
    side: str
    quantity: Decimal
    type: str
    price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    reduce_only: bool = False
    good_till: datetime | None = None
    sequence: int = 1


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
    leg = Leg(
        tag, side, quantity, type, price, stop_loss, take_profit, reduce_only, good_till=good_till, sequence=sequence
    )
    return plan_bracket(
        account=account,
        intent=intent,
        instrument=instrument,
        leg=leg,
        rides_on=rides_on,
        at=at,
        group=group,
        actor=actor,
    )


@transaction.atomic(savepoint=False)
def plan_bracket(
    *,
    account: Account,
    intent: Intent,
    instrument: Instrument,
    leg: Leg,
    riding: Sequence[Leg] = (),
    rides_on: Order | None = None,
    at: datetime,
    group: OrderGroup | None = None,
    actor: Actor,
) -> Order:
    """Write a leg as a PLANNED order, and those that ride on it; what stands already is left as it is.

    Nothing is sent here. Returns the order that the others ride on. A few statements, however many legs: this is on
    the way of every decision.
    """
    lock_account(account.pk)
    key = intent_key(intent)
    names = [
        client_order_id(intent=key, account=account.name, tag=item.tag, sequence=item.sequence)
        for item in (leg, *riding)
    ]
    standing = {order.client_order_id: order for order in Order.objects.filter(client_order_id__in=names)}

    def planned(name: str, item: Leg, rides_on: Order | None = None) -> Order:
        return Order(
            account=account,
            decision=intent if isinstance(intent, Decision) else None,
            exit_intent=intent if isinstance(intent, ExitIntent) else None,
            application=intent if isinstance(intent, Application) else None,
            parent_group=group,
            rides_on=rides_on,
            client_order_id=name,
            instrument=instrument,
            at=at,
            **asdict(item),
        )

    entry, new = standing.get(names[0]), []
    if entry is None:
        new = Order.objects.bulk_create([planned(names[0], leg, rides_on)])
        entry = new[0]
    missing = [(name, item) for name, item in zip(names[1:], riding, strict=True) if name not in standing]
    new += Order.objects.bulk_create([planned(name, item, entry) for name, item in missing])
    OrderEvent.objects.bulk_create(
        [OrderEvent(order=row, sequence=1, to_state=OrderState.PLANNED, at=at, reason="planned") for row in new]
    )
    audit.record_all([_told(row, actor, at) for row in new])
    return entry


def _told(order: Order, actor: Actor, at: datetime) -> audit.Draft:
    """That an order was planned."""
    after = {
        "state": str(OrderState.PLANNED),
        "client_order_id": order.client_order_id,
        "tag": order.tag,
        "side": order.side,
        "instrument": order.instrument.symbol,
        "quantity": order.quantity,
        "price": order.price,
    }
    return audit.Draft("order.planned", actor, account=order.account, obj=order, after=after, at=at)


@dataclass(frozen=True, slots=True)
class Move:
    """A move of a row that the caller has locked, and what it rests on."""

    order: Order
    to: OrderState
    reason: str
    message: BrokerMessage | None = None
    broker_event: BrokerEvent | None = None
    application: Application | None = None


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
    return move_all([Move(order, to, reason, message, broker_event, application)], at=at)[0]


@transaction.atomic(savepoint=False)
def move_all(moves: Sequence[Move], *, at: datetime) -> list[OrderEvent]:
    """Move several orders, each at most once, and write their events together. Raises RuleBroken as `move` does."""
    last = dict(
        OrderEvent.objects.filter(order__in=[item.order for item in moves])
        .values_list("order")
        .annotate(Max("sequence"))
    )
    events, told = [], []
    for item in moves:
        order, source = item.order, OrderState(item.order.state)
        if not may_move(source, item.to):
            raise RuleBroken(
                f"Order {order.client_order_id} cannot go from {source} to {item.to} ({item.reason}). Its state is "
                "unchanged; reconciliation will show what the broker has."
            )
        order.state = item.to
        order.reason = item.reason[:300]
        order.save()
        events.append(_event(item, source, sequence=last.get(order.pk, 0) + 1, at=at))
        told.append(_moved(item, source, at))
    OrderEvent.objects.bulk_create(events)
    audit.record_all(told)
    for item in moves:
        _follow_up(item.order, item.to, at=at)
    return events


def _event(item: Move, source: OrderState, *, sequence: int, at: datetime) -> OrderEvent:
    return OrderEvent(
        order=item.order,
        sequence=sequence,
        from_state=source,
        to_state=item.to,
        at=at,
        attempt=item.order.attempt,
        reason=item.reason[:300],
        message=item.message,
        broker_event=item.broker_event,
        application=item.application,
    )


def _moved(item: Move, source: OrderState, at: datetime) -> audit.Draft:
    """That an order has moved."""
    is_loud = is_late(source, item.to) or item.to in (OrderState.UNKNOWN, OrderState.REJECTED)
    return audit.Draft(
        "order.moved",
        Actor.system("orders"),
        account=item.order.account,
        obj=item.order,
        before={"state": source},
        after={"state": item.to},
        reason=item.reason,
        level="WARNING" if is_loud else "INFO",
        at=at,
    )


def _follow_up(order: Order, to: OrderState, *, at: datetime) -> None:
    """What a move brings with it: legs end with an entry that never filled, an intent goes with its order."""
    if to in TERMINAL and order.tag == Tag.ENTRY and order.filled_quantity == ZERO:
        _drop_legs(order, at=at)
    if order.exit_intent is not None:
        _follow(order.exit_intent, to)


def waits(order: Order, reason: str) -> None:
    """Write down what an order that the caller has locked waits for: nothing else says why it has not left."""
    said = f"waits: {reason}"[:300]
    if order.reason != said:
        order.reason = said
        order.save(update_fields=["reason", "updated_at"])


def locked(order_id: int, *, account_id: int | None = None) -> Order:
    """The order's row, locked, under its account's lock. Call inside a transaction.

    Whoever knows its account names it, so that it need not be asked for.
    """
    if account_id is None:
        account_id = Order.objects.values_list("account_id", flat=True).get(pk=order_id)
    return locked_all([order_id], account_id=account_id)[0]


def locked_all(order_ids: Sequence[int], *, account_id: int) -> list[Order]:
    """The rows of orders of one account, locked, in the order of their numbers."""
    lock_account(account_id)
    return list(
        Order.objects.select_for_update(no_key=True, of=("self",))
        .select_related("account", "instrument")
        .filter(pk__in=order_ids, account=account_id)
        .order_by("pk")
    )


def sent_at(order: Order) -> datetime | None:
    """When it was sent last, on the account's clock; None for one that never was."""
    sendings = OrderEvent.objects.filter(order=order, to_state=OrderState.SENDING)
    return sendings.order_by("-sequence").values_list("at", flat=True).first()


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
        if wanted == ExitIntent.State.MISSED:
            _tell_missed(intent)


def _tell_missed(intent: ExitIntent) -> None:
    """An exit whose time ended before it was done: what it was to close is still held."""
    note(
        key=f"exit-missed:{intent.pk}",
        level="CRITICAL",
        text=(
            f"{intent.account.name}: the exit {intent.exit_type} of decision {intent.decision_id} "
            f"({intent.exit_reason}) expired before it was filled. What it was to close may still be held: look at the "
            "position, and at its stop."
        ),
    )
