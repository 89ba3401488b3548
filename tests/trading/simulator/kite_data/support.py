"""Small hands for the tests of Kite's market data and push: a simulator process, seen through the published client."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests
from kiteconnect import KiteConnect

from ..support import Process

ACCOUNT, KEY, TOKEN, SECRET = "SIMKITE", "simkitekey", "sim-kite-token", "sim-kite-secret"
INFY, RELIANCE, FUTURE = 408065, 738561, 13568258
OPEN = "2026-01-05T05:00:00Z"  # Monday, 10:30 in India
OPTIONS = ("--always-open", "--speed", "0", "--start", OPEN)


def client(process: Process) -> KiteConnect:
    """The published client of the default account."""
    return KiteConnect(KEY, access_token=TOKEN, root=address(process), timeout=20)


def address(process: Process) -> str:
    """Where the REST interface listens."""
    return f"http://127.0.0.1:{process.taken['kite']}"


def ticker_address(process: Process) -> str:
    """Where the ticker listens."""
    return f"ws://127.0.0.1:{process.taken['kite_ticker']}"


def get(process: Process, path: str, **more: Any) -> requests.Response:
    """A request as the default account."""
    headers = {"Authorization": f"token {KEY}:{TOKEN}", "X-Kite-Version": "3"}
    return requests.get(address(process) + path, headers=headers, timeout=20, **more)


def price(process: Process, bid: str, ask: str, name: str = "NSE:INFY") -> None:
    """Set a price."""
    process.control("POST", "/prices", {"instrument": name, "bid": bid, "ask": ask})


def fresh(process: Process) -> None:
    """No faults, an account as at first, a price."""
    process.control("DELETE", "/faults")
    process.control("POST", f"/accounts/{ACCOUNT}/reset")
    price(process, "1500.00", "1500.10")


def buy(process: Process, quantity: int = 1, **more: Any) -> str:
    """Place an order; its id."""
    fields = {
        "variety": "regular", "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "product": "CNC",
        "quantity": quantity, "order_type": "MARKET", "market_protection": -1, **more,
    }  # fmt: skip
    return str(client(process).place_order(**fields))


def wait(reached: Callable[[], Any], seconds: float = 8.0) -> Any:
    """What `reached` gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return found
