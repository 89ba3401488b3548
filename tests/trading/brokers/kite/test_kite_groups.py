"""Stops at the simulator's Kite: orders of the day, that end with it and are placed again before any entry leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import CommittedDatabase
from tests.servers import Simulator
from tests.trading.brokers.kite.kite_desk import Desk
from trading.brokers.kite import KiteBroker
from trading.brokers.registry import kite_ticker_url
from trading.clock import wall_now
from trading.domain.broker import EXCHANGE_CLOSED
from trading.domain.windows import until_open
from trading.engine.oco import look_after
from trading.engine.protection import mind
from trading.engine.sender import send_order
from trading.models import Order, OrderEvent, OrderGroup, Trade
from trading.services import groups, protection
from trading.services.groups import Manner

# Wednesdays to Fridays of January; sessions are from 03:45 to 10:00 UTC.
START = "2026-01-14T09:45:00Z"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One process that keeps the exchange's hours; each test has days and an account of its own."""
    process = Simulator.start(tmp_path_factory.mktemp("simulator"), ["--speed", "1", "--start", START])
    yield process
    process.stop()


@pytest.fixture
def desk_at(committed_db: CommittedDatabase, running: Simulator) -> Iterator[Callable[[str], Desk]]:
    """A new account at a moment of the simulator's time."""
    made: list[Desk] = []

    def at(moment: str) -> Desk:
        running.delete("/faults")
        running.post("/clock", {"now": moment})
        made.append(Desk(running))
        return made[-1]

    yield at
    for each in made:
        each.broker.close()


def planned(desk: Desk, number: int = 1) -> Order:
    """An entry whose decision wants a stop and a target."""
    order = desk.plan(number)
    Order.objects.filter(pk=order.pk).update(stop_loss=Decimal(1400), take_profit=Decimal(1600))
    return order


def enter(desk: Desk) -> Order:
    """A trade of ten that is open and has its stop at the broker."""
    order = planned(desk)
    send_order(order_id=order.pk, broker=desk.broker)
    desk.wait(lambda: Trade.objects.filter(account=desk.account, open_quantity=10).exists())
    look_after(desk.account, desk.broker)
    assert stops(desk) == ["WORKING"] and len(resting(desk)) == 1
    return order


def stops(desk: Desk) -> list[str]:
    """The states of all stops, the oldest first."""
    rows = Order.objects.filter(account=desk.account, tag="STOP", rides_on=None)
    return list(rows.order_by("pk").values_list("state", flat=True))


def last_stop(desk: Desk) -> Order:
    return Order.objects.filter(account=desk.account, tag="STOP", rides_on=None).latest("pk")


def resting(desk: Desk) -> list[tuple[str, str]]:
    """Side and quantity of what really rests at the broker."""
    rows = [row for row in desk.truth()["orders"] if row["status"] in ("OPEN", "TRIGGER PENDING")]
    return [(row["side"], row["quantity"]) for row in rows]


def is_covered(desk: Desk) -> bool:
    return groups.is_settled(desk.account, Manner.of(desk.broker.capabilities))


def state(order: Order) -> str:
    order.refresh_from_db()
    return str(order.state)


def test_a_stop_that_ended_with_its_day_rests_again_after_the_next_bell_and_no_entry_leaves_before(
    desk_at: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_at("2026-01-14T09:50:00Z")
    entry = enter(desk)
    desk.go_to("2026-01-14T10:01:00Z")
    desk.catch_up()
    assert stops(desk) == ["CANCELLED"] and resting(desk) == []
    for _ in range(3):
        look_after(desk.account, desk.broker)
    stop = last_stop(desk)
    assert stops(desk) == ["CANCELLED", "PLANNED"] and stop.attempt == 1, "a closed exchange is not asked at once again"
    assert stop.reason.startswith(EXCHANGE_CLOSED) and stop.next_check_at is not None
    assert stop.next_check_at > wall_now() + timedelta(minutes=4)
    monkeypatch.setattr(protection, "HASTE", timedelta(0))
    mind(desk.account)
    group = OrderGroup.objects.get(account=desk.account, decision=entry.decision)
    assert group.state == OrderGroup.State.UNSAFE and not is_covered(desk)
    later = desk.plan(2)
    send_order(order_id=later.pk, broker=desk.broker)
    assert state(later) == "PLANNED"
    desk.go_to("2026-01-15T03:46:00Z")
    desk.login()
    desk.catch_up()
    send_order(order_id=later.pk, broker=desk.broker)
    assert state(later) == "PLANNED" and desk.copies(later) == [], "not before the stop rests again"
    desk.pass_time(stop, 600)
    look_after(desk.account, desk.broker)
    assert stops(desk) == ["CANCELLED", "WORKING"] and resting(desk) == [("SELL", "10")]
    assert is_covered(desk)
    mind(desk.account)
    group.refresh_from_db()
    assert group.state == OrderGroup.State.OPEN


def test_a_stop_whose_end_nobody_saw_is_not_believed_and_ends_with_the_first_reading_of_the_next_day(
    desk_at: Callable[[str], Desk],
) -> None:
    desk = desk_at("2026-01-20T09:50:00Z")
    enter(desk)
    desk.go_to("2026-01-21T03:46:00Z")
    desk.login()
    assert stops(desk) == ["WORKING"] and resting(desk) == []
    later = desk.plan(2)
    send_order(order_id=later.pk, broker=desk.broker)
    assert state(later) == "PLANNED", "nothing of the new day was read yet: the stop is not believed to rest"
    look_after(desk.account, desk.broker)
    assert stops(desk) == ["WORKING"], "and no second one is placed beside it"
    for _ in range(2):
        desk.catch_up()
    assert stops(desk) == ["EXPIRED"]
    end = OrderEvent.objects.get(order=last_stop(desk), to_state="EXPIRED")
    assert end.broker_event is not None and end.broker_event.body["event"] == "day over"
    send_order(order_id=later.pk, broker=desk.broker)
    assert state(later) == "PLANNED" and not is_covered(desk)
    look_after(desk.account, desk.broker)
    assert stops(desk) == ["EXPIRED", "WORKING"] and resting(desk) == [("SELL", "10")]
    send_order(order_id=later.pk, broker=desk.broker)
    desk.wait(lambda: state(later) == "FILLED")


def test_a_stop_that_filled_unseen_is_never_sold_again(desk_at: Callable[[str], Desk]) -> None:
    desk = desk_at("2026-01-22T09:50:00Z")
    enter(desk)
    desk.simulator.post("/prices", {"instrument": "NSE:INFY", "bid": "1390.00", "ask": "1390.10"})
    assert desk.truth()["positions"] == []
    desk.go_to("2026-01-23T03:46:00Z")
    desk.login()
    desk.catch_up()
    assert stops(desk) == ["EXPIRED"]
    for _ in range(4):
        look_after(desk.account, desk.broker)
    assert desk.truth()["positions"] == [] and resting(desk) == [], "nothing is sold that is not held"
    assert not is_covered(desk), "and no new risk is taken until people have looked"


def test_a_closed_exchange_is_asked_again_soon_only_when_it_may_open() -> None:
    for at, soon in (("03:30", False), ("03:36", True), ("05:00", True), ("10:01", False)):
        moment = wall_now().replace(year=2026, month=1, day=14, hour=int(at[:2]), minute=int(at[3:]))
        assert (until_open("KITE", moment) < timedelta(minutes=1)) == soon, at


class Intraday(KiteBroker):
    """Intraday positions, whose stop and target may both rest."""

    capabilities = replace(KiteBroker.capabilities, legs_reserve_units=False)


def test_a_target_that_filled_in_part_makes_the_stop_smaller_where_it_rests(desk_at: Callable[[str], Desk]) -> None:
    desk = desk_at("2026-01-28T05:00:00Z")
    keys: Any = desk.connection.credentials
    desk.broker.close()
    desk.broker = Intraday(
        account_id=desk.id, key=keys["key"], access_token=keys["access_token"], url=desk.connection.url,
        ticker_url=kite_ticker_url(desk.connection.url), simulated=True, product="MIS",
    )  # fmt: skip
    entry = planned(desk)
    send_order(order_id=entry.pk, broker=desk.broker)
    desk.wait(lambda: state(entry) == "FILLED")
    look_after(desk.account, desk.broker)
    assert sorted(resting(desk)) == [("SELL", "10"), ("SELL", "10")]
    stop = last_stop(desk)
    desk.simulator.post(
        "/faults", {"broker": "kite", "route": "*", "action": "partial_fill", "args": {"quantity": "4"}}
    )
    desk.simulator.post("/prices", {"instrument": "NSE:INFY", "bid": "1600.00", "ask": "1600.10"})
    desk.catch_up()
    look_after(desk.account, desk.broker)
    before, stop = stop.broker_order_id, last_stop(desk)
    assert (stop.broker_order_id, stop.quantity, stop.state) == (before, Decimal(6), "WORKING")
    [shown] = [row for row in desk.truth()["orders"] if row["id"] == before]
    assert (shown["quantity"], shown["status"]) == ("6", "TRIGGER PENDING")
    changes = [row for row in desk.simulator.journal() if row["kind"] == "request" and row["data"]["method"] == "PUT"]
    assert len(changes) == 1
    desk.simulator.post("/prices", {"instrument": "NSE:INFY", "bid": "1390.00", "ask": "1390.10"})
    desk.wait(lambda: state(stop) == "FILLED")
    look_after(desk.account, desk.broker)
    desk.wait(lambda: resting(desk) == [])
    assert desk.truth()["positions"] == []
