"""Faults of the second kind: what is hidden, late, repeated or wrong in what clients see, and what is rejected late."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from .streaming import Listener
from .support import ACCOUNT, BEARER, Process


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("faults")
    found = Process(directory, "--always-open", "--speed", "0", "--start", "2026-01-05T14:00:00Z")
    yield found
    found.stop()


@pytest.fixture
def process(running: Process) -> Process:
    running.control("DELETE", "/faults")
    running.control("POST", f"/accounts/{ACCOUNT}/reset")
    _price(running, "1.10000", "1.10010")
    return running


def _price(process: Process, bid: str, ask: str) -> None:
    process.control("POST", "/prices", {"instrument": "EUR_USD", "bid": bid, "ask": ask})


def _fault(process: Process, action: str, route: str = "*", times: int = 1, **args: Any) -> dict[str, Any]:
    body = {"broker": "oanda", "route": route, "action": action, "times": times, "args": args}
    found: dict[str, Any] = process.control("POST", "/faults", body)
    return found


def _truth(process: Process) -> dict[str, Any]:
    found: dict[str, Any] = process.control("GET", f"/accounts/{ACCOUNT}")
    return found


def _since(process: Process, id: int = 2) -> list[str]:
    body = process.ask("GET", f"/transactions/sinceid?id={id}").json()
    return [row["id"] for row in body["transactions"]]


def _wait(reached: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


# hide


def _look_ups(process: Process, order: str, trade: str, row: str) -> list[int]:
    paths = (f"/orders/{order}", "/orders/@hidden", f"/trades/{trade}", "/trades/@hidden", f"/transactions/{row}")
    return [process.ask("GET", path).status_code for path in paths]


def test_an_accepted_order_is_hidden_from_every_list_and_look_up(process: Process) -> None:
    process.buy(clientExtensions={"id": "seen"})
    _fault(process, "hide", "POST /v3/accounts", seconds=60)
    named: dict[str, Any] = {"clientExtensions": {"id": "hidden"}, "tradeClientExtensions": {"id": "hidden"}}
    answer = process.buy(**named, stopLossOnFill={"price": "1.09"})
    assert answer.status_code == 201 and answer.json()["orderFillTransaction"]["id"] == "6", "the answer is as ever"
    assert _look_ups(process, "5", "6", "6") == [404] * 5
    assert _since(process) == ["3", "4"]
    for path in ("/orders?state=ALL", "/pendingOrders"):
        assert {row["id"] for row in process.ask("GET", path).json()["orders"]} <= {"3"}
    assert [row["id"] for row in process.ask("GET", "/openTrades").json()["trades"]] == ["4"]
    changes = process.ask("GET", "/changes?sinceTransactionID=4").json()["changes"]
    assert not any(changes[key] for key in changes if key != "positions")
    account = process.ask("GET", "").json()["account"]
    assert [row["id"] for row in account["trades"]] == ["4"] and not account["orders"]
    position = process.ask("GET", "/positions/EUR_USD").json()["position"]
    assert position["long"]["units"] == "2000", "the position includes it"
    assert _truth(process)["last_event_id"] == "7" and len(process.rows("fill")) >= 2
    process.control("DELETE", "/faults")
    assert _look_ups(process, "5", "6", "6") == [200] * 5
    assert _since(process) == ["3", "4", "5", "6", "7"]


def test_what_is_hidden_appears_by_itself(process: Process) -> None:
    _fault(process, "hide", "POST /v3/accounts", seconds=0.8)
    process.buy(clientExtensions={"id": "hidden"})
    assert process.ask("GET", "/orders/@hidden").status_code == 404
    _wait(lambda: process.ask("GET", "/orders/@hidden").status_code == 200, 2)
    _fault(process, "hide", "POST /v3/accounts", until="2026-01-05T14:10:00Z")
    process.buy(clientExtensions={"id": "until"})
    assert process.ask("GET", "/orders/@until").status_code == 404
    process.control("POST", "/clock", {"now": "2026-01-05T14:10:00Z"})
    assert process.ask("GET", "/orders/@until").status_code == 200


def test_what_befalls_a_hidden_order_later_is_hidden_too(process: Process) -> None:
    _fault(process, "hide", "POST /v3/accounts", seconds=60)
    order = {"type": "LIMIT", "instrument": "EUR_USD", "units": "1000", "price": "1.05"}
    process.ask("POST", "/orders", {"order": order})
    _price(process, "1.04000", "1.04010")
    assert _truth(process)["last_event_id"] == "4" and _since(process) == []
    assert not process.ask("GET", "/openTrades").json()["trades"]
    process.control("DELETE", "/faults")
    assert _since(process) == ["3", "4"]


def _stopped_out(process: Process, **args: Any) -> None:
    """A position whose stop fills inside the engine: rows 6 (fill) and 7 (the target's cancel)."""
    stop = {"price": "1.09", "clientExtensions": {"id": "the-stop", "tag": "STOP"}}
    process.buy(stopLossOnFill=stop, takeProfitOnFill={"price": "1.2"})
    _fault(process, "hide", what="fill", **args)
    _price(process, "1.08000", "1.08010")


@pytest.mark.parametrize("whom", [{}, {"client_id": "the-stop"}, {"tag": "STOP"}, {"tag": "STOP_LOSS"}])
def test_a_fill_inside_the_engine_can_be_hidden(process: Process, whom: dict[str, str]) -> None:
    listener = Listener(process, "/transactions/stream")
    listener.next("HEARTBEAT")
    _stopped_out(process, account=ACCOUNT, **whom)
    fill = str(int(_truth(process)["last_event_id"]) - 1)
    page = process.ask("GET", "/transactions/sinceid?id=4").json()
    assert fill not in [row["id"] for row in page["transactions"]], "the page skips it and goes on"
    assert page["transactions"][-1]["type"] == "ORDER_CANCEL" and page["lastTransactionID"] == str(int(fill) + 1)
    assert process.ask("GET", f"/transactions/{fill}").status_code == 404
    assert process.ask("GET", "/orders/@the-stop").json()["order"]["state"] == "FILLED"
    assert not process.ask("GET", "/openPositions").json()["positions"], "the position is closed"
    assert process.ask("GET", "/summary").json()["account"]["balance"] != "100000.0000", "and the cash has moved"
    listener.next("ORDER_CANCEL")
    assert fill not in [row["id"] for row in listener.messages()]
    process.control("DELETE", "/faults")
    listener.wait(lambda: any(message.get("id") == fill for _, message in listener.lines))
    assert fill in _since(process)
    listener.close()


@pytest.mark.parametrize("whom", [{"client_id": "another"}, {"tag": "TP1"}, {"account": "101-001-1-001"}])
def test_a_fill_that_is_not_meant_is_seen(process: Process, whom: dict[str, str]) -> None:
    _stopped_out(process, **whom)
    last = int(_truth(process)["last_event_id"])
    assert len(_since(process)) == last - 2


def test_history_can_end_before_the_hidden_fill(process: Process) -> None:
    _stopped_out(process, page="end")
    fill = int(_truth(process)["last_event_id"]) - 1
    page = process.ask("GET", "/transactions/sinceid?id=2").json()
    assert page["lastTransactionID"] == str(fill - 1) == page["transactions"][-1]["id"]
    assert process.ask("GET", "/summary").json()["lastTransactionID"] == str(fill - 1)
    process.control("DELETE", "/faults")
    assert _since(process, fill - 1) == [str(fill), str(fill + 1)]


def test_a_fresh_account_hides_nothing(process: Process) -> None:
    _fault(process, "hide", "POST /v3/accounts")
    process.buy()
    process.control("POST", f"/accounts/{ACCOUNT}/reset")
    process.buy()
    assert _since(process) == ["3", "4"]


# reject later


def test_an_accepted_order_is_rejected_later(process: Process) -> None:
    _fault(process, "reject_later", seconds=0.8, reason="INSUFFICIENT_LIQUIDITY")
    answer = process.buy(clientExtensions={"id": "doomed"}).json()
    assert "orderFillTransaction" not in answer and "orderCancelTransaction" not in answer
    assert process.ask("GET", "/orders/@doomed").json()["order"]["state"] == "PENDING"
    _price(process, "1.00000", "1.00010")
    _wait(lambda: process.ask("GET", "/orders/@doomed").json()["order"]["state"] == "CANCELLED")
    row = process.ask("GET", "/transactions/sinceid?id=3").json()["transactions"][-1]
    assert (row["type"], row["reason"]) == ("ORDER_CANCEL", "INSUFFICIENT_LIQUIDITY")
    assert not _truth(process)["positions"] and process.rows("order")[-1]["status"] == "CANCELLED"
    assert "orderFillTransaction" in process.buy().json(), "only that one"


def test_an_order_that_was_cancelled_before_is_not_rejected(process: Process) -> None:
    _fault(process, "reject_later", seconds=0.2)
    process.buy(clientExtensions={"id": "doomed"})
    assert process.ask("PUT", "/orders/@doomed/cancel").status_code == 200
    time.sleep(0.5)
    assert _truth(process)["last_event_id"] == "4"


# pages


def test_rows_come_twice_or_the_other_way_round(process: Process) -> None:
    route = "GET /v3/accounts"
    _fault(process, "duplicate", route)
    _fault(process, "reorder", route)
    assert process.ask("GET", "/summary").status_code == 200
    assert _since(process) == [], "a page without rows does not use it up"
    process.buy()
    assert _since(process) == ["3", "3", "4", "4"]
    assert _since(process, 3) == ["4"], "one row cannot be out of order"
    assert _since(process) == ["4", "3"]
    assert _since(process) == ["3", "4"]


def test_a_page_of_an_earlier_moment(process: Process) -> None:
    process.buy(stopLossOnFill={"price": "1.09"})
    _price(process, "1.08000", "1.08010")
    last = int(_truth(process)["last_event_id"])
    for path, key, before in (
        ("/transactions/sinceid?id=2", "transactions", 3),
        ("/openTrades", "trades", 1),
        ("/pendingOrders", "orders", 1),
        ("/openPositions", "positions", 1),
    ):
        _fault(process, "stale_page", f"GET /v3/accounts/{ACCOUNT}{path.split('?')[0]}")
        stale, now = process.ask("GET", path).json(), process.ask("GET", path).json()
        assert (len(stale[key]), stale["lastTransactionID"]) == (before, str(last - 1)), path
        assert now["lastTransactionID"] == str(last)
    assert not process.ask("GET", "/openTrades").json()["trades"] and _truth(process)["last_event_id"] == str(last)


def test_bad_values_reach_into_every_row(process: Process) -> None:
    process.buy()
    process.buy()
    _fault(process, "bad_value", "GET /v3/accounts", path="transactions.*.id", value="x")
    assert _since(process) == ["x"] * 4
    _fault(process, "bad_value", "GET /v3/accounts", path="transactions.1.price", value=None)
    rows = process.ask("GET", "/transactions/sinceid?id=2").json()["transactions"]
    assert rows[1]["price"] is None and rows[3]["price"] == "1.10010"
    _fault(process, "bad_value", "GET /v3/accounts", path="nothing.here", value=1)
    assert _since(process) == ["3", "4", "5", "6"], "nothing is made on the way to what is not there"


# tokens and halts


def test_a_token_expires_for_a_while(process: Process) -> None:
    _fault(process, "expire_token", seconds=0.8)
    answers = [process.ask("GET", "/summary"), process.buy()]
    assert [answer.status_code for answer in answers] == [401, 401] and answers[0].json()["errorMessage"]
    assert process.rows("request")[-1]["fault"] == "expire_token" and _truth(process)["last_event_id"] == "2"
    _wait(lambda: process.ask("GET", "/summary").status_code == 200, 2)
    _fault(process, "expire_token", status=403)
    assert [process.ask("GET", "/summary").status_code for _ in range(3)] == [403] * 3
    process.control("DELETE", "/faults")
    assert process.ask("GET", "/summary").status_code == 200


def test_a_halt_is_one_brokers_own(process: Process) -> None:
    process.control("POST", "/faults", {"broker": "alpaca", "action": "halt"})
    assert process.buy().json()["orderFillTransaction"]
    process.control("POST", "/faults", {"broker": "oanda", "action": "halt", "args": {"instrument": "EURUSD"}})
    assert process.buy().json()["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    process.control("POST", "/faults", {"action": "halt", "args": {"until": "2026-01-05T13:00:00Z"}})
    process.control("DELETE", "/faults")
    process.control("POST", "/faults", {"action": "halt", "args": {"instrument": "USD_JPY"}})
    assert process.buy().json()["orderFillTransaction"]


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("hide", {"what": "everything"}),
        ("hide", {"page": "last"}),
        ("hide", {"client_id": "x"}),
        ("hide", {"seconds": "soon"}),
        ("hide", {"until": "soon"}),
        ("bad_value", {"value": "1"}),
        ("bad_value", {"path": "a"}),
        ("body", {}),
        ("status", {"status": 99}),
        ("status", {"headers": "none"}),
        ("late_accept", {"status": "sometimes"}),
        ("hang", {"seconds": -1}),
        ("truncate", {"bytes": "half"}),
        ("partial_fill", {}),
        ("partial_fill", {"quantity": "0"}),
        ("halt", {"instrument": "NOPE"}),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(process: Process, action: str, args: dict[str, Any]) -> None:
    body = {"action": action, "args": args}
    headers = {"X-Control-Token": "sim-control-token"}
    answer = requests.post(f"{process.control_url}/faults", json=body, headers=headers, timeout=5)
    assert answer.status_code == 400 and len(answer.json()["error"]) > 20
    assert process.control("GET", "/faults")["faults"] == []


def test_a_hidden_fill_takes_no_route(process: Process) -> None:
    body = {"action": "hide", "route": "POST /v3", "args": {"what": "fill"}}
    headers = {"X-Control-Token": "sim-control-token"}
    answer = requests.post(f"{process.control_url}/faults", json=body, headers=headers, timeout=5)
    assert answer.status_code == 400 and '"*"' in answer.json()["error"]


# restarts


def test_what_is_hidden_and_doomed_outlives_a_kill(tmp_path: Path) -> None:
    process = Process(tmp_path, "--always-open", "--state", str(tmp_path / "state"))
    try:
        body = {"action": "hide", "route": "POST /v3", "args": {"seconds": 60}}
        process.control("POST", "/faults", body)
        process.buy(clientExtensions={"id": "hidden"})
        process.control("POST", "/faults", {"action": "reject_later", "route": "POST /v3", "args": {"seconds": 2}})
        process.buy(clientExtensions={"id": "doomed"})
        process.control("POST", "/faults", {"action": "expire_token", "route": "GET /v3/x", "args": {"seconds": 60}})
        faults = process.control("GET", "/faults")
        process.kill()
        process.start()
        assert process.control("GET", "/faults") == faults
        assert process.ask("GET", "/orders/@hidden").status_code == 404
        assert process.ask("GET", "/orders/@doomed").json()["order"]["state"] == "PENDING"
        _wait(lambda: process.ask("GET", "/orders/@doomed").json()["order"]["state"] == "CANCELLED")
        before = process.control("GET", f"/accounts/{ACCOUNT}"), process.control("GET", "/journal?since=0")
        process.kill()
        process.start()
        after = process.control("GET", f"/accounts/{ACCOUNT}"), process.control("GET", "/journal?since=0")
        assert after[0] == before[0] and after[1][: len(before[1])] == before[1]
    finally:
        process.stop()


def test_faults_are_for_whom_they_name(process: Process) -> None:
    process.control("POST", "/faults", {"broker": "alpaca", "route": "*", "action": "expire_token"})
    where = f"{process.url}/v3/accounts/{ACCOUNT}/summary"
    assert requests.get(where, headers={"Authorization": BEARER}, timeout=5).status_code == 200
