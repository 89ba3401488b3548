"""Carrying out what two people approved about stops: our rows first, in the application's transaction.

What always holds: a stop that is placed is a leg of its decision under its derived id, so that whoever looks after the
trade knows it as its own; a leg that rests is CANCELLING before its broker is asked; what only the broker can do is
left to the engine, and a later run says whether it was done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciliation.models import Discrepancy
from trading.clock import now
from trading.domain.money import parse_decimal
from trading.domain.orders import OrderState
from trading.models import Application, Decision, Instrument, Order, OrderGroup
from trading.services import orders
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

from .stop_payloads import CANCEL, PLACE, RESTS


def carry_out(row: Discrepancy, stop: Mapping[str, Any], application: Application, actor: Actor) -> Order | None:
    """One stop of a payload; the planned order of one that is placed. Raises RuleBroken when it cannot be any more."""
    if stop["do"] == PLACE:
        return _place(row, stop, actor)
    order = orders.locked(Order.objects.get(client_order_id=stop["client_id"]).pk)
    if stop["do"] == CANCEL and order.state in RESTS:
        reason = f"two people: nothing is held that it could close (proposal {application.proposal_id})"
        orders.move(order, OrderState.CANCELLING, at=now(row.account), reason=reason)
        order.next_check_at = None
        order.save(update_fields=["next_check_at", "updated_at"])
    return None


def _place(row: Discrepancy, stop: Mapping[str, Any], actor: Actor) -> Order:
    decision = Decision.objects.get(pk=stop["decision"])
    order = orders.plan_order(
        account=row.account,
        intent=decision,
        tag=stop["tag"],
        instrument=Instrument.objects.get(symbol=stop["instrument"]),
        side=stop["side"],
        quantity=parse_decimal(stop["quantity"]),
        type="STOP",
        price=parse_decimal(stop["price"]),
        at=now(row.account),
        reduce_only=True,
        group=OrderGroup.objects.filter(account=row.account, decision=decision).first(),
        sequence=stop["sequence"],
        actor=actor,
    )
    if order.client_order_id != stop["client_id"]:
        raise RuleBroken(f"the stop would be placed as {order.client_order_id}, not as {stop['client_id']}")
    return order
