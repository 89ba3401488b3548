"""Limit entries that rest unfilled while the market moves away: which of them follow it, and what their rows say then.

What always holds: an entry follows only while new risk may be taken on its account, nothing of it has filled, and,
on a mirror, its paper account holds the trade; the ticks are those of the policy under which it was decided, with which
its size and risk were measured.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Q

from trading.clock import now, wall_now
from trading.domain.broker import OrderType
from trading.domain.orders import OrderState, Tag
from trading.models import Account, Order, Trade
from trading.selectors.policies import policy_of

from . import audit
from .audit import Actor
from .orders import locked
from .restrictions import OPEN, trading_state

ACTOR = Actor.system("entries")
# Between two moves of one order's price.
PAUSE = timedelta(seconds=2)


def most_ticks(order: Order) -> int:
    """How far an entry may follow the market: as the policy of the account that decided says."""
    return int(policy_of(order.decision.account).chase_ticks) if order.decision is not None else 0


def left_behind(account: Account) -> list[Order]:
    """The account's limit entries that may be moved after the market now."""
    due = Q(next_check_at=None) | Q(next_check_at__lte=wall_now())
    rows = Order.objects.filter(
        due, account=account, state=OrderState.WORKING, tag=Tag.ENTRY, type=OrderType.LIMIT, filled_quantity=0
    ).exclude(broker_order_id="")
    rows = rows.select_related("account", "instrument", "decision__signal", "decision__account__policy")
    return [order for order in rows.order_by("pk") if most_ticks(order) and _may_follow(order)]


def _may_follow(order: Order) -> bool:
    if order.decision is None or order.price is None:
        return False
    state, _ = trading_state(order.account, order.decision.signal.strategy, order.instrument, at=now(order.account))
    paper = order.account.mirror_of_id
    held = Trade.objects.filter(account=paper, decision=order.decision_id, state=Trade.State.OPEN)
    return state == OPEN and (paper is None or held.exists())


@transaction.atomic
def claim(*, order_id: int) -> bool:
    """Before its broker is asked to move it: nobody else does so for a moment. False when it may not be moved now."""
    order = locked(order_id)
    if order.state != OrderState.WORKING or (order.next_check_at is not None and order.next_check_at > wall_now()):
        return False
    order.next_check_at = wall_now() + PAUSE
    order.save(update_fields=["next_check_at", "updated_at"])
    return True


@transaction.atomic
def repriced(*, order_id: int, price: Decimal) -> None:
    """The broker took another price for it where it rests; its row says so."""
    order = locked(order_id)
    before = {"quantity": order.quantity, "price": order.price}
    order.price = price
    order.save(update_fields=["price", "updated_at"])
    audit.record(
        kind="order.resized",
        actor=ACTOR,
        account=order.account,
        obj=order,
        before=before,
        after={"quantity": order.quantity, "price": price},
        reason="it follows the market, which has left its price behind",
    )
