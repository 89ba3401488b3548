"""UNKNOWN orders: resolved by evidence, never by a time-out; and the sweep that finds what nobody woke.

What always holds: an UNKNOWN order leaves that state only when the broker shows it, or when every look-up began after
the quarantine and was COMPLETE and negative; then the same id is sent again, but only at a broker that would recognise
a copy or can prove absence (`Capabilities.resends_when_absent`): elsewhere a person decides. The first 404 proves
nothing. One process looks for an order at a time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from trading.clock import now, wall_now
from trading.domain.broker import Absent, Found, LookupFailed, LookupOutcome, OrderPort
from trading.domain.orders import OrderState, state_from_broker
from trading.failpoints import failpoint
from trading.models import Account, Order
from trading.services import attempts, logins, orders, plausibility
from trading.services.linking import link_legs

from .connections import connected
from .inflow import catch_up
from .messages import keep

RECHECK = timedelta(seconds=2)
# Where only a person can end it, the broker's list is still read now and then: it may show the order after all.
RECHECK_LATER = timedelta(seconds=30)
# How long one process may look for an order before another may begin.
LOOKING = timedelta(seconds=15)


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
    """Look an UNKNOWN order up, if that is due and nobody else does, and act on the evidence.

    Raises BrokerUnreachable when the broker does not answer: the order stays UNKNOWN and is looked up again soon.
    """
    order = Order.objects.select_related("account").get(pk=order_id)
    key = f"orders.resolve:{order_id}"
    if order.state != OrderState.UNKNOWN or not _begin(order_id, key):
        return order
    try:
        with connected(order.account, broker) as port:
            catch_up(account=order.account, broker=port)
            order.refresh_from_db()
            if order.state == OrderState.UNKNOWN:
                began = wall_now()
                outcome = port.order_by_client_id(order.client_order_id, since=order.since_event_id)
                failpoint("looked_up")
                _apply(order_id, outcome, began, resends=port.capabilities.resends_when_absent)
            else:
                attempts.end(key=attempts.send_key(order_id))
    except Exception:
        _postpone(order_id)
        raise
    finally:
        attempts.end(key=key)  # an error is an end, too: only what kills its worker is given up
    return Order.objects.get(pk=order_id)


@transaction.atomic
def _begin(order_id: int, key: str) -> bool:
    """Take the look-up on; False when it is not due, somebody else is at it, or it was given up."""
    order = orders.locked(order_id)
    due = order.next_check_at is None or order.next_check_at <= wall_now()
    if order.state != OrderState.UNKNOWN or not due or not attempts.begin(key=key):
        return False
    order.next_check_at = wall_now() + LOOKING
    order.save(update_fields=["next_check_at", "updated_at"])
    return True


def _apply(order_id: int, outcome: LookupOutcome, began: datetime, *, resends: bool) -> None:
    """Act on a look-up that began at `began`: what it did not see can have come after its first question.

    Without `resends` an order that is not found stays UNKNOWN, and people are told that they must decide.
    """
    with transaction.atomic():
        order = orders.locked(order_id)
        if order.state != OrderState.UNKNOWN:
            return
        moment = now(order.account)
        shown = outcome.order if isinstance(outcome, Found) else None
        why = plausibility.other_terms(order, side=shown.side, quantity=shown.quantity) if shown is not None else ""
        if why:  # somebody else's under our id: it is not ours, and ours may still come
            plausibility.tell_foreign(order, why, broker_order_id=shown.broker_order_id if shown is not None else "")
            order.next_check_at = wall_now() + RECHECK
            order.save(update_fields=["next_check_at", "updated_at"])
            return
        if isinstance(outcome, Found):
            message = keep(order, "lookup", outcome.evidence)
            order.broker_order_id = order.broker_order_id or outcome.order.broker_order_id
            link_legs(order.account, outcome.legs)
            wanted = state_from_broker(outcome.order.status)
            fills_tell = wanted in (OrderState.FILLED, OrderState.PARTIAL)
            to = OrderState.WORKING if wanted is None or fills_tell else wanted
            reason = f"the broker has it: {outcome.order.broker_order_id} {outcome.order.raw_status}"
            orders.move(order, to, at=moment, reason=reason, message=message)
            attempts.end(key=attempts.send_key(order_id))
            if outcome.duplicates:
                plausibility.tell_twice(order, [each.broker_order_id for each in outcome.duplicates])
            return
        over = order.quarantine_until is not None and began >= order.quarantine_until
        if isinstance(outcome, Absent) and over and resends:
            order.next_check_at = None
            message = keep(order, "lookup", outcome.evidence)
            reason = "absent in every look-up after the quarantine; the same id is sent again"
            orders.move(order, OrderState.PLANNED, at=moment, reason=reason, message=message)
        else:
            order.next_check_at = wall_now() + (RECHECK if resends or not over else RECHECK_LATER)
            order.save(update_fields=["next_check_at", "updated_at"])
            if over and not resends:
                said = outcome.reason if isinstance(outcome, LookupFailed) else "its complete list does not have it"
                logins.person_must_decide(order, said)


@transaction.atomic
def _postpone(order_id: int) -> None:
    order = orders.locked(order_id)
    order.next_check_at = wall_now() + RECHECK
    order.save(update_fields=["next_check_at", "updated_at"])


def needing_work(account: Account | None = None) -> list[Order]:
    """Orders at brokers that a sweep must look at now: unsent, with an expired lease, or UNKNOWN and due.

    Those of an account that was retired stay as they are: nothing is asked of its broker any more.
    """
    moment = wall_now()
    rows = Order.objects.filter(
        state__in=["PLANNED", "SENDING", "UNKNOWN"], rides_on=None, account__is_active=True
    ).exclude(account__broker=Account.Broker.PAPER)
    if account is not None:
        rows = rows.filter(account=account)
    return [
        order
        for order in rows.select_related("account").order_by("id")
        if (order.state == OrderState.PLANNED and (order.next_check_at is None or order.next_check_at <= moment))
        or (order.state == OrderState.SENDING and order.lease_until is not None and order.lease_until <= moment)
        or (order.state == OrderState.UNKNOWN and (order.next_check_at is None or order.next_check_at <= moment))
    ]
