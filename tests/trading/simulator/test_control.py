"""The control API: who may use it, the truth it tells, what it lets happen, and the faults it orders."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests

from .support import ACCOUNT, BEARER, Inside, Process


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    found = Process(
        tmp_path_factory.mktemp("simulator"), "--always-open", "--speed", "0", "--start", "2026-01-05T14:00:00Z"
    )
    yield found
    found.stop()


@pytest.fixture
def process(running: Process) -> Process:
    running.control("DELETE", "/faults")
    running.control("POST", f"/accounts/{ACCOUNT}/reset")
    running.control("POST", "/prices", {"instrument": "EUR_USD", "bid": "1.10000", "ask": "1.10010"})
    return running


def _fault(process: Process, action: str, when: str = "before", route: str = "POST /v3/accounts", **args: Any) -> None:
    body = {"broker": "oanda", "route": route, "when": when, "action": action, "times": 1, "args": args}
    process.control("POST", "/faults", body)


def _placed(process: Process) -> int:
    return len(process.control("GET", f"/accounts/{ACCOUNT}")["orders"])


def _last_request(process: Process) -> dict[str, Any]:
    return [row for row in process.rows("request") if row["method"] == "POST"][-1]


def test_nobody_controls_without_the_token(process: Process) -> None:
    for headers in ({}, {"X-Control-Token": "wrong"}, {"X-Control-Token": "ü".encode()}):
        answer = requests.get(f"{process.control_url}/journal", headers=headers, timeout=10)
        assert answer.status_code == 401 and answer.json()["error"]


def test_mistakes_are_answered_with_a_sentence(process: Process) -> None:
    headers = {"X-Control-Token": "sim-control-token"}
    wrong: list[tuple[str, str, Any, int]] = [
        ("POST", "/prices", {"instrument": "X"}, 400),
        ("POST", "/clock", {}, 400),
        ("POST", "/clock", {"speed": "-1"}, 400),
        ("POST", "/faults", {"action": "explode"}, 400),
        ("POST", "/faults", {"action": "drop", "times": 0}, 400),
        ("POST", "/faults", {"action": "drop", "when": "never"}, 400),
        ("POST", "/accounts", {"broker": "nobody"}, 400),
        ("POST", "/accounts", {"broker": "oanda", "currency": "XXX"}, 400),
        ("POST", "/accounts/nobody/reset", {}, 404),
        ("GET", "/accounts/nobody", None, 404),
        ("POST", f"/accounts/{ACCOUNT}/external", {"kind": "magic"}, 400),
        ("POST", f"/accounts/{ACCOUNT}/external", {"kind": "financing", "currency": "JPY", "amount": "1"}, 400),
        ("GET", "/journal?since=x", None, 400),
        ("GET", "/nothing", None, 404),
        ("DELETE", "/journal", None, 405),
    ]
    for method, path, body, status in wrong:
        answer = requests.request(method, process.control_url + path, json=body, headers=headers, timeout=10)
        assert (answer.status_code, bool(answer.json()["error"])) == (status, True), path
    answer = requests.post(f"{process.control_url}/prices", data="{", headers=headers, timeout=10)
    assert answer.status_code == 400


def test_the_journal_is_one_sequence_and_the_truth_agrees_with_it(process: Process) -> None:
    before = process.control("GET", "/journal?since=0")[-1]["seq"]
    process.buy(clientExtensions={"id": "c"}, stopLossOnFill={"price": "1.09"})
    rows = process.control("GET", f"/journal?since={before}")
    assert [row["seq"] for row in rows] == list(range(before + 1, before + 1 + len(rows)))
    assert all(set(row) == {"seq", "at", "kind", "account", "data"} for row in rows)
    kinds = ["order", "order", "fill", "order", "position", "position", "request"]
    assert sorted(row["kind"] for row in rows) == sorted(kinds), "created, filled, guarded, held, asked"
    [fill] = [row["data"] for row in rows if row["kind"] == "fill"]
    assert set(fill) >= {"id", "order_id", "instrument", "side", "quantity", "price", "pl", "fee"}
    assert (fill["side"], fill["quantity"], fill["price"]) == ("BUY", "1000", "1.10010")
    [request] = [row["data"] for row in rows if row["kind"] == "request"]
    assert (request["method"], request["status"], request["answered"], request["outcome"]) == (
        "POST",
        201,
        True,
        "filled",
    )
    entry = [row["data"] for row in rows if row["kind"] == "order" and row["data"]["type"] == "MARKET"]
    assert [row["status"] for row in entry] == ["PENDING", "FILLED"] and {row["client_id"] for row in entry} == {"c"}
    truth = process.control("GET", f"/accounts/{ACCOUNT}")
    assert truth["cash"] == {"USD": "100000"} and truth["last_event_id"] == "5"
    [position] = truth["positions"]
    assert (position["side"], position["quantity"], position["average_price"]) == ("LONG", "1000", "1.1001")
    assert [(order["type"], order["status"]) for order in truth["orders"]] == [
        ("MARKET", "FILLED"),
        ("STOP_LOSS", "PENDING"),
    ]
    assert len(process.control("GET", "/journal?since=0&limit=2")) == 2


def test_new_accounts_are_their_own(process: Process) -> None:
    made = process.control(
        "POST", "/accounts", {"broker": "oanda", "currency": "EUR", "cash": "2500.50", "hedging": True}
    )
    headers = {"Authorization": f"Bearer {made['credentials']['token']}"}
    where = f"{process.url}/v3/accounts/{made['id']}/summary"
    summary = requests.get(where, headers=headers, timeout=10).json()["account"]
    assert (summary["balance"], summary["currency"], summary["hedgingEnabled"]) == ("2500.5000", "EUR", True)
    assert requests.get(where, headers={"Authorization": BEARER}, timeout=10).status_code == 403


def test_a_reset_account_begins_again(process: Process) -> None:
    process.buy()
    truth = process.control("POST", f"/accounts/{ACCOUNT}/reset")
    assert (truth["cash"], truth["positions"], truth["orders"], truth["last_event_id"]) == (
        {"USD": "100000"},
        [],
        [],
        "2",
    )


@pytest.fixture
def sim() -> Inside:
    inside = Inside(always_open=True)
    inside.price("1.10000", "1.10010")
    return inside


def _external(sim: Inside, kind: str, **fields: Any) -> dict[str, Any]:
    return sim.control("external", account=ACCOUNT, kind=kind, **fields)


def test_a_foreign_trade_looks_like_any_other_and_asks_nobody(sim: Inside) -> None:
    sim.control("fault", action="halt")
    _external(sim, "trade", instrument="EURUSD", quantity="-2000", price="1.20000")
    assert [row["type"] for row in sim.account.history[2:]] == ["MARKET_ORDER", "ORDER_FILL"]
    assert sim.account.units("EUR_USD") == (0, -2000) and sim.last("ORDER_FILL")["price"] == "1.20000"
    assert "clientOrderID" not in sim.last("ORDER_FILL")


def test_money_of_the_broker_is_booked_with_its_transaction(sim: Inside) -> None:
    sim.order(3000)
    sim.order(1000)
    _external(sim, "financing", currency="USD", amount="-1.0001", instrument="EUR_USD")
    row = sim.last("DAILY_FINANCING")
    assert row["financing"] == "-1.0001" and row["accountBalance"] == "99998.9999"
    shares = [part["financing"] for part in row["positionFinancings"][0]["openTradeFinancings"]]
    assert shares == ["-0.7501", "-0.2500"] and sum(map(Decimal, shares)) == Decimal("-1.0001")
    _external(sim, "dividend", currency="USD", amount="2", instrument="EUR_USD")
    assert sim.last("DIVIDEND_ADJUSTMENT")["accountBalance"] == "100000.9999"
    _external(sim, "fee", currency="USD", amount="-0.9999")
    assert (sim.last("TRANSFER_FUNDS")["fundingReason"], sim.last("TRANSFER_FUNDS")["amount"]) == (
        "ADJUSTMENT",
        "-0.9999",
    )
    _external(sim, "transfer", currency="USD", amount="500")
    assert (
        sim.last("TRANSFER_FUNDS")["accountBalance"]
        == "100500.0000"
        == sim.call("GET", "/summary")[1]["account"]["balance"]
    )
    for wrong in ("0", "1.00001", "NaN", None):
        with pytest.raises(ValueError):
            _external(sim, "fee", currency="USD", amount=wrong)


def test_silent_changes_leave_no_history(sim: Inside) -> None:
    sim.order(1000, stopLossOnFill={"price": "1.05"})
    before = len(sim.account.history)
    _external(sim, "silent_cash", currency="USD", amount="-12.34")
    _external(sim, "silent_position", instrument="EUR_USD", quantity="-1500")
    assert len(sim.account.history) == before and sim.account.cash == Decimal("99987.66")
    assert sim.account.units("EUR_USD") == (0, -500) and not sim.account.pending_ids
    summary = sim.call("GET", "/openPositions")[1]["positions"]
    assert summary[0]["short"]["units"] == "-500"
    assert sim.order(500)[1]["orderFillTransaction"]["tradesClosed"], "what appeared silently can be closed"
    for units in ("300", "400"):
        _external(sim, "silent_position", instrument="EUR_USD", quantity=units)
    assert sim.account.units("EUR_USD")[0] == 700


def test_the_broker_closes_out_and_others_cancel(sim: Inside) -> None:
    sim.order(1000)
    sim.order(1000)
    _external(sim, "closeout", instrument="EUR_USD", quantity="1500")
    assert sim.last("ORDER_FILL")["reason"] == "MARKET_ORDER_MARGIN_CLOSEOUT"
    assert sim.account.units("EUR_USD")[0] == 500
    _, answer = sim.order(1000, "LIMIT", price="1.05000")
    _external(sim, "cancel", order_id=answer["orderCreateTransaction"]["id"])
    assert not sim.account.pending_ids and sim.last("ORDER_CANCEL")["reason"] == "CLIENT_REQUEST"


@pytest.mark.parametrize("action", ["drop", "reset"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_connection_before_or_after_the_broker_acted(process: Process, action: str, when: str) -> None:
    _fault(process, action, when)
    with pytest.raises(requests.ConnectionError):
        process.buy()
    assert _placed(process) == (1 if when == "after" else 0)
    row = _last_request(process)
    assert (row["answered"], row["status"], row["fault"]) == (False, None, action)
    assert process.buy().status_code == 201, "the fault is used up"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_status_before_or_after_the_broker_acted(process: Process, when: str) -> None:
    _fault(process, "status", when, status=504, headers={"X-From": "gateway"})
    answer = process.buy()
    assert answer.status_code == 504 and answer.headers["X-From"] == "gateway"
    assert _placed(process) == (1 if when == "after" else 0)
    assert (_last_request(process)["answered"], _last_request(process)["status"]) == (True, 504)


def test_another_success_status_keeps_the_answer(process: Process) -> None:
    _fault(process, "status", "after", status=200)
    answer = process.buy()
    assert answer.status_code == 200 and answer.json()["orderFillTransaction"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_hanging_answer_outlasts_the_client(process: Process, when: str) -> None:
    _fault(process, "hang", when, seconds=1.2)
    order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1000"}}
    where = f"{process.url}/v3/accounts/{ACCOUNT}/orders"
    with pytest.raises(requests.ReadTimeout):
        requests.post(where, json=order, headers={"Authorization": BEARER}, timeout=0.4)
    assert _placed(process) == (1 if when == "after" else 0)
    assert process.ask("GET", "/summary").status_code == 200, "nobody else waits"
    time.sleep(1.3)
    assert _placed(process) == 1 and _last_request(process)["answered"] is False


@pytest.mark.parametrize("status", [504, "drop"])
def test_a_late_accept_appears_seconds_after_the_answer_was_lost(process: Process, status: Any) -> None:
    _fault(process, "late_accept", seconds=0.6, status=status)
    if status == "drop":
        with pytest.raises(requests.ConnectionError):
            process.buy(clientExtensions={"id": "late"})
    else:
        assert process.buy(clientExtensions={"id": "late"}).status_code == 504
    assert process.ask("GET", "/orders/@late").status_code == 404 and _placed(process) == 0
    time.sleep(0.9)
    assert process.ask("GET", "/orders/@late").json()["order"]["state"] == "FILLED" and _placed(process) == 1
    posts = [row for row in process.rows("request") if row["method"] == "POST" and '"late"' in row["body"]]
    assert posts[-1]["outcome"] == "not_acted" and posts[-1]["fault"] == "late_accept"


def test_a_fault_strikes_only_its_route_and_only_so_often(process: Process) -> None:
    body = {"broker": "oanda", "route": "GET /v3/accounts", "when": "before", "action": "status", "times": 2}
    process.control("POST", "/faults", {**body, "args": {"status": 503}})
    assert process.buy().status_code == 201
    assert [process.ask("GET", "/summary").status_code for _ in range(3)] == [503, 503, 200]
    assert process.control("GET", "/faults")["faults"][0]["left"] == 0
    process.control("POST", "/faults", {"route": "*", "action": "drop", "times": 5})
    process.control("DELETE", "/faults")
    assert process.ask("GET", "/summary").status_code == 200


def test_damaged_answers(process: Process) -> None:
    _fault(process, "truncate", "after", bytes=40)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        process.buy()
    _fault(process, "body", "after", path="orderFillTransaction.price", value="NaN")
    assert process.buy().json()["orderFillTransaction"]["price"] == "NaN"
    _fault(process, "body", "after", text="<html>busy</html>")
    assert process.buy().text == "<html>busy</html>"
    _fault(process, "rate_limit", "before")
    answer = process.buy()
    assert answer.status_code == 429 and answer.headers["Retry-After"] == "1"
    _fault(process, "redirect", "before", location="http://127.0.0.1:9/elsewhere")
    answer = process.ask("POST", "/orders", {}, allow_redirects=False)
    assert answer.status_code == 307 and answer.headers["Location"].endswith("/elsewhere")
    _fault(process, "drip", "after", seconds=0.5)
    began = time.monotonic()
    assert process.buy().status_code == 201 and time.monotonic() - began > 0.4
    assert _placed(process) == 4, "rate limit and redirect kept the broker from acting"
