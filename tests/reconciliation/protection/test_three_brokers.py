"""Protection at each of the three brokers: no case while a trade lives as it should, and a case when it does not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reconciliation.engine.applications import sweep
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from reconciliation.services import resolutions
from reconciliation.services.payloads import preview
from tests.faults.places import ALPACA, KITE
from tests.faults.standing import damaged
from tests.faults.world import World
from tests.reconciliation.conftest import TEST, People
from trading.domain.broker import OrderType
from trading.domain.money import plain
from trading.engine.connections import broker_for
from trading.engine.oco import look_after
from trading.engine.sender import send_order
from trading.models import Order

pytestmark = pytest.mark.faults


def found(world: World) -> list[tuple[str, str]]:
    """What a run finds: kinds and keys."""
    result = run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    assert result.findings is not None, result.error
    return [(str(finding.kind), finding.cause) for finding in result.findings.findings]


def entered(world: World) -> Order:
    """An entry that has filled, and whose trade is looked after."""
    entry = world.plan()
    send_order(order_id=entry.pk)
    look(world)
    entry.refresh_from_db()
    assert entry.state == "FILLED"
    return entry


def look(world: World) -> None:
    world.catch_up()
    look_after(world.account)


def reaches(world: World, price: Decimal) -> None:
    """The market trades at this price."""
    half = (world.place.ask - world.place.bid) / 2
    world.price(price - half, price + half)


def stop_of(entry: Order) -> Order:
    """The stop that rests for its trade."""
    rows = Order.objects.filter(account=entry.account, decision=entry.decision, tag="STOP", state="WORKING")
    return rows.latest("sequence")


def resolved(world: World, case: Discrepancy, people: People, action: str = "resize_stop") -> None:
    """Ada proposes, bob approves, the sweep carries it out."""
    proposal = resolutions.propose(
        discrepancy_id=case.pk, action=action, reason="seen at the broker", proposer=people.ada, actor=TEST
    )
    resolutions.approve(
        proposal_id=proposal.pk,
        approver=people.bob,
        payload_sha256=proposal.payload_sha256,
        subject_version=proposal.subject_version,
        actor=TEST,
    )
    assert sweep(world.account) == 1


def resting(world: World) -> list[Decimal | None]:
    """The units of all stops of ours that rest at the broker."""
    names = set(Order.objects.filter(tag="STOP").exclude(broker_order_id="").values_list("broker_order_id", flat=True))
    broker = broker_for(world.account)
    shown = broker.snapshot().orders
    broker.close()
    return [order.quantity for order in shown if order.broker_order_id in names]


def test_a_trade_from_its_entry_to_its_stop_opens_no_case_at_any_moment(any_world: World) -> None:
    world = any_world
    entry = world.plan()
    assert found(world) == []
    send_order(order_id=entry.pk)
    look(world)
    assert found(world) == [] and found(world) == []
    reaches(world, world.place.ask - world.place.away - world.place.away / 10)
    assert found(world) == []
    look(world)
    assert found(world) == [] and world.truth()["positions"] == []
    assert not Discrepancy.objects.exists()


@pytest.mark.parametrize("any_world", [ALPACA, KITE], indirect=True, ids=["alpaca", "kite"])
def test_an_entry_that_fills_in_parts_and_ends_at_its_target_opens_no_case(any_world: World) -> None:
    world = any_world
    tick = world.place.ask - world.place.bid
    world.fault("partial_fill", route="*", quantity="1")
    entry = world.plan(type=OrderType.STOP, entry=world.place.ask + 10 * tick)
    send_order(order_id=entry.pk)
    look(world)
    for beyond in (11, 12, 13):
        reaches(world, world.place.ask + beyond * tick)
        found(world)  # the desk may not have looked yet: at most a suspicion
        look(world)
        assert found(world) == []
    entry.refresh_from_db()
    assert entry.state == "FILLED" and entry.events.filter(to_state="PARTIAL").exists()
    reaches(world, world.place.ask + 3 * world.place.away)
    look(world)
    assert found(world) == []
    assert not Discrepancy.objects.exclude(state__in=["SUSPECTED", "CLEARED"]).exists()


@pytest.mark.parametrize("any_world", [KITE], indirect=True, ids=["kite"])
def test_a_stop_that_somebody_makes_smaller_is_made_whole_in_its_place(any_world: World, people: People) -> None:
    world = any_world
    entry = entered(world)
    stop = stop_of(entry)
    broker = broker_for(world.account)
    broker.replace(
        broker_order_id=stop.broker_order_id,
        client_id=stop.client_order_id,
        quantity=stop.quantity - 1,
        price=stop.price or Decimal(0),
    )
    broker.close()
    found(world)
    found(world)
    case = Discrepancy.objects.get()
    assert (case.kind, case.state, case.evidence["evidence"]["missing"]) == ("PARTIAL_PROTECTION", "OPEN", "1")
    (planned,) = preview(case, "resize_stop").payload["stops"]
    assert (planned["do"], Decimal(planned["quantity"])) == ("resize", entry.quantity)
    resolved(world, case, people)
    assert resting(world) == [entry.quantity] and found(world) == []
    case.refresh_from_db()
    assert case.state == "CLOSED"


@pytest.mark.parametrize("any_world", [ALPACA], indirect=True, ids=["alpaca"])
def test_a_trade_whose_stop_somebody_cancels_gets_another(any_world: World, people: People) -> None:
    world = any_world
    entry = entered(world)
    stop = stop_of(entry)
    broker = broker_for(world.account)
    broker.cancel(broker_order_id=stop.broker_order_id, client_id=stop.client_order_id)
    broker.close()
    found(world)
    found(world)
    case = Discrepancy.objects.get(kind="UNPROTECTED_POSITION")
    resolved(world, case, people)
    placed = Order.objects.filter(decision=entry.decision, account=entry.account, tag="STOP").latest("sequence")
    assert send_order(order_id=placed.pk).state == "WORKING", placed.reason
    assert resting(world) == [entry.quantity] and found(world) == []
    case.refresh_from_db()
    assert case.state == "CLOSED"


@pytest.mark.parametrize("any_world", [ALPACA], indirect=True, ids=["alpaca"])
def test_an_account_that_the_broker_has_blocked_says_so(any_world: World) -> None:
    world = any_world
    with damaged(world, "GET /v2/account", "trading_blocked", True):
        found(world)
        found(world)
    case = Discrepancy.objects.get()
    assert (case.kind, case.key, case.state) == ("ACCOUNT_BLOCKED", "flag:trading_blocked", "OPEN")
    assert found(world) == []
    case.refresh_from_db()
    assert case.state == "CLEARED"


@pytest.mark.parametrize("any_world", [KITE], indirect=True, ids=["kite"])
def test_a_stop_without_its_trade_is_an_orphan_until_somebody_takes_it_back(any_world: World, people: People) -> None:
    """Nobody looks after the groups for a while, and a person closes the position by hand."""
    world = any_world
    entry = entered(world)
    stop = stop_of(entry)
    world.simulator.post(
        f"/accounts/{world.place.account}/external",
        {"kind": "trade", "instrument": world.place.instrument, "quantity": f"-{plain(entry.quantity)}"},
    )
    kinds = {kind for kind, _ in found(world)}
    assert "PHANTOM_POSITION" in kinds and "OCO_ORPHAN" not in kinds, "whose it is must be said first"
    found(world)
    resolved(world, Discrepancy.objects.get(kind="PHANTOM_POSITION"), people, "book_fills")
    found(world)
    assert {kind for kind, _ in found(world)} == {"OCO_ORPHAN"}
    case = Discrepancy.objects.get(kind="OCO_ORPHAN")
    assert (case.key, case.state) == (f"order:{stop.client_order_id}", "OPEN")
    resolved(world, case, people)
    assert resting(world) == [] and found(world) == []
    case.refresh_from_db()
    assert case.state == "CLOSED"
