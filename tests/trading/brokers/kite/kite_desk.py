"""A Kite account of its own at a simulator: rows and our adapter on one side, the simulator's books on the other."""

from __future__ import annotations

import hashlib
import itertools
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import requests
from django.db.models import F

from tests.servers import Simulator
from tests.trading.services.making import make_entry
from trading.brokers.kite import KiteBroker
from trading.brokers.registry import Connection, open_broker, simulator_url
from trading.clock import store_broker_clock
from trading.domain.broker import Broker
from trading.engine.inflow import catch_up
from trading.models import Account, Order
from trading.services.setup import ensure_account

_numbers = itertools.count(1)


@dataclass
class Desk:
    """One account of its own; `broker` is its adapter, `account` its row."""

    simulator: Simulator
    number: int = field(default_factory=lambda: next(_numbers))

    def __post_init__(self) -> None:
        made = self.simulator.post("/accounts", {"broker": "kite", "currency": "INR", "cash": "1000000"})
        self.id, keys = made["id"], made["credentials"]
        self.secret: str = keys["api_secret"]
        url = simulator_url(self.simulator.control_url, "kite")
        self.connection = Connection(
            "kite", "simulator", url, self.id, {"key": keys["api_key"], "access_token": keys["access_token"]}
        )
        self.broker: Broker = open_broker(self.connection)
        assert isinstance(self.broker, KiteBroker)
        self.simulator.post("/prices", {"instrument": "NSE:INFY", "bid": "1500.00", "ask": "1500.10"})
        self.account = ensure_account(
            name=f"kite-{self.number}",
            broker=Account.Broker.KITE,
            environment=Account.Environment.SIMULATOR,
            external_id=self.id,
            currency="INR",
            endpoint=url,
            time_zone="Asia/Kolkata",
        )
        store_broker_clock(account=self.account, broker_at=self.now(), speed=Decimal(1))
        self.catch_up()

    def now(self) -> datetime:
        """The simulator's time."""
        return datetime.fromisoformat(self.simulator.get("/clock")["now"]).astimezone(UTC)

    def go_to(self, moment: str) -> None:
        """Let the simulator's time be this; its own clock is the account's."""
        self.simulator.post("/clock", {"now": moment})
        store_broker_clock(account=self.account, broker_at=self.now(), speed=Decimal(1))

    def login(self) -> None:
        """As a person does it every morning; the adapter is another one then, with the new token."""
        url, key = self.connection.url, self.connection.credentials["key"]
        page = requests.get(f"{url}/connect/login", params={"api_key": key, "v": "3"}, timeout=10).json()
        token = page["data"]["request_token"]
        checksum = hashlib.sha256(f"{key}{token}{self.secret}".encode()).hexdigest()
        asked = {"api_key": key, "request_token": token, "checksum": checksum}
        session = requests.post(f"{url}/session/token", data=asked, timeout=10).json()["data"]
        self.broker.close()
        keys = {"key": key, "access_token": session["access_token"]}
        self.connection = replace(self.connection, credentials=keys)
        self.broker = open_broker(self.connection)

    def catch_up(self) -> None:
        """Book what the broker has to tell."""
        catch_up(account=self.account, broker=self.broker)

    def plan(self, number: int = 1, *, quantity: str = "10", side: str = "BUY") -> Order:
        """An entry of a new decision, committed and not sent."""
        at = self.now() - timedelta(minutes=5 * number + 5)
        prices = {"entry": "1500", "stop": "1400", "target": "1600"}
        return make_entry(
            self.account, number, state="PLANNED", symbol="INFY", quantity=quantity, side=side, at=at, **prices
        )

    def fault(self, action: str, *, when: str = "after", route: str = "POST /orders", **arguments: Any) -> None:
        """A fault for the next request of that kind."""
        body = {"broker": "kite", "route": route, "when": when, "action": action, "times": 1, "args": arguments}
        self.simulator.post("/faults", body)

    def copies(self, order: Order) -> list[str]:
        """The ids of all orders at the broker that carry this order's id."""
        return [row["id"] for row in self.truth()["orders"] if row["client_id"] == order.client_order_id]

    def truth(self) -> dict[str, Any]:
        """What the account really holds."""
        return self.simulator.truth(self.id)

    def pass_time(self, order: Order, seconds: float) -> None:
        """Let the order's lease, quarantine and next look-up be as if so many seconds had passed."""
        span = timedelta(seconds=seconds)
        Order.objects.filter(pk=order.pk).update(
            lease_until=F("lease_until") - span,
            quarantine_until=F("quarantine_until") - span,
            next_check_at=F("next_check_at") - span,
        )
        order.refresh_from_db()

    def wait(self, what: Any, seconds: float = 5.0) -> None:
        """Until it is true, reading the broker meanwhile."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"not within {seconds} s"
            self.catch_up()
            time.sleep(0.1)
