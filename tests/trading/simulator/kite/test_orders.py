"""Kite orders: types, validities, refusals, rejections, what faults do to them."""

from __future__ import annotations

import pytest

from .support import Desk

SL_STEPS = ["PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "TRIGGER PENDING"]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_stop_waits_for_its_trigger_and_is_open_from_then_on(desk: Desk) -> None:
    desk.place()
    id = desk.place("SELL", order_type="SL", price="1479", trigger_price="1480")
    assert desk.statuses(id) == SL_STEPS
    desk.share("1478", "1478.05")
    assert desk.statuses(id) == [*SL_STEPS, "OPEN"], "its limit is above the market"
    desk.share("1479.50", "1479.55")
    assert desk.read(id)["status"] == "COMPLETE" and desk.read(id)["average_price"] == 1479.5


def test_a_stop_market_is_filled_at_any_price(desk: Desk) -> None:
    desk.place()
    id = desk.place("SELL", order_type="SL-M", trigger_price="1480")
    desk.share("1470", "1470.05")
    assert desk.read(id)["status"] == "COMPLETE" and desk.read(id)["average_price"] == 1470


def test_there_is_no_status_for_a_partial_fill(desk: Desk) -> None:
    desk.control("fault", broker="kite", action="partial_fill", args={"quantity": "4"})
    id = desk.place(order_type="LIMIT", price="1500.05")
    row = desk.read(id)
    assert (row["status"], row["filled_quantity"], row["pending_quantity"]) == ("OPEN", 4, 6)
    desk.good("DELETE", f"/orders/regular/{id}")
    row = desk.read(id)
    assert (row["status"], row["filled_quantity"], row["cancelled_quantity"]) == ("CANCELLED", 4, 6)
    assert [row["quantity"] for row in desk.good("GET", f"/orders/{id}/trades")] == [4]
    assert desk.net() == {("INFY", "CNC"): 4}


def test_immediate_or_cancel_takes_what_is_there(desk: Desk) -> None:
    desk.control("fault", broker="kite", action="partial_fill", args={"quantity": "4"})
    row = desk.read(desk.place(order_type="LIMIT", price="1500.05", validity="IOC"))
    assert (row["status"], row["filled_quantity"], row["cancelled_quantity"]) == ("CANCELLED", 4, 6)
    row = desk.read(desk.place(order_type="LIMIT", price="1400", validity="IOC"))
    assert (row["status"], row["filled_quantity"]) == ("CANCELLED", 0)


def test_minutes_to_live_run_out(desk: Desk) -> None:
    id = desk.place(order_type="LIMIT", price="1400", validity="TTL", validity_ttl="2")
    desk.control("clock", step="119")
    assert desk.read(id)["status"] == "OPEN" and desk.read(id)["validity_ttl"] == 2
    desk.control("clock", step="2")
    assert desk.read(id)["status"] == "CANCELLED"


def test_market_protection_limits_a_market_order(desk: Desk) -> None:
    desk.control("fault", broker="kite", action="partial_fill", args={"quantity": "4"})
    id = desk.place(market_protection="1")
    desk.share("1520", "1520.05")
    assert desk.read(id)["status"] == "OPEN" and desk.read(id)["filled_quantity"] == 4, "1 % above 1500.05 is the end"
    desk.share("1510", "1510.05")
    assert desk.read(id)["status"] == "COMPLETE" and desk.read(id)["order_type"] == "MARKET"


def test_an_iceberg_shows_one_leg_at_a_time(desk: Desk) -> None:
    fields = {"order_type": "LIMIT", "price": "1400", "iceberg_legs": "3", "iceberg_quantity": "4"}
    first = desk.place(variety="iceberg", **fields)
    assert desk.book() == [first] and desk.read(first)["quantity"] == 4
    desk.share("1399.90", "1399.95")
    rows = desk.good("GET", "/orders")
    assert [(row["quantity"], row["status"], row["meta"]["iceberg"]["leg"]) for row in rows] == [
        (4, "COMPLETE", 1), (4, "COMPLETE", 2), (2, "COMPLETE", 3),
    ]  # fmt: skip
    assert {row["parent_order_id"] for row in rows[1:]} == {first}


def test_what_is_asked_wrongly_makes_no_order(desk: Desk) -> None:
    wrong = [
        {"order_type": "LIMIT", "price": "1500.02"},
        {"order_type": "LIMIT"},
        {"order_type": "SL", "price": "1600"},
        {"order_type": "SL", "price": "1590", "trigger_price": "1600"},
        {"order_type": "SL-M", "trigger_price": "1400"},
        {"product": "NRML"},
        {"product": "MTF"},
        {"tradingsymbol": "NONE"},
        {"tag": "x" * 21},
        {"tag": "with-dash"},
        {"validity": "GTC"},
        {"validity": "TTL", "order_type": "LIMIT", "price": "1400"},
        {"quantity": "0"},
        {"quantity": "1.5"},
        {"quantity": "NaN"},
        {"price": "Infinity", "order_type": "LIMIT"},
        {"market_protection": "101"},
        {"transaction_type": ""},
        {"tradingsymbol": "YESBANK", "quantity": "20001"},
        {"tradingsymbol": "YESBANK", "quantity": "200001", "autoslice": "true"},
        {"exchange": "NFO", "tradingsymbol": "NIFTY27DECFUT", "product": "NRML"},
        {"exchange": "NFO", "tradingsymbol": "NIFTY27DECFUT", "product": "NRML", "quantity": "1875"},
    ]
    for fields in wrong:
        assert desk.refused(**fields) == "InputException", fields
    assert desk.refused(variety="co") == desk.refused(variety="nonsense") == "InputException"
    assert desk.book() == [] and desk.own("order") == []


def test_what_the_account_cannot_pay_is_an_order_that_is_rejected(desk: Desk) -> None:
    id = desk.place(quantity=1000)
    row = desk.read(id)
    assert row["status"] == "REJECTED" and row["status_message"].startswith("Insufficient funds.")
    assert row["status_message_raw"].startswith("RMS:Margin Exceeds") and row["exchange_order_id"] is None
    assert desk.read(desk.place(quantity=1000, product="MIS"))["status"] == "COMPLETE", "a fifth is enough for a day"


def test_what_is_not_held_is_not_sold_for_delivery(desk: Desk) -> None:
    assert desk.refused("SELL") == "HoldingException"
    desk.place(quantity=10)
    desk.place("SELL", 6, order_type="LIMIT", price="1600")
    assert desk.refused("SELL", 5) == "HoldingException", "six of the ten are on their way out"
    desk.place("SELL", 4)
    assert desk.net() == {("INFY", "CNC"): 6}
    assert desk.read(desk.place("SELL", 5, product="MIS"))["status"] == "COMPLETE", "short for a day is allowed"


def test_an_order_is_modified_so_often_and_no_more(desk: Desk) -> None:
    id = desk.place(order_type="LIMIT", price="1400")
    for number in range(25):
        desk.good("PUT", f"/orders/regular/{id}", {"price": f"{1400 + number}"})
    assert desk.bad("PUT", f"/orders/regular/{id}", {"price": "1430"})[:2] == (400, "OrderException")


def test_a_modified_order_fills_when_its_new_price_is_reached(desk: Desk) -> None:
    id = desk.place(order_type="LIMIT", price="1400")
    desk.good("PUT", f"/orders/regular/{id}", {"order_type": "MARKET"})
    assert desk.statuses(id)[-5:] == [
        "MODIFY VALIDATION PENDING", "MODIFY PENDING", "MODIFIED", "OPEN", "COMPLETE",
    ]  # fmt: skip
    assert desk.bad("PUT", f"/orders/regular/{id}", {"price": "1430"})[1] == "OrderException"
    other = desk.place(order_type="LIMIT", price="1400")
    assert desk.bad("PUT", f"/orders/amo/{other}", {"price": "1410"})[1] == "InputException"
    assert desk.bad("PUT", f"/orders/regular/{other}", {"price": "1410.01"})[1] == "InputException"
    assert desk.bad("PUT", f"/orders/regular/{other}", {"quantity": "1000"})[1] == "MarginException"
    assert desk.read(other)["price"] == 1400


def test_an_order_is_rejected_after_it_was_accepted(desk: Desk) -> None:
    desk.control(
        "fault", broker="kite", route="POST /orders", action="reject_later", args={"seconds": "0", "reason": "17070"}
    )  # fmt: skip
    id = desk.place()
    assert desk.read(id)["status"] == "OPEN"
    desk.runtime.tick()
    assert desk.read(id)["status"] == "REJECTED" and desk.read(id)["status_message"] == "17070"


def test_a_hidden_order_is_in_no_list_and_not_found(desk: Desk) -> None:
    desk.control("fault", broker="kite", route="POST /orders", action="hide")
    id = desk.place(tag="lost")
    assert desk.book() == [] and desk.good("GET", "/trades") == []
    assert desk.bad("GET", f"/orders/{id}")[0] == 404
    assert desk.net() == {("INFY", "CNC"): 10}
    desk.control("clear_faults")
    assert desk.book() == [id] and len(desk.good("GET", "/trades")) == 1


def test_a_hidden_fill_is_missing_from_the_trade_book_only(desk: Desk) -> None:
    desk.control("fault", broker="kite", action="hide", args={"what": "fill", "client_id": "t1"})
    id = desk.place(tag="t1")
    other = desk.place(tag="t2")
    assert desk.read(id)["status"] == "COMPLETE" and desk.good("GET", f"/orders/{id}/trades") == []
    assert [row["order_id"] for row in desk.good("GET", "/trades")] == [other]


def test_updates_tell_every_lasting_status_and_every_partial_fill(desk: Desk) -> None:
    desk.control("fault", broker="kite", action="partial_fill", args={"quantity": "4"})
    id = desk.place(order_type="LIMIT", price="1500.05")
    desk.good("PUT", f"/orders/regular/{id}", {"quantity": "8"})
    told = [(row["status"], row["filled_quantity"]) for row in desk.heard if row["order_id"] == id]
    assert told == [("OPEN", 0), ("OPEN", 4), ("MODIFIED", 4), ("OPEN", 4), ("COMPLETE", 8)]


def test_a_halt_lets_orders_rest(desk: Desk) -> None:
    desk.control("fault", broker="kite", action="halt")
    id = desk.place()
    assert desk.read(id)["status"] == "OPEN"
    desk.control("clear_faults")
    desk.share("1501", "1501.05")
    assert desk.read(id)["average_price"] == 1501.05
