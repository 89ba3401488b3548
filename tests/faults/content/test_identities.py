"""Fills and orders that contradict what was ordered, or what was said before: held, told, and never booked twice."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.faults.standing import damaged, filled, read, unread, wire_of
from tests.faults.world import World
from trading.models import BrokerEvent, Fill, RiskEvent
from trading.services import cursors
from trading.services.inbox import INFLOW

pytestmark = pytest.mark.faults


@pytest.mark.fault("F-026")
def test_more_filled_than_was_ordered_is_told_and_never_hidden(any_world: World) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    with damaged(world, wire.history, f"{wire.fill}.{wire.quantity}", wire.number("7000")):
        read(world)
    told = RiskEvent.objects.filter(account=world.account)
    assert filled(order) in (Decimal(0), Decimal(7000)), "as the broker says it, or not at all"
    assert told.exists(), "and people hear of it"


@pytest.mark.fault("F-026")
def test_a_fill_below_zero_takes_nothing_back(any_world: World) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    below = "-1000" if world.place.name == "oanda" else "-5"
    with damaged(world, wire.history, f"{wire.fill}.{wire.quantity}", wire.number(below)):
        read(world)
    assert filled(order) == 0


@pytest.mark.fault("F-029")
def test_a_fill_of_the_other_side_is_not_booked_and_people_are_told(any_world: World) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    member, value = wire.flipped
    with damaged(world, wire.history, f"{wire.fill}.{member}", value):
        read(world)
    assert filled(order) == 0
    assert RiskEvent.objects.filter(account=world.account, kind="EVENT_NOT_BOOKED").count() == 1


@pytest.mark.fault("F-030", "F-032")
def test_a_fill_of_another_instrument_under_our_orders_id_is_not_booked(any_world: World) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    for other in ("GBP_USD", "EURUSD.NEW"):
        with damaged(world, wire.history, f"{wire.fill}.{wire.instrument}", other):
            read(world)
        assert filled(order) == 0, other
    told = set(RiskEvent.objects.filter(account=world.account).values_list("kind", flat=True))
    assert told & {"UNMAPPED_INSTRUMENT", "EVENT_NOT_BOOKED"}


@pytest.mark.fault("F-030", "F-027")
@pytest.mark.scenario("S-21")
def test_the_same_fill_with_another_amount_changes_nothing_and_opens_a_case(any_world: World) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    read(world)
    before = filled(order)
    cursors.put(account=world.account, name=INFLOW, value=_before(world))
    smaller = "400" if world.place.name == "oanda" else "2"
    with damaged(world, wire.history, f"{wire.fill}.{wire.quantity}", wire.number(smaller)):
        read(world)
    assert filled(order) == before and Fill.objects.filter(order=order).count() == 1
    assert RiskEvent.objects.filter(account=world.account, kind="EVENT_BODY_CHANGED").exists()
    read(world)
    for _ in range(2):
        run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    assert Fill.objects.filter(order=order).count() == 1 and world.differences() == []


def _before(world: World) -> str:
    """A cursor from before the last order."""
    if world.place.name == "alpaca":
        return ""
    if world.place.name == "kite":
        return cursors.get(world.account, INFLOW)  # the day is read whole each time
    last = BrokerEvent.objects.filter(account=world.account, kind="ORDER_FILLED").order_by("-sequence")[0]
    return str(last.sequence - 2)


@pytest.mark.fault("F-027")
def test_a_filled_quantity_that_shrinks_in_a_list_un_fills_nothing(any_world: World) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    read(world)
    route, path = wire.open_orders
    with damaged(world, route, f"{path}.*.{wire.filled}".strip("."), wire.number("0")):
        read(world)
        run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    assert filled(order) == order.quantity and world.differences() == []
    assert not Discrepancy.objects.filter(account=world.account, state="OPEN").exists()
