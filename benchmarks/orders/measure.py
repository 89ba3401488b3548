"""What is timed: one order by four ways in turn, bursts, and the way of an order update back into the ledger.

What always holds: all times are wall times of one machine; every order that was asked for arrived exactly once; what
is compared is taken in the same round, one after the other, so that a busy moment meets all of them alike.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from benchmarks.orders.desk import ACCOUNTS, Desk

if TYPE_CHECKING:
    from trading.models import Account, Order

WAIT_SECONDS = 60.0
# The stub keeps the moments, so asking it seldom takes nothing from those who are measured.
ASK_SECONDS = 0.02
BURST = 50
Progress = Callable[[str, int], None]


@dataclass
class Times:
    """Seconds, by what was timed."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, seconds: float) -> None:
        """One more."""
        self.taken.setdefault(what, []).append(seconds)

    def milliseconds(self, what: str) -> dict[str, float]:
        """Median, 99th percentile and the longest."""
        values = sorted(self.taken[what])
        return {
            "p50_ms": round(1000 * values[len(values) // 2], 1),
            "p99_ms": round(1000 * values[min(len(values) - 1, len(values) * 99 // 100)], 1),
            "longest_ms": round(1000 * values[-1], 1),
        }


class Ways:
    """The four ways of one order: our engine, our queue, a bare call of the SDK, a bare hop through Celery."""

    def __init__(self, desk: Desk, times: Times) -> None:
        import oandapyV20
        from celery import Celery
        from oandapyV20 import oandapyV20 as sdk

        from backoffice.celery import app
        from backoffice.settings import broker_url
        from trading.engine.connections import broker_for
        from trading.services import cursors

        app.set_current()
        self._desk, self.times = desk, times
        self.accounts = desk.add_accounts(desk.stub_url, number=ACCOUNTS)
        for account in self.accounts:
            cursors.put(account=account, name="events", value="1")
        self._broker = broker_for(self.accounts[0])
        sdk.TRADING_ENVIRONMENTS["stub"] = {"api": desk.stub_url, "stream": desk.stub_url}
        self._sdk: Any = oandapyV20.API(access_token="token", environment="stub")
        self._bare = Celery(broker=broker_url(os.environ["REDIS_URL"]), set_as_current=False)
        self._number, self._called = 0, 0.0

    def round(self) -> None:
        """One order by each way."""
        for way in (self._bare_call, self._engine, self._bare_hop, self._queue):
            way()

    def burst(self) -> float:
        """Fifty committed orders on four accounts are woken at once: seconds until the last request has arrived."""
        from trading.wake import wake

        orders = [self._desk.decide(self.accounts[number % ACCOUNTS])[0] for number in range(BURST)]
        began = time.time()
        for order in orders:
            wake("orders.send", order.pk)
        enqueued = time.time()
        told = self._wait({order.client_order_id for order in orders})
        self.times.add("burst_enqueued", enqueued - began)
        self._settle(orders)
        return max(told.values()) - began

    def _bare_call(self) -> None:
        from oandapyV20.endpoints.orders import OrderCreate

        from benchmarks.orders.bare import order

        client_id = self._name()
        began = time.time()
        self._sdk.request(OrderCreate(self.accounts[0].external_id, data={"order": order(client_id)}))
        self._called = self._wait({client_id})[client_id] - began
        self.times.add("bare_sdk_call", self._called)

    def _engine(self) -> None:
        """As the live engine does: it decides and sends in one process, on the connection that it has."""
        from trading.engine.sender import send_order

        order, deciding = self._desk.decide(self.accounts[0])
        began = time.time()
        send_order(order_id=order.pk, broker=self._broker)
        told = self._wait({order.client_order_id})[order.client_order_id] - began
        self.times.add("deciding", deciding)
        self.times.add("engine", told)
        # Gates and audit are in the deciding, the outbox in what comes before the call; the call itself is not ours.
        self.times.add("own_work", deciding + told - self._called)

    def _bare_hop(self) -> None:
        client_id = self._name()
        url = f"{self._desk.stub_url}/v3/accounts/{self.accounts[0].external_id}/orders"
        began = time.time()
        self._bare.send_task("bare.post", args=[url, client_id], queue="bare")
        self.times.add("bare_celery_hop", self._wait({client_id})[client_id] - began)

    def _queue(self) -> None:
        """As for an approved proposal: the committed order wakes a worker."""
        from trading.wake import wake

        order, _ = self._desk.decide(self.accounts[0])
        began = time.time()
        wake("orders.send", order.pk)
        told = self._wait({order.client_order_id})
        self.times.add("queue", told[order.client_order_id] - began)
        self._settle([order])

    def _wait(self, wanted: set[str]) -> dict[str, float]:
        told: dict[str, float] = {}
        end = time.monotonic() + WAIT_SECONDS
        while not wanted <= told.keys():
            told |= self._desk.arrivals()
            if time.monotonic() > end:
                raise SystemExit(f"{len(wanted - told.keys())} orders did not arrive within {WAIT_SECONDS:g} s.")
            time.sleep(ASK_SECONDS)
        return told

    @staticmethod
    def _settle(orders: list[Order]) -> None:
        """Until the workers have stored everything, so that they do not disturb the next."""
        from trading.models import Order

        names = [order.pk for order in orders]
        while Order.objects.filter(pk__in=names, state="WORKING").count() < len(names):
            time.sleep(0.01)
        time.sleep(0.02)

    def _name(self) -> str:
        self._number += 1
        return f"bare-{self._number}"


@contextmanager
def bare_worker(desk: Desk) -> Iterator[None]:
    """The bare application's worker."""
    from backoffice.settings import broker_url

    log = desk.directory / "bare.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "--app", "benchmarks.orders.bare", "--quiet", "worker"),
                *("--queues", "bare", "--concurrency", "1", "--without-mingle", "--without-gossip"),
            ],
            env={**os.environ, "BARE_BROKER": broker_url(os.environ["REDIS_URL"])},
            stdout=out,
            stderr=out,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def order_updates(desk: Desk, times: Times, number: int, progress: Progress) -> None:
    """Resting orders fill one after the other: from the fill at the broker to the commit of its ledger entry.

    The broker is the simulator, its stream is listened to by `manage.py streams`, and nothing else asks it meanwhile.
    """
    from backoffice.desk import children, paths
    from tests.servers import Simulator
    from trading.brokers.registry import SIMULATOR_OANDA_ACCOUNT, simulator_url
    from trading.clock import store_broker_clock
    from trading.domain.broker import OrderType
    from trading.engine.connections import broker_for
    from trading.engine.inflow import catch_up
    from trading.engine.sender import send_order
    from trading.models import Account
    from trading.services.setup import ensure_account

    simulator = Simulator.start(
        desk.directory / "simulator", ("--always-open", "--speed", "1", "--start", "2026-01-14T15:00:00Z")
    )
    ready, log = desk.directory / "streams.ready", desk.directory / "streams.log"
    try:
        _price(simulator, Decimal("1.10000"))
        account = ensure_account(
            name="streamed",
            broker=Account.Broker.OANDA,
            environment=Account.Environment.SIMULATOR,
            external_id=SIMULATOR_OANDA_ACCOUNT,
            scope="",
            currency="USD",
            endpoint=simulator_url(simulator.control_url, "oanda"),
        )
        store_broker_clock(account=account, broker_at=_now(simulator), speed=Decimal(1))
        broker = broker_for(account)
        catch_up(account=account, broker=broker)
        orders = []
        for index in range(number):
            price = Decimal("1.09900") - index * Decimal("0.00005")  # the last is not yet at the stop of the first
            now = _now(simulator)
            order, _ = desk.decide(account, type=OrderType.LIMIT, entry=price, moment=now)
            send_order(order_id=order.pk, broker=broker)
            orders.append((order, price))
            progress("placing orders that rest", 0)
        streams = children.start(
            [sys.executable, "manage.py", "streams"],
            log=os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            environment={**desk.environment, "BACKOFFICE_READY_FILE": str(ready)},
            directory=paths.PROJECT,
        )
        try:
            _until(lambda: ready.exists() and _connected(account), "the stream is connected")
            time.sleep(1)
            for _order, price in orders:
                _price(simulator, price - Decimal("0.00012"))
                progress("order updates by stream", 1)
                time.sleep(0.25)
            _until(lambda: _booked(account) == number, "all fills are booked")
        finally:
            children.stop(streams, (signal.SIGTERM, 5.0))
        _compare(desk, simulator, account, times)
    finally:
        simulator.stop()


def _price(simulator: Any, bid: Decimal) -> None:
    body = {"instrument": "EUR_USD", "bid": str(bid), "ask": str(bid + Decimal("0.00010"))}
    simulator.post("/prices", body)


def _now(simulator: Any) -> datetime:
    return datetime.fromisoformat(simulator.get("/clock")["now"]).astimezone(UTC)


def _connected(account: Account) -> bool:
    from trading.models import Heartbeat

    row = Heartbeat.objects.filter(name=f"stream.events:{account.name}").first()
    return row is not None and bool(row.details.get("connected"))


def _booked(account: Account) -> int:
    from trading.models import Fill

    return Fill.objects.filter(account=account).count()


def _until(what: Callable[[], object], meaning: str) -> None:
    end = time.monotonic() + 60
    while not what():
        if time.monotonic() > end:
            raise SystemExit(f"Not within 60 s: {meaning}.")
        time.sleep(0.05)


def _offset(simulator: Any) -> timedelta:
    """What to add to the simulator's time for the wall's: of many readings, the one that took least."""
    best: tuple[timedelta, timedelta] | None = None
    for _ in range(30):
        before = datetime.now(UTC)
        told = _now(simulator)
        took = datetime.now(UTC) - before
        if best is None or took < best[0]:
            best = took, before + took / 2 - told
    assert best is not None
    return best[1]


def _compare(desk: Desk, simulator: Any, account: Account, times: Times) -> None:
    """Each fill's time in the broker's journal with the commit of its entry, as the server wrote it down."""
    import psycopg

    with psycopg.connect(desk.superuser_url) as connection:
        committed = dict(
            connection.execute(
                "SELECT f.external_id, pg_xact_commit_timestamp(e.xmin) FROM trading_entry e "
                "JOIN trading_fill f ON f.id = e.fill_id WHERE f.account_id = %s AND e.kind NOT IN ('SETTLEMENT')",
                [account.pk],
            ).fetchall()
        )
    offset = _offset(simulator)
    for row in simulator.journal():
        if row["kind"] == "fill":
            at = datetime.fromisoformat(row["at"]).astimezone(UTC) + offset
            times.add("stream_to_ledger", (committed[row["data"]["id"]] - at).total_seconds())
