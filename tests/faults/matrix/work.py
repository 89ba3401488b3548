"""The work of a cell: what stands before the strike, which task is struck where, and what happens meanwhile.

What always holds here: whatever is prepared is done by the product's own services and engines and is right before the
strike; the market moves only at the cell's own simulator.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.faults.matrix.cells import Cell
from tests.faults.world import World, decide_entry
from trading.clock import now
from trading.domain.broker import OrderType
from trading.engine.canceller import ASK_AGAIN, cancel_order
from trading.engine.connections import broker_for
from trading.engine.oco import look_after
from trading.engine.sender import send_order
from trading.models import Decision, Order, Trade
from trading.services.exits import plan_exit

SENDING, WATCHING = "orders.send", "orders.watch"
PATIENCE_SECONDS = 30.0
# The points of the canceller, where an order's are called as the points themselves.
OF_CANCEL = {
    "decided": "cancel_decided",
    "intent_committed": "cancel_committed",
    "claimed": "cancel_committed",
    "before_send": "cancel_before_send",
    "after_response": "cancel_after_response",
    "before_store": "cancel_before_store",
    "stored": "cancel_stored",
    "looked_up": "cancel_after_response",
}


@dataclass
class Work:
    """What is to be struck: a task and its arguments at a failpoint; `again` is asked until the work is done."""

    failpoint: str
    task: str
    arguments: tuple[Any, ...] = ()
    # What the market does while the struck process is dead or frozen.
    meanwhile: Callable[[], None] = field(default=lambda: None)
    # Whose wish it was asks once more, where nothing was committed before the strike.
    again: Callable[[], None] = field(default=lambda: None)


def prepare(cell: Cell, world: World) -> Work:
    """Bring the cell's account to where the strike begins."""
    return {"entry": _entry, "exit": _exit, "cancel": _cancel, "oco": _oco}[cell.kind](cell, world)


def plan_leaving(entry_id: int, at: datetime) -> Order:
    """The planned exit of all that an entry's trade holds."""
    entry = Order.objects.select_related("account", "decision").get(pk=entry_id)
    assert entry.decision is not None
    trade = Trade.objects.get(account=entry.account, decision=entry.decision)
    return plan_exit(
        account=entry.account,
        decision=entry.decision,
        exit_type="TIME",
        reason="the matrix",
        quantity=trade.open_quantity,
        at=at,
    )


# the kinds


def _entry(cell: Cell, world: World) -> Work:
    if cell.point == "decided":
        moment = world.broker_now().isoformat()
        arguments = (world.account.pk, world.place.name, moment, str(OrderType.MARKET), str(world.place.ask))
        decide = Work("decided", "matrix.decide", arguments)
        decide.again = lambda: world.send_task("matrix.decide", *arguments)
        return decide
    return _sending(cell, world, _planned(world))


def _exit(cell: Cell, world: World) -> Work:
    entry = _entered(world)
    moment = now(world.account)
    if cell.point == "decided":
        arguments = (entry.pk, moment.isoformat())
        return Work(
            "exit_decided", "matrix.leave", arguments, again=lambda: world.send_task("matrix.leave", *arguments)
        )
    return _sending(cell, world, plan_leaving(entry.pk, moment))


def _cancel(cell: Cell, world: World) -> Work:
    order = _planned(world, OrderType.STOP, world.place.ask + world.place.away / 2)
    assert send_order(order_id=order.pk).state == "WORKING", "the entry rests"
    method = world.place.cancelling.partition(" ")[0].lower()
    point = {**OF_CANCEL, "after_send": f"{method}_sent"}.get(cell.point, cell.point)
    work = Work(point, "matrix.cancel", (order.pk,), again=lambda: world.send_task("matrix.cancel", order.pk))
    if cell.point in ("entry_written", "booked"):  # it fills in the moment before the cancel arrives
        _rise_to(world, order.price)
    elif cell.point in ("claimed", "swept", "looked_up"):  # the first request, or its answer, is lost
        world.fault("status", when="before", route=world.place.history, times=50, status=503)
        when = "after" if cell.point == "looked_up" else "before"
        world.fault("drop", when=when, route=world.place.cancelling)
        assert cancel_order(order_id=order.pk, reason="the matrix").state == "CANCELLING"
        world.simulator.delete("/faults")
        time.sleep(ASK_AGAIN.total_seconds())
        work.task, work.arguments = WATCHING, ()
    return work


def _oco(cell: Cell, world: World) -> Work:
    """Both ends of a bracket at once: one leg is reached while the exit, or the sibling's cancel, is handled."""
    entry = _entered(world)
    reach = _reaching_a_leg(world, entry)
    if cell.point in ("events_read", "entry_written", "booked", "swept"):
        reach()
        return Work(cell.point, WATCHING)
    moment = now(world.account)
    if cell.point == "decided":
        arguments = (entry.pk, moment.isoformat())
        work = Work("exit_decided", "matrix.leave", arguments)
    else:
        work = _sending(cell, world, plan_leaving(entry.pk, moment))
        if _reserves(world) and cell.point in ("claimed", "before_send", "after_response", "before_store", "stored"):
            work.failpoint = OF_CANCEL[cell.point]
        elif _reserves(world) and cell.point == "after_send":
            work.failpoint = f"{world.place.cancelling.partition(' ')[0].lower()}_sent"
    work.meanwhile = reach
    return work


# the parts


def _planned(world: World, type: OrderType = OrderType.MARKET, entry: Decimal | None = None) -> Order:
    """The entry of a decision that the account makes for itself, not sent."""
    decision = decide_entry(
        account=world.account,
        place=world.place,
        session=world.session,
        now=world.broker_now(),
        type=type,
        entry=entry or world.place.ask,
    )
    assert decision.verdict == Decision.Verdict.APPROVED, decision.reason
    return Order.objects.get(account=world.account, decision=decision, tag="ENTRY")


def _sending(cell: Cell, world: World, order: Order) -> Work:
    if cell.point == "swept":
        return Work("swept", WATCHING)
    if cell.point == "looked_up":
        world.fault("drop", when="before")  # of what the broker has, its events tell before anybody looks it up
        state, end = "PLANNED", time.monotonic() + PATIENCE_SECONDS
        while state == "PLANNED" and time.monotonic() < end:  # an exit waits for its legs' end
            state = send_order(order_id=order.pk).state
        assert state == "UNKNOWN", f"it was to be lost on its way, and is {state}"
        return Work("looked_up", WATCHING)
    point = "post_sent" if cell.point == "after_send" else cell.point
    return Work(point, SENDING, (order.pk,))


def _entered(world: World) -> Order:
    entry = _planned(world)
    assert send_order(order_id=entry.pk).state == "FILLED", "the entry is filled"
    entry.refresh_from_db()
    if not world.place.links_legs:
        look_after(world.account)
        assert _own_stop(world).state == "WORKING", "its stop rests"
    return entry


def _own_stop(world: World) -> Order:
    return Order.objects.get(account=world.account, tag="STOP", rides_on=None)


def _reserves(world: World) -> bool:
    broker = broker_for(world.account)
    try:
        return broker.capabilities.legs_reserve_units
    finally:
        broker.close()


def _reaching_a_leg(world: World, entry: Order) -> Callable[[], None]:
    """Lets the market reach the target, or the stop where that alone rests."""
    if world.place.links_legs:
        target = Order.objects.get(rides_on=entry, tag="TP1").price
        return lambda: _rise_to(world, target)
    stop = _own_stop(world).price
    spread = world.place.ask - world.place.bid
    return lambda: world.price(stop - 2 * spread, stop - spread)


def _rise_to(world: World, price: Any) -> None:
    world.price(price + world.place.ask - world.place.bid, price + 2 * (world.place.ask - world.place.bid))
