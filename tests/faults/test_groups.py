"""Groups of our own, at a broker that links no orders: what rests there is what the trade holds, whatever happens.

The broker is OANDA's simulator behind an adapter that makes no legs and, as at a netting broker, reduces nothing by
itself: a leg is an order like any other. The simulator's journal and account say what is true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.faults.world import World
from trading import tasks
from trading.brokers.oanda import OandaBroker
from trading.brokers.registry import Connection
from trading.clock import now
from trading.domain.broker import Broker, OrderRequest, OrderType, SubmitOutcome
from trading.domain.money import plain
from trading.engine import connections, watcher
from trading.engine import protection as retrying
from trading.engine.connections import broker_for
from trading.engine.oco import look_after
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import AuditEvent, Notification, Order, OrderGroup, RiskEvent, Trade
from trading.services import groups, protection
from trading.services.exits import plan_exit
from trading.services.groups import Manner, Step

pytestmark = pytest.mark.faults


class Unlinked(OandaBroker):
    """An account where every order stands alone."""

    capabilities = replace(OandaBroker.capabilities, native_bracket=False, hedging=False)

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        """Without OANDA's own care that a closing order only closes."""
        assert request.stop_loss is None and request.take_profit is None, "nothing can ride here"
        return super().submit(replace(request, reduce_only=False))


@pytest.fixture
def world(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    open_broker = connections.open_broker

    def opened(connection: Connection) -> Broker:
        broker = open_broker(connection)
        broker.__class__ = Unlinked
        return broker

    monkeypatch.setattr(connections, "open_broker", opened)
    return make_world()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for before a trade without a stop is made known, and left again."""
    monkeypatch.setattr(protection, "HASTE", timedelta(0))
    monkeypatch.setattr(protection, "PATIENCE", timedelta(0))
    monkeypatch.setattr(retrying, "FIRST_WAIT", timedelta(0))


def entered(world: World, **how: Any) -> Order:
    """An entry that was sent, and whose group was looked after."""
    entry = world.plan(**how)
    send_order(order_id=entry.pk)
    look(world)
    entry.refresh_from_db()
    return entry


def test_what_fills_at_once_is_covered_by_whoever_sent_it_and_waits_for_no_round(world: World) -> None:
    """Rounds of the watcher are dropped while the queue is full of orders to send."""
    entry = world.plan()
    with world.no_sweep():
        tasks.send(entry.pk)
    assert Trade.objects.get(decision=entry.decision).open_quantity == entry.quantity
    stop = Order.objects.get(decision=entry.decision, tag="STOP", state="WORKING")
    assert stop.quantity == entry.quantity and len(world.posts(stop)) == 1


def test_what_a_round_sends_is_covered_before_the_round_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = world.plan()

    def over(*_: object) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(watcher, "has_unfinished_orders", over)
    with world.no_sweep(), pytest.raises(SoftTimeLimitExceeded):
        watcher.watch_once()
    assert Order.objects.get(decision=entry.decision, tag="STOP", state="WORKING").quantity == entry.quantity


def test_a_trade_whose_look_fails_keeps_no_other_without_its_stop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = world.plan(), world.plan()
    monkeypatch.setattr(groups, "is_settled", lambda *_: True)
    for entry in (first, second):
        send_order(order_id=entry.pk)
        world.catch_up()
    broken = OrderGroup.objects.get(account=world.account, decision=first.decision).pk
    real = groups.next_step

    def fails(*, group_id: int, manner: Manner) -> list[Step]:
        if group_id == broken:
            raise ArithmeticError("a fault of ours")
        return real(group_id=group_id, manner=manner)

    monkeypatch.setattr(groups, "next_step", fails)
    with pytest.raises(ArithmeticError):
        look_after(world.account)
    covered = Order.objects.filter(account=world.account, tag="STOP", state="WORKING")
    assert [stop.decision for stop in covered] == [second.decision]


def look(world: World) -> None:
    world.catch_up()
    look_after(world.account)


def resting(world: World) -> dict[str, Decimal]:
    """What rests at the broker, by our tags; the units of legs of one tag added up."""
    tags = {row.client_order_id: row.tag for row in Order.objects.filter(account=world.account)}
    found: dict[str, Decimal] = {}
    for row in world.truth()["orders"]:
        if row["status"] == "PENDING":
            tag = tags.get(row["client_id"], "nobody's")
            found[tag] = found.get(tag, Decimal(0)) + Decimal(row["quantity"]) - Decimal(row["filled"])
    return found


def held(world: World) -> Decimal:
    rows = world.truth()["positions"]
    return sum((Decimal(row["quantity"]) * (1 if row["side"] == "LONG" else -1) for row in rows), Decimal(0))


def leg(entry: Order, tag: str) -> Order:
    """The leg of that tag that was placed last."""
    found = Order.objects.filter(decision=entry.decision, account=entry.account, tag=tag, rides_on=None)
    return found.order_by("-sequence")[0]


def group_of(entry: Order) -> str:
    return str(OrderGroup.objects.get(account=entry.account, decision=entry.decision).state)


def told(key: str = "unprotected") -> list[str]:
    return [row.text for row in Notification.objects.filter(level="CRITICAL", key__startswith=f"{key}:")]


def reaches(world: World, price: Decimal) -> None:
    """The market trades at this price."""
    half = (world.place.ask - world.place.bid) / 2
    world.price(price - half, price + half)


def test_legs_follow_the_entry_and_end_with_the_trade(world: World) -> None:
    entry = entered(world)
    assert resting(world) == {"STOP": entry.quantity, "TP1": entry.quantity}
    assert {row.state for row in Order.objects.filter(rides_on=entry)} == {"CANCELLED"}
    assert group_of(entry) == "OPEN"
    rows = [row["data"] for row in world.rows("order") if row["data"]["client_id"]]
    sent = [row["client_id"] for row in rows if row["status"] == "PENDING"]
    assert sent.index(leg(entry, "STOP").client_order_id) < sent.index(leg(entry, "TP1").client_order_id)
    reaches(world, leg(entry, "TP1").price + Decimal("0.001"))
    look(world)
    assert (resting(world), held(world), group_of(entry)) == ({}, 0, "CLOSED")
    assert leg(entry, "STOP").state == "CANCELLED" and leg(entry, "TP1").state == "FILLED"
    assert world.differences() == [] and told() == []


@pytest.mark.scenario("S-59")
def test_an_entry_that_fills_in_parts_is_covered_part_by_part(world: World) -> None:
    world.fault("partial_fill", route="*", quantity="300")
    entry = entered(world, type=OrderType.STOP, entry=world.place.ask + Decimal("0.00100"))
    assert resting(world) == {"ENTRY": entry.quantity}, "nothing is closed before it is open"
    reaches(world, world.place.ask + Decimal("0.00110"))
    look(world)
    assert resting(world) == {"ENTRY": entry.quantity - 300, "STOP": 300, "TP1": 300}
    reaches(world, world.place.ask + Decimal("0.00120"))
    look(world)
    assert resting(world) == {"STOP": entry.quantity, "TP1": entry.quantity} and held(world) == entry.quantity
    assert leg(entry, "STOP").sequence == 3, "a second stop for the second part: the first one rests meanwhile"


@pytest.mark.parametrize(("first", "other"), [("TP1", "STOP"), ("STOP", "TP1")])
def test_a_leg_that_fills_in_part_leaves_its_sibling_with_exactly_the_rest(
    world: World, first: str, other: str
) -> None:
    entry = entered(world)
    beyond = Decimal("0.0001") if first == "TP1" else Decimal("-0.0001")
    world.fault("partial_fill", route="*", quantity="400")
    reaches(world, leg(entry, first).price + beyond)
    reaches(world, world.place.ask)
    look(world)
    left = entry.quantity - 400
    assert held(world) == left and resting(world) == {"STOP": left, "TP1": left}
    assert group_of(entry) == "OPEN"
    reaches(world, leg(entry, other).price - beyond)
    look(world)
    assert (resting(world), held(world), group_of(entry)) == ({}, 0, "CLOSED")
    assert world.differences() == [] and told() == []


@pytest.mark.usefixtures("hasty")
@pytest.mark.fault("F-054", broker="oanda")
@pytest.mark.scenario("S-57")
def test_when_both_legs_fill_within_a_moment_that_is_said_and_nothing_is_sent(world: World) -> None:
    entry = entered(world)
    stop, target = leg(entry, "STOP"), leg(entry, "TP1")
    reaches(world, target.price + Decimal("0.0001"))
    reaches(world, stop.price - Decimal("0.0001"))
    assert held(world) == -entry.quantity
    orders = Order.objects.filter(account=world.account).count()
    for _ in range(2):
        look(world)
        watch_once()
    assert group_of(entry) == "UNSAFE" and RiskEvent.objects.filter(kind="OVER_CLOSED_TRADE").count() == 1
    (text,) = told("overclosed")
    assert "closed twice in part" in text and "Nothing is sent for that by itself" in text
    assert Order.objects.filter(account=world.account).count() == orders and held(world) == -entry.quantity
    run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    case = Discrepancy.objects.get(account=world.account, kind="OVER_CLOSED_TRADE")
    assert (case.severity, case.instrument) == ("CRITICAL", entry.instrument)
    assert f"{plain(entry.quantity)} the other way" in case.cause


@pytest.mark.fault("F-055", broker="oanda")
@pytest.mark.parametrize(("action", "when", "arguments"), [
    ("status", "before", {"status": 503}), ("drop", "before", {}), ("drop", "after", {}),
])  # fmt: skip
def test_a_sibling_whose_cancel_gets_no_answer_is_asked_again_until_its_end_is_known(
    world: World, action: str, when: str, arguments: dict[str, Any]
) -> None:
    entry = entered(world)
    stop = leg(entry, "STOP")
    world.fault(action, when=when, route=world.place.cancelling, **arguments)
    world.fault("status", when="before", route="GET *", times=1, status=503)
    reaches(world, leg(entry, "TP1").price + Decimal("0.0001"))
    world.simulator.delete("/faults")
    world.fault(action, when=when, route=world.place.cancelling, **arguments)
    look(world)
    for _ in range(3):
        world.pass_time(stop, 60)
        watch_once()
    assert leg(entry, "STOP").state == "CANCELLED"
    assert (resting(world), held(world), group_of(entry)) == ({}, 0, "CLOSED") and world.differences() == []


@pytest.mark.parametrize("point", ["intent_committed", "claimed", "before_send", "after_response", "stored"])
@pytest.mark.scenario("S-56")
def test_a_group_that_was_left_half_made_is_made_safe_before_any_entry(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    entry, next_entry = world.plan(), world.plan()
    send_order(order_id=entry.pk)
    monkeypatch.setenv("FAILPOINTS", f"{point}:raise")
    with pytest.raises(Exception, match=point):
        look_after(world.account)
    monkeypatch.delenv("FAILPOINTS")
    send_order(order_id=next_entry.pk)
    next_entry.refresh_from_db()
    covered = resting(world).get("STOP") == entry.quantity and resting(world).get("TP1") == entry.quantity
    assert next_entry.state == "PLANNED" and not covered
    for _ in range(4):
        for order in Order.objects.filter(account=world.account, state__in=["SENDING", "UNKNOWN"]):
            world.pass_time(order, 60)
        watch_once()
    assert len(world.copies(leg(entry, "STOP"))) == len(world.copies(leg(entry, "TP1"))) == 1
    next_entry.refresh_from_db()
    assert next_entry.state == "FILLED"
    watch_once()
    both = entry.quantity + next_entry.quantity
    assert resting(world) == {"STOP": both, "TP1": both} and held(world) == both
    assert world.differences() == []


@pytest.mark.scenario("S-60")
def test_a_stop_that_is_refused_is_loud_asked_for_again_and_in_the_end_the_trade_is_left(world: World) -> None:
    entry = world.plan()
    Order.objects.filter(pk=entry.pk).update(stop_loss=Decimal("1.0900001"))
    send_order(order_id=entry.pk)
    look(world)
    stops = Order.objects.filter(decision=entry.decision, tag="STOP", rides_on=None)
    assert [row.state for row in stops] == ["REJECTED"] * 3
    assert "it refused the last" in told()[0]
    assert AuditEvent.objects.filter(kind="order_group.unsafe").count() == 1
    trade = Trade.objects.get(account=world.account, decision=entry.decision)
    assert (trade.state, trade.close_reason, group_of(entry)) == ("CLOSED", "UNPROTECTED", "CLOSED")
    assert (resting(world), held(world)) == ({}, 0) and world.differences() == []


def test_an_exit_finds_no_leg_beside_it_and_one_that_fails_gives_the_stop_back(world: World) -> None:
    entry = entered(world)
    closing = plan_exit(
        account=world.account, decision=entry.decision, exit_type="TIME", reason="a test",
        quantity=entry.quantity, at=now(world.account),
    )  # fmt: skip
    world.fault("halt", route="*", seconds=3600)
    assert send_order(order_id=closing.pk).state in ("CANCELLED", "REJECTED")
    assert resting(world) == {}
    world.simulator.delete("/faults")
    look(world)
    assert resting(world) == {"STOP": entry.quantity, "TP1": entry.quantity}
    again = plan_exit(
        account=world.account, decision=entry.decision, exit_type="TIME", reason="a test, again",
        quantity=entry.quantity, at=now(world.account) + timedelta(seconds=1),
    )  # fmt: skip
    assert send_order(order_id=again.pk).state == "FILLED"
    look(world)
    assert (resting(world), held(world), group_of(entry)) == ({}, 0, "CLOSED") and world.differences() == []


def test_somebody_who_takes_a_stop_away_at_the_broker_finds_another_there(world: World) -> None:
    entry = entered(world)
    broker = broker_for(world.account)
    broker.cancel(broker_order_id=leg(entry, "STOP").broker_order_id, client_id="")
    broker.close()
    look(world)
    assert resting(world) == {"STOP": entry.quantity, "TP1": entry.quantity} and leg(entry, "STOP").sequence == 3
