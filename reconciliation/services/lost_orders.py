"""Orders that may live at the broker or not, ended by two people who have looked there.

What always holds: only an order that is UNKNOWN is ended so, and only when the broker's complete list does not have it;
the approved application is the evidence; what it may fill after all is booked as a late fill and raised as a case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciliation.domain.kinds import Action, Kind
from reconciliation.models import Discrepancy
from trading.clock import now
from trading.domain.orders import OrderState
from trading.models import Application, Order
from trading.services import orders
from trading.services.errors import RuleBroken


def orders_to_end(row: Discrepancy, action: Action) -> list[str]:
    """The client ids of the orders that this resolution ends: that of the case, while nobody knows where it is."""
    if row.kind != Kind.ORDER_UNCONFIRMED or action is not Action.ACCEPT:
        return []
    named = row.evidence.get("evidence", {}).get("order")
    found = Order.objects.filter(pk=named, account=row.account, state=OrderState.UNKNOWN)
    return list(found.values_list("client_order_id", flat=True))


def sentence_of(client_id: str) -> str:
    """What ending an order means, in words."""
    return (
        f"Call the order {client_id} ended: the broker never had it. Look at the broker first. It is not sent again; "
        "should it fill after all, its fill opens a case."
    )


def end(client_id: str, application: Application) -> None:
    """End the order. Raises RuleBroken when it is known by now what became of it."""
    order = orders.locked(Order.objects.get(client_order_id=client_id).pk)
    if order.state != OrderState.UNKNOWN:
        raise RuleBroken(f"order {client_id} is {order.state} by now")
    orders.move(
        order,
        OrderState.CANCELLED,
        at=now(order.account),
        reason="two people looked at the broker: it never had this order",
        application=application,
    )


def told(payload: Mapping[str, Any]) -> list[str]:
    """The sentences of a payload's ended orders."""
    return [sentence_of(client_id) for client_id in payload.get("ends", ())]
