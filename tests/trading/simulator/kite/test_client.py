"""The published client against a simulator process: every endpoint of orders, portfolio and account it has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from kiteconnect import KiteConnect, exceptions

from ..support import Process

OPEN = "2026-01-05T04:00:00Z"
IN_INDIA = datetime.fromisoformat("2026-01-05T09:30:00")  # a Monday


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    one = Process(tmp_path_factory.mktemp("kite"), "--start", OPEN, "--speed", "0")
    yield one
    one.stop()


@pytest.fixture
def kite(process: Process) -> KiteConnect:
    process.control("DELETE", "/faults")
    process.control("POST", "/accounts/SIMKITE/reset")
    process.control("POST", "/prices", {"instrument": "NSE:INFY", "bid": "1500", "ask": "1500.05"})
    return KiteConnect("simkitekey", "sim-kite-token", root=f"http://127.0.0.1:{process.taken['kite']}", timeout=20)


def _order(kite: KiteConnect, side: str = "BUY", quantity: int = 10, **fields: Any) -> str:
    wanted = {"order_type": "MARKET", "product": "CNC", **fields}
    return str(kite.place_order("regular", "NSE", "INFY", side, quantity, **wanted))


def test_an_order_lives_as_the_documents_say(kite: KiteConnect) -> None:
    id = _order(kite, tag="leg1")
    history = kite.order_history(id)
    assert [row["status"] for row in history] == [
        "PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN", "COMPLETE",
    ]  # fmt: skip
    assert [row["exchange_order_id"] is None for row in history] == [True, True, True, False, False]
    row = kite.orders()[-1]
    assert (row["order_id"], row["status"], row["filled_quantity"], row["pending_quantity"]) == (id, "COMPLETE", 10, 0)
    assert row["average_price"] == 1500.05 and row["tag"] == "leg1" and row["tags"] == ["leg1"]
    assert row["order_timestamp"] == IN_INDIA, "naive, and India's"
    (trade,) = kite.order_trades(id)
    assert trade in kite.trades() and (trade["quantity"], trade["average_price"]) == (10, 1500.05)
    assert isinstance(trade["trade_id"], str) and trade["fill_timestamp"] == IN_INDIA


def test_an_order_is_modified_under_its_id_and_cancelled(kite: KiteConnect) -> None:
    id = _order(kite, order_type="LIMIT", price=1400)
    assert kite.modify_order("regular", id, quantity=20, price=1410.05) == id
    row = kite.orders()[-1]
    assert (row["quantity"], row["price"], row["modified"], row["status"]) == (20, 1410.05, True, "OPEN")
    assert kite.cancel_order("regular", id) == id
    row = kite.order_history(id)[-1]
    assert (row["status"], row["cancelled_quantity"], row["filled_quantity"]) == ("CANCELLED", 20, 0)
    with pytest.raises(exceptions.OrderException) as caught:
        kite.cancel_order("regular", id)
    assert caught.value.code == 400


def test_a_tag_may_repeat_and_nothing_is_deduplicated(kite: KiteConnect) -> None:
    ids = [_order(kite, quantity=1, tag="same") for _ in range(2)]
    assert len({*ids}) == 2
    assert [row["order_id"] for row in kite.orders() if row["tag"] == "same"] == ids


def test_positions_margins_and_profile_fit_the_client(kite: KiteConnect) -> None:
    _order(kite, product="MIS")
    _order(kite, "SELL", 4, product="MIS")
    found = kite.positions()
    (net,) = found["net"]
    assert (net["quantity"], net["buy_quantity"], net["sell_quantity"], net["product"]) == (6, 10, 4, "MIS")
    assert found["day"][0]["day_sell_value"] == 6000 and net["average_price"] == 1500.05
    assert kite.convert_position("NSE", "INFY", "BUY", "day", 6, "MIS", "CNC") is True
    assert {row["product"]: row["quantity"] for row in kite.positions()["net"]} == {"MIS": 0, "CNC": 6}
    money = kite.margins()["equity"]
    assert money["available"]["cash"] == pytest.approx(1_000_000 - 4 * 0.05 - 6 * 1500.05)
    assert kite.margins("commodity")["enabled"] is False
    assert kite.profile()["user_id"] == "SIMKITE" and kite.holdings() == [] and kite.get_auction_instruments() == []


def test_slices_above_the_freeze_quantity_succeed_in_part(kite: KiteConnect, process: Process) -> None:
    process.control("POST", "/prices", {"instrument": "NSE:YESBANK", "bid": "21.95", "ask": "22"})
    answer = kite.place_autoslice_order("regular", "NSE", "YESBANK", "BUY", 50_000, "CNC", "LIMIT", price=22)
    first, second, third = answer["children"]
    assert answer["order_id"] == first["order_id"] and second["order_id"] in {row["order_id"] for row in kite.orders()}
    assert third["error"]["error_type"] == "MarginException" and third["error"]["code"] == 400
    assert [row["quantity"] for row in kite.orders()[-2:]] == [20_000, 20_000]


def test_what_orders_would_need(kite: KiteConnect) -> None:
    row = {
        "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "variety": "regular", "product": "MIS",
        "order_type": "LIMIT", "quantity": 100, "price": 1500,
    }  # fmt: skip
    assert kite.order_margins([row])[0]["total"] == 30_000
    assert kite.basket_order_margins([row, {**row, "product": "CNC"}])["final"]["total"] == 180_000


def test_errors_have_the_clients_classes(kite: KiteConnect, process: Process) -> None:
    with pytest.raises(exceptions.InputException) as caught:
        _order(kite, order_type="LIMIT", price=1500.02)
    assert caught.value.code == 400 and "Tick size" in str(caught.value)
    with pytest.raises(exceptions.GeneralException) as missing:
        kite.order_history("1")
    assert missing.value.code == 404
    with pytest.raises(exceptions.GeneralException) as unknown:
        kite.mf_orders()
    assert (unknown.value.code, str(unknown.value)) == (404, "Route not found")
    stranger = KiteConnect("simkitekey", "wrong", root=kite.root)
    with pytest.raises(exceptions.TokenException) as refused:
        stranger.orders()
    assert refused.value.code == 403
    answer = requests.patch(f"{kite.root}/orders", headers={"Authorization": "token simkitekey:sim-kite-token"})
    assert answer.status_code == 405 and answer.json()["error_type"] == "GeneralException"


def test_logging_in_and_out_with_the_client(process: Process, kite: KiteConnect) -> None:
    """Last, because it changes the session; the reset of another test brings the first token back."""
    page = requests.get(f"{kite.root}/connect/login", params={"api_key": "simkitekey", "v": "3"}, timeout=20).json()
    fresh = KiteConnect("simkitekey", root=kite.root)
    data = fresh.generate_session(page["data"]["request_token"], "sim-kite-secret")
    assert data["user_id"] == "SIMKITE" and data["login_time"] == IN_INDIA
    with pytest.raises(exceptions.TokenException):
        kite.profile()
    assert fresh.profile()["user_id"] == "SIMKITE"
    with pytest.raises(exceptions.TokenException):
        fresh.generate_session(page["data"]["request_token"], "sim-kite-secret")
    assert fresh.invalidate_access_token() is True
    with pytest.raises(exceptions.TokenException):
        fresh.profile()


def test_everything_is_rebuilt_from_the_inputs_after_a_power_cut(tmp_path: Path) -> None:
    options = ("--start", OPEN, "--speed", "0", "--state", str(tmp_path / "state"))
    process = Process(tmp_path, *options)
    try:
        process.control("POST", "/prices", {"instrument": "NSE:INFY", "bid": "1500", "ask": "1500.05"})
        kite = KiteConnect("simkitekey", "sim-kite-token", root=f"http://127.0.0.1:{process.taken['kite']}")
        _order(kite, tag="a1")
        resting = _order(kite, "SELL", 5, product="MIS", order_type="SL", price=1490, trigger_price=1491)
        kite.modify_order("regular", resting, quantity=6)
        process.control("POST", "/accounts/SIMKITE/external", {"kind": "fee", "amount": "-12.5"})
        seen = (kite.orders(), kite.trades(), kite.positions(), kite.margins(), kite.order_history(resting))
        truth = process.control("GET", "/accounts/SIMKITE")
        process.kill()
        process.start()
        assert (kite.orders(), kite.trades(), kite.positions(), kite.margins(), kite.order_history(resting)) == seen
        assert process.control("GET", "/accounts/SIMKITE") == truth
    finally:
        process.stop()
