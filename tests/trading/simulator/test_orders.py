"""What orders do at the simulated OANDA: fills, cancels, rejections, guards, netting."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from .support import MONDAY, SATURDAY, Inside


@pytest.fixture
def sim() -> Inside:
    inside = Inside()
    inside.price("1.10000", "1.10010")
    return inside


def test_a_market_order_fills_at_the_ask_and_opens_a_trade(sim: Inside) -> None:
    status, answer = sim.order(1000)
    fill = answer["orderFillTransaction"]
    assert status == 201 and fill["price"] == "1.10010" and fill["units"] == "1000"
    assert fill["tradeOpened"]["tradeID"] == fill["id"] == answer["lastTransactionID"]
    assert answer["relatedTransactionIDs"] == [answer["orderCreateTransaction"]["id"], fill["id"]]
    assert fill["pl"] == "0.0000" and fill["accountBalance"] == "100000.0000"


def test_guards_on_fill_are_made_in_the_same_batch_and_the_stop_cancels_the_target(sim: Inside) -> None:
    guards = {"stopLossOnFill": {"price": "1.09500"}, "takeProfitOnFill": {"price": "1.11000"}}
    _, answer = sim.order(1000, **guards)
    batch = {sim.account.history[int(number) - 1]["batchID"] for number in answer["relatedTransactionIDs"]}
    assert batch == {answer["orderCreateTransaction"]["id"]} and len(answer["relatedTransactionIDs"]) == 4
    sim.price("1.09400", "1.09410")
    fill = sim.last("ORDER_FILL")
    assert fill["reason"] == "STOP_LOSS_ORDER" and fill["pl"] == "-6.1000", "a gap fills at the price after it"
    assert sim.last("ORDER_CANCEL")["reason"] == "LINKED_TRADE_CLOSED"
    assert sim.account.cash == Decimal("99993.9") and not sim.account.pending_ids and not sim.account.open_ids


def test_a_stop_of_a_long_looks_at_the_bid_and_of_a_short_at_the_ask(sim: Inside) -> None:
    sim.order(1000, stopLossOnFill={"price": "1.09990"})
    sim.order(-500, positionFill="OPEN_ONLY")
    assert sim.last("ORDER_CANCEL")["reason"] == "FIFO_VIOLATION", "a netting account cannot hold both sides"
    sim.price("1.09991", "1.10001")
    assert len(sim.account.open_ids) == 1
    sim.price("1.09990", "1.10000")
    assert not sim.account.open_ids
    sim.order(-1000, stopLossOnFill={"price": "1.10050"})
    sim.price("1.10045", "1.10049")
    assert len(sim.account.open_ids) == 1
    sim.price("1.10046", "1.10050")
    assert not sim.account.open_ids and sim.last("ORDER_FILL")["price"] == "1.10050"


def test_one_fill_closes_reduces_and_opens(sim: Inside) -> None:
    sim.order(1000)
    sim.order(500)
    _, answer = sim.order(-1200)
    fill = answer["orderFillTransaction"]
    assert [row["units"] for row in fill["tradesClosed"]] == ["-1000"] and fill["tradeReduced"]["units"] == "-200"
    assert "tradeOpened" not in fill and fill["pl"] == "-0.1200"
    _, answer = sim.order(-1000)
    fill = answer["orderFillTransaction"]
    assert fill["tradesClosed"][0]["units"] == "-300" and fill["tradeOpened"]["units"] == "-700"
    assert sim.account.units("EUR_USD") == (0, -700)


def test_a_limit_gets_the_better_price_of_a_gap_and_a_stop_the_worse(sim: Inside) -> None:
    sim.order(1000, "LIMIT", price="1.09900")
    sim.order(1000, "STOP", price="1.10500")
    sim.price("1.09790", "1.09800")
    assert sim.last("ORDER_FILL")["price"] == "1.09800"
    sim.price("1.10600", "1.10610")
    assert sim.last("ORDER_FILL")["price"] == "1.10610"


def test_a_touched_order_triggers_from_either_side(sim: Inside) -> None:
    sim.order(1000, "MARKET_IF_TOUCHED", price="1.10200")
    sim.order(1000, "MARKET_IF_TOUCHED", price="1.09800")
    sim.price("1.10100", "1.10110")
    assert not sim.account.open_ids
    sim.price("1.10195", "1.10205")
    assert len(sim.account.open_ids) == 1
    sim.price("1.09700", "1.09710")
    assert len(sim.account.open_ids) == 2


def test_a_price_bound_that_is_broken_cancels(sim: Inside) -> None:
    status, answer = sim.order(1000, priceBound="1.10000")
    assert status == 201 and answer["orderCancelTransaction"]["reason"] == "BOUNDS_VIOLATION"


def test_a_client_id_is_taken_only_while_its_order_is_pending(sim: Inside) -> None:
    mine = {"clientExtensions": {"id": "mine"}}
    assert sim.order(1000, **mine)[0] == 201 and sim.order(1000, **mine)[0] == 201, "a filled order frees its id"
    assert sim.order(1000, "LIMIT", price="1.05000", **mine)[0] == 201
    status, answer = sim.order(1000, "LIMIT", price="1.05000", **mine)
    assert status == 400 and answer["errorCode"] == "CLIENT_ORDER_ID_ALREADY_EXISTS"
    assert answer["orderRejectTransaction"]["type"] == "LIMIT_ORDER_REJECT"
    assert answer["orderRejectTransaction"]["id"] == answer["lastTransactionID"], "a rejection takes an id"


def test_a_second_trade_with_the_client_id_of_an_open_one_is_not_opened(sim: Inside) -> None:
    trade = {"tradeClientExtensions": {"id": "t1"}}
    sim.order(1000, **trade)
    status, answer = sim.order(1000, **trade)
    assert status == 201 and answer["orderCancelTransaction"]["reason"] == "CLIENT_TRADE_ID_ALREADY_EXISTS"
    assert sim.order(-1000, **trade)[1]["orderFillTransaction"], "what opens nothing may carry any id"
    assert sim.order(1000, **trade)[1]["orderFillTransaction"], "a closed trade frees its id"


def test_the_look_up_by_client_id_prefers_what_lives_then_what_was_filled(sim: Inside) -> None:
    both = {"clientExtensions": {"id": "a"}, "tradeClientExtensions": {"id": "a"}}
    sim.order(1000, **both)
    sim.order(1000, **both)
    assert sim.call("GET", "/orders/@a")[1]["order"]["state"] == "FILLED"
    sim.order(1000, "LIMIT", price="1.05000", clientExtensions={"id": "a"})
    assert sim.call("GET", "/orders/@a")[1]["order"]["state"] == "PENDING"


REJECTED: list[tuple[dict[str, Any], str]] = [
    ({"units": "0"}, "UNITS_INVALID"),
    ({"units": "1.5"}, "UNITS_PRECISION_EXCEEDED"),
    ({"units": "100000001"}, "UNITS_LIMIT_EXCEEDED"),
    ({"units": None}, "UNITS_MISSING"),
    ({"instrument": None}, "INSTRUMENT_MISSING"),
    ({"instrument": "EUR_XXX"}, "INSTRUMENT_UNKNOWN"),
    ({"timeInForce": "GTC"}, "TIME_IN_FORCE_INVALID"),
    ({"positionFill": "SOMETIMES"}, "ORDER_FILL_POSITION_ACTION_INVALID"),
    ({"priceBound": "1.100001"}, "PRICE_BOUND_PRECISION_EXCEEDED"),
    ({"type": "LIMIT"}, "PRICE_MISSING"),
    ({"type": "LIMIT", "price": "1.100001"}, "PRICE_PRECISION_EXCEEDED"),
    ({"type": "LIMIT", "price": "-1"}, "PRICE_INVALID"),
    ({"type": "LIMIT", "price": "1.1", "timeInForce": "GTD"}, "TIME_IN_FORCE_GTD_TIMESTAMP_MISSING"),
    (
        {"type": "LIMIT", "price": "1.1", "timeInForce": "GTD", "gtdTime": "2020-01-01T00:00:00Z"},
        "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST",
    ),
    ({"stopLossOnFill": {"price": "1.123456"}}, "STOP_LOSS_ON_FILL_PRICE_PRECISION_EXCEEDED"),
    ({"stopLossOnFill": {}}, "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_MISSING"),
    (
        {"stopLossOnFill": {"price": "1.1", "distance": "0.1"}},
        "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_SPECIFIED",
    ),
    ({"takeProfitOnFill": {}}, "TAKE_PROFIT_ON_FILL_PRICE_MISSING"),
    ({"takeProfitOnFill": {"price": "1.2", "timeInForce": "FOK"}}, "TAKE_PROFIT_ON_FILL_TIME_IN_FORCE_INVALID"),
    (
        {"takeProfitOnFill": {"price": "1.2", "timeInForce": "GTD"}},
        "TAKE_PROFIT_ON_FILL_GTD_TIMESTAMP_MISSING",
    ),
    ({"trailingStopLossOnFill": {}}, "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MISSING"),
    (
        {"trailingStopLossOnFill": {"distance": "0.00001"}},
        "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MINIMUM_NOT_MET",
    ),
    (
        {
            "clientExtensions": {"id": "x"},
            "stopLossOnFill": {"price": "1.05", "clientExtensions": {"id": "x"}},
        },
        "ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS",
    ),
    ({"clientExtensions": {"id": "x" * 129}}, "CLIENT_ORDER_ID_INVALID"),
    ({"tradeClientExtensions": {"comment": "x" * 129}}, "CLIENT_TRADE_COMMENT_INVALID"),
    ({"type": "STOP_LOSS", "price": "1.1"}, "TRADE_ID_UNSPECIFIED"),
]


@pytest.mark.parametrize(("fields", "reason"), REJECTED, ids=[reason for _, reason in REJECTED])
def test_a_wrong_order_is_rejected_with_its_code_and_takes_an_id(
    sim: Inside, fields: dict[str, Any], reason: str
) -> None:
    before = len(sim.account.history)
    order = {"type": "MARKET", "instrument": "EUR_USD", "units": "1000", **fields}
    status, answer = sim.call("POST", "/orders", {"order": order})
    assert (status, answer["errorCode"]) == (400, reason)
    row = answer["orderRejectTransaction"]
    assert row["rejectReason"] == reason and row["type"] == f"{order['type']}_ORDER_REJECT"
    assert row["id"] == answer["lastTransactionID"] == str(before + 1) and not sim.account.orders


@pytest.mark.parametrize("units", ["abc", "NaN", "1e400", "1_000", " 1", "١", True, {}, []])
def test_what_is_no_number_is_refused_without_a_transaction(sim: Inside, units: Any) -> None:
    before = len(sim.account.history)
    status, answer = sim.call("POST", "/orders", {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": units}})
    assert status == 400 and "units" in answer["errorMessage"] and len(sim.account.history) == before


def test_null_means_absent(sim: Inside) -> None:
    status, answer = sim.order(1000, price=None, stopLossOnFill=None, clientExtensions=None)
    assert status == 201 and "clientExtensions" not in answer["orderCreateTransaction"]


@pytest.mark.parametrize(
    ("guards", "reason"),
    [
        ({"stopLossOnFill": {"price": "1.10000"}}, "STOP_LOSS_ON_FILL_LOSS"),
        ({"takeProfitOnFill": {"price": "1.10000"}}, "TAKE_PROFIT_ON_FILL_LOSS"),
        ({"takeProfitOnFill": {"price": "1.10005"}}, "LOSING_TAKE_PROFIT"),
    ],
)
def test_a_guard_that_would_strike_at_once_cancels_the_entry(sim: Inside, guards: dict[str, Any], reason: str) -> None:
    status, answer = sim.order(1000, **guards)
    assert status == 201 and answer["orderCancelTransaction"]["reason"] == reason and not sim.account.open_ids


def test_too_little_margin_cancels_the_order(sim: Inside) -> None:
    status, answer = sim.order(5_000_000)
    assert status == 201 and answer["orderCancelTransaction"]["reason"] == "INSUFFICIENT_MARGIN"


def test_losing_half_the_margin_closes_everything(sim: Inside) -> None:
    sim.order(4_000_000)
    assert sim.account.open_ids
    sim.price("1.08500", "1.08510")
    sim.price("1.08600", "1.08610")
    fill = sim.last("ORDER_FILL")
    assert fill["reason"] == "MARKET_ORDER_MARGIN_CLOSEOUT" and not sim.account.open_ids


def test_a_closed_market_halts_orders_and_keeps_resting_ones() -> None:
    sim = Inside(SATURDAY)
    status, answer = sim.order(1000)
    assert status == 201 and answer["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    assert sim.order(1000, "LIMIT", price="2.00000")[1]["orderCreateTransaction"] and len(sim.account.pending_ids) == 1
    prices = sim.call("GET", "/pricing?instruments=EUR_USD")[1]["prices"]
    assert prices[0]["tradeable"] is False and prices[0]["status"] == "non-tradeable"
    sim.control("clock", now="2026-01-12T00:00:00Z")
    assert not sim.account.pending_ids and sim.last("ORDER_FILL")["reason"] == "LIMIT_ORDER"
    assert sim.last("ORDER_FILL")["time"].startswith("2026-01-11T22:05:00"), "the first price of the week"


def test_orders_end_at_their_time(sim: Inside) -> None:
    until = "2026-01-05T15:00:00Z"
    sim.order(1000, "LIMIT", price="1.05000", timeInForce="GTD", gtdTime=until)
    sim.order(1000, "LIMIT", price="1.05000", timeInForce="GFD")
    sim.control("clock", now="2026-01-05T14:59:59Z")
    assert len(sim.account.pending_ids) == 2
    sim.control("clock", now="2026-01-05T15:00:00Z")
    assert len(sim.account.pending_ids) == 1 and sim.last("ORDER_CANCEL")["reason"] == "TIME_IN_FORCE_EXPIRED"
    sim.control("clock", now="2026-01-06T00:00:00Z")
    assert not sim.account.pending_ids and sim.last("ORDER_CANCEL")["time"].startswith("2026-01-05T22:00:00")


def test_fill_or_kill_limits_are_filled_or_gone(sim: Inside) -> None:
    _, answer = sim.order(1000, "LIMIT", price="1.10000", timeInForce="FOK")
    assert answer["orderCancelTransaction"] and not sim.account.pending_ids
    assert sim.order(1000, "LIMIT", price="1.10010", timeInForce="FOK")[1]["orderFillTransaction"]


def test_replacing_cancels_and_creates_and_a_filled_order_cannot_be_replaced(sim: Inside) -> None:
    _, answer = sim.order(1000, "LIMIT", price="1.05000", clientExtensions={"id": "r"})
    old = answer["orderCreateTransaction"]["id"]
    new = {
        "type": "LIMIT",
        "instrument": "EUR_USD",
        "units": "2000",
        "price": "1.06000",
        "clientExtensions": {"id": "r"},
    }
    status, answer = sim.call("PUT", "/orders/@r", {"order": new})
    created = answer["orderCreateTransaction"]
    assert status == 201 and created["reason"] == "REPLACEMENT" and created["replacesOrderID"] == old
    assert answer["orderCancelTransaction"]["reason"] == "CLIENT_REQUEST_REPLACED"
    assert answer["orderCancelTransaction"]["replacedByOrderID"] == created["id"]
    assert sim.call("GET", f"/orders/{old}")[1]["order"]["replacedByOrderID"] == created["id"]
    status, answer = sim.call("PUT", f"/orders/{old}", {"order": new})
    assert status == 404 and answer["errorCode"] == "ORDER_DOESNT_EXIST" and "orderCancelRejectTransaction" in answer
    status, answer = sim.call("PUT", f"/orders/{created['id']}", {"order": {**new, "type": "STOP"}})
    assert status == 400 and answer["errorCode"] == "REPLACING_ORDER_INVALID"


def test_a_replacement_may_fill_at_once(sim: Inside) -> None:
    sim.order(1000, "LIMIT", price="1.05000", clientExtensions={"id": "r"})
    new = {"type": "LIMIT", "instrument": "EUR_USD", "units": "2000", "price": "1.20000"}
    status, answer = sim.call("PUT", "/orders/@r", {"order": new})
    assert status == 201 and answer["orderFillTransaction"]["units"] == "2000"


def test_cancelling_twice_says_that_the_order_does_not_exist(sim: Inside) -> None:
    sim.order(1000, "LIMIT", price="1.05000", clientExtensions={"id": "c"})
    status, answer = sim.call("PUT", "/orders/@c/cancel")
    assert status == 200 and answer["orderCancelTransaction"]["clientOrderID"] == "c"
    status, answer = sim.call("PUT", "/orders/@c/cancel")
    assert status == 404 and answer["orderCancelRejectTransaction"]["rejectReason"] == "ORDER_DOESNT_EXIST"


def test_a_trailing_stop_follows_the_price_and_never_steps_back(sim: Inside) -> None:
    sim.order(1000, trailingStopLossOnFill={"distance": "0.00100"})
    sim.price("1.10300", "1.10310")
    sim.price("1.10250", "1.10260")
    [order] = sim.call("GET", "/pendingOrders")[1]["orders"]
    assert order["trailingStopValue"] == "1.10200"
    sim.price("1.10200", "1.10210")
    assert sim.last("ORDER_FILL")["reason"] == "TRAILING_STOP_LOSS_ORDER"


def test_a_stop_given_as_a_distance_is_measured_from_the_fill(sim: Inside) -> None:
    sim.order(1000, stopLossOnFill={"distance": "0.00200"})
    [order] = sim.call("GET", "/pendingOrders")[1]["orders"]
    assert order["price"] == "1.09810" and order["distance"] == "0.00200"


def test_partial_fills_reissue_resting_orders_finish_market_orders_and_cancel_immediate_ones(sim: Inside) -> None:
    partial = {"broker": "oanda", "action": "partial_fill", "args": {"quantity": "300"}}
    sim.control("fault", **partial)
    sim.order(1000, "LIMIT", price="1.09900", clientExtensions={"id": "p"}, stopLossOnFill={"price": "1.05000"})
    sim.price("1.09890", "1.09900")
    assert sim.last("ORDER_FILL")["units"] == "300"
    [again] = [o for o in sim.account.pending_orders() if o.type == "LIMIT"]
    assert (again.units, again.client_id) == (700, "p"), "the rest lives on under the same client id"
    sim.price("1.09890", "1.09900")
    assert sim.last("ORDER_FILL")["units"] == "700" and sim.account.units("EUR_USD")[0] == 1000
    stops = [abs(sim.account.trades[o.trade_id].units) for o in sim.account.pending_orders()]
    assert stops == [300, 700], "each part has a stop of its own"

    sim.control("fault", **partial)
    trade = {"tradeClientExtensions": {"id": "m"}}
    _, answer = sim.order(1000, **trade)
    assert answer["orderFillTransaction"]["units"] == "300"
    sim.price("1.09891", "1.09901")
    assert (
        sim.last("ORDER_FILL")["units"] == "700"
        and sim.last("ORDER_FILL")["orderID"] == answer["orderCreateTransaction"]["id"]
    )

    sim.control("fault", **partial)
    _, answer = sim.order(1000, timeInForce="IOC")
    assert answer["orderFillTransaction"]["units"] == "300" and answer["orderCancelTransaction"]


def test_a_halt_stops_fills_until_it_is_lifted(sim: Inside) -> None:
    sim.control("fault", action="halt", args={"instrument": "EUR_USD"})
    assert sim.order(1000)[1]["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    sim.control("clear_faults")
    assert sim.order(1000)[1]["orderFillTransaction"]


def test_profit_in_another_currency_is_converted_with_the_factor_in_the_fill() -> None:
    sim = Inside()
    sim.price("150.000", "150.010", "USD_JPY")
    sim.order(1000, instrument="USD_JPY")
    sim.price("151.000", "151.010", "USD_JPY")
    fill = sim.order(-1000, instrument="USD_JPY")[1]["orderFillTransaction"]
    factor = Decimal(fill["gainQuoteHomeConversionFactor"])
    assert factor == (Decimal(1) / Decimal("151.010")).quantize(Decimal("1e-10"))
    assert Decimal(fill["pl"]) == (Decimal("990") * factor).quantize(Decimal("0.0001"))
    assert Decimal(fill["accountBalance"]) == 100_000 + Decimal(fill["pl"])


def test_hedging_accounts_hold_both_sides() -> None:
    sim = Inside()
    sim.price("1.10000", "1.10010")
    made = sim.control("account", broker="oanda", currency="USD", cash="50000", hedging=True)
    token, base = f"Bearer {made['credentials']['token']}", f"/v3/accounts/{made['id']}"
    for units in ("1000", "-400"):
        order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": units}}
        assert sim.call("POST", f"{base}/orders", order, token=token)[0] == 201
    [position] = sim.call("GET", f"{base}/openPositions", token=token)[1]["positions"]
    assert (position["long"]["units"], position["short"]["units"]) == ("1000", "-400")
    status, answer = sim.call(
        "PUT", f"{base}/positions/EUR_USD/close", {"longUnits": "ALL", "shortUnits": "100"}, token=token
    )
    assert status == 200 and answer["longOrderFillTransaction"]["units"] == "-1000"
    assert answer["shortOrderFillTransaction"]["units"] == "100"


def test_nobody_sees_the_account_of_another_token(sim: Inside) -> None:
    made = sim.control("account", broker="oanda", currency="EUR", cash="5")
    denied = {"errorMessage": "Insufficient authorization to perform request."}
    assert sim.call("GET", f"/v3/accounts/{made['id']}/summary") == (403, denied)
    assert sim.call("GET", "/summary", token="Bearer wrong") == (401, denied)
    assert sim.call("GET", "/summary", token="") == (401, denied)


def test_every_change_has_a_transaction_and_ids_have_no_gap(sim: Inside) -> None:
    sim.order(1000, stopLossOnFill={"price": "1.09500"})
    sim.order(0)
    sim.price("1.09400", "1.09410")
    assert [row["id"] for row in sim.account.history] == [str(n + 1) for n in range(len(sim.account.history))]
    assert [row["type"] for row in sim.account.history][:2] == ["CREATE", "TRANSFER_FUNDS"]
    assert {row["time"][:19] for row in sim.account.history} == {MONDAY.strftime("%Y-%m-%dT%H:%M:%S")}
