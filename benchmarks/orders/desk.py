"""The desk that orders are timed on: durable PostgreSQL, Redis, a worker and four accounts, all of the run's own.

What always holds: decisions are made by the product's own service, each on a paper account of its own, so that no
limit of one account meets another's orders; only what is asked for runs; everything is stopped and removed at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.own_database import own_database

if TYPE_CHECKING:
    from tests.faults.workers import Worker
    from trading.models import Account, Order

ACCOUNTS = 4
# A Wednesday at noon: inside the session's window, whatever the wall says.
MOMENT = datetime(2026, 1, 14, 15, 0, tzinfo=UTC)


@dataclass
class Desk:
    """What runs, and how to decide on an order."""

    directory: Path
    environment: Mapping[str, str]
    stub_url: str
    superuser_url: str
    accounts: list[Account] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def add_accounts(self, endpoint: str, *, number: int, scope: str = "bench") -> list[Account]:
        """So many accounts at the broker with this address."""
        from trading.clock import store_broker_clock
        from trading.models import Account
        from trading.services.setup import ensure_account

        made = []
        for index in range(number):
            account = ensure_account(
                name=f"{scope or 'desk'}-{index + 1}",
                broker=Account.Broker.OANDA,
                environment=Account.Environment.SIMULATOR,
                external_id=f"101-001-2{index:06}-001",
                scope=scope,
                currency="USD",
                endpoint=endpoint,
            )
            store_broker_clock(account=account, broker_at=MOMENT, speed=Decimal(0))
            made.append(account)
        self.accounts += made
        return made

    def decide(self, account: Account, **order: Any) -> tuple[Order, float]:
        """The committed, unsent order of a new decision, and how many seconds the deciding took.

        `order` may name another `type`, `entry` and `moment` than a market order at the ask now.
        """
        from tests.faults.places import OANDA
        from tests.faults.world import decide_entry
        from trading.domain.broker import OrderType
        from trading.domain.session import load_session
        from trading.models import Account, Decision, Order
        from trading.services.setup import ensure_account

        number = next(self._numbers)
        paper = ensure_account(
            name=f"paper-{number}",
            broker=Account.Broker.PAPER,
            environment=Account.Environment.IN_PROCESS,
            external_id=f"paper-{number}",
            currency="USD",
        )
        session = load_session(OANDA.profile)
        began = time.perf_counter()
        decision = decide_entry(
            account=paper,
            place=OANDA,
            session=session,
            now=order.get("moment", MOMENT),
            type=order.get("type", OrderType.MARKET),
            entry=order.get("entry", OANDA.ask),
            mirrors=[account],
        )
        seconds = time.perf_counter() - began
        assert decision.verdict == Decision.Verdict.APPROVED, decision.reason
        return Order.objects.select_related("account").get(account=account, decision=decision, tag="ENTRY"), seconds

    def arrivals(self) -> dict[str, float]:
        """When the stub got which client id, since it was last asked. Raises AssertionError for one that came twice."""
        rows = requests.get(f"{self.stub_url}/arrivals", timeout=5).json()["arrivals"]
        told = {str(client_id): float(at) for client_id, at in rows}
        assert len(told) == len(rows), "an order arrived twice"
        return told

    def start_worker(self, *, concurrency: int) -> Worker:
        """A worker of the desk on the queue of orders, ready."""
        from tests.faults.workers import READY_SECONDS, Worker

        worker = Worker(self.directory, self.environment, name=f"worker-{len(self.workers)}", concurrency=concurrency)
        self.workers.append(worker)
        end = time.monotonic() + READY_SECONDS
        while not worker.is_ready:
            if time.monotonic() > end:
                raise SystemExit(f"The worker did not start:\n{worker.last_words()}")
            time.sleep(0.05)
        return worker


@contextmanager
def own_desk() -> Iterator[Desk]:
    """Servers, database, stub; the broker's accounts and the workers are added by who measures."""
    with ExitStack() as stack:
        # The server writes down when each transaction was committed: the exact end of "in the ledger".
        own = stack.enter_context(own_database("bench_orders", ("track_commit_timestamp=on",)))
        from tests.servers import start_redis

        redis = start_redis(own.directory / "redis")
        stack.callback(redis.stop)
        os.environ["REDIS_URL"] = redis.url
        stack.callback(os.environ.pop, "REDIS_URL", None)
        import django

        django.setup()
        from backoffice.desk import logins
        from tests.faults.world import worker_environment

        url, stub = _start_stub(own.directory)
        stack.callback(stub.wait)
        stack.callback(stub.kill)
        desk = Desk(
            directory=own.directory,
            environment=worker_environment(own.urls.environment(), redis.url),
            stub_url=url,
            superuser_url=logins.superuser_url(own.server, own.name),
        )
        stack.callback(lambda: [worker.kill() for worker in desk.workers])
        yield desk


def _start_stub(directory: Path) -> tuple[str, subprocess.Popen[bytes]]:
    port_file = directory / "stub.port"
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.orders.stub", str(port_file)])
    end = time.monotonic() + 10
    while not port_file.exists():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise SystemExit("The stub of a broker did not start.")
        time.sleep(0.02)
    return f"http://127.0.0.1:{port_file.read_text()}", process
