"""Kite's day: sessions that die at six, the order book of one day, delivery, square-off, after-market orders."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from trading.simulator.core.calls import Call
from trading.simulator.core.nse import INDIA, session

from .support import SECRET, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_exchange_is_open_from_a_quarter_past_nine(desk: Desk) -> None:
    found = session(datetime(2026, 1, 5, tzinfo=INDIA).date())
    assert found is not None and (found.opens.isoformat(), found.closes.isoformat()) == (
        "2026-01-05T03:45:00+00:00", "2026-01-05T10:00:00+00:00",
    )  # fmt: skip
    for holiday in ("2026-01-26", "2026-04-03", "2026-01-10"):
        assert session(datetime.fromisoformat(holiday).date()) is None
    desk.go("2026-01-05T10:00:00Z")
    assert desk.bad("POST", "/orders/regular", desk.form("BUY", 1))[1] == "InputException"


def test_a_session_dies_at_six_in_the_morning_in_india(desk: Desk) -> None:
    desk.go("2026-01-06T00:29:59Z")
    desk.good("GET", "/orders")
    desk.go("2026-01-06T00:30:00Z")
    assert desk.bad("GET", "/orders")[:2] == (403, "TokenException")
    assert desk.bad("POST", "/orders/regular", desk.form("BUY", 1))[:2] == (403, "TokenException")
    old = desk.token
    desk.login()
    assert desk.good("GET", "/orders") == [] and desk.token != old
    assert desk.ask("GET", "/orders", token=old)[0] == 403
    assert desk.own("request")[-1]["status"] == 200


def test_a_login_needs_the_right_checksum_and_a_new_request_token(desk: Desk) -> None:
    token = desk.good("GET", "/connect/login?api_key=simkitekey")["request_token"]
    body = {"api_key": "simkitekey", "request_token": token, "checksum": "0" * 64}
    assert desk.bad("POST", "/session/token", body)[1] == "InputException"
    assert desk.bad("POST", "/session/token", {**body, "request_token": "x"})[:2] == (403, "TokenException")
    assert desk.bad("POST", "/session/token", {**body, "api_key": "x"})[1] == "InputException"
    where = "/connect/login?api_key=simkitekey&redirect_url=http%3A%2F%2F127.0.0.1%3A8000%2Fback"
    assert desk.ask("GET", where)[0] == 302
    assert desk.bad("GET", where.replace("127.0.0.1", "example.com"))[1] == "InputException"
    assert SECRET not in str(desk.own("request"))


def test_an_ordered_end_of_the_token_spares_the_login(desk: Desk) -> None:
    desk.control("fault", broker="kite", action="expire_token")
    runtime = desk.runtime
    fault = runtime.fault_for("kite", Call("GET", "/orders"), desk.token)
    assert fault is not None and fault.action == "expire_token"
    assert runtime.fault_for("kite", Call("POST", "/session/token"), "") is None


def test_only_the_orders_and_trades_of_the_day_are_listed(desk: Desk) -> None:
    done, resting = desk.place(), desk.place(order_type="LIMIT", price="1400")
    desk.go("2026-01-05T10:00:01Z")
    assert desk.read(resting)["status"] == "CANCELLED", "the day is over at half past three"
    desk.go("2026-01-06T04:00:00Z")
    desk.login()
    assert desk.book() == [] and desk.good("GET", "/trades") == []
    assert desk.bad("GET", f"/orders/{done}")[0] == 404 and desk.bad("GET", f"/orders/{done}/trades")[0] == 404
    assert desk.good("GET", "/portfolio/positions") == {"net": [], "day": []}


def test_delivered_shares_are_holdings_two_days_later(desk: Desk) -> None:
    desk.place(quantity=10)
    assert desk.good("GET", "/portfolio/holdings") == []
    seen = []
    for day in ("2026-01-06", "2026-01-07"):
        desk.go(f"{day}T04:00:00Z")
        desk.login()
        (row,) = desk.good("GET", "/portfolio/holdings")
        seen.append((row["opening_quantity"], row["quantity"], row["t1_quantity"], row["realised_quantity"]))
    assert seen == [(10, 0, 10, 0), (10, 10, 0, 10)]
    desk.place("SELL", 4)
    (row,) = desk.good("GET", "/portfolio/holdings")
    assert (row["quantity"], row["used_quantity"], row["average_price"]) == (6, 4, 1500.05)
    assert desk.net() == {("INFY", "CNC"): -4}
    assert desk.refused("SELL", 7) == "HoldingException"
    desk.place("SELL", 6)
    desk.go("2026-01-08T04:00:00Z")
    desk.login()
    assert desk.good("GET", "/portfolio/holdings") == []


def test_intraday_positions_are_closed_by_the_broker(desk: Desk) -> None:
    desk.place(product="MIS")
    resting = desk.place(product="MIS", order_type="LIMIT", price="1400")
    kept = desk.place(order_type="LIMIT", price="1400")
    desk.go("2026-01-05T09:49:59Z")
    assert desk.net() == {("INFY", "MIS"): 10}
    desk.go("2026-01-05T09:50:00Z")
    assert desk.net() == {("INFY", "MIS"): 0}
    assert desk.read(resting)["status"] == "CANCELLED" and desk.read(kept)["status"] == "OPEN"
    foreign = desk.good("GET", "/orders")[-1]
    assert (foreign["placed_by"], foreign["transaction_type"], foreign["tag"]) == ("ADMINSQF", "SELL", None)
    assert desk.refused(product="MIS") == "InputException"


def test_a_carried_position_is_overnight_the_next_day(desk: Desk) -> None:
    fields = {"exchange": "NFO", "tradingsymbol": "NIFTY27DECFUT", "product": "NRML"}
    desk.share("26000", "26000.05", "NFO:NIFTY27DECFUT")
    desk.place(quantity=75, **fields)
    assert desk.cash == 1_000_000, "a future is not paid for"
    assert desk.good("GET", "/user/margins/equity")["utilised"]["span"] == pytest.approx(0.12 * 75 * 26000.05, abs=0.01)
    desk.go("2026-01-06T04:00:00Z")
    desk.login()
    desk.share("26100", "26100.05", "NFO:NIFTY27DECFUT")
    row = desk.good("GET", "/portfolio/positions")["net"][0]
    assert (row["overnight_quantity"], row["quantity"], row["day_buy_quantity"]) == (75, 75, 0)
    desk.place("SELL", 75, **fields)
    assert desk.cash == 1_000_000 + 75 * Decimal("99.95")
    assert desk.net() == {("NIFTY27DECFUT", "NRML"): 0}


def test_an_after_market_order_waits_for_the_opening(desk: Desk) -> None:
    assert desk.refused(variety="amo") == "InputException"
    desk.go("2026-01-05T12:00:00Z")
    id = desk.place(variety="amo")
    assert desk.read(id)["status"] == "AMO REQ RECEIVED"
    desk.good("PUT", f"/orders/amo/{id}", {"quantity": "12"})
    desk.go("2026-01-06T03:44:00Z")
    desk.login()
    assert desk.book() == [id] and desk.read(id)["status"] == "AMO REQ RECEIVED"
    desk.go("2026-01-06T03:45:02Z")
    assert desk.statuses(id)[-3:] == ["OPEN PENDING", "OPEN", "COMPLETE"] and desk.read(id)["filled_quantity"] == 12
    assert desk.book() == [id] and desk.net() == {("INFY", "CNC"): 12}


def test_a_market_that_is_always_open_squares_nothing_off() -> None:
    desk = Desk(datetime(2026, 1, 10, 18, 0, tzinfo=UTC), always_open=True)
    desk.place(product="MIS")
    desk.go("2026-01-11T00:00:00Z")
    assert desk.net() == {("INFY", "MIS"): 10}


def test_a_rebuilt_simulator_knows_the_day(tmp_path: Path) -> None:
    desk = Desk(directory=tmp_path)
    desk.place()
    desk.place(product="MIS")
    desk.go("2026-01-06T04:00:00Z")
    desk.login()
    desk.place("SELL", 3)
    seen = [desk.good("GET", path) for path in ("/orders", "/trades", "/portfolio/positions", "/portfolio/holdings")]
    desk.runtime.store.close()
    again = Desk(directory=tmp_path)
    again.token = desk.token
    assert [
        again.good("GET", path) for path in ("/orders", "/trades", "/portfolio/positions", "/portfolio/holdings")
    ] == seen  # fmt: skip
