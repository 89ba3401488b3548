"""Kite's money and what others do to an account: products, conversions, foreign trades, corrections, pages at fault."""

from __future__ import annotations

from decimal import Decimal

import pytest

from trading.simulator.core.calls import Call
from trading.simulator.core.pages import duplicated, reordered

from .support import ACCOUNT, Desk, Wire


@pytest.fixture
def desk() -> Desk:
    return Desk()


def _truth(desk: Desk) -> Wire:
    return desk.runtime.control.truth(ACCOUNT)


def test_delivery_pays_in_full_and_a_day_trade_realises(desk: Desk) -> None:
    desk.place(quantity=10)
    assert desk.cash == 1_000_000 - Decimal("15000.5")
    desk.place(quantity=100, product="MIS")
    assert desk.cash == 1_000_000 - Decimal("15000.5")
    money = desk.good("GET", "/user/margins/equity")
    assert money["utilised"]["exposure"] == 30_001 and money["available"]["cash"] == float(desk.cash)
    assert money["net"] == money["available"]["live_balance"] == float(desk.cash - 30_001)
    desk.share("1510", "1510.05")
    desk.place("SELL", 100, product="MIS")
    assert desk.cash == 1_000_000 - Decimal("15000.5") + 100 * Decimal("9.95")
    assert desk.good("GET", "/user/margins/equity")["utilised"]["exposure"] == 0


def test_an_option_is_paid_for_and_writing_one_needs_a_margin(desk: Desk) -> None:
    fields = {"exchange": "NFO", "tradingsymbol": "NIFTY27DEC26000CE", "product": "NRML"}
    desk.share("1000", "1000.05", "NFO:NIFTY27DEC26000CE")
    desk.place(quantity=75, **fields)
    assert desk.cash == 1_000_000 - 75 * Decimal("1000.05")
    desk.place("SELL", 75, **fields)
    desk.place("SELL", 75, **fields)
    assert desk.cash == 1_000_000 - 75 * Decimal("0.05") + 75_000
    assert desk.good("GET", "/user/margins/equity")["utilised"]["span"] == 75 * 26000 * 0.12
    assert desk.refused(order_type="SL-M", trigger_price="1100", quantity=75, **fields) == "InputException"


def test_working_orders_keep_what_they_need(desk: Desk) -> None:
    desk.place(quantity=600, order_type="LIMIT", price="1000")
    assert desk.read(desk.place(quantity=300))["status"] == "REJECTED"
    assert desk.read(desk.place(quantity=200))["status"] == "COMPLETE"


def test_a_position_is_converted_at_its_average_price(desk: Desk) -> None:
    desk.place(product="MIS")
    body = {
        "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "position_type": "day",
        "quantity": "4", "old_product": "MIS", "new_product": "CNC",
    }  # fmt: skip
    assert desk.good("PUT", "/portfolio/positions", body) is True
    assert desk.net() == {("INFY", "MIS"): 6, ("INFY", "CNC"): 4}
    assert desk.cash == 1_000_000 - 4 * Decimal("1500.05")
    assert desk.bad("PUT", "/portfolio/positions", {**body, "quantity": "7"})[1] == "HoldingException"
    assert desk.bad("PUT", "/portfolio/positions", {**body, "new_product": "NRML"})[1] == "InputException"
    assert {row["product"]: row["quantity"] for row in _truth(desk)["positions"]} == {"MIS": "6", "CNC": "4"}
    assert desk.own("cash")[-1]["kind"] == "conversion"


def test_what_others_do_is_in_the_order_book(desk: Desk) -> None:
    done = desk.external("trade", instrument="NSE:INFY", quantity="5", price="1490", product="MIS")
    assert desk.good("GET", "/trades")[0]["trade_id"] == done["fill_id"]
    assert desk.net() == {("INFY", "MIS"): 5}
    resting = desk.place(order_type="LIMIT", price="1400")
    desk.external("cancel", order_id=resting)
    assert desk.read(resting)["status"] == "CANCELLED"
    desk.external("closeout", instrument="NSE:INFY", quantity="2")
    assert desk.net() == {("INFY", "MIS"): 3}
    desk.external("fee", amount="-20.5")
    desk.external("transfer", currency="INR", amount="1000")
    assert desk.cash == 1_000_000 + 2 * 10 - Decimal("20.5") + 1000
    with pytest.raises(ValueError, match="keeps INR"):
        desk.external("fee", currency="USD", amount="1")
    with pytest.raises(ValueError, match="no product"):
        desk.external("trade", instrument="NSE:INFY", quantity="5", price="1490", product="NRML")


def test_a_silent_position_leaves_no_order_and_no_trade(desk: Desk) -> None:
    desk.external("silent_position", instrument="NSE:INFY", quantity="7", price="1500")
    desk.external("silent_cash", amount="-7")
    assert desk.book() == [] and desk.good("GET", "/trades") == []
    assert desk.net() == {("INFY", "CNC"): 7} and desk.cash == 1_000_000 - 7


def test_a_busted_and_a_corrected_trade(desk: Desk) -> None:
    first, second = desk.place(quantity=10), desk.place(quantity=10)
    one, two = (row["trade_id"] for row in desk.good("GET", "/trades"))
    desk.external("bust", fill_id=one)
    row = desk.read(first)
    assert (row["status"], row["filled_quantity"], row["cancelled_quantity"]) == ("CANCELLED", 0, 10)
    assert desk.cash == 1_000_000 - Decimal("15000.5") and desk.net() == {("INFY", "CNC"): 10}
    desk.external("correct", fill_id=two, price="1499", quantity="9")
    assert desk.cash == 1_000_000 - 9 * 1499 and desk.net() == {("INFY", "CNC"): 9}
    row = desk.read(second)
    assert (row["average_price"], row["filled_quantity"]) == (1499, 9)
    assert [row["trade_id"] for row in desk.good("GET", "/trades")] == [two]
    assert [row["kind"] for row in desk.own("correction")] == ["bust", "correct"]
    with pytest.raises(ValueError, match="busted already"):
        desk.external("bust", fill_id=one)


def test_a_split_makes_more_shares_of_the_same_worth(desk: Desk) -> None:
    desk.place(quantity=10)
    resting = desk.place("SELL", 5, order_type="LIMIT", price="1600")
    desk.external("split", instrument="NSE:INFY", ratio="2")
    assert desk.read(resting)["status"] == "CANCELLED" and desk.net() == {("INFY", "CNC"): 20}
    (position,) = _truth(desk)["positions"]
    assert (position["quantity"], position["average_price"]) == ("20", "750.025")


def test_a_further_account_has_a_key_of_its_own(desk: Desk) -> None:
    made = desk.control("account", broker="kite", currency="INR", cash="500000")
    keys = made["credentials"]
    token = f"token {keys['api_key']}:{keys['access_token']}"
    assert desk.ask("GET", "/user/profile", token=token)[1]["data"]["user_id"] == made["id"] == "SIMKITE2"
    assert desk.ask("GET", "/user/profile", token=f"token {keys['api_key']}:sim-kite-token")[0] == 403
    for wrong in ({"currency": "USD"}, {"currency": "INR", "hedging": True}):
        with pytest.raises(ValueError, match="Kite account"):
            desk.control("account", broker="kite", **wrong)
    desk.place()
    desk.control("reset", account=ACCOUNT)
    assert desk.book() == [] and desk.cash == 1_000_000 and _truth(desk)["positions"] == []


def test_pages_come_stale_doubled_or_out_of_order(desk: Desk) -> None:
    first = desk.place()
    desk.place()
    page = desk.ask("GET", "/orders")[1]
    assert len(duplicated(page)["data"]) == 4 and reordered(page)["data"][-1]["order_id"] == first
    assert len(duplicated(desk.ask("GET", "/portfolio/positions")[1])["data"]["net"]) == 2
    desk.control("fault", broker="kite", route="GET /orders", action="stale_page")
    fault = desk.runtime.fault_for("kite", Call("GET", "/orders"), desk.token)
    assert fault is not None
    assert desk.book() == [first] and len(desk.book()) == 2, "the page is old once"


def test_a_request_names_its_account_even_when_its_token_is_dead(desk: Desk) -> None:
    desk.ask("GET", "/orders")
    assert desk.own("request")[-1]["path"] == "/orders"
    desk.go("2026-01-06T04:00:00Z")
    desk.ask("GET", "/trades")
    assert (desk.own("request")[-1]["path"], desk.own("request")[-1]["status"]) == ("/trades", 403)
