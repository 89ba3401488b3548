"""The life of one order: what is refused, how it is told, how it fills and ends."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from .support import Desk


@pytest.fixture
def desk() -> Desk:
    """Monday, ten o'clock in New York; AAPL at 99.99 to 100.01."""
    found = Desk()
    found.control("clock", now="2026-01-05T15:00:00Z")
    found.share("99.99", "100.01")
    found.heard.clear()
    return found


GOOD = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
BOTH = {"take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "90"}}


@pytest.mark.parametrize(
    ("change", "status", "code", "words"),
    [
        ({"symbol": None}, 422, 40010001, "symbol is required"),
        ({"symbol": "ZZZZ"}, 422, 42210000, 'asset "ZZZZ" not found'),
        ({"qty": None}, 422, 40010001, "qty or notional is required"),
        ({"notional": "10"}, 422, 40010001, "only one of"),
        ({"qty": "0"}, 422, 42210000, "qty must be > 0"),
        ({"qty": "-1"}, 422, 42210000, "qty must be > 0"),
        ({"qty": "NaN"}, 422, 40010001, "invalid qty"),
        ({"qty": 0.30000000000000004}, 422, 42210000, "at most 9 decimal places"),
        ({"side": "hold"}, 422, 40010001, "invalid side"),
        ({"type": "magic"}, 422, 40010001, "invalid type"),
        ({"time_in_force": None}, 422, 40010001, "time_in_force is required"),
        ({"colour": "red"}, 422, 40010001, "unknown field: colour"),
        ({"type": "limit"}, 422, 40010001, "limit orders require a limit price"),
        ({"limit_price": "90"}, 422, 40010001, "market orders require no limit price"),
        ({"type": "limit", "limit_price": "99.999"}, 422, 42210000, "sub-penny increment"),
        ({"type": "trailing_stop"}, 422, 40010001, "one of trail_price or trail_percent"),
        ({"qty": "0.5", "time_in_force": "gtc"}, 422, 42210000, "fractional orders must be DAY orders"),
        ({"qty": "0.5", "side": "sell"}, 422, 42210000, "fractional orders cannot be sold short"),
        ({"extended_hours": True}, 422, 42210000, "extended hours order must be"),
        ({"client_order_id": "x" * 129}, 422, 40010001, "128 characters"),
        ({"position_intent": "buy_to_close"}, 422, 42210000, "position intent mismatch"),
        ({"qty": "1000"}, 403, 40310000, "insufficient buying power"),
        ({"order_class": "bracket"}, 422, 42210000, "require take_profit.limit_price and stop_loss.stop_price"),
        ({"order_class": "bracket", **BOTH, "time_in_force": "ioc"}, 422, 42210000, "complex orders must be"),
        (
            {"order_class": "bracket", **BOTH, "take_profit": {"limit_price": "89"}},
            422, 42210000, "take_profit.limit_price must be > stop_loss.stop_price",
        ),
        (
            {"order_class": "bracket", **BOTH, "stop_loss": {"stop_price": "100.01"}},
            422, 42210000, "stop_loss.stop_price must be <= base_price - 0.01",
        ),
        ({"order_class": "oto", **BOTH}, 422, 42210000, "either take_profit or stop_loss"),
        ({"order_class": "oco", "type": "limit", **BOTH}, 422, 42210000, "oco orders must be exit orders"),
        ({"order_class": "mleg"}, 422, 42210000, "options only"),
        ({"time_in_force": "opg"}, 422, 42210000, "cut-off"),
    ],
)  # fmt: skip
def test_what_is_refused_changes_nothing(
    desk: Desk, change: dict[str, Any], status: int, code: int, words: str
) -> None:
    before = len(desk.account.history), desk.cash, len(desk.heard)
    found, body = desk.ask("POST", "/orders", {**GOOD, **change})
    assert (found, body["code"]) == (status, code) and words in body["message"]
    assert not desk.account.orders and before == (len(desk.account.history), desk.cash, len(desk.heard))


def test_a_null_member_is_an_absent_one(desk: Desk) -> None:
    order = {**GOOD, "notional": None, "limit_price": None, "legs": None, "order_class": None, "take_profit": None}
    assert desk.ask("POST", "/orders", order)[0] == 200


def test_paths_ids_and_bodies_that_mean_nothing(desk: Desk) -> None:
    assert desk.ask("GET", "/orders/not-a-uuid")[0] == 422
    missing = "/orders/00000000-0000-4000-8000-000000000000"
    assert [desk.ask(method, missing)[0] for method in ("GET", "DELETE")] == [404, 404]
    assert desk.ask("GET", "/orders:by_client_order_id?client_order_id=nobody")[1]["code"] == 40410000
    assert desk.ask("GET", "/nothing")[0] == 404 and desk.ask("PUT", "/orders")[0] == 405
    assert desk.ask("POST", "/orders", [1])[1]["message"] == "request body format is invalid"
    assert desk.ask("GET", "/account", token="SIMKEY:")[1]["code"] == 40110000
    for query in ("status=odd", "limit=501", "direction=up", "after=yesterday"):
        assert desk.ask("GET", f"/orders?{query}")[0] == 422


def test_every_step_is_told_with_the_order_as_it_was_then(desk: Desk) -> None:
    order = desk.buy("10", client_order_id="mine")
    assert order["status"] == "pending_new" and order["filled_qty"] == "0"
    assert desk.events(order) == ["pending_new", "new", "fill"]
    assert [one["order"]["status"] for one in desk.heard] == ["pending_new", "new", "filled"]
    told = desk.heard[-1]
    assert (told["price"], told["qty"], told["position_qty"]) == ("100.01", "10", "10")
    (fill,) = desk.fills()
    assert fill["id"] == f"20260105100000000::{told['execution_id']}" and fill["order_id"] == order["id"]
    assert (fill["qty"], fill["price"], fill["cum_qty"], fill["leaves_qty"]) == ("10", "100.01", "10", "0")
    assert [row["status"] for row in desk.own("order")] == ["PENDING_NEW", "NEW", "FILLED"]
    assert desk.own("fill") == [
        {
            "id": fill["id"], "order_id": order["id"], "client_id": "mine", "instrument": "AAPL", "side": "BUY",
            "quantity": "10", "price": "100.01", "pl": "0", "fee": "0",
        }
    ]  # fmt: skip
    assert desk.own("cash")[-1] == {"kind": "trade", "currency": "USD", "amount": "-1000.1", "balance": "98999.9"}


def test_a_client_id_is_taken_for_ever(desk: Desk) -> None:
    order = desk.buy("1", type="limit", limit_price="50", client_order_id="once")
    desk.good("DELETE", f"/orders/{order['id']}")
    status, body = desk.ask("POST", "/orders", {**GOOD, "client_order_id": "once"})
    assert (status, body) == (422, {"code": 40010001, "message": "client_order_id must be unique"})
    fresh = desk.buy("1", type="limit", limit_price="50")
    assert desk.ask("PATCH", f"/orders/{fresh['id']}", {"qty": "2", "client_order_id": "once"})[0] == 422
    assert desk.good("GET", "/orders:by_client_order_id?client_order_id=once")["id"] == order["id"]


def test_limits_and_stops_wait_for_their_price(desk: Desk) -> None:
    limit = desk.buy("1", type="limit", limit_price="99")
    stop = desk.buy("1", type="stop", stop_price="101")
    both = desk.buy("1", type="stop_limit", stop_price="102", limit_price="102.10")
    desk.share("98.90", "98.92")
    assert desk.read(limit)["filled_avg_price"] == "98.92", "a jump fills at the better price"
    desk.share("101.50", "101.52")
    assert desk.read(stop)["filled_avg_price"] == "101.52"
    desk.share("102.50", "102.52")
    assert desk.status(both) == "new", "triggered, but its limit is passed already"
    desk.share("102.05", "102.07")
    assert desk.read(both)["filled_avg_price"] == "102.07"


def test_a_bar_is_traded_through_and_fills_at_the_level_itself(desk: Desk) -> None:
    limit = desk.buy("1", type="limit", limit_price="99")
    bar = {"start": "2026-01-05T15:00:00Z", "open": "100", "high": "100.5", "low": "97", "close": "98", "interval": 60}
    desk.control("bars", instrument="AAPL", bars=[bar])
    assert desk.read(limit)["filled_avg_price"] == "99"


def test_a_trailing_stop_follows_the_price(desk: Desk) -> None:
    desk.buy("10")
    by_price = desk.buy("4", side="sell", type="trailing_stop", trail_price="2", time_in_force="gtc")
    by_share = desk.buy("6", side="sell", type="trailing_stop", trail_percent="1", time_in_force="gtc")
    desk.share("104.00", "104.02")
    assert [desk.read(one)["stop_price"] for one in (by_price, by_share)] == ["102", "102.96"]
    assert desk.read(by_share)["hwm"] == "104"
    desk.share("103.00", "103.02")
    assert desk.read(by_price)["stop_price"] == "102", "it never goes back"
    fresh = desk.good("PATCH", f"/orders/{by_price['id']}", {"trail": "0.50"})
    assert desk.read(fresh)["stop_price"] == "102.5"
    desk.share("102.40", "102.42")
    assert [desk.status(one) for one in (fresh, by_share)] == ["filled", "filled"] and desk.held() == 0


def test_at_once_or_not_at_all(desk: Desk) -> None:
    for kind in ("ioc", "fok"):
        order = desk.buy("1", type="limit", limit_price="99", time_in_force=kind)
        assert desk.status(order) == "canceled" and desk.events(order) == ["pending_new", "new", "canceled"]
    desk.control("fault", broker="alpaca", action="partial_fill", args={"quantity": "4"}, times=2)
    part = desk.buy("10", time_in_force="ioc")
    whole = desk.buy("10", time_in_force="fok")
    found = desk.read(part)
    assert (found["status"], found["filled_qty"]) == ("canceled", "4")
    assert desk.status(whole) == "canceled" and desk.held() == 4


def test_a_partial_fill_goes_on_with_the_next_price(desk: Desk) -> None:
    desk.control("fault", broker="alpaca", action="partial_fill", args={"quantity": "4"})
    order = desk.buy("10")
    found = desk.read(order)
    assert (found["status"], found["filled_qty"], found["filled_avg_price"]) == ("partially_filled", "4", "100.01")
    desk.share("100.99", "101.01")
    found = desk.read(order)
    assert (found["status"], found["filled_qty"], found["filled_avg_price"]) == ("filled", "10", "100.61")
    first, second = desk.fills()
    assert (first["type"], first["leaves_qty"], first["order_status"]) == ("partial_fill", "6", "partially_filled")
    assert (second["type"], second["cum_qty"]) == ("fill", "10") and desk.events(order)[2:] == ["partial_fill", "fill"]


def test_a_stop_that_triggered_goes_on_although_the_price_comes_back(desk: Desk) -> None:
    desk.buy("10")
    stop = desk.buy("10", side="sell", type="stop", stop_price="99", time_in_force="gtc")
    desk.control("fault", broker="alpaca", action="partial_fill", args={"quantity": "4"})
    desk.share("98.99", "99.01")
    assert desk.status(stop) == "partially_filled"
    desk.share("100.99", "101.01")
    assert desk.status(stop) == "filled" and desk.held() == 0


def test_notional_orders_buy_what_the_money_pays(desk: Desk) -> None:
    order = desk.good("POST", "/orders", {**GOOD, "qty": None, "notional": "250"})
    found = desk.read(order)
    assert (found["qty"], found["notional"], found["status"]) == (None, "250", "filled")
    assert found["filled_qty"] == "2.499750024" and desk.cash == 100_000 - Decimal("2.499750024") * Decimal("100.01")


def test_replacing_gives_a_new_order_and_tells_the_old_one(desk: Desk) -> None:
    order = desk.buy("5", type="limit", limit_price="90", time_in_force="gtc")
    fresh = desk.good("PATCH", f"/orders/{order['id']}", {"limit_price": "100.50", "time_in_force": "day"})
    assert desk.status(fresh) == "filled", "the new price is worth taking at once"
    assert desk.events(order) == ["pending_new", "new", "pending_replace", "replaced"]
    assert desk.events(fresh) == ["pending_new", "new", "fill"]
    old = desk.read(order)
    assert (old["status"], old["replaced_by"]) == ("replaced", fresh["id"]) and old["replaced_at"]
    assert desk.ask("PATCH", f"/orders/{fresh['id']}", {"qty": "9"})[0] == 422
    assert desk.ask("PATCH", f"/orders/{order['id']}", {"qty": "9"})[0] == 422


def test_a_replaced_order_asks_for_what_is_still_to_trade(desk: Desk) -> None:
    desk.control("fault", broker="alpaca", action="partial_fill", args={"quantity": "4"})
    order = desk.buy("10", type="limit", limit_price="100.01", time_in_force="gtc")
    fresh = desk.good("PATCH", f"/orders/{order['id']}", {"limit_price": "99"})
    assert (fresh["qty"], fresh["filled_qty"]) == ("6", "0")
    assert desk.ask("PATCH", f"/orders/{fresh['id']}", {"limit_price": "99"})[1]["code"] == 40310000
    assert desk.ask("PATCH", f"/orders/{fresh['id']}", {"stop_price": "99"})[0] == 422
    assert desk.ask("PATCH", f"/orders/{fresh['id']}", {"qty": "1.5"})[0] == 422


def test_a_halt_stops_every_fill(desk: Desk) -> None:
    desk.control("fault", broker="alpaca", action="halt", args={"instrument": "AAPL", "seconds": 60})
    order = desk.buy("1")
    desk.share("99.00", "99.02")
    assert desk.status(order) == "new"
    desk.control("clock", step="61")
    desk.share("98.00", "98.02")
    assert desk.read(order)["filled_avg_price"] == "98.02"


def test_lists_are_cut_as_asked(desk: Desk) -> None:
    orders = []
    for index in range(6):
        side, price = ("buy", "50") if index % 2 else ("sell", "150")
        symbol = "SPY" if index == 5 else "AAPL"
        orders.append(desk.buy("1", side=side, type="limit", limit_price=price, symbol=symbol))
        desk.control("clock", step="1")
    ids = [order["id"] for order in orders]

    def listed(query: str) -> list[int]:
        return [ids.index(row["id"]) for row in desk.good("GET", f"/orders?{query}")]

    assert listed("") == [5, 4, 3, 2, 1, 0] and listed("direction=asc&limit=2") == [0, 1]
    assert listed("symbols=SPY,MSFT") == [5] and listed("side=sell") == [4, 2, 0]
    assert listed(f"after={orders[2]['submitted_at']}") == [5, 4, 3], "exclusive"
    assert listed(f"until={orders[2]['submitted_at']}") == [1, 0]
    assert listed(f"after_order_id={ids[1]}&before_order_id={ids[4]}&direction=asc") == [2, 3]
    desk.good("DELETE", f"/orders/{ids[0]}")
    assert listed("status=closed") == [0] and listed("status=all&direction=asc") == [0, 1, 2, 3, 4, 5]
