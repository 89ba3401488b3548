"""Room for an exit, where a broker reserves the units that resting legs guard, or does not end them with the trade.

What always holds: the entry's rest and its legs are cancelled, and their end is known, before the exit may leave; what
they filled meanwhile makes the exit smaller or needless: an exit never sells more than the trade still holds.
"""

from __future__ import annotations

import time
from contextlib import suppress
from decimal import Decimal

from django.db import transaction

from trading.clock import now
from trading.domain.broker import BrokerUnreachable, Capabilities, Found, OrderPort
from trading.domain.money import ZERO, plain
from trading.domain.orders import TERMINAL, OrderState
from trading.locks import lock_account
from trading.models import Order, Trade
from trading.services import orders
from trading.services.exits import plan_exit
from trading.services.linking import link_legs

from .canceller import cancel_order
from .inflow import catch_up

# A cancel is confirmed within moments; what takes longer is gone on with by the sweep.
PATIENCE_SECONDS = 1.5
PAUSE = 0.1


def needs_room(order: Order, able: Capabilities) -> bool:
    """Whether what guards the trade must be gone before this order leaves."""
    return (
        order.reduce_only and order.exit_intent_id is not None and (able.legs_reserve_units or not able.native_bracket)
    )


def make_room(exit_order: Order, broker: OrderPort) -> bool:
    """Free the units that this exit closes; True once nothing of the trade rests at the broker any more.

    False when that is not known yet: the exit stays PLANNED, and the sweep comes again.
    """
    if not needs_room(exit_order, broker.capabilities):
        return True
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with suppress(BrokerUnreachable):
            catch_up(account=exit_order.account, broker=broker)
        resting = _resting(exit_order)
        if not resting:
            return _still_needed(exit_order)
        for order in resting:
            if order.state == OrderState.PLANNED and order.rides_on_id is not None:
                _name_legs(order, broker)
            else:
                cancel_order(order_id=order.pk, reason="its trade is being left", broker=broker)
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)


def _resting(exit_order: Order) -> list[Order]:
    """The trade's entry and legs that may rest at the broker. Legs of an entry that was sent do, named or not."""
    assert exit_order.exit_intent is not None
    rows = Order.objects.filter(account=exit_order.account, decision=exit_order.exit_intent.decision)
    found = []
    for order in rows.exclude(state__in=TERMINAL).select_related("account", "rides_on").order_by("rides_on", "id"):
        entry = order.rides_on
        if entry is not None and order.state == OrderState.PLANNED and not entry.broker_order_id:
            continue
        found.append(order)
    return found


def _name_legs(leg: Order, broker: OrderPort) -> None:
    """Learn the broker's id of a leg whose entry was accepted without an answer that named it."""
    entry = leg.rides_on
    if entry is None:
        return
    outcome = broker.order_by_client_id(entry.client_order_id, since=entry.since_event_id)
    if not isinstance(outcome, Found):
        return
    with transaction.atomic():
        lock_account(leg.account_id)
        link_legs(leg.account, outcome.legs)
        row = orders.locked(leg.pk)
        if row.broker_order_id and row.state == OrderState.PLANNED:
            orders.move(row, OrderState.WORKING, at=now(row.account), reason="the broker has it, with its entry")


@transaction.atomic
def _still_needed(exit_order: Order) -> bool:
    """Whether the trade still holds what the exit closes; else it ends here, and one for what is left is planned."""
    order = orders.locked(exit_order.pk)
    if order.state != OrderState.PLANNED or order.exit_intent is None:
        return False
    trade = Trade.objects.filter(account=order.account, decision=order.exit_intent.decision).first()
    left: Decimal = trade.open_quantity if trade is not None else ZERO
    if left >= order.quantity:
        return True
    holds = f"only {plain(left)}" if left else "nothing any more"
    reason = f"not sent: the trade holds {holds}; its own legs closed the rest"
    orders.move(order, OrderState.CANCELLED, at=now(order.account), reason=reason)
    if left > 0:  # its legs are gone: the sweep sends this one next
        plan_exit(
            account=order.account,
            decision=order.exit_intent.decision,
            exit_type=order.exit_intent.exit_type,
            reason=order.exit_intent.exit_reason,
            quantity=left,
            at=now(order.account),
        )
    return False
