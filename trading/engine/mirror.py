"""The mirror follows the paper account: what the paper account has left, the mirror leaves too.

What always holds: it acts on the state of the rows, not on a message, so a lost wake-up costs time only; a mirror that
was stopped out first stays flat; each exit is one order with a derived id that can only reduce; one that the broker
ends again and again without a fill is not repeated for ever: reconciliation shows what the broker has.
"""

from __future__ import annotations

from datetime import timedelta

from trading.clock import now
from trading.domain.broker import BrokerUnreachable, OrderPort
from trading.domain.orders import TERMINAL, OrderState, Tag
from trading.models import Account, ExitIntent, Order, Trade
from trading.selectors.policies import policy_of
from trading.services.exits import cancel_unsent_entry, plan_exit

from .canceller import RESTING, cancel_order
from .inflow import catch_up
from .oco import look_after
from .sender import send_order

# Exits of one trade that may end without a fill within the time between two reconciliations.
MOST_IN_VAIN = 3


def follow(*, paper: Account, mirror: Account, broker: OrderPort) -> int:
    """Close on the mirror what the paper account no longer holds; returns how many closing orders were sent."""
    if not has_business(mirror):
        return 0
    try:
        catch_up(account=mirror, broker=broker)
    except BrokerUnreachable:
        return 0  # the next round follows; nothing is judged on a broker that does not answer
    look_after(mirror, broker)
    closed = _left_by(paper, _decisions(mirror))
    sent = 0
    for order in Order.objects.filter(account=mirror, tag=Tag.ENTRY, state=OrderState.PLANNED, decision__in=closed):
        if order.decision is not None:
            cancel_unsent_entry(
                account=mirror, decision=order.decision, reason="the paper trade has ended already", at=now(mirror)
            )
    for order in Order.objects.filter(account=mirror, tag=Tag.ENTRY, state__in=RESTING, decision__in=closed):
        cancel_order(order_id=order.pk, reason="the paper account does not enter (any more)", broker=broker)
    for order in Order.objects.filter(account=mirror, tag=Tag.CLOSE, state=OrderState.PLANNED):
        send_order(order_id=order.pk, broker=broker)  # it waited for its legs to be cancelled
    trades = Trade.objects.filter(account=mirror, state=Trade.State.OPEN, decision__in=closed)
    for trade in trades.select_related("account", "decision__signal__instrument"):
        if _is_leaving(trade) or _in_vain(trade) >= MOST_IN_VAIN:
            continue
        paper_trade = Trade.objects.filter(account=paper, decision=trade.decision).first()
        why = paper_trade.close_reason if paper_trade is not None else "NO_ENTRY"
        order = plan_exit(
            account=mirror,
            decision=trade.decision,
            exit_type=why or "PAPER",
            reason=f"the paper account has left it: {why}" if paper_trade is not None else "paper never entered",
            quantity=trade.open_quantity,
            at=now(mirror),
        )
        send_order(order_id=order.pk, broker=broker)
        sent += 1
    return sent


def _is_leaving(trade: Trade) -> bool:
    return ExitIntent.objects.filter(
        account=trade.account_id, decision=trade.decision_id, state__in=ExitIntent.LIVE
    ).exists()


def _in_vain(trade: Trade) -> int:
    """How many exits of a trade have ended without leaving it since about the last reconciliation."""
    interval = timedelta(seconds=int(policy_of(trade.account).reconciliation_interval_seconds))
    ended = ExitIntent.objects.filter(account=trade.account_id, decision=trade.decision_id)
    return ended.exclude(state__in=ExitIntent.LIVE).filter(at__gt=now(trade.account) - interval).count()


def _left_by(paper: Account, decisions: list[int]) -> set[int]:
    """Of these decisions, those that the paper account has left, or whose entry there ended without a fill."""
    closed = Trade.objects.filter(account=paper, state=Trade.State.CLOSED, decision__in=decisions)
    ended = Order.objects.filter(
        account=paper,
        decision__in=decisions,
        tag=Tag.ENTRY,
        filled_quantity=0,
        state__in=[OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED],
    )
    return {*closed.values_list("decision_id", flat=True), *ended.values_list("decision_id", flat=True)}


def has_business(mirror: Account) -> bool:
    """True while the mirror holds something or has an order that may still change."""
    return (
        Trade.objects.filter(account=mirror, state=Trade.State.OPEN).exists()
        or Order.objects.filter(account=mirror)
        .exclude(state__in=["FILLED", "CANCELLED", "REJECTED", "EXPIRED"])
        .exists()
    )


def _decisions(mirror: Account) -> list[int]:
    """Decisions that the mirror has an open trade for, or an entry that has not ended."""
    trades = Trade.objects.filter(account=mirror, state=Trade.State.OPEN).values_list("decision_id", flat=True)
    entries = Order.objects.filter(account=mirror, tag=Tag.ENTRY).exclude(state__in=TERMINAL)
    return [*trades, *(pk for pk in entries.values_list("decision_id", flat=True) if pk is not None)]
