"""Exits: the wish to leave what a decision holds on an account, and its closing order.

What always holds: an exit closes the strategy's own quantity and never opens anything (reduce only); at most one
exit of a decision and account is alive; the same wish at the same moment is the same intent.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from trading.domain.orders import OrderState, Tag
from trading.failpoints import failpoint
from trading.locks import lock_account
from trading.models import Account, Decision, ExitIntent, Order, OrderGroup

from . import audit
from .audit import Actor
from .orders import move, plan_order

ACTOR = Actor.system("exits")


@transaction.atomic
def plan_exit(
    *, account: Account, decision: Decision, exit_type: str, reason: str, quantity: Decimal, at: datetime
) -> Order:
    """Plan the market order that closes `quantity` of what the decision holds. Nothing is sent here."""
    lock_account(account.pk)
    intents = ExitIntent.objects.filter(account=account, decision=decision)
    intent = intents.filter(exit_type=exit_type, at=at).first() or intents.filter(state__in=ExitIntent.LIVE).first()
    if intent is None:
        intent = ExitIntent.objects.create(
            account=account, decision=decision, exit_type=exit_type, exit_reason=reason[:120], at=at
        )
        audit.record(
            kind="exit.planned",
            actor=ACTOR,
            account=account,
            obj=intent,
            after={"exit": exit_type, "state": str(intent.state)},
            reason=f"{exit_type}: {reason}",
            at=at,
        )
    failpoint("exit_decided")
    signal = decision.signal
    return plan_order(
        account=account,
        intent=intent,
        tag=Tag.CLOSE,
        instrument=signal.instrument,
        side="SELL" if signal.side == "BUY" else "BUY",
        quantity=quantity,
        type="MARKET",
        at=at,
        reduce_only=True,
        group=OrderGroup.objects.filter(account=account, decision=decision).first(),
        actor=ACTOR,
    )


@transaction.atomic
def cancel_unsent_entry(*, account: Account, decision: Decision, reason: str, at: datetime) -> None:
    """An entry that was never sent and has lost its purpose is cancelled, its legs with it."""
    lock_account(account.pk)
    entry = (
        Order.objects.select_for_update(no_key=True)
        .filter(account=account, decision=decision, tag=Tag.ENTRY, state=OrderState.PLANNED)
        .first()
    )
    if entry is not None:
        move(entry, OrderState.CANCELLED, at=at, reason=reason)
