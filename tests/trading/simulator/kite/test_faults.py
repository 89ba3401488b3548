"""Ordered faults as the published Kite client meets them on the wire, and what the journal says really happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from kiteconnect import KiteConnect, exceptions

from ..support import Process


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    one = Process(tmp_path_factory.mktemp("kite"), "--always-open", "--speed", "0", "--start", "2026-01-05T04:00:00Z")
    yield one
    one.stop()


@pytest.fixture
def kite(process: Process) -> KiteConnect:
    process.control("DELETE", "/faults")
    process.control("POST", "/accounts/SIMKITE/reset")
    process.control("POST", "/prices", {"instrument": "NSE:INFY", "bid": "1500", "ask": "1500.05"})
    return KiteConnect("simkitekey", "sim-kite-token", root=f"http://127.0.0.1:{process.taken['kite']}", timeout=20)


def _fault(process: Process, action: str, route: str = "POST /orders", when: str = "before", **args: Any) -> None:
    body = {"broker": "kite", "route": route, "when": when, "action": action, "args": args}
    process.control("POST", "/faults", body)


def _buy(kite: KiteConnect, tag: str) -> str:
    return str(kite.place_order("regular", "NSE", "INFY", "BUY", 1, "CNC", "MARKET", tag=tag))


def _tags(kite: KiteConnect) -> list[str]:
    return [row["tag"] for row in kite.orders()]


def test_an_answer_that_is_lost_hides_an_order_that_lives(process: Process, kite: KiteConnect) -> None:
    _fault(process, "drop", when="after")
    with pytest.raises(requests.ConnectionError):
        _buy(kite, "lost")
    assert _tags(kite) == ["lost"]
    _fault(process, "status", when="after", status=502)
    with pytest.raises(exceptions.DataException) as caught:
        _buy(kite, "page")
    assert "text/html" in str(caught.value) and _tags(kite) == ["lost", "page"]
    _fault(process, "drop")
    with pytest.raises(requests.ConnectionError):
        _buy(kite, "never")
    assert _tags(kite) == ["lost", "page"]


def test_a_late_accept_comes_after_the_first_look(process: Process, kite: KiteConnect) -> None:
    _fault(process, "late_accept", seconds=0.5)
    with pytest.raises(exceptions.DataException):
        _buy(kite, "late")
    assert _tags(kite) == []
    end = time.monotonic() + 10
    while not _tags(kite) and time.monotonic() < end:
        time.sleep(0.1)
    assert _tags(kite) == ["late"]


def test_errors_of_the_broker_can_be_ordered(process: Process, kite: KiteConnect) -> None:
    body = '{"status":"error","message":"Too many requests","data":null,"error_type":"NetworkException"}'
    _fault(process, "rate_limit", route="GET /orders", body=body)
    with pytest.raises(exceptions.NetworkException) as caught:
        kite.orders()
    assert caught.value.code == 429
    _fault(process, "bad_value", route="GET /orders", path="data.*.status", value="A NEW STATUS")
    _buy(kite, "odd")
    assert kite.orders()[0]["status"] == "A NEW STATUS" and kite.orders()[0]["status"] == "COMPLETE"
    _fault(process, "truncate", route="GET /trades", bytes=20)
    with pytest.raises((requests.RequestException, exceptions.DataException)):
        kite.trades()


def test_a_token_that_expires_refuses_everything_but_the_login(process: Process, kite: KiteConnect) -> None:
    _fault(process, "expire_token", route="*")
    for ask in (kite.orders, kite.profile, lambda: _buy(kite, "x")):
        with pytest.raises(exceptions.TokenException) as caught:
            ask()
        assert caught.value.code == 403
    page = requests.get(f"{kite.root}/connect/login", params={"api_key": "simkitekey"}, timeout=20).json()
    assert kite.generate_session(page["data"]["request_token"], "sim-kite-secret")["user_id"] == "SIMKITE"
    process.control("DELETE", "/faults")
    assert kite.orders() == []


def test_the_journal_tells_what_really_happened(process: Process, kite: KiteConnect) -> None:
    seen = len(process.control("GET", "/journal?since=0"))
    _fault(process, "drop", when="after")
    with pytest.raises(requests.ConnectionError):
        _buy(kite, "told")
    rows = [row for row in process.control("GET", f"/journal?since={seen}") if row["account"] == "SIMKITE"]
    (request,) = (row["data"] for row in rows if row["kind"] == "request")
    assert (request["status"], request["answered"], request["outcome"]) == (None, False, "changed")
    (fill,) = (row["data"] for row in rows if row["kind"] == "fill")
    assert (fill["client_id"], fill["quantity"], fill["price"], fill["side"]) == ("told", "1", "1500.05", "BUY")
    assert [row["data"]["status"] for row in rows if row["kind"] == "order"] == ["OPEN", "COMPLETE"]
