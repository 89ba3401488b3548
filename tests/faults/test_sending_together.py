"""Everything planned of an account leaves in one go: each once, nobody waits for another's trouble, exits first."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.faults.places import KITE, PLACES
from tests.faults.world import World
from trading.domain.broker import Accepted, BrokerOrderStatus
from trading.engine import claiming, sender
from trading.engine.answers import store
from trading.engine.connections import connected
from trading.engine.sender import send_order, send_planned
from trading.engine.watcher import watch_once
from trading.models import InstrumentAlias, Order, OrderEvent
from trading.services.exits import plan_exit

pytestmark = pytest.mark.faults
QUARANTINE = 26


def states(orders: list[Order]) -> list[str]:
    """As the rows are now."""
    for order in orders:
        order.refresh_from_db(fields=["state"])
    return [str(order.state) for order in orders]


def go(world: World) -> int:
    """Send what is planned on the world's account."""
    return send_planned(account_id=world.account.pk)


def settle(world: World, orders: list[Order]) -> None:
    """Wait past lease and quarantine, and let the watcher do its work."""
    for _ in range(4):
        for order in orders:
            world.pass_time(order, QUARANTINE + 1)
        watch_once()


@pytest.mark.parametrize("any_world", PLACES, indirect=True, ids=lambda place: place.name)
def test_many_orders_leave_together_each_once_and_all_are_booked(
    any_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "AT_ONCE", 3)
    orders = [any_world.plan() for _ in range(7)]
    assert go(any_world) == 7
    assert go(any_world) == 0, "whoever comes later finds nothing left to do"
    settle(any_world, orders)
    assert [any_world.problems(order) for order in orders] == [[]] * 7
    assert [len(any_world.posts(order)) for order in orders] == [1] * 7
    assert any_world.differences() == []


@pytest.mark.parametrize("any_world", PLACES, indirect=True, ids=lambda place: place.name)
def test_an_answer_that_is_lost_between_others_is_looked_up_and_nothing_is_sent_twice(any_world: World) -> None:
    orders = [any_world.plan() for _ in range(4)]
    any_world.fault("drop", when="after")  # the first of them
    assert go(any_world) == 4
    lost = OrderEvent.objects.filter(to_state="UNKNOWN").values_list("order", flat=True)
    assert list(lost) == [orders[0].pk]
    settle(any_world, orders)
    assert [any_world.problems(order) for order in orders] == [[]] * 4
    assert [len(any_world.posts(order)) for order in orders] == [1] * 4
    assert any_world.differences() == []


def test_whoever_dies_among_them_has_stored_what_was_answered_and_the_rest_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [world.plan() for _ in range(4)]
    answered: list[str] = []

    def dies(name: str) -> None:
        answered.append(name)
        if answered.count("after_response") == 2 and name == "after_response":
            raise SystemExit("killed")

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(sender, "failpoint", dies)
        go(world)
    assert states(orders)[2:] == ["SENDING", "SENDING"], "they were taken on, and nobody knows yet that they never left"
    settle(world, orders)
    assert [world.problems(order) for order in orders] == [[]] * 4
    assert world.differences() == []


@pytest.mark.parametrize("any_world", [KITE, *PLACES], indirect=True, ids=lambda place: place.name)
def test_an_order_whose_turn_does_not_come_within_its_lease_is_put_back_and_leaves_later(
    any_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = any_world.plan()
    with monkeypatch.context() as patched:
        patched.setattr(claiming, "LEASE", timedelta(seconds=2))  # less than one exchange may take
        assert go(any_world) == 0
    assert states([order]) == ["PLANNED"] and any_world.posts(order) == []
    assert go(any_world) == 1
    settle(any_world, [order])
    assert any_world.problems(order) == [] and len(any_world.posts(order)) == 1


def test_what_has_no_name_at_the_broker_keeps_nobody_waiting_and_stays_planned(world: World) -> None:
    nameless, order = world.plan(), world.plan()
    alias = InstrumentAlias.objects.get(broker=world.account.broker, instrument=nameless.instrument)
    InstrumentAlias.objects.filter(pk=alias.pk).update(valid_until=world.broker_now())
    assert go(world) == 0 and states([nameless, order]) == ["PLANNED", "PLANNED"], "both are of the same instrument"
    InstrumentAlias.objects.filter(pk=alias.pk).update(valid_until=None)
    assert go(world) == 2
    settle(world, [nameless, order])
    assert world.problems(nameless) == world.problems(order) == []


@pytest.mark.parametrize("any_world", [KITE], indirect=True, ids=["kite"])
def test_where_we_make_the_legs_a_second_entry_waits_until_the_first_one_is_covered(any_world: World) -> None:
    first, second = any_world.plan(), any_world.plan()
    assert go(any_world) == 1
    assert states([second]) == ["PLANNED"]
    settle(any_world, [first, second])
    assert any_world.problems(first) == any_world.problems(second) == []
    assert any_world.differences() == []


@pytest.mark.parametrize("any_world", PLACES[:1], indirect=True, ids=["oanda"])
def test_an_exit_leaves_before_the_entries_that_were_planned_before_it(any_world: World) -> None:
    held = any_world.plan()
    send_order(order_id=held.pk)
    entry = any_world.plan()
    assert held.decision is not None
    leaving = plan_exit(
        account=any_world.account,
        decision=held.decision,
        exit_type="TIME",
        reason="a test",
        quantity=held.quantity,
        at=any_world.broker_now(),
    )
    assert go(any_world) == 2
    posted = [row["seq"] for order in (leaving, entry) for row in any_world.posts(order)]
    assert len(posted) == 2 and posted == sorted(posted)
    settle(any_world, [entry, leaving])
    assert any_world.differences() == []


def test_an_answer_that_cannot_be_stored_does_not_keep_the_others_from_being_stored(world: World) -> None:
    orders = [world.plan() for _ in range(3)]
    with connected(world.account) as port:
        claimed = claiming.claim(world.account, orders, port.capabilities)
        told = [Accepted(name, BrokerOrderStatus.WORKING, "", ()) for name in ("701", "701", "702")]
        store(world.account, list(zip(claimed, told, strict=True)), port.capabilities)
    assert states(orders) == ["WORKING", "SENDING", "WORKING"], "the broker's id of the second is the first one's"
