"""Groups of our own, carried out: after every look the legs at the broker are what `domain.oco` says they should be.

What always holds: nothing is remembered here, so a group is looked after the same way after a restart; each step is an
order that is sent, cancelled or replaced by the verbs that every order goes through; a step that changes nothing ends
the look, and the next round comes again. Accounts whose broker makes the legs itself are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction

from trading.clock import now
from trading.domain import oco
from trading.domain.broker import Accepted, BrokerUnreachable, OrderPort, Unknown
from trading.models import Account, Order, OrderGroup
from trading.services import groups, orders, plausibility
from trading.services.exits import plan_exit
from trading.services.groups import Manner, Step

from .canceller import RESTING, cancel_order
from .connections import connected
from .inflow import catch_up
from .messages import keep
from .sender import send_order, send_planned

log = logging.getLogger(__name__)
# Steps of one group within one look: a cancel that is confirmed at once, the leg that follows, and its target.
MOST_LOOKS = 8


def look_after(account: Account, broker: OrderPort | None = None) -> int:
    """Bring every group of an account that its broker does not look after into its place; returns the steps done.

    Raises MissingCredentials or BrokerUnreachable when the account's broker cannot be reached at all.
    """
    if account.is_paper_book or (broker is not None and broker.capabilities.native_bracket):
        return 0
    wanted = groups.to_look_at(account)
    if not wanted:
        return 0
    with connected(account, broker) as port:
        if port.capabilities.native_bracket:
            return 0
        return _settle_all(wanted, port)


def send_and_cover(*, account_id: int) -> int:
    """Send everything of an account that may leave now, and cover what filled at once; returns how many were sent.

    The next round of the watcher would cover it, too, but a round may have to wait behind a burst of orders, and what
    is held must not. Raises MissingCredentials as `send_planned` does.
    """
    sent = send_planned(account_id=account_id)
    if sent:
        with suppress(BrokerUnreachable):  # the watcher goes on
            look_after(Account.objects.get(pk=account_id))
    return sent


def _settle_all(wanted: Sequence[int], broker: OrderPort) -> int:
    """Settle each group. The trouble of one keeps no other without its stop: it is raised once all were looked at."""
    done, trouble = 0, None
    for group_id in wanted:
        try:
            done += _settle(group_id, broker)
        except (SoftTimeLimitExceeded, BrokerUnreachable):
            raise
        except Exception as error:
            log.warning("group %s: its look failed", group_id, exc_info=True)
            trouble = trouble or error
    if trouble is not None:
        raise trouble
    return done


def _settle(group_id: int, broker: OrderPort) -> int:
    """Step after step, until nothing is left to do or nothing changes any more."""
    done, before = 0, None
    for _ in range(MOST_LOOKS):
        steps = groups.next_step(group_id=group_id, manner=Manner.of(broker.capabilities))
        if not steps or steps == before:
            break
        for step in steps:
            _carry_out(group_id, step, broker)
            done += 1
        before = steps
    return done


def _carry_out(group_id: int, step: Step, broker: OrderPort) -> None:
    if isinstance(step, oco.Send):
        send_order(order_id=step.order_id, broker=broker)
    elif isinstance(step, oco.Cancel):
        cancel_order(order_id=step.order_id, reason=step.reason, broker=broker)
    elif isinstance(step, oco.Resize):
        resize(step, broker)
    else:
        group = OrderGroup.objects.select_related("account", "decision__signal__instrument").get(pk=group_id)
        order = plan_exit(
            account=group.account,
            decision=group.decision,
            exit_type="UNPROTECTED",
            reason=step.reason,
            quantity=step.quantity,
            at=now(group.account),
        )
        send_order(order_id=order.pk, broker=broker)


def resize(step: oco.Resize, broker: OrderPort) -> None:
    """Give a resting leg another quantity or price in its place.

    What is not surely done is undone: a leg that may have either size is cancelled, and another takes its place.
    """
    order = Order.objects.select_related("account").get(pk=step.order_id)
    if order.state not in RESTING:
        return
    outcome = broker.replace(
        broker_order_id=order.broker_order_id,
        client_id=order.client_order_id,
        quantity=step.left,
        price=step.price,
    )
    with transaction.atomic():
        row = orders.locked(order.pk)
        keep(row, "replace", outcome.evidence)
        taken = isinstance(outcome, Accepted)
        if isinstance(outcome, Unknown) and outcome.foreign:
            plausibility.tell_foreign(row, outcome.reason)
        if taken:
            groups.resized(order_id=order.pk, left=step.left, price=step.price)
    if not taken:
        log.warning("order %s could not be replaced where it rests: %s", order.client_order_id, outcome)
        cancel_order(order_id=order.pk, reason="it could not be replaced where it rests", broker=broker)
        return
    with suppress(BrokerUnreachable):  # the sweep reads on
        catch_up(account=order.account, broker=broker)
