"""What only Kite does over time: days roll, cash moves without a word, the stop of a trade is an order of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.faults.places import KITE
from tests.faults.standing import damaged, filled, read, state
from tests.faults.world import World
from trading.clock import now, store_broker_clock
from trading.domain.broker import OrderType
from trading.engine.oco import look_after
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Entry, Fill, Notification, Order, RiskEvent, Trade
from trading.services.exits import plan_exit
from trading.services.restrictions import OPEN, trading_state

pytestmark = pytest.mark.faults
at_kite = pytest.mark.parametrize("any_world", [KITE], indirect=True, ids=["kite"])


def reconcile(world: World) -> str:
    return run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL).status


def entered(world: World) -> Order:
    """An entry that has filled, with its stop at the broker."""
    order = world.plan()
    assert send_order(order_id=order.pk).state == "FILLED"
    look_after(world.account)
    return order


def stop_of(entry: Order) -> Order:
    """The stop of ours that was placed last."""
    legs = Order.objects.filter(account=entry.account, decision=entry.decision, tag="STOP", rides_on=None)
    return legs.order_by("-sequence")[0]


def leaving(entry: Order) -> Order:
    """The planned exit of all that an entry's trade holds."""
    assert entry.decision is not None
    trade = Trade.objects.get(account=entry.account, decision=entry.decision)
    return plan_exit(
        account=entry.account,
        decision=entry.decision,
        exit_type="TIME",
        reason="a test",
        quantity=trade.open_quantity,
        at=now(entry.account),
    )


def held(world: World) -> list[Any]:
    return [row for row in world.truth()["positions"] if row["quantity"] != "0"]


def outside(world: World, kind: str, **fields: Any) -> None:
    """Something happens at the broker that we did not ask for."""
    world.simulator.post(f"/accounts/{world.place.account}/external", {"kind": kind, **fields})


@pytest.mark.fault("F-047", broker="kite")
def test_that_yesterdays_orders_are_not_listed_any_more_says_nothing_about_them(
    make_world: Callable[..., World],
) -> None:
    world = make_world(place=KITE)
    resting = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away / 4)
    send_order(order_id=resting.pk)
    lost, never = world.plan(), world.plan()
    world.fault("drop")
    send_order(order_id=lost.pk)
    world.fault("drop", when="before")
    send_order(order_id=never.pk)
    assert (state(resting), state(lost), state(never)) == ("WORKING", "UNKNOWN", "UNKNOWN")
    assert world.copies(lost) and not world.copies(never)
    world.simulator.post("/clock", {"now": "2026-01-14T18:40:00Z"})  # ten past midnight there
    store_broker_clock(account=world.account, broker_at=world.broker_now(), speed=1)
    for _ in range(3):
        for order in (resting, lost, never):
            world.pass_time(order, 60)
        watch_once()
    assert (state(lost), state(never)) == ("UNKNOWN", "UNKNOWN"), "absence is no evidence"
    assert state(resting) == "EXPIRED" and "day is over" in resting.reason, "as every order for the day, listed or not"
    assert [len(world.posts(order)) for order in (resting, lost, never)] == [1, 1, 1]
    for order in (lost, never):
        assert Notification.objects.filter(key=f"order-unknown:{order.pk}", level="CRITICAL").count() == 1
    for _ in range(2):
        assert reconcile(world) == "COMPLETE"
    assert not Fill.objects.filter(account=world.account).exists(), "nothing is booked from a position"
    assert Discrepancy.objects.filter(account=world.account, state="OPEN", kind__contains="POSITION").exists()
    assert trading_state(world.account, instrument=resting.instrument)[0] != OPEN


@at_kite
@pytest.mark.fault("F-051", broker="kite")
@pytest.mark.parametrize("kind", ["fee", "dividend", "transfer"])
def test_cash_that_moves_without_a_word_is_a_case_and_posts_nothing(any_world: World, kind: str) -> None:
    world = any_world
    entered(world)
    entries = Entry.objects.count()
    outside(world, kind, instrument=world.place.instrument, amount="-150.50")
    for _ in range(2):
        read(world)
        assert reconcile(world) == "COMPLETE"
    cases = Discrepancy.objects.filter(account=world.account, state="OPEN")
    assert ["CASH" in case.kind for case in cases] == [True], list(cases.values_list("kind", "key"))
    assert Entry.objects.count() == entries


@at_kite
@pytest.mark.fault("F-051", broker="kite")
@pytest.mark.parametrize("kind", ["bust", "correct"])
def test_a_fill_that_is_taken_back_or_changed_stays_as_it_was_until_people_decide(any_world: World, kind: str) -> None:
    world = any_world
    order = entered(world)
    booked = list(Fill.objects.filter(account=world.account).values_list("external_id", "quantity", "price"))
    changed = {"price": "1499.10"} if kind == "correct" else {}
    outside(world, kind, fill_id=world.rows("fill")[-1]["data"]["id"], **changed)
    for _ in range(2):
        read(world)
        reconcile(world)
    assert list(Fill.objects.filter(account=world.account).values_list("external_id", "quantity", "price")) == booked
    assert filled(order) == order.quantity
    if kind == "correct":
        assert RiskEvent.objects.filter(account=world.account, kind="EVENT_BODY_CHANGED").exists()
    assert Discrepancy.objects.filter(account=world.account, state="OPEN").exists()
    assert trading_state(world.account, instrument=order.instrument)[0] != OPEN


@at_kite
@pytest.mark.fault("F-054", broker="kite")
def test_only_the_stop_rests_and_when_it_fills_first_the_exit_is_needless(any_world: World) -> None:
    world = any_world
    entry = entered(world)
    placed = [row for row in world.truth()["orders"] if row["status"] == "TRIGGER PENDING"]
    assert [row["client_id"] for row in placed] == [stop_of(entry).client_order_id], "no target beside it could fill"
    closing, price = leaving(entry), stop_of(entry).price
    assert price is not None
    world.price(price + world.place.bid - world.place.ask, price)
    done = send_order(order_id=closing.pk)
    assert done.state == "CANCELLED" and "holds nothing any more" in done.reason
    assert world.posts(closing) == [] and state(stop_of(entry)) == "FILLED"
    watch_once()
    assert held(world) == [] and world.differences() == []


@at_kite
@pytest.mark.fault("F-055", broker="kite")
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_exit_waits_until_it_is_known_that_its_stop_is_gone(any_world: World, when: str) -> None:
    world = any_world
    entry = entered(world)
    closing = leaving(entry)
    world.fault("status", when=when, route=world.place.cancelling, times=50, status=503)
    if when == "after":  # it is cancelled, and nobody can be told
        world.fault("status", when="before", route="GET /orders", times=1000, status=503)
    assert send_order(order_id=closing.pk).state == "PLANNED" and world.posts(closing) == []
    assert held(world) != [], "it still is held"
    world.simulator.delete("/faults")
    for _ in range(3):
        world.pass_time(stop_of(entry), 10)
        watch_once()
    assert (state(closing), state(stop_of(entry))) == ("FILLED", "CANCELLED")
    assert len(world.posts(closing)) == 1 and held(world) == [] and world.differences() == []


@at_kite
@pytest.mark.fault("F-057", broker="kite")
def test_a_day_before_the_one_that_was_read_stops_entries_and_people_are_told(any_world: World) -> None:
    world = any_world
    order = entered(world)
    entries, waiting = Entry.objects.count(), world.plan()
    with damaged(world, "GET /quote", f"data.{world.place.instrument}.timestamp", "2026-01-13 10:30:00"):
        assert reconcile(world) == "FAILED"
        watch_once()
        assert Entry.objects.count() == entries and filled(order) == order.quantity, "nothing is taken back"
        level, reasons = trading_state(world.account)
        assert level != OPEN and any("older" in reason for reason in reasons), reasons
    assert Notification.objects.filter(level="CRITICAL", text__contains="older state").count() == 1
    watch_once()
    assert world.copies(waiting) == set()


@at_kite
@pytest.mark.fault("F-057", broker="kite")
def test_an_older_state_of_the_same_day_takes_nothing_back(any_world: World) -> None:
    world = any_world
    order = entered(world)
    entries, stop = Entry.objects.count(), stop_of(order)
    world.simulator.post(f"/accounts/{world.place.account}/reset")
    runs = [reconcile(world) for _ in range(3)]
    watch_once()
    assert Entry.objects.count() == entries and filled(order) == order.quantity
    assert (state(order), state(stop)) == ("FILLED", "WORKING"), "that they are not listed says nothing"
    assert runs[1:] == ["COMPLETE", "COMPLETE"], "what is listed now is what is compared"
    assert Discrepancy.objects.filter(account=world.account, state="OPEN").exists(), "what is missing is a case"
