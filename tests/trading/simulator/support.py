"""Small hands for the simulator's tests: one in this process, one as its own process."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from trading.simulator.core.model import Account
from trading.simulator.oanda.answers import Call
from trading.simulator.runtime import Runtime, Settings

ROOT = Path(__file__).resolve().parents[3]
ACCOUNT = "101-001-1000001-001"
BEARER = "Bearer sim-oanda-token"
MONDAY = datetime(2026, 1, 5, 14, 0, tzinfo=UTC)
SATURDAY = datetime(2026, 1, 10, 14, 0, tzinfo=UTC)


class Inside:
    """A simulator in this process whose clock stands still."""

    def __init__(self, start: datetime = MONDAY, *, directory: Path | None = None, **settings: Any) -> None:
        self.wall = 0.0
        known = {"speed": Decimal(0), "always_open": False, **settings}
        self.runtime = Runtime(Settings(start=start, directory=directory, **known), lambda: self.wall)
        self.world = self.runtime.world

    @property
    def account(self) -> Account:
        return self.world.accounts[ACCOUNT]

    def call(self, method: str, path: str, body: Any = None, *, token: str = BEARER) -> tuple[int, dict[str, Any]]:
        """A request below the default account; a path that begins with /v3 is taken as it is."""
        path, _, query = path.partition("?")
        whole = path if path.startswith("/v3") else f"/v3/accounts/{ACCOUNT}{path}"
        text = "" if body is None else json.dumps(body)
        answer = self.runtime.call("oanda", Call(method, whole, query, text), token)
        assert answer is not None
        # What leaves is JSON: anything that is not would raise here.
        found: dict[str, Any] = json.loads(json.dumps(answer.body))
        return answer.status, found

    def control(self, operation: str, **body: Any) -> dict[str, Any]:
        return self.runtime.command(operation, body)

    def price(self, bid: str, ask: str, instrument: str = "EUR_USD") -> None:
        self.control("prices", instrument=instrument, bid=bid, ask=ask)

    def order(self, units: int | str, kind: str = "MARKET", **fields: Any) -> tuple[int, dict[str, Any]]:
        order = {"type": kind, "instrument": "EUR_USD", "units": str(units), **fields}
        return self.call("POST", "/orders", {"order": order})

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Rows of the journal, but for those of the default accounts at the other brokers."""
        rows = self.world.state.journal.rows
        return [row["data"] for row in rows if row["kind"] == kind and row["account"] not in ("SIMALPACA", "SIMKITE")]

    def last(self, kind: str) -> dict[str, Any]:
        """The last transaction of this type."""
        return next(row for row in reversed(self.account.history) if row["type"] == kind)


class Process:
    """A simulator as its own process."""

    def __init__(self, directory: Path, *options: str, ports: int | None = None) -> None:
        self.directory = directory
        self.options = options
        self.ports = ports or random.randrange(11_000, 19_900, 5)
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        file = self.directory / "ports.json"
        file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "trading.simulator", "--ports", str(self.ports), "--ports-file", str(file)]
        self.child = subprocess.Popen(
            [*command, *self.options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        end = time.monotonic() + 30
        while not file.exists():
            assert self.child.poll() is None and time.monotonic() < end, "the simulator did not start"
            time.sleep(0.02)
        self.taken: dict[str, int] = json.loads(file.read_text())["ports"]
        self.url = f"http://127.0.0.1:{self.taken['oanda']}"
        self.control_url = f"http://127.0.0.1:{self.taken['control']}"

    def control(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"X-Control-Token": "sim-control-token"}
        answer = requests.request(method, self.control_url + path, json=body, headers=headers, timeout=20)
        assert answer.ok, answer.text
        return answer.json()

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        """A request below the default account."""
        where = f"{self.url}/v3/accounts/{ACCOUNT}{path}"
        return requests.request(method, where, json=body, headers={"Authorization": BEARER}, timeout=20, **more)

    def buy(self, units: str = "1000", **fields: Any) -> requests.Response:
        order = {"type": "MARKET", "instrument": "EUR_USD", "units": units, **fields}
        return self.ask("POST", "/orders", {"order": order})

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return [row["data"] for row in self.control("GET", "/journal?since=0") if row["kind"] == kind]

    def kill(self) -> None:
        """As in a power cut."""
        self.child.kill()
        self._gone()

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal_number)
        return self._gone()

    def _gone(self) -> int:
        code = self.child.wait(10)
        for pipe in (self.child.stdout, self.child.stderr):
            if pipe is not None:
                pipe.close()
        return code
