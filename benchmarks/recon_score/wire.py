"""A simulator inside this process under a real adapter: everything above the sockets is the product's own.

What always holds: the clock stands still unless it is moved; nothing waits and nothing leaves the process; what the
simulator did is in its journal, requests of the adapter included.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3

from trading.brokers import alpaca_client, kite, kite_client
from trading.brokers.budget import Lane, RateBudget
from trading.brokers.registry import (
    SIMULATOR_ALPACA_ACCOUNT,
    SIMULATOR_ALPACA_KEY,
    SIMULATOR_ALPACA_SECRET,
    SIMULATOR_KITE_ACCOUNT,
    SIMULATOR_KITE_KEY,
    SIMULATOR_KITE_TOKEN,
    SIMULATOR_OANDA_ACCOUNT,
    SIMULATOR_OANDA_TOKEN,
    Connection,
    open_broker,
)
from trading.brokers.transport import BrokerSession
from trading.brokers.wire import current_exchange
from trading.domain.broker import Broker
from trading.simulator.core.calls import Call
from trading.simulator.core.pages import duplicated, planted, reordered
from trading.simulator.runtime import Runtime, Settings

# Nobody listens there, and nothing is sent: the simulator below takes the place of the sockets.
NOWHERE = "http://127.0.0.1:9"
MORNING = {
    "oanda": datetime(2026, 1, 6, 10, 0, tzinfo=UTC),
    "alpaca": datetime(2026, 1, 6, 15, 0, tzinfo=UTC),
    "kite": datetime(2026, 1, 6, 5, 0, tzinfo=UTC),
}
ACCOUNT = {
    "oanda": SIMULATOR_OANDA_ACCOUNT,
    "alpaca": SIMULATOR_ALPACA_ACCOUNT,
    "kite": SIMULATOR_KITE_ACCOUNT,
}
_KEYS = {
    "oanda": {"token": SIMULATOR_OANDA_TOKEN},
    "alpaca": {"key": SIMULATOR_ALPACA_KEY, "secret": SIMULATOR_ALPACA_SECRET},
    "kite": {"key": SIMULATOR_KITE_KEY, "access_token": SIMULATOR_KITE_TOKEN},
}


class _Unlimited(RateBudget):
    """A budget that never waits."""

    def __init__(self) -> None:
        super().__init__(per_second=1.0, burst=2, reserve=1)

    def take(self, lane: Lane, *, wait: float) -> bool:
        return True

    def back_off(self, seconds: float) -> None:
        pass


class _NoAlarm(threading.Timer):
    """No thread for a deadline that cannot come."""

    def start(self) -> None:
        pass


class _Inside(requests.adapters.BaseAdapter):
    """Takes the place of the sockets under a session, and of the simulator's web server behind them."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self._simulator = simulator
        self._builder = requests.adapters.HTTPAdapter()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        current_exchange.get().sent = True
        where = urlsplit(request.url or "")
        body = request.body.decode() if isinstance(request.body, bytes) else request.body or ""
        call = Call(request.method or "GET", where.path, where.query, body)
        status, headers, wire = self._simulator.answer(call, dict(request.headers))
        headers = {"Content-Type": "application/json", **headers, "Content-Length": str(len(wire))}
        raw = urllib3.HTTPResponse(body=io.BytesIO(wire), headers=headers, status=status, preload_content=False)
        return self._builder.build_response(request, raw)

    def close(self) -> None:
        pass


class Simulator:
    """One account at one simulated broker, its clock standing still, and the real adapter on it."""

    def __init__(self, broker: str, seed: int) -> None:
        self.name, self.account = broker, ACCOUNT[broker]
        self.wall = 0.0
        settings = Settings(start=MORNING[broker], seed=seed, speed=Decimal(0), always_open=True)
        self.runtime = Runtime(settings, lambda: self.wall)
        for module in ("urllib3", "trading.brokers"):
            logging.getLogger(module).setLevel(logging.ERROR)
        alpaca_client._account_of_key.clear()
        kite_client._account_of_token.clear()
        kite_client._refused_until.clear()
        kite._tokens.clear()
        self.broker: Broker = open_broker(Connection(broker, "simulator", NOWHERE, self.account, _KEYS[broker]))
        session: BrokerSession = self.broker._client.session  # type: ignore[attr-defined]
        session.mount("http://", _Inside(self))
        session._budget = _Unlimited()
        session._alarm = _NoAlarm
        for name in getattr(self.broker._client, "_budgets", {}):  # type: ignore[attr-defined]
            self.broker._client._budgets[name] = _Unlimited()  # type: ignore[attr-defined]

    @property
    def now(self) -> datetime:
        """The broker's time."""
        return self.runtime.world.now

    def answer(self, call: Call, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """What the simulator's web server would send, faults of content included."""
        authorization = self.runtime.dialects[self.name].authorization(headers)
        fault = self.runtime.fault_for(self.name, call, authorization)
        how = {"fault": fault.id} if fault is not None else {}
        answer = self.runtime.call(self.name, call, authorization, **how)
        assert answer is not None
        body = answer.body
        if fault is not None and fault.action in ("body", "bad_value"):
            body = planted(body, str(fault.args["path"]), fault.args.get("value"))
        elif fault is not None and fault.action in ("duplicate", "reorder"):
            body = (duplicated if fault.action == "duplicate" else reordered)(body)
        text = "" if body is None else body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
        return answer.status, dict(answer.headers), text.encode()

    def control(self, operation: str, **body: Any) -> dict[str, Any]:
        """A control operation. Raises ValueError with a sentence."""
        return self.runtime.command(operation, body)

    def external(self, kind: str, **body: Any) -> dict[str, Any]:
        """Something happens to the account without us."""
        return self.control("external", account=self.account, kind=kind, **body)

    def price(self, instrument: str, bid: Decimal, ask: Decimal) -> None:
        """The price from now on."""
        self.control("prices", instrument=instrument, bid=str(bid), ask=str(ask))

    def step(self, seconds: int) -> None:
        """Let so much time pass."""
        self.control("clock", step=str(seconds))

    def truth(self) -> dict[str, Any]:
        """The account as it really is."""
        return self.runtime.control.truth(self.account)

    def writes(self) -> int:
        """How many requests that could change anything the simulator has seen."""
        rows = self.runtime.world.state.journal.rows
        return sum(1 for row in rows if row["kind"] == "request" and row["data"]["method"] != "GET")

    def copied(self) -> Runtime:
        """The simulator as it stands, to go on from more than once. Rows of the journal never change and are shared."""
        world = self.runtime.world
        shared = [*world.state.journal.rows, *world.market._walks.values()]
        return copy.deepcopy(self.runtime, {id(each): each for each in shared})

    def close(self) -> None:
        """End it."""
        self.broker.close()
