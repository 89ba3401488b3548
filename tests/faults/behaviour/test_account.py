"""An account that flaps, is traded by others, or goes back in time."""

from __future__ import annotations

import pytest

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.faults.places import PLACES
from tests.faults.standing import filled, state
from tests.faults.world import World
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Entry, Fill, Notification, Order
from trading.services.restrictions import OPEN, trading_state

pytestmark = pytest.mark.faults


def reconcile(world: World) -> str:
    return run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL).status


@pytest.mark.fault("F-050")
def test_a_position_that_comes_and_goes_is_one_case_and_never_traded_against(any_world: World) -> None:
    world = any_world
    reconcile(world)
    for sign in ("", "-") * 3:
        world.simulator.post(
            f"/accounts/{world.place.account}/external",
            {"kind": "silent_position", "instrument": world.place.instrument, "quantity": f"{sign}10"},
        )
        reconcile(world)
    cases = Discrepancy.objects.filter(account=world.account, kind__contains="POSITION")
    assert cases.count() == 1, list(Discrepancy.objects.values_list("kind", "key", "state"))
    assert not Order.objects.filter(account=world.account).exists()
    assert not Fill.objects.filter(account=world.account).exists()


@pytest.mark.fault("F-052")
def test_an_order_of_somebody_else_is_a_case_and_neither_adopted_nor_cancelled(any_world: World) -> None:
    world = any_world
    world.simulator.post(
        f"/accounts/{world.place.account}/external",
        {"kind": "trade", "instrument": world.place.instrument, "quantity": "10", "price": str(world.place.ask)},
    )
    reconcile(world)
    reconcile(world)
    watch_once()
    assert Discrepancy.objects.filter(account=world.account, state="OPEN").count() == 1
    assert not Order.objects.filter(account=world.account).exists()
    assert not Fill.objects.filter(account=world.account).exists()
    assert not Entry.objects.filter(account=world.account, kind="EXTERNAL_FILL").exists()


@pytest.mark.fault("F-057", broker="oanda")
@pytest.mark.fault("F-057", broker="alpaca")
@pytest.mark.parametrize("any_world", PLACES, indirect=True, ids=lambda place: place.name)
def test_a_broker_that_goes_back_in_time_stops_trading_and_people_are_told(any_world: World) -> None:
    world = any_world
    order = world.plan()
    send_order(order_id=order.pk)
    entries = Entry.objects.count()
    waiting = world.plan()
    world.simulator.post(f"/accounts/{world.place.account}/reset")
    assert reconcile(world) == "FAILED"
    watch_once()
    assert Entry.objects.count() == entries and filled(order) == order.quantity, "nothing is taken back"
    level, reasons = trading_state(world.account)
    assert level != OPEN and any("older" in reason for reason in reasons), reasons
    assert Notification.objects.filter(level="CRITICAL", text__contains="older state").count() == 1
    assert len(world.copies(waiting)) == 0 and state(waiting) != "FILLED"
