"""Reading an Alpaca account's history: overlap, pages, missing executions, and what a cursor stands for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.trading.brokers.alpaca.alpaca_wire import (
    BRACKET,
    BUY,
    NOW,
    ORDER,
    SmallAlpaca,
    at,
    bracket_row,
    broker_at,
    cash_row,
    fill_row,
    filled,
    order_row,
)
from tests.trading.brokers.raw_server import RawServer, serving
from trading.brokers import alpaca_history
from trading.brokers.alpaca_history import Cursor
from trading.domain.broker import (
    BrokerEvent,
    BrokerNeedsLogin,
    BrokerUnreachable,
    BrokerWentBack,
    Completeness,
    EventKind,
    EventPage,
    LegRole,
)


def ids(page: EventPage) -> list[str]:
    return [event.external_id for event in page.events]


def read(server: RawServer, cursor: str = "") -> EventPage:
    return broker_at(server.url).events_since(cursor)


def test_the_first_reading_begins_with_the_deposit_and_is_complete() -> None:
    deposit = cash_row("CSD", "100000", hours=-500)
    with serving(SmallAlpaca(orders=[filled()], activities=[deposit, fill_row()])) as server:
        page = read(server)
    assert page.completeness is Completeness.COMPLETE
    assert ids(page) == [deposit["id"], f"{ORDER}:created", fill_row()["id"], f"{ORDER}:filled"]
    assert page.events[2].fills[0].client_id == BUY.client_id
    assert 0 < len(page.cursor) <= 64 and Cursor.parse(page.cursor) is not None


def test_reading_again_with_nothing_new_gives_nothing_and_the_same_cursor() -> None:
    with serving(SmallAlpaca(orders=[filled()], activities=[fill_row()])) as server:
        first = read(server)
        second = read(server, first.cursor)
    assert (second.events, second.cursor, second.completeness) == ((), first.cursor, Completeness.COMPLETE)


def test_news_brings_the_overlap_again_with_the_same_ids_and_bodies() -> None:
    alpaca = SmallAlpaca(orders=[filled()], activities=[fill_row()])
    with serving(alpaca) as server:
        first = read(server)
        alpaca.activities.append(cash_row("FEE", "-0.02", 901, hours=-0.1))
        second = read(server, first.cursor)
    assert set(ids(first)) < set(ids(second)) and second.cursor != first.cursor
    again = {event.external_id: event for event in second.events}
    assert all(again[event.external_id] == event for event in first.events)


def test_what_is_older_than_the_overlap_is_not_read_again() -> None:
    old = filled(id="old", hours=-60) | {"filled_at": at(-60)}
    alpaca = SmallAlpaca(orders=[old, order_row()], activities=[fill_row(1, -60, order_id="old")])
    with serving(alpaca) as server:
        cursor = read(server).cursor
        alpaca.orders[1] = order_row(status="canceled", canceled_at=at(0))
        assert ids(read(server, cursor)) == [f"{ORDER}:created", f"{ORDER}:canceled"]


def test_an_order_that_rests_for_weeks_is_followed_to_its_end() -> None:
    alpaca = SmallAlpaca(orders=[order_row("old", hours=-700)])
    with serving(alpaca) as server:
        cursor = read(server).cursor
        alpaca.orders = [order_row("old", hours=-700, status="canceled", canceled_at=at(-0.2))]
        page = read(server, cursor)
    assert ids(page) == ["old:created", "old:canceled"]


def test_the_legs_of_an_old_entry_fill_as_its_legs() -> None:
    done = bracket_row("filled", "new", submitted_at=at(-700), filled_qty="10", filled_at=at(-700))
    alpaca = SmallAlpaca(orders=[done], activities=[fill_row(1, -700, order_id="parent")])
    with serving(alpaca) as server:
        cursor = read(server).cursor
        target = {**done["legs"][0], "status": "filled", "filled_qty": "10", "filled_at": at(-0.1)}
        stop = {**done["legs"][1], "status": "canceled", "canceled_at": at(-0.1)}
        alpaca.orders = [{**done, "legs": [target, stop]}]
        alpaca.activities.append(fill_row(2, -0.1, order_id="leg-target", side="sell"))
        page = read(server, cursor)
    by_id = {event.external_id: event for event in page.events}
    assert by_id[fill_row(2)["id"]].fills[0].client_id == "random-1"
    [news] = by_id["leg-stop:canceled"].orders
    assert (news.parent_client_id, news.leg) == (BRACKET.client_id, LegRole.STOP)


def test_the_order_of_an_execution_is_looked_up_when_it_is_not_listed() -> None:
    alpaca = SmallAlpaca(orders=[filled(hours=-700)], activities=[fill_row(1, -0.1)])
    with serving(alpaca) as server:
        page = read(server, str(Cursor(NOW - timedelta(days=1), NOW - timedelta(days=1), 0, "x")))
    assert [fill.client_id for event in page.events for fill in event.fills] == [BUY.client_id]


def test_the_execution_of_an_order_that_alpaca_does_not_name_is_nobodys() -> None:
    with serving(SmallAlpaca(activities=[fill_row()])) as server:
        page = read(server)
    assert page.completeness is Completeness.COMPLETE and page.events[0].fills[0].client_id == ""


def test_the_end_of_an_order_waits_for_executions_that_are_not_shown_yet() -> None:
    alpaca = SmallAlpaca(orders=[filled()])
    with serving(alpaca) as server:
        first = read(server)
        assert ids(first) == [f"{ORDER}:created"]
        alpaca.now = NOW + timedelta(days=4)  # far beyond the overlap
        quiet = read(server, first.cursor)
        alpaca.activities.append(fill_row())
        found = read(server, quiet.cursor)
    assert ids(found) == [f"{ORDER}:created", fill_row()["id"], f"{ORDER}:filled"]


def test_an_order_whose_executions_never_come_is_given_up_after_a_week() -> None:
    alpaca = SmallAlpaca(orders=[filled()])
    with serving(alpaca) as server:
        first = read(server)
        alpaca.now = NOW + timedelta(days=8)
        page = read(server, first.cursor)
        cursor = Cursor.parse(page.cursor)
    assert f"{ORDER}:filled" in ids(page)
    assert cursor is not None and cursor.activities_from > NOW


def day_of_trading(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    orders, fills = [], []
    for number in range(count):
        hours = -10 + number * 0.01
        name = f"order-{number:04d}"
        orders.append(
            order_row(name, f"ours-{number}", hours, status="filled", filled_qty="10", filled_at=at(hours + 0.005))
        )
        fills.append(fill_row(number, hours + 0.005, order_id=name))
    return orders, fills


def test_lists_are_read_to_their_last_page() -> None:
    orders, fills = day_of_trading(250)
    with serving(SmallAlpaca(orders=orders, activities=fills)) as server:
        page = read(server)
        paths = [request.path for request in server.requests if "activities" in request.path]
    assert page.completeness is Completeness.COMPLETE
    assert len(page.events) == 750 and len(set(ids(page))) == 750 and len(paths) == 3


def test_orders_of_one_moment_are_not_lost_between_two_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alpaca_history, "ORDERS_PER_PAGE", 3)
    orders = [order_row(f"order-{n}", f"ours-{n}", hours=-1 + n // 2 * 0.1) for n in range(8)]
    with serving(SmallAlpaca(orders=orders)) as server:
        assert len(read(server).events) == 8


def test_a_history_longer_than_one_call_goes_on_from_its_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alpaca_history, "PAGES_PER_CALL", 1)
    orders, fills = day_of_trading(350)
    seen: dict[str, BrokerEvent] = {}
    cursor = ""
    with serving(SmallAlpaca(orders=orders, activities=fills)) as server:
        for _ in range(10):
            page = read(server, cursor)
            seen.update((event.external_id, event) for event in page.events)
            if page.completeness is Completeness.COMPLETE:
                break
            assert page.cursor != cursor, "it must move on"
            cursor = page.cursor
    assert len(seen) == 1050 and page.completeness is Completeness.COMPLETE


def test_a_moment_with_more_rows_than_can_be_read_is_never_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alpaca_history, "PAGES_PER_CALL", 1)
    fills = [fill_row(number, -3, order_id="x") for number in range(150)]
    with serving(SmallAlpaca(activities=fills)) as server:
        first = read(server)
        second = read(server, first.cursor)
    assert first.completeness is second.completeness is Completeness.PARTIAL
    assert second.cursor == first.cursor and "more than can be read" in second.reason


@pytest.mark.fault("F-048", broker="alpaca")
def test_pages_that_do_not_move_on_are_refused() -> None:
    stuck = [fill_row(number, -3, order_id="x") for number in range(100)]
    with (
        serving(SmallAlpaca(routes={"GET /v2/account/activities": (200, stuck)})) as server,
        pytest.raises(BrokerUnreachable, match="same rows again"),
    ):
        read(server)


def test_a_row_given_twice_is_one_event() -> None:
    with serving(SmallAlpaca(orders=[filled(), filled()], activities=[fill_row(), fill_row()])) as server:
        assert len(read(server).events) == 3


def test_words_that_are_not_known_do_not_stop_the_history() -> None:
    rows = [order_row("strange", status="a_brand_new_status", side="buy_minus", order_class="quad"), filled()]
    with serving(SmallAlpaca(orders=rows, activities=[fill_row(), cash_row("BRAND_NEW", "5")])) as server:
        page = read(server)
    assert page.completeness is Completeness.COMPLETE
    assert {"strange:created", f"{ORDER}:filled", cash_row("BRAND_NEW", "5")["id"]} <= set(ids(page))


@pytest.mark.parametrize(
    "bad",
    [{"price": "NaN"}, {"qty": None}, {"qty": "1_000"}, {"side": "a_new_side"}, {"symbol": ["AAPL"]}, {"type": 5}],
)
def test_an_execution_that_cannot_be_read_is_kept_unbooked_and_the_rest_goes_on(bad: dict[str, Any]) -> None:
    rows = [{**fill_row(), **bad}, fill_row(2), cash_row("CSD", "5")]
    with serving(SmallAlpaca(orders=[filled()], activities=rows)) as server:
        page = read(server)
    kept = next(event for event in page.events if event.raw.get("id") == rows[0]["id"])
    assert kept.external_id != rows[0]["id"], "the row itself is news once it can be read"
    assert (kept.kind, kept.fills, kept.cash) == (EventKind.OTHER, (), ()) and kept.raw["symbol"] == rows[0]["symbol"]
    assert [fill.external_id for event in page.events for fill in event.fills] == [rows[1]["id"]]
    assert [moved.amount for event in page.events for moved in event.cash] == [Decimal(5)]


@pytest.mark.parametrize(
    ("route", "answered"),
    [
        ("GET /v2/account/activities", (200, [{**fill_row(), "transaction_time": "soon"}])),
        ("GET /v2/account/activities", (200, [{**fill_row(), "id": "x" * 65}])),
        ("GET /v2/account/activities", (200, {"rows": []})),
        ("GET /v2/account/activities", (200, '[{"id": "2026')),
        ("GET /v2/account/activities", (502, "<html>bad gateway</html>")),
        ("GET /v2/orders", (200, [{**order_row(), "id": None}])),
        ("GET /v2/orders", (200, [{**order_row(), "submitted_at": None, "created_at": None}])),
        ("GET /v2/orders", (302, {})),
        ("GET /v2/clock", (200, {"is_open": True})),
        ("GET /v2/clock", (429, {"code": 42910000, "message": "rate limit exceeded"})),
    ],
)
def test_a_history_that_cannot_be_read_says_nothing(route: str, answered: Any) -> None:
    with serving(SmallAlpaca(routes={route: answered})) as server, pytest.raises(BrokerUnreachable):
        read(server)


def test_an_account_that_shows_less_than_before_has_gone_back() -> None:
    alpaca = SmallAlpaca(activities=[cash_row("CSD", "100000"), fill_row()], orders=[filled()])
    with serving(alpaca) as server:
        cursor = read(server).cursor
        alpaca.activities = alpaca.activities[:1]
        with pytest.raises(BrokerWentBack, match="1 executions and movements"):
            read(server, cursor)
        alpaca.now = NOW - timedelta(days=30)
        with pytest.raises(BrokerWentBack, match="clock"):
            read(server, cursor)


def test_a_midnight_moves_the_overlap_on() -> None:
    alpaca = SmallAlpaca(orders=[filled()], activities=[fill_row()])
    with serving(alpaca) as server:
        first = read(server)
        alpaca.now = NOW + timedelta(days=3)
        second = read(server, first.cursor)
        third = read(server, second.cursor)
    before, after = Cursor.parse(first.cursor), Cursor.parse(second.cursor)
    assert before is not None and after is not None
    assert after.activities_from - before.activities_from == timedelta(days=3)
    assert third.events == () and third.cursor == second.cursor


@pytest.mark.parametrize("written", ["", "nonsense", "20260107000000001::uuid", "a/b/1/c", "20260107T000000Z/x/1/c"])
def test_a_cursor_that_is_none_means_from_the_beginning(written: str) -> None:
    assert Cursor.parse(written) is None


def test_a_cursor_is_read_back_as_it_was_written() -> None:
    cursor = Cursor(NOW, NOW - timedelta(days=80), 12345, "0123456789abcdef")
    assert Cursor.parse(str(cursor)) == cursor and len(str(cursor)) <= 64
    assert Cursor.parse(str(replace(cursor, count=3))) != cursor


def test_a_wrong_key_asks_for_a_login() -> None:
    refusal = (401, {"code": 40110000, "message": "request is not authorized"})
    with (
        serving(SmallAlpaca(routes={"GET /v2/account": refusal})) as server,
        pytest.raises(BrokerNeedsLogin, match="ALPACA_API_KEY"),
    ):
        read(server)
