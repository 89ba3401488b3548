"""Leaving a trade where legs reserve units: what may happen between the end of the legs and the end of the exit."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.faults.places import ALPACA
from tests.faults.world import World
from trading.clock import now
from trading.domain.broker import OrderType
from trading.engine import protection as retrying
from trading.engine.canceller import cancel_order
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.failpoints import FailpointReached
from trading.models import Fill, Notification, Order, OrderGroup, RiskEvent, Trade
from trading.services import protection
from trading.services.exits import plan_exit

pytestmark = pytest.mark.faults


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(place=ALPACA)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for before a trade without a stop is made known, and left again."""
    monkeypatch.setattr(protection, "HASTE", timedelta(0))
    monkeypatch.setattr(protection, "PATIENCE", timedelta(0))
    monkeypatch.setattr(retrying, "FIRST_WAIT", timedelta(0))


def entered(world: World) -> Order:
    entry = world.plan()
    send_order(order_id=entry.pk)
    entry.refresh_from_db()
    return entry


def leg(entry: Order, tag: str) -> Order:
    return Order.objects.get(rides_on=entry, tag=tag)


def leaving(world: World, entry: Order) -> Order:
    """The planned exit of all that the trade holds."""
    assert entry.decision is not None
    return plan_exit(
        account=world.account,
        decision=entry.decision,
        exit_type="TIME",
        reason="a test",
        quantity=trade_of(world, entry).open_quantity,
        at=now(world.account),
    )


def trade_of(world: World, entry: Order) -> Trade:
    return Trade.objects.get(account=world.account, decision=entry.decision)


def group_of(world: World, entry: Order) -> str:
    return str(OrderGroup.objects.get(account=world.account, decision=entry.decision).state)


def outside(world: World, **what: Any) -> Any:
    return world.simulator.post(f"/accounts/{world.place.account}/external", what)


def kinds(world: World) -> dict[str, str]:
    """The cases that two reconciliations see, with their words."""
    for _ in range(2):
        run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    rows = Discrepancy.objects.filter(account=world.account).exclude(state__in=["CLEARED", "CLOSED"])
    return {row.kind: row.cause for row in rows}


def told() -> list[str]:
    return [row.text for row in Notification.objects.filter(level="CRITICAL", key__startswith="unprotected:")]


@pytest.mark.scenario("S-65")
def test_an_exit_that_arrives_after_its_position_has_gone_opens_no_short(world: World) -> None:
    closing = leaving(world, entered(world))
    world.fault("late_accept", when="before", seconds=0.7)
    assert send_order(order_id=closing.pk).state == "UNKNOWN"
    outside(world, kind="closeout", instrument="AAPL")
    time.sleep(0.9)
    world.catch_up()
    assert world.truth()["positions"] == [], "the broker itself refuses what would open a position"


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("status", {"status": 403, "body": '{"code": 40310000, "message": "trading is halted"}'}),
        ("reject_later", {"seconds": 0.2, "reason": "halted"}),
    ],
)
def test_an_exit_that_fails_once_its_legs_are_gone_is_loud_and_tried_again(
    world: World, action: str, arguments: dict[str, Any]
) -> None:
    entry = entered(world)
    closing = leaving(world, entry)
    world.fault(action, when="before", **arguments)
    send_order(order_id=closing.pk)
    time.sleep(0.4)
    watch_once()
    closing.refresh_from_db()
    assert closing.state == "REJECTED"
    watch_once()
    (text,) = told()
    assert "BUY 5 AAPL" in text and "REJECTED" in text and "Its loss is not limited" in text
    assert RiskEvent.objects.filter(kind="UNPROTECTED_TRADE").count() == 1
    assert trade_of(world, entry).state == "CLOSED" and group_of(world, entry) == "CLOSED"
    assert Order.objects.filter(exit_intent__decision=entry.decision).count() == 2
    assert world.truth()["positions"] == [] and world.differences() == []


@pytest.mark.usefixtures("hasty")
def test_an_exit_that_is_turned_away_for_want_of_a_login_is_loud_and_goes_out_once_it_is_let_in(world: World) -> None:
    entry = entered(world)
    closing = leaving(world, entry)
    world.fault("status", when="before", status=401, body='{"code": 40110000, "message": "request is not authorized"}')
    send_order(order_id=closing.pk)
    closing.refresh_from_db()
    assert (closing.state, closing.attempt) == ("PLANNED", 1)
    watch_once()
    assert any("BUY 5 AAPL" in text and "Its loss is not limited" in text for text in told())
    Order.objects.filter(pk=closing.pk).update(next_check_at=None)
    watch_once()
    closing.refresh_from_db()
    assert (closing.state, closing.attempt) == ("FILLED", 2)
    assert trade_of(world, entry).state == "CLOSED" and group_of(world, entry) == "CLOSED"
    assert world.truth()["positions"] == [] and world.differences() == []


@pytest.mark.usefixtures("hasty")
def test_an_exit_that_fails_again_and_again_is_tried_at_longer_intervals(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entered(world)
    closing = leaving(world, entry)
    world.fault("status", when="before", times=9, status=403, body='{"code": 40310000, "message": "halted"}')
    send_order(order_id=closing.pk)
    exits = Order.objects.filter(exit_intent__decision=entry.decision)
    monkeypatch.setattr(retrying, "FIRST_WAIT", timedelta(seconds=10))
    for passed, expected in ((9, 1), (11, 2), (11, 2), (10, 3), (30, 3)):
        last = exits.order_by("-id")[0]
        Order.objects.filter(pk=last.pk).update(updated_at=last.updated_at - timedelta(seconds=passed))
        watch_once()
        assert (exits.count(), group_of(world, entry)) == (expected, "UNSAFE")
    assert len(told()) == 1


@pytest.mark.usefixtures("hasty")
def test_a_trade_is_not_safe_while_nobody_knows_whether_its_exit_has_arrived(world: World) -> None:
    entry = entered(world)
    closing = leaving(world, entry)
    world.fault("drop", when="before")
    send_order(order_id=closing.pk)
    watch_once()
    assert group_of(world, entry) == "UNSAFE" and "is UNKNOWN" in told()[0]
    for _ in range(3):
        world.pass_time(closing, 30)
        watch_once()
    assert len(world.posts(closing)) == 2 and group_of(world, entry) == "CLOSED"
    assert world.truth()["positions"] == [] and world.differences() == []


@pytest.mark.usefixtures("hasty")
def test_what_a_half_filled_entry_left_without_a_stop_is_made_known(world: World) -> None:
    world.fault("partial_fill", route="*", quantity="3")
    entry = entered(world)
    watch_once()
    assert group_of(world, entry) == "UNSAFE" and "has filled 3 of 5, and its stop waits" in told()[0]
    cancel_order(order_id=entry.pk, reason="its time is over")
    watch_once()
    assert {row.state for row in Order.objects.filter(rides_on=entry)} == {"CANCELLED"}
    assert (trade_of(world, entry).open_quantity, group_of(world, entry)) == (3, "UNSAFE")
    assert not Order.objects.filter(exit_intent__decision=entry.decision).exists(), "nobody wanted to leave it"
    assert send_order(order_id=leaving(world, entry).pk).state == "FILLED"
    assert group_of(world, entry) == "CLOSED" and world.differences() == []


@pytest.mark.usefixtures("hasty")
def test_an_entry_that_fills_after_a_pause_is_safe_again(world: World) -> None:
    world.fault("partial_fill", route="*", quantity="3")
    entry = entered(world)
    watch_once()
    assert group_of(world, entry) == "UNSAFE"
    world.price(world.place.bid, world.place.ask)
    world.catch_up()
    watch_once()
    assert (trade_of(world, entry).open_quantity, group_of(world, entry)) == (5, "OPEN")


@pytest.mark.usefixtures("hasty")
def test_a_stop_that_somebody_cancels_at_the_broker_is_made_known(world: World) -> None:
    entry = entered(world)
    watch_once()
    assert group_of(world, entry) == "OPEN" and told() == []
    outside(world, kind="cancel", order_id=leg(entry, "STOP").broker_order_id)
    world.catch_up()
    watch_once()
    assert group_of(world, entry) == "UNSAFE" and "its stop" in told()[0]


def test_a_stop_that_filled_in_part_ends_only_once_its_fills_are_known(world: World) -> None:
    entry = entered(world)
    closing, stop = leaving(world, entry), leg(entry, "STOP")
    world.fault("partial_fill", route="*", quantity="2")
    world.fault("hide", route="*", what="fill", seconds=2)
    price = stop.price or Decimal(0)
    world.price(price - world.place.ask + world.place.bid, price)
    assert send_order(order_id=closing.pk).state == "PLANNED"
    stop.refresh_from_db()
    assert stop.state == "CANCELLING" and world.posts(closing) == []
    time.sleep(1)
    world.pass_time(stop, 10)
    for _ in range(2):
        watch_once()
    stop.refresh_from_db()
    assert (stop.state, stop.filled_quantity) == ("CANCELLED", 2)
    exits = Order.objects.filter(exit_intent__decision=entry.decision).order_by("id")
    assert [(row.state, row.quantity) for row in exits] == [("CANCELLED", 5), ("FILLED", 3)]
    assert world.truth()["positions"] == [] and world.differences() == []


def test_a_stop_that_the_broker_made_smaller_beside_a_target_covers_what_is_left_and_ends(world: World) -> None:
    entry = entered(world)
    target, stop = leg(entry, "TP1"), leg(entry, "STOP")
    world.fault("partial_fill", route="*", quantity="2")
    price = target.price or Decimal(0)
    world.price(price, price + Decimal("0.02"))
    world.price(price - 1, price - Decimal("0.98"))
    assert kinds(world) == {}, "a stop for three of three is no difference"
    assert trade_of(world, entry).open_quantity == 3
    world.price(Decimal(190), Decimal("190.02"))
    world.catch_up()
    stop.refresh_from_db()
    assert (stop.state, stop.filled_quantity) == ("FILLED", 3)
    assert trade_of(world, entry).state == "CLOSED" and kinds(world) == {} and world.differences() == []


def patched(world: World, order_id: str, price: str) -> str:
    """Replace an order as a person would, at the broker; the new order's id."""
    import requests

    answer = requests.patch(
        f"{world.simulator.alpaca_url}/v2/orders/{order_id}",
        headers={"APCA-API-KEY-ID": "SIMKEY", "APCA-API-SECRET-KEY": "sim-alpaca-secret"},
        json={"stop_price": price},
        timeout=5,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


@pytest.mark.fault("F-045", broker="alpaca")
def test_a_stop_that_was_replaced_at_the_broker_is_still_our_stop(world: World) -> None:
    entry = entered(world)
    stop = leg(entry, "STOP")
    later = patched(world, patched(world, stop.broker_order_id, "197.00"), "196.50")
    world.catch_up()
    stop.refresh_from_db()
    assert (stop.state, stop.broker_order_id) == ("WORKING", later)
    assert list(kinds(world)) == ["STATUS_DRIFT"]
    assert "its price is 196.5 there and 198.02 here" in kinds(world)["STATUS_DRIFT"]
    world.price(Decimal(196), Decimal("196.02"))
    world.catch_up()
    stop.refresh_from_db()
    assert (stop.state, trade_of(world, entry).close_reason) == ("FILLED", "SL")
    assert world.differences() == []


@pytest.mark.fault("F-045", broker="alpaca")
def test_an_entry_that_was_replaced_at_the_broker_is_still_our_entry_and_can_be_cancelled(world: World) -> None:
    first, second = (world.plan(type=OrderType.STOP, entry=Decimal(201)) for _ in range(2))
    for order in (first, second):
        send_order(order_id=order.pk)
        order.refresh_from_db()
    for order in (first, second):
        patched(world, patched(world, order.broker_order_id, "201.50"), "201.60")
    assert cancel_order(order_id=first.pk, reason="a test").state == "CANCELLING", "its successor lives"
    world.pass_time(first, 10)
    watch_once()
    first.refresh_from_db()
    assert first.state == "CANCELLED"
    world.price(Decimal("201.70"), Decimal("201.72"))
    world.catch_up()
    second.refresh_from_db()
    assert second.state == "FILLED" and Fill.objects.filter(order=second).count() == 1
    assert {row.state for row in Order.objects.filter(rides_on=second)} == {"WORKING"}
    assert world.differences() == []


def test_an_exit_whose_sender_dies_once_the_legs_are_gone_is_sent_by_the_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entered(world)
    closing = leaving(world, entry)
    monkeypatch.setenv("FAILPOINTS", "room_made:raise")
    with pytest.raises(FailpointReached):
        send_order(order_id=closing.pk)
    monkeypatch.delenv("FAILPOINTS")
    assert {row.state for row in Order.objects.filter(rides_on=entry)} == {"CANCELLED"}
    watch_once()
    closing.refresh_from_db()
    assert closing.state == "FILLED" and len(world.posts(closing)) == 1
    assert world.truth()["positions"] == [] and world.differences() == []


@pytest.mark.fault("F-029", "F-030", broker="alpaca")
@pytest.mark.parametrize(("path", "value"), [("*.side", "sell"), ("*.symbol", "MSFT")])
def test_a_fill_of_another_side_or_share_than_our_order_is_not_booked(world: World, path: str, value: str) -> None:
    order = world.plan()
    world.fault("bad_value", route="GET /v2/account/activities", times=5, path=path, value=value)
    send_order(order_id=order.pk)
    world.simulator.delete("/faults")
    assert not Fill.objects.filter(account=world.account).exists()
    assert "Nothing was booked" in RiskEvent.objects.get(kind="EVENT_NOT_BOOKED").reason
    assert "FILL_MISMATCH" in kinds(world), "the broker tells it otherwise now: people decide, and it explains the rest"
