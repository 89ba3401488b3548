"""Postbacks: what the broker posts to an account's own address when an order ends or fills in part."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from trading.simulator.kite.updates import checksum

from ..support import Process
from .support import ACCOUNT, OPTIONS, SECRET, buy, client, fresh, price, wait


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    found = Process(tmp_path_factory.mktemp("postbacks"), *OPTIONS)
    yield found
    assert found.stop() == 0


class Receiver:
    """A web server that keeps what is posted to it, and answers with `status`."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                receiver.bodies.append(json.loads(self.rfile.read(length)))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/postback"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def told(self) -> list[tuple[str, str]]:
        return [(body["order_id"], body["status"]) for body in self.bodies]

    def wait(self, count: int) -> list[dict[str, Any]]:
        wait(lambda: len(self.bodies) >= count)
        assert len(self.bodies) == count
        return self.bodies


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def process(running: Process, receiver: Receiver) -> Process:
    fresh(running)
    running.control("POST", f"/accounts/{ACCOUNT}/postback", {"url": receiver.url})
    return running


def _fault(process: Process, action: str, **args: Any) -> None:
    body = {"broker": "kite", "route": "GET /postback", "action": action, "args": args}
    process.control("POST", "/faults", body)


def test_the_end_of_an_order_is_posted_once_and_signed(process: Process, receiver: Receiver) -> None:
    order = buy(process, 3, tag="mine")
    (body,) = receiver.wait(1)
    row = client(process).orders()[-1]
    assert (body["order_id"], body["status"], body["tag"], body["user_id"]) == (order, "COMPLETE", "mine", ACCOUNT)
    assert body["checksum"] == checksum(order, body["order_timestamp"], SECRET)
    assert (body["filled_quantity"], body["unfilled_quantity"], body["quantity"]) == (3, 0, 3)
    assert body["average_price"] == row["average_price"] and "app_id" in body


def test_an_open_order_is_news_only_when_it_fills_in_part_or_is_modified(process: Process, receiver: Receiver) -> None:
    order = buy(process, 5, order_type="LIMIT", price=1490)
    client(process).modify_order("regular", order, price=1495)
    receiver.wait(1)
    process.control("POST", "/faults", {"broker": "kite", "action": "partial_fill", "args": {"quantity": 2}})
    price(process, "1494.00", "1494.50")
    receiver.wait(2)
    client(process).cancel_order("regular", order)
    bodies = receiver.wait(3)
    assert receiver.told() == [(order, "UPDATE"), (order, "UPDATE"), (order, "CANCELLED")]
    assert [body["filled_quantity"] for body in bodies] == [0, 2, 2]


def test_postbacks_come_twice_out_of_order_or_not_at_all(process: Process, receiver: Receiver) -> None:
    _fault(process, "duplicate")
    first = buy(process)
    receiver.wait(2)
    _fault(process, "reorder")
    second, third = buy(process), buy(process)
    receiver.wait(4)
    _fault(process, "mute_stream")
    buy(process)
    process.control("DELETE", "/faults")
    last = buy(process)
    receiver.wait(5)
    assert [order for order, _ in receiver.told()] == [first, first, third, second, last]


def test_a_receiver_that_fails_or_has_gone_changes_nothing(process: Process, receiver: Receiver) -> None:
    receiver.status = 500
    buy(process)
    receiver.wait(1)
    process.control("POST", f"/accounts/{ACCOUNT}/postback", {"url": "http://127.0.0.1:9/nobody"})
    order = buy(process)
    assert client(process).order_history(order)[-1]["status"] == "COMPLETE"
    process.control("POST", f"/accounts/{ACCOUNT}/postback", {"url": receiver.url})
    last = buy(process)
    receiver.wait(2)
    assert receiver.told()[-1] == (last, "COMPLETE")
    process.control("POST", f"/accounts/{ACCOUNT}/postback", {"url": ""})
    buy(process)
    assert len(receiver.bodies) == 2


def test_only_an_address_of_this_machine_is_taken(process: Process) -> None:
    for url in ("http://example.com/", "https://127.0.0.1/", "http://127.0.0.1.example.com:80/", "file:///etc/passwd"):
        answer = requests.post(
            f"{process.control_url}/accounts/{ACCOUNT}/postback", json={"url": url},
            headers={"X-Control-Token": "sim-control-token"}, timeout=5,
        )  # fmt: skip
        assert answer.status_code == 400, url
