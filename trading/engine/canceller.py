"""The canceller: take an order back at its broker, and believe it only when the broker says so.

What always holds: CANCELLING is committed before anything is sent; an answer that proves nothing leaves the order
CANCELLING and the cancel is asked again (asking twice cancels once); it may fill meanwhile, and then it is filled; an
order that nobody ever sent is cancelled here and no broker is asked.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from django.db import transaction

from trading.clock import now, wall_now
from trading.domain.broker import (
    NEEDS_LOGIN,
    Accepted,
    BrokerUnreachable,
    OrderPort,
    Refused,
    SubmitOutcome,
    Unknown,
)
from trading.domain.orders import TERMINAL, OrderState, state_from_broker
from trading.failpoints import failpoint
from trading.models import Order, OrderEvent
from trading.services import orders, plausibility
from trading.services.logins import needs_login

from .connections import connected
from .inflow import catch_up
from .messages import keep

ASK_AGAIN, ASK_AT_LEAST = timedelta(seconds=2), timedelta(seconds=30)
RESTING = (OrderState.WORKING, OrderState.PARTIAL, OrderState.CANCELLING)
NEVER_ASKED = ("NOT_SENT", "NEEDS_LOGIN", "INVALID_REQUEST")


def cancel_order(*, order_id: int, reason: str, broker: OrderPort | None = None) -> Order:
    """Ask the broker to cancel an order of ours, if that makes sense now. Safe to call any number of times.

    Never raises for what the broker does; the order stays CANCELLING until its end is known. An order whose sending is
    under way or unknown is left alone: first it must be known whether the broker has it.
    """
    asked = _begin(order_id, reason)
    if asked is None:
        return Order.objects.get(pk=order_id)
    failpoint("cancel_committed")
    with connected(asked.account, broker) as port:
        failpoint("cancel_before_send")
        outcome = port.cancel(broker_order_id=asked.broker_order_id, client_id=asked.client_order_id)
        failpoint("cancel_after_response")
        _store(order_id, outcome)
        failpoint("cancel_stored")
        with suppress(BrokerUnreachable):  # the sweep asks again
            catch_up(account=asked.account, broker=port)
        found = Order.objects.get(pk=order_id)
        if found.state in (OrderState.WORKING, OrderState.PARTIAL) and found.broker_order_id != asked.broker_order_id:
            # The cancel was refused because the order goes on under another id: it is meant, too.
            return cancel_order(order_id=order_id, reason=reason, broker=port)
        return found


@transaction.atomic
def _begin(order_id: int, reason: str) -> Order | None:
    order = orders.locked(order_id)
    moment = now(order.account)
    unsent_entry = order.state == OrderState.PLANNED and order.rides_on_id is None
    if unsent_entry:
        orders.move(order, OrderState.CANCELLED, at=moment, reason=f"never sent: {reason}")
        return None
    if order.state not in RESTING or not (order.broker_order_id or order.rides_on_id is None):
        return None
    if order.state == OrderState.CANCELLING:
        if order.next_check_at is not None and order.next_check_at > wall_now():
            return None  # somebody has just asked
    else:
        orders.move(order, OrderState.CANCELLING, at=moment, reason=reason)
    order.next_check_at = wall_now() + _pause(order)
    order.save(update_fields=["next_check_at", "updated_at"])
    failpoint("cancel_decided")
    return order


def _pause(order: Order) -> timedelta:
    """Until the cancel is asked again: half as long as it has been under way, so that a slow broker is not flooded."""
    began = OrderEvent.objects.filter(order=order, to_state=OrderState.CANCELLING).order_by("-id").first()
    under_way = wall_now() - began.recorded_at if began is not None else timedelta(0)
    return min(max(ASK_AGAIN, under_way / 2), ASK_AT_LEAST)


@transaction.atomic
def _store(order_id: int, outcome: SubmitOutcome) -> None:
    order = orders.locked(order_id)
    message = keep(order, "cancel", outcome.evidence)
    failpoint("cancel_before_store")
    if order.state != OrderState.CANCELLING:
        return  # its end was known before the answer
    moment = now(order.account)
    if isinstance(outcome, Refused) and outcome.code == NEEDS_LOGIN:
        needs_login(order.account, outcome.message)
    if isinstance(outcome, Accepted):
        told = state_from_broker(outcome.status)
        if told in TERMINAL and told is not OrderState.FILLED:  # a fill moves it when it is booked
            orders.move(order, told, at=moment, reason=outcome.reason or "cancelled", message=message)
    elif isinstance(outcome, Refused) and outcome.code not in NEVER_ASKED:
        # It lives on, or it has ended already: the broker's events, read next, know which.
        back = OrderState.PARTIAL if order.filled_quantity else OrderState.WORKING
        reason = f"the cancel was refused: {outcome.code} {outcome.message}"
        orders.move(order, back, at=moment, reason=reason, message=message)
    elif isinstance(outcome, Unknown) and outcome.foreign:
        plausibility.tell_foreign(order, outcome.reason)


def half_cancelled() -> list[Order]:
    """Orders whose cancel is under way and may be asked again now."""
    rows = Order.objects.filter(state=OrderState.CANCELLING, account__is_active=True).select_related("account")
    return [row for row in rows.order_by("id") if row.next_check_at is None or row.next_check_at <= wall_now()]


def overdue_entries() -> list[Order]:
    """Resting orders whose time is over on the account's clock, and which their broker may not end by itself."""
    rows = Order.objects.filter(
        state__in=[OrderState.WORKING, OrderState.PARTIAL], good_till__isnull=False, account__is_active=True
    ).exclude(account__broker="PAPER")
    return [
        row
        for row in rows.select_related("account").order_by("id")
        if row.good_till is not None and now(row.account) > row.good_till
    ]
