"""OANDA's streams: as its documents promise, read by raw sockets and by a client that nobody here wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import oandapyV20
import pytest
import requests
from oandapyV20.endpoints.pricing import PricingStream
from oandapyV20.endpoints.transactions import TransactionsStream
from oandapyV20.exceptions import V20Error

from .streaming import Listener
from .support import ACCOUNT, BEARER, Process


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    found = Process(
        tmp_path_factory.mktemp("streams"), "--always-open", "--speed", "0", "--start", "2026-01-05T14:00:00Z"
    )
    yield found
    assert found.stop() == 0, "open streams do not keep it from ending"


@pytest.fixture
def process(running: Process) -> Process:
    running.control("DELETE", "/faults")
    running.control("POST", f"/accounts/{ACCOUNT}/reset")
    _price(running, "1.10000", "1.10010")
    return running


def _price(process: Process, bid: str, ask: str) -> None:
    process.control("POST", "/prices", {"instrument": "EUR_USD", "bid": bid, "ask": ask})


def _bids(listener: Listener) -> list[str]:
    return [price["bids"][0]["price"] for price in listener.messages("PRICE")]


def test_prices_come_at_once_and_when_they_change(process: Process) -> None:
    listener = Listener(process, "/pricing/stream?instruments=EUR_USD%2CUSD_JPY")
    assert listener.response.headers["Transfer-Encoding"] == "chunked" and listener.response.headers["RequestID"]
    first = listener.next("PRICE", 2)
    assert [price["instrument"] for price in first] == ["EUR_USD", "USD_JPY"]
    rest = process.ask("GET", "/pricing?instruments=EUR_USD").json()["prices"][0]
    assert first[0] == rest, "a price looks the same in both places"
    assert set(listener.next("HEARTBEAT")[0]) == {"type", "time"}
    _price(process, "1.20000", "1.20010")
    changed = listener.next("PRICE", 3)[-1]
    assert (changed["bids"][0]["price"], changed["asks"][0]["price"]) == ("1.20000", "1.20010")
    process.control("POST", "/faults", {"action": "halt", "broker": "oanda", "args": {"instrument": "EURUSD"}})
    assert listener.next("PRICE", 4)[-1]["tradeable"] is False, "a halt is news"
    listener.close()


def test_of_a_window_only_the_newest_price_is_sent(process: Process) -> None:
    listener = Listener(process, "/pricing/stream?instruments=EUR_USD")
    listener.next("PRICE")
    began = time.monotonic()
    for number in range(60):
        _price(process, f"1.{20000 + number}", f"1.{20010 + number}")
    passed = time.monotonic() - began
    listener.wait(lambda: _last_bid(listener) == "1.20059")
    arrived = _bids(listener)[1:]
    assert len(arrived) <= 4 * passed + 2 and arrived == sorted(arrived)
    moments = [at for at, message in listener.lines if message["type"] == "PRICE"]
    assert all(later - earlier > 0.1 for earlier, later in pairwise(moments))
    listener.close()


def _last_bid(listener: Listener) -> str:
    prices = [message for _, message in listener.lines if message["type"] == "PRICE"]
    return str(prices[-1]["bids"][0]["price"])


def test_without_a_snapshot_only_changes_are_sent(process: Process) -> None:
    listener = Listener(process, "/pricing/stream?instruments=EUR_USD&snapshot=False")
    listener.next("HEARTBEAT")
    _price(process, "1.30000", "1.30010")
    listener.next("PRICE")
    assert _bids(listener) == ["1.30000"]
    listener.close()


def test_transactions_begin_now_and_carry_what_the_history_has(process: Process) -> None:
    process.buy()
    listener = Listener(process, "/transactions/stream", **{"Accept-Datetime-Format": "RFC3339"})
    assert listener.next("HEARTBEAT")[0]["lastTransactionID"] == "4"
    process.buy(clientExtensions={"id": "c"}, stopLossOnFill={"price": "1.09"})
    process.buy("0")
    listener.next("MARKET_ORDER_REJECT")
    history = process.ask("GET", "/transactions/sinceid?id=4").json()["transactions"]
    assert listener.messages() == history, "nothing of before, nothing left out, in order"
    listener.close()


def test_what_the_engine_does_by_itself_is_streamed_too(process: Process) -> None:
    process.buy(takeProfitOnFill={"price": "1.11000"}, stopLossOnFill={"price": "1.09000"})
    listener = Listener(process, "/transactions/stream")
    listener.next("HEARTBEAT")
    _price(process, "1.08000", "1.08010")
    assert [row["type"] for row in listener.next("ORDER_CANCEL") and listener.messages()] == [
        "ORDER_FILL",
        "ORDER_CANCEL",
    ]
    assert listener.messages()[0]["reason"] == "STOP_LOSS_ORDER"
    listener.close()


def test_heartbeats_come_every_five_seconds(process: Process) -> None:
    listener = Listener(process, "/transactions/stream")
    listener.wait(lambda: len(listener.lines) >= 2, 7)
    first, second = (at for at, _ in listener.lines[:2])
    assert 4.5 < second - first < 6
    listener.close()


def test_a_stream_is_seen_in_the_journal_and_changes_nothing(process: Process) -> None:
    before = process.control("GET", f"/accounts/{ACCOUNT}")
    listener = Listener(process, "/transactions/stream")
    listener.next("HEARTBEAT")
    row = process.rows("request")[-1]
    assert (row["path"], row["status"], row["answered"]) == (f"/v3/accounts/{ACCOUNT}/transactions/stream", 200, True)
    listener.close()
    assert process.control("GET", f"/accounts/{ACCOUNT}") == before


def test_times_are_written_as_asked(process: Process) -> None:
    listener = Listener(process, "/transactions/stream", **{"Accept-Datetime-Format": "UNIX"})
    assert listener.next("HEARTBEAT")[0]["time"] == "1767621600.000000000"
    process.buy()
    assert listener.next("ORDER_FILL")[0]["time"] == "1767621600.000000000"
    listener.close()


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/pricing/stream", BEARER, 400),
        ("/pricing/stream?instruments=EUR_USD,NOPE", BEARER, 400),
        ("/pricing/stream?instruments=EUR_USD", "Bearer wrong", 401),
        ("/transactions/stream", "Bearer wrong", 401),
    ],
)
def test_a_stream_that_may_not_begin_is_an_ordinary_error(process: Process, path: str, token: str, status: int) -> None:
    where = f"{process.url}/v3/accounts/{ACCOUNT}{path}"
    answer = requests.get(where, headers={"Authorization": token}, timeout=5)
    assert answer.status_code == status and answer.json()["errorMessage"]


@pytest.fixture
def client(process: Process) -> oandapyV20.API:
    oandapyV20.oandapyV20.TRADING_ENVIRONMENTS["here"] = {"api": process.url, "stream": process.url}
    return oandapyV20.API("sim-oanda-token", environment="here", request_params={"timeout": (3, 10)})


def test_the_real_client_reads_prices(process: Process, client: oandapyV20.API) -> None:
    stream: Iterator[dict[str, Any]] = client.request(PricingStream(ACCOUNT, {"instruments": "EUR_USD,GBP_USD"}))
    assert [next(stream)["instrument"] for _ in range(2)] == ["EUR_USD", "GBP_USD"]
    assert next(stream)["type"] == "HEARTBEAT"
    _price(process, "1.40000", "1.40010")
    assert next(stream)["closeoutBid"] == "1.40000"


def test_the_real_client_reads_transactions(process: Process, client: oandapyV20.API) -> None:
    stream: Iterator[dict[str, Any]] = client.request(TransactionsStream(ACCOUNT))
    assert next(stream)["lastTransactionID"] == "2"
    process.buy()
    assert [row["type"] for row in islice(stream, 2)] == ["MARKET_ORDER", "ORDER_FILL"]
    wrong = oandapyV20.API("nobody", environment="here")
    with pytest.raises(V20Error):
        next(wrong.request(TransactionsStream(ACCOUNT)))
