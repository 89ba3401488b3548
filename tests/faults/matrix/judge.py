"""The judge of a cell: what is wrong with an account, by its simulator's journal; empty when all is right.

What always holds here: the journal is the truth; every order that the broker has is bound to exactly one order of ours
and the reverse, every fill of the broker's is in the books exactly once, and every order is in its right end state.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from tests.faults.matrix.cells import Cell
from tests.faults.world import World
from trading.domain.orders import PROTECTIVE_TAGS, TERMINAL, OrderState
from trading.models import Fill, Notification, Order, OrderGroup, TaskAttempt

FILLED, CANCELLED, WORKING = OrderState.FILLED, OrderState.CANCELLED, OrderState.WORKING


def problems(cell: Cell, world: World, *, decided: bool = False) -> list[str]:
    """What is wrong now. `decided`: people have ended the order that waited for them."""
    orders = list(Order.objects.filter(account=world.account).select_related("rides_on").order_by("id"))
    waits = cell.waits_for_people and not decided
    ended = _waiting(orders) if waits else _ended_right(cell, world, orders)
    found = [*_bound_once(world, orders), *_booked_once(world), *ended]
    return found or world.differences()


def lost(orders: list[Order]) -> list[Order]:
    """The orders that were tried and that nobody can show to be at the broker."""
    return [order for order in orders if order.rides_on_id is None and order.state == OrderState.UNKNOWN]


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
    theirs = world.fills()
    rows = Fill.objects.filter(account=world.account).select_related("order")
    ours = sorted((r.external_id, r.quantity, r.price, r.order.broker_order_id if r.order else "") for r in rows)
    return [] if ours == theirs else [f"fills in the books {ours}, at the broker {theirs}"]


def _waiting(orders: list[Order]) -> list[str]:
    """An order that may never have arrived says so, people were told, and it was asked for once at most."""
    waiting = lost(orders)
    if len(waiting) != 1:
        return [f"{len(waiting)} orders are UNKNOWN: {[f'{order.tag} {order.state}' for order in orders]}"]
    [order] = waiting
    found = [f"{order.tag} was tried {order.attempt} times"] if order.attempt != 1 else []
    told = Notification.objects.filter(key=f"order-unknown:{order.pk}", level="CRITICAL")
    return found if told.exists() else [*found, f"nobody was told that {order.tag} is UNKNOWN"]


def _ended_right(cell: Cell, world: World, orders: list[Order]) -> list[str]:
    entries = [order for order in orders if order.tag == "ENTRY"]
    riding = [order for order in orders if order.rides_on_id is not None]
    exits = [order for order in orders if order.tag == "CLOSE"]
    legs = [order for order in orders if order.rides_on_id is None and order.tag in PROTECTIVE_TAGS]
    if len(entries) != 1 or len(riding) != 2:
        return [f"{len(entries)} entries and {len(riding)} riding legs were planned"]
    found = [f"dead: {row.key}" for row in TaskAttempt.objects.filter(dead_at__isnull=False)]
    found += [f"told: {row.key}" for row in Notification.objects.filter(key__startswith="dead:")]
    if world.place.links_legs:
        legs = riding
    else:
        found += _not_in(riding, CANCELLED)
    lost_to_fill = cell.kind == "cancel" and cell.point in ("entry_written", "booked")
    never = (cell.kind == "cancel" and not lost_to_fill) or (cell.kind == "entry" and cell.waits_for_people)
    found += _not_in(entries, CANCELLED if never else FILLED, filled=Decimal(0) if never else entries[0].quantity)
    exits_again = exits[1:] if cell.waits_for_people and cell.kind == "exit" else exits
    if exits != exits_again:  # people ended the first; the product leaves again where a stop was not faster
        found += _not_in(exits[:1], CANCELLED)
    if never:
        found += _not_in(legs, CANCELLED)
    elif cell.kind == "entry" or lost_to_fill or (exits and not exits_again):
        found += _protected(world, entries[0], legs)
    else:
        found += _left(world, entries[0], legs, exits, orders)
    if cell.kind == "exit" and exits_again:
        found += _not_in(exits_again, FILLED, filled=entries[0].quantity)
        found += _not_in(legs, CANCELLED)
    if cell.kind == "exit" and (not exits or len(exits_again) > 1):
        found.append(f"{len(exits)} exits were planned")
    return found


def _left(world: World, entry: Order, legs: list[Order], exits: list[Order], orders: list[Order]) -> list[str]:
    """The trade is over: exits and legs together closed what was entered, and nothing of it lives."""
    left = sum((order.filled_quantity for order in (*legs, *exits)), Decimal(0))
    found = [] if left == entry.quantity else [f"{left} of {entry.quantity} were left by exits and legs together"]
    found += [f"{order.tag} is {order.state}" for order in orders if OrderState(order.state) not in TERMINAL]
    group = OrderGroup.objects.get(account=world.account)
    return found if group.state == OrderGroup.State.CLOSED else [*found, f"its group is {group.state}"]


def _protected(world: World, entry: Order, legs: list[Order]) -> list[str]:
    """What was entered has its legs at the broker: both, or where we place them the one stop over all of it."""
    if world.place.links_legs:
        return _not_in(legs, WORKING)
    live = [leg for leg in legs if OrderState(leg.state) not in TERMINAL]
    found = _not_in(live, WORKING) + _not_in([leg for leg in legs if leg not in live], CANCELLED)
    if [(leg.tag, leg.quantity) for leg in live] != [("STOP", entry.quantity)]:
        found.append(f"{entry.quantity} are guarded by {[(leg.tag, str(leg.quantity)) for leg in live]}")
    return found


def _not_in(orders: list[Order], state: OrderState, *, filled: Decimal = Decimal(0)) -> list[str]:
    return [
        f"{order.tag} is {order.state} with {order.filled_quantity} filled ({order.reason})"
        for order in orders
        if order.state != state or order.filled_quantity != filled
    ]
