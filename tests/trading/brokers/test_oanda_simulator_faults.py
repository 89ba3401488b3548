"""The adapter against a simulator that loses, delays, repeats and refuses: outcomes are true, no order goes twice."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.servers import Simulator
from tests.trading.brokers.simulator_desk import Desk, order
from trading.brokers.oanda import OandaBroker
from trading.brokers.registry import credentials_from_environment, open_broker
from trading.brokers.simulator_control import SimulatorControl
from trading.domain.broker import (
    Absent,
    Accepted,
    BrokerNeedsLogin,
    BrokerOrderStatus,
    BrokerUnreachable,
    Found,
    OrderType,
    Refused,
    Unknown,
)

HALF = Decimal("0.00005")


def test_sending_a_pending_order_again_finds_the_first_one(desk: Desk) -> None:
    request = order("twice-pending", type=OrderType.LIMIT, price=Decimal("1.05"))
    first, second = desk.broker.submit(request), desk.broker.submit(request)
    assert isinstance(first, Accepted) and isinstance(second, Accepted), second
    assert first.broker_order_id == second.broker_order_id
    assert len(desk.truth()["orders"]) == 1 and desk.posts() == 2


def test_sending_a_filled_order_again_is_unknown_and_the_look_up_finds_the_first_fill(desk: Desk) -> None:
    since = desk.cursor
    first, second = desk.broker.submit(order("twice-filled")), desk.broker.submit(order("twice-filled"))
    assert isinstance(first, Accepted) and isinstance(second, Unknown), second
    found = desk.broker.order_by_client_id("twice-filled", since=since)
    assert isinstance(found, Found)
    assert (found.order.broker_order_id, found.order.status) == (first.broker_order_id, BrokerOrderStatus.FILLED)
    assert len(desk.rows("fill")) == 1


@pytest.mark.parametrize(
    ("action", "args"),
    [("drop", {}), ("reset", {}), ("status", {"status": 504}), ("hang", {"seconds": 10})],
)
def test_an_answer_lost_after_the_order_was_placed_is_unknown_and_the_look_up_binds_it(
    desk: Desk, action: str, args: dict[str, Any]
) -> None:
    desk.control.add_fault(broker="oanda", route="POST /v3/accounts", when="after", action=action, times=1, args=args)
    since, began = desk.cursor, time.monotonic()
    outcome = desk.broker.submit(order(f"lost-{action}"))
    assert isinstance(outcome, Unknown), outcome
    assert time.monotonic() - began < 3.5
    found = desk.broker.order_by_client_id(f"lost-{action}", since=since)
    assert isinstance(found, Found) and found.order.status is BrokerOrderStatus.FILLED
    assert desk.posts() == 1 and len(desk.rows("fill")) == 1


@pytest.mark.parametrize("action", ["drop", "reset"])
def test_a_request_lost_before_it_was_read_is_unknown_and_then_absent(desk: Desk, action: str) -> None:
    desk.control.add_fault(broker="oanda", route="POST /v3/accounts", when="before", action=action, times=1)
    outcome = desk.broker.submit(order(f"never-{action}"))
    assert isinstance(outcome, Unknown), outcome
    assert isinstance(desk.broker.order_by_client_id(f"never-{action}", since=desk.cursor), Absent)
    assert desk.rows("fill") == []


def test_an_order_that_the_broker_accepts_late_is_absent_first_and_found_then(desk: Desk) -> None:
    desk.control.add_fault(
        broker="oanda", route="POST /v3/accounts", action="late_accept", times=1, args={"seconds": 1}
    )
    outcome = desk.broker.submit(order("late"))
    assert isinstance(outcome, Unknown), outcome
    deadline = time.monotonic() + 8
    found = desk.broker.order_by_client_id("late", since=desk.cursor)
    while not isinstance(found, Found) and time.monotonic() < deadline:
        time.sleep(0.1)
        found = desk.broker.order_by_client_id("late", since=desk.cursor)
    assert isinstance(found, Found) and desk.posts() == 1 and len(desk.rows("fill")) == 1


def test_a_part_of_a_fill_is_told_by_its_events(desk: Desk) -> None:
    desk.control.add_fault(broker="oanda", action="partial_fill", times=1, args={"quantity": "400"})
    outcome = desk.broker.submit(order("partly"))
    assert isinstance(outcome, Accepted) and outcome.status is not BrokerOrderStatus.FILLED, outcome
    fills = [fill for event in desk.news() for fill in event.fills]
    assert sum(fill.quantity for fill in fills) == sum(Decimal(row["quantity"]) for row in desk.rows("fill"))
    assert fills[0].quantity == Decimal(400) and fills[0].client_id == "partly"


def test_a_wrong_key_asks_for_a_login_everywhere(desk: Desk) -> None:
    stranger = OandaBroker(account_id=desk.account, token="wrong", url=desk.url)
    outcome = stranger.submit(order("stranger"))
    assert isinstance(outcome, Refused) and outcome.code == "NEEDS_LOGIN"
    with pytest.raises(BrokerNeedsLogin):
        stranger.snapshot()
    with pytest.raises(BrokerNeedsLogin):
        stranger.events_since("")


def test_a_history_that_was_reset_has_gone_back(running: Simulator, control: SimulatorControl) -> None:
    desk = Desk(running, control)
    desk.broker.submit(order("before-reset"))
    desk.news()
    control.reset_account(desk.account)
    with pytest.raises(BrokerUnreachable, match="was seen before"):
        desk.broker.events_since(desk.cursor)


def test_a_stopped_simulator_is_unreachable_and_nothing_was_sent(control: SimulatorControl, running: Simulator) -> None:
    connection = credentials_from_environment("oanda", {"SIMULATOR_URL": "http://127.0.0.1:9"})
    assert connection is not None
    broker = open_broker(replace(connection, url="http://127.0.0.1:9"))
    with pytest.raises(BrokerUnreachable):
        broker.snapshot()
    outcome = broker.submit(order("nobody-there"))
    assert isinstance(outcome, Refused) and outcome.code == "NOT_SENT"
    with pytest.raises(BrokerUnreachable, match="control door"):
        SimulatorControl("http://127.0.0.1:9").clear_faults()


def test_the_control_door_refuses_with_a_sentence(control: SimulatorControl) -> None:
    with pytest.raises(ValueError, match="refused"):
        control.set_price("NO_SUCH", Decimal(1), Decimal(1))
