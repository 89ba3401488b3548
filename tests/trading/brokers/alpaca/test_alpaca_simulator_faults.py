"""The Alpaca adapter against a simulator that loses, delays, repeats and refuses: no order goes twice."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.trading.brokers.alpaca.alpaca_desk import Desk, bracket, order
from trading.brokers.registry import open_broker
from trading.domain.broker import (
    Absent,
    Accepted,
    BrokerNeedsLogin,
    BrokerOrderStatus,
    BrokerUnreachable,
    Completeness,
    EventKind,
    Found,
    LookupFailed,
    OrderType,
    Refused,
    Unknown,
)

POST = "POST /v2/orders"


def fault(desk: Desk, action: str, route: str = POST, **fields: Any) -> None:
    desk.control.add_fault(**{"broker": "alpaca", "route": route, "action": action, "times": 1, **fields})


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("status", {"status": 504}),
        ("drop", {}),
        ("reset", {}),
        ("hang", {"seconds": 10}),
        ("truncate", {"bytes": 40}),
        ("body", {"text": "<html>502 Bad Gateway</html>", "content_type": "text/html"}),
        ("redirect", {"status": 307, "location": "http://127.0.0.1:9/v2/orders"}),
        ("rate_limit", {}),
    ],
)
def test_an_answer_lost_after_the_order_was_placed_is_unknown_and_the_look_up_binds_it(
    desk: Desk, action: str, args: dict[str, Any]
) -> None:
    fault(desk, action, when="after", args=args)
    began = time.monotonic()
    outcome = desk.broker.submit(bracket(f"lost-{action}"))
    assert isinstance(outcome, Unknown), outcome
    assert time.monotonic() - began < 3.5, "the SDK has tried again"
    found = desk.broker.order_by_client_id(f"lost-{action}")
    assert isinstance(found, Found) and found.order.status is BrokerOrderStatus.FILLED and len(found.legs) == 2
    assert desk.posts() == 1 and len(desk.rows("fill")) == 1


def test_the_same_order_sent_again_after_a_504_is_the_order_that_lives(desk: Desk) -> None:
    fault(desk, "status", when="after", args={"status": 504})
    request = bracket("again")
    assert isinstance(desk.broker.submit(request), Unknown) and desk.posts() == 1
    second = desk.broker.submit(request)
    assert isinstance(second, Accepted) and second.status is BrokerOrderStatus.FILLED and len(second.legs) == 2
    assert len(desk.rows("fill")) == 1
    assert len({row["id"] for row in desk.rows("order")}) == 3, "one entry, two legs"


@pytest.mark.parametrize("action", ["drop", "reset"])
def test_a_request_lost_before_it_was_read_is_unknown_and_then_absent(desk: Desk, action: str) -> None:
    fault(desk, action, when="before")
    assert isinstance(desk.broker.submit(order(f"never-{action}")), Unknown)
    assert isinstance(desk.broker.order_by_client_id(f"never-{action}"), Absent)
    assert desk.rows("fill") == []


def test_an_order_that_the_broker_accepts_late_is_absent_first_and_found_then(desk: Desk) -> None:
    fault(desk, "late_accept", args={"seconds": 1})
    assert isinstance(desk.broker.submit(order("late")), Unknown)
    deadline = time.monotonic() + 8
    found = desk.broker.order_by_client_id("late")
    assert isinstance(found, Absent)
    while not isinstance(found, Found) and time.monotonic() < deadline:
        time.sleep(0.1)
        found = desk.broker.order_by_client_id("late")
    assert isinstance(found, Found) and desk.posts() == 1 and len(desk.rows("fill")) == 1


def test_an_order_that_is_hidden_for_a_while_is_absent_and_found_then(desk: Desk) -> None:
    fault(desk, "hide", args={"seconds": 1})
    assert isinstance(desk.broker.submit(order("hidden")), Accepted)
    assert isinstance(desk.broker.order_by_client_id("hidden"), Absent)
    deadline = time.monotonic() + 8
    while not isinstance(desk.broker.order_by_client_id("hidden"), Found) and time.monotonic() < deadline:
        time.sleep(0.1)
    desk.news()
    assert [f.client_id for event in desk.seen.values() for f in event.fills] == ["hidden"]


def test_an_order_filled_in_part_is_told_by_its_events(desk: Desk) -> None:
    fault(desk, "partial_fill", route="*", args={"quantity": "4"})
    outcome = desk.broker.submit(order("partly"))
    assert isinstance(outcome, Accepted)
    desk.step(60)
    desk.price("199.98", "200.00")
    fills = [fill for event in desk.news() for fill in event.fills]
    assert fills[0].quantity == Decimal(4) and {fill.client_id for fill in fills} == {"partly"}
    assert sum(fill.quantity for fill in fills) == sum(Decimal(row["quantity"]) for row in desk.rows("fill"))


def test_an_order_that_is_rejected_later_ends_so_in_its_events(desk: Desk) -> None:
    fault(desk, "reject_later", args={"seconds": 0.3, "reason": "the exchange does not want it"})
    outcome = desk.broker.submit(order("unwanted"))
    assert isinstance(outcome, Accepted)
    deadline, ended = time.monotonic() + 8, []
    while not ended and time.monotonic() < deadline:
        time.sleep(0.05)
        ended = [event for event in desk.news() if event.kind is EventKind.ORDER_REJECTED]
    assert [event.orders[0].client_id for event in ended] == ["unwanted"]


@pytest.mark.fault("F-038", broker="alpaca")
@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("status", {"status": 502}),
        ("truncate", {"bytes": 30}),
        ("rate_limit", {}),
        ("redirect", {"status": 302, "location": "http://127.0.0.1:9/"}),
        ("bad_value", {"path": "0.id", "value": None}),
    ],
)
@pytest.mark.parametrize("route", ["GET /v2/orders", "GET /v2/account/activities"])
def test_a_list_that_is_broken_is_unreachable_and_never_empty(
    desk: Desk, route: str, action: str, args: dict[str, Any]
) -> None:
    desk.broker.submit(order("there", type=OrderType.LIMIT, price=Decimal(150)))
    fault(desk, action, route=route, args=args)
    with pytest.raises(BrokerUnreachable):
        desk.broker.events_since(desk.cursor)
    desk.control.clear_faults()
    assert desk.broker.snapshot().completeness is Completeness.COMPLETE


@pytest.mark.fault("F-024", broker="alpaca")
def test_a_status_that_nobody_knows_does_not_break_the_snapshot(desk: Desk) -> None:
    desk.broker.submit(order("strange", type=OrderType.LIMIT, price=Decimal(150)))
    fault(desk, "bad_value", route="GET /v2/orders", times=9, args={"path": "0.status", "value": "a_new_word"})
    snapshot = desk.broker.snapshot()
    assert [(each.status, each.raw_status) for each in snapshot.orders] == [(BrokerOrderStatus.OTHER, "a_new_word")]


@pytest.mark.parametrize("action", ["duplicate", "reorder"])
def test_pages_with_rows_twice_or_out_of_order_give_the_same_events(desk: Desk, action: str) -> None:
    desk.broker.submit(bracket("one"))
    desk.step()
    desk.broker.submit(order("two", instrument="SPY"))
    fault(desk, action, route="GET /v2/account/activities")
    fault(desk, action, route="GET /v2/orders")
    desk.news()
    desk.control.clear_faults()
    twin = open_broker(desk.connection).events_since("")
    assert {event.external_id for event in twin.events} == set(desk.seen)
    assert sum(len(event.fills) for event in desk.seen.values()) == len(desk.rows("fill")) == 2


@pytest.mark.fault("F-048", broker="alpaca")
def test_an_older_page_is_never_taken_for_the_present(desk: Desk) -> None:
    desk.broker.submit(order("before"))
    desk.news()
    desk.step()
    desk.broker.submit(order("after"))
    fault(desk, "stale_page", route="GET /v2/account/activities")
    desk.news()
    desk.control.clear_faults()
    desk.news()
    assert sum(len(event.fills) for event in desk.seen.values()) == 2


def test_an_execution_that_is_busted_later_comes_again_with_another_body(desk: Desk) -> None:
    desk.broker.submit(order("busted"))
    [fill] = [fill for event in desk.news() for fill in event.fills]
    desk.control.external(desk.account, "bust", fill_id=fill.external_id)
    [again] = [event for event in desk.broker.events_since(desk.cursor).events if event.external_id == fill.external_id]
    assert again.fills == () and again.raw != desk.seen[fill.external_id].raw


def test_a_wrong_key_asks_for_a_login_everywhere(desk: Desk) -> None:
    stranger = open_broker(replace(desk.connection, credentials={"key": "wrong", "secret": "wrong"}))
    outcome = stranger.submit(order("stranger"))
    assert isinstance(outcome, Refused) and outcome.code == "NEEDS_LOGIN"
    with pytest.raises(BrokerNeedsLogin):
        stranger.snapshot()
    with pytest.raises(BrokerNeedsLogin):
        stranger.events_since("")
    assert isinstance(stranger.order_by_client_id("stranger"), LookupFailed)


@pytest.mark.fault("F-033", broker="alpaca")
def test_the_key_of_another_account_does_nothing(desk: Desk) -> None:
    other = open_broker(replace(desk.connection, account_id="SIMALPACA"))
    outcome = other.submit(order("mixed-up"))
    assert isinstance(outcome, Refused) and outcome.code == "NEEDS_LOGIN" and desk.posts() == 0
    with pytest.raises(BrokerNeedsLogin, match=f"belongs to account {desk.account}"):
        other.events_since("")


def test_an_account_that_was_reset_has_gone_back(desk: Desk) -> None:
    desk.broker.submit(order("before-reset"))
    desk.news()
    desk.control.reset_account(desk.account)
    with pytest.raises(BrokerUnreachable, match="were seen before"):
        desk.broker.events_since(desk.cursor)


def test_a_key_that_expires_asks_for_a_login_and_sends_nothing(desk: Desk) -> None:
    fault(desk, "expire_token", route="*")
    outcome = desk.broker.submit(order("expired"))
    assert isinstance(outcome, Refused) and outcome.code == "NEEDS_LOGIN"
    with pytest.raises(BrokerNeedsLogin):
        desk.broker.snapshot()
