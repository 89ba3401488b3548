"""The judge of a cell: what is wrong with an account, by its simulator's journal; empty when all is right.

What always holds here: the journal is the truth; every order that the broker has is bound to exactly one order of ours
and the reverse, every fill of the broker's is in the books exactly once, and every order is in its right end state.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from tests.faults.matrix.cells import Cell
from tests.faults.world import World
from trading.domain.orders import TERMINAL, OrderState
from trading.models import Fill, Notification, Order, OrderGroup, TaskAttempt

FILLED, CANCELLED, WORKING = OrderState.FILLED, OrderState.CANCELLED, OrderState.WORKING


def problems(cell: Cell, world: World) -> list[str]:
    """What is wrong now."""
    orders = list(Order.objects.filter(account=world.account).select_related("rides_on").order_by("id"))
    ended = _waiting(orders) if cell.waits_for_people else _ended_right(cell, world, orders)
    found = [*_bound_once(world, orders), *_booked_once(world), *ended]
    return found or world.differences()


def _bound_once(world: World, orders: list[Order]) -> list[str]:
    """One order at the broker for one of ours, asked for once."""
    found = []
    theirs: dict[str, str] = {row["data"]["id"]: row["data"]["client_id"] for row in world.rows("order")}
    ours = [order.broker_order_id for order in orders if order.broker_order_id]
    for client_id, copies in Counter(id for id in theirs.values() if id).items():
        if copies > 1:
            found.append(f"{copies} orders at the broker for {client_id}")
    if sorted(ours) != sorted(theirs):
        found.append(f"bound to {sorted(ours)}, the broker has {sorted(theirs)}")
    for order in orders:
        if order.rides_on_id is None and (asked := _arrived(world, order)) > 1:
            found.append(f"the broker was asked {asked} times for {order.tag} {order.client_order_id}")
    return found


def _arrived(world: World, order: Order) -> int:
    """How many requests for it the broker acted on; one that was lost on its way was not there."""
    return sum(row["data"]["outcome"] != "not_acted" for row in world.posts(order))


def _booked_once(world: World) -> list[str]:
    theirs = sorted(
        (row["data"]["id"], Decimal(row["data"]["quantity"]), Decimal(row["data"]["price"]), row["data"]["order_id"])
        for row in world.rows("fill")
    )
    rows = Fill.objects.filter(account=world.account).select_related("order")
    ours = sorted((r.external_id, r.quantity, r.price, r.order.broker_order_id if r.order else "") for r in rows)
    return [] if ours == theirs else [f"fills in the books {ours}, at the broker {theirs}"]


def _waiting(orders: list[Order]) -> list[str]:
    """An order that may never have arrived says so, and nothing else is done about it."""
    lost = [order for order in orders if order.rides_on_id is None and order.attempt and not order.broker_order_id]
    states = [str(order.state) for order in lost]
    return [] if states == [str(OrderState.UNKNOWN)] else [f"what may be lost is {states}, not UNKNOWN"]


def _ended_right(cell: Cell, world: World, orders: list[Order]) -> list[str]:
    entries = [order for order in orders if order.tag == "ENTRY"]
    legs = [order for order in orders if order.rides_on_id is not None]
    exits = [order for order in orders if order.tag == "CLOSE"]
    if len(entries) != 1 or len(legs) != 2:
        return [f"{len(entries)} entries and {len(legs)} legs were planned"]
    found = [f"dead: {row.key}" for row in TaskAttempt.objects.filter(dead_at__isnull=False)]
    found += [f"told: {row.key}" for row in Notification.objects.filter(key__startswith="dead:")]
    lost_to_fill = cell.kind == "cancel" and cell.point in ("entry_written", "booked")
    wanted = CANCELLED if cell.kind == "cancel" and not lost_to_fill else FILLED
    found += _not_in(entries, wanted, filled=entries[0].quantity if wanted is FILLED else Decimal(0))
    if cell.kind == "entry" or lost_to_fill:
        found += _not_in(legs, WORKING)
    elif cell.kind == "cancel":
        found += _not_in(legs, CANCELLED)
    else:
        left = sum((order.filled_quantity for order in (*legs, *exits)), Decimal(0))
        if left != entries[0].quantity:
            found.append(f"{left} of {entries[0].quantity} were left by exit and legs together")
        alive = [f"{order.tag} is {order.state}" for order in orders if OrderState(order.state) not in TERMINAL]
        found += alive
        group = OrderGroup.objects.get(account=world.account)
        if group.state != OrderGroup.State.CLOSED:
            found.append(f"its group is {group.state}")
    if cell.kind == "exit":
        found += _not_in(exits, FILLED, filled=entries[0].quantity)
        found += _not_in(legs, CANCELLED)
        if len(exits) != 1:
            found.append(f"{len(exits)} exits were planned")
    return found


def _not_in(orders: list[Order], state: OrderState, *, filled: Decimal = Decimal(0)) -> list[str]:
    return [
        f"{order.tag} is {order.state} with {order.filled_quantity} filled ({order.reason})"
        for order in orders
        if order.state != state or order.filled_quantity != filled
    ]
