"""What our own records say came late: the last news of orders, fills after an end, decisions without a link.

What always holds: nothing is written; a fill that people decided to book is no late one, they have seen it already.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Exists, OuterRef, QuerySet

from reconciliation.domain.snapshots import LateOrder, UnmappedTrade
from trading.domain.orders import TERMINAL, OrderState, Tag
from trading.models import Account, Fill, Order, OrderEvent, Trade

_GIVEN_UP = [str(state) for state in (OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED)]
_FILLED = [str(OrderState.PARTIAL), str(OrderState.FILLED)]


def last_events(orders: Sequence[Order]) -> dict[int, OrderEvent]:
    """The last thing that is known to have happened to each of these orders, by their numbers."""
    events = OrderEvent.objects.filter(order__in=orders).order_by("order_id", "-sequence").distinct("order_id")
    return {event.order_id: event for event in events}


def late_orders(account: Account) -> list[LateOrder]:
    """Orders of which something filled after they had ended here, each with the last time that this happened."""
    return [_late(event) for event in late_events(account)]


def late_events(account: Account) -> QuerySet[OrderEvent]:
    """The last such event of each order; asked in every run, so they have an index of their own (`late_fills`)."""
    approved = Fill.objects.filter(order=OuterRef("order"), broker_event=OuterRef("broker_event"))
    return (
        OrderEvent.objects.filter(order__account=account, from_state__in=_GIVEN_UP, to_state__in=_FILLED)
        .exclude(Exists(approved.filter(application__isnull=False)))
        .select_related("order__instrument")
        .order_by("order_id", "-sequence")
        .distinct("order_id")
    )


def _late(event: OrderEvent) -> LateOrder:
    order = event.order
    end = OrderEvent.objects.filter(order=order, sequence__lt=event.sequence).order_by("-sequence").first() or event
    return LateOrder(
        order_id=order.pk,
        client_id=order.client_order_id,
        instrument=order.instrument.symbol,
        side=order.side,
        tag=Tag(order.tag),
        quantity=order.quantity,
        filled=order.filled_quantity,
        ended=OrderState(event.from_state),
        ended_at=end.at,
        ended_by_broker=end.broker_event_id is not None or end.message_id is not None,
        filled_at=event.at,
    )


def unmapped_trades(account: Account) -> list[UnmappedTrade]:
    """Decisions with an open trade whose entry on this account has no order at the broker yet, and has not ended."""
    is_open = Trade.objects.filter(decision=OuterRef("decision"), state=Trade.State.OPEN)
    rows = (
        Order.objects.filter(Exists(is_open), account=account, tag=Tag.ENTRY, broker_order_id="")
        .exclude(state__in=[str(state) for state in TERMINAL])
        .select_related("instrument")
        .order_by("pk")
    )
    return [
        UnmappedTrade(
            decision_id=row.decision_id,
            order_id=row.pk,
            client_id=row.client_order_id,
            instrument=row.instrument.symbol,
            state=OrderState(row.state),
            since=row.at,
        )
        for row in rows
        if row.decision_id is not None
    ]
