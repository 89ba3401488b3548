"""What a resolution does to orders of ours that stand, or should: stops placed, resized, cancelled; orders ended.

What always holds: each stop is named as it will be (client id, side, quantity, price), from our rows and what the case
saw at the broker; nothing is placed beside a stop that may live; orders that are not ours are never touched; nothing
is written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from reconciliation.domain.kinds import UNGUARDED, Action, Kind
from reconciliation.models import Discrepancy
from trading.domain.broker import Side
from trading.domain.ids import client_order_id
from trading.domain.money import ZERO, parse_decimal, plain
from trading.domain.orders import MAY_LIVE_AT_BROKER, TERMINAL, OrderState, Tag
from trading.models import Order, Trade
from trading.services.errors import RuleBroken
from trading.services.orders import intent_key

from . import lost_orders

PLACE, RESIZE, CANCEL = "place", "resize", "cancel"
RESTS = (OrderState.WORKING, OrderState.PARTIAL)
_NOT_THERE_YET = (OrderState.PLANNED, OrderState.SENDING, OrderState.UNKNOWN)
_NOT_NOW = (OrderState.SENDING, OrderState.UNKNOWN, OrderState.CANCELLING)


def effects(row: Discrepancy, action: Action) -> dict[str, Any]:
    """The parts of a payload about orders that stand; {} for none. Raises RuleBroken when nothing sensible is left."""
    if action is Action.RESIZE_STOP and Kind(row.kind) in UNGUARDED:
        return {"stops": [_cancel(row)] if row.kind == Kind.OCO_ORPHAN else [_cover(row)]}
    ended = lost_orders.orders_to_end(row, action)
    return {"ends": ended} if ended else {}


def told(payload: Mapping[str, Any]) -> list[str]:
    """The sentences of these parts."""
    return [*(_sentence(stop) for stop in payload.get("stops", ())), *lost_orders.told(payload)]


def is_under_way(payload: Mapping[str, Any], *, since: datetime) -> bool:
    """Whether stops of a payload that was applied are still on their way to the broker, or from it.

    What has had no news after `since` is on its way no more: it waits for a person.
    """
    named = {stop["client_id"]: stop["do"] for stop in payload.get("stops", ())}
    waits = {PLACE: _NOT_THERE_YET, CANCEL: (OrderState.CANCELLING,), RESIZE: ()}
    orders = Order.objects.filter(client_order_id__in=named, events__at__gt=since).distinct()
    return any(order.state in waits[named[order.client_order_id]] for order in orders)


def closing_is_under_way(orders: QuerySet[Order], *, since: datetime) -> bool:
    """Whether a resolution's closing orders are still on their way, as above, or the broker works on them."""
    works = orders.exclude(state__in=[*TERMINAL, *_NOT_THERE_YET])
    return works.exists() or orders.filter(state__in=_NOT_THERE_YET, events__at__gt=since).exists()


def _cancel(row: Discrepancy) -> dict[str, Any]:
    evidence = row.evidence.get("evidence", {})
    order = Order.objects.select_related("instrument").get(pk=evidence["order"], account=row.account)
    if order.state in _NOT_NOW:
        raise RuleBroken(f"Order {order.client_order_id} is {order.state}: what becomes of it must be known first.")
    return {
        "do": CANCEL,
        "client_id": order.client_order_id,
        "broker_order_id": evidence["broker_order"],
        "tag": order.tag,
        "instrument": order.instrument.symbol,
        "side": order.side,
        "quantity": row.broker_value if row.broker_value is not None else order.quantity - order.filled_quantity,
        "price": order.price,
    }


def _cover(row: Discrepancy) -> dict[str, Any]:
    """One stop for all that has none: a resting one of ours made larger, else another beside what rests."""
    evidence = row.evidence.get("evidence", {})
    trade = (
        Trade.objects.filter(account=row.account, decision=evidence.get("decision"), state=Trade.State.OPEN)
        .select_related("instrument", "decision")
        .first()
    )
    if trade is None or trade.open_quantity != row.books_value:
        raise RuleBroken(f"The trade of {row.key} has changed since this was seen. Run a reconciliation again.")
    stops = list(
        Order.objects.filter(account=row.account, decision=trade.decision_id, tag=Tag.STOP).order_by("sequence")
    )
    rests = {each["order"]: parse_decimal(each["left"]) for each in evidence.get("covering", ())}
    for stop in stops:
        may_live = stop.state in MAY_LIVE_AT_BROKER or (stop.state == OrderState.PLANNED and stop.rides_on_id is None)
        if may_live and stop.pk not in rests:
            raise RuleBroken(
                f"Our books know the stop {stop.client_order_id} as {stop.state}, and the broker does not show it: "
                "what became of it must be known before another is placed beside it. Its own case says so."
            )
    missing: Decimal = trade.open_quantity - sum(rests.values(), ZERO)
    own = [stop for stop in stops if stop.pk in rests and stop.rides_on_id is None and stop.state in RESTS]
    if own:
        largest = max(own, key=lambda stop: rests[stop.pk])
        return _stop(RESIZE, trade, largest.client_order_id, rests[largest.pk] + missing, largest.price)
    sequence = max((stop.sequence for stop in stops), default=0) + 1
    name = client_order_id(intent=intent_key(trade.decision), account=row.account.name, tag=Tag.STOP, sequence=sequence)
    price = next((stop.price for stop in reversed(stops) if stop.price is not None), None)
    return {**_stop(PLACE, trade, name, missing, price), "decision": trade.decision_id, "sequence": sequence}


def _stop(do: str, trade: Trade, client_id: str, quantity: Decimal, price: Decimal | None) -> dict[str, Any]:
    if price is None:
        raise RuleBroken("No stop of this trade has had a price. Place one by hand at the broker, or close the trade.")
    return {
        "do": do,
        "client_id": client_id,
        "tag": Tag.STOP,
        "instrument": trade.instrument.symbol,
        "side": Side(trade.side).opposite,
        "quantity": quantity,
        "price": price,
        "holds": trade.open_quantity,
    }


def _sentence(stop: Mapping[str, Any]) -> str:
    size = f"{stop['side']} {_plain(stop['quantity'])} {stop['instrument']}"
    at = f" at {_plain(stop['price'])}" if stop["price"] is not None else ""
    if stop["do"] == PLACE:
        return (
            f"Place a stop at the broker: {size}{at}, which may only reduce the position (order {stop['client_id']})."
        )
    if stop["do"] == RESIZE:
        return f"Let our stop {stop['client_id']} rest at the broker for {size}{at}, in its place."
    return f"Cancel our {stop['tag']} order {stop['client_id']} at the broker ({size}{at})."


def _plain(number: Any) -> str:
    return plain(number if isinstance(number, Decimal) else parse_decimal(str(number)))
