"""A small desk for fault tests: real PostgreSQL, Redis, workers and simulator, one mirrored account, and its judge.

What always holds here: orders come from decisions made by the product's own service; the judge trusts the simulator's
journal alone and compares the product's rows with it; whatever was started is stopped by `close`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from celery import Celery
from django.db.models import F

from backoffice.settings import broker_url
from tests.faults.places import OANDA, Place
from tests.faults.workers import READY_SECONDS, Worker
from tests.servers import Simulator
from trading.brokers.registry import simulator_url
from trading.clock import store_broker_clock
from trading.domain.broker import OrderType, Side
from trading.domain.session import SessionConfig, load_session
from trading.engine.connections import broker_for
from trading.engine.inflow import catch_up
from trading.models import Account, ConfigVersion, Decision, Fill, Lease, Order, RiskEvent
from trading.selectors import books
from trading.services.decisions import MarketView, decide
from trading.services.setup import ensure_account, ensure_session
from trading.strategies.base import SignalIntent

START = OANDA.start
SWEEP_SECONDS = 1.0


@dataclass
class World:
    """One desk on one simulator's account. `environment` is what its workers run with.

    Rows of the simulator's journal up to `since` are of desks before it.

    With the scope that the desk's own accounts have (""), workers that start block entries until reconciled.
    """

    simulator: Simulator
    redis_url: str
    environment: Mapping[str, str]
    directory: Path
    scope: str = "faults"
    policy: ConfigVersion | None = None
    place: Place = OANDA
    name: str = "mirror"
    workers: list[Worker] = field(default_factory=list)
    sweeps_in: str = ""
    since: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _swept_at: float = 0.0

    def __post_init__(self) -> None:
        self._celery = Celery(broker=broker_url(self.redis_url), set_as_current=False)
        self._celery.conf.broker_transport_options = {"socket_timeout": 2, "socket_connect_timeout": 1}
        self.price(self.place.bid, self.place.ask)
        self.session = load_session(self.place.profile)
        self.account = ensure_account(
            name=self.name,
            broker=self.place.broker,
            environment=Account.Environment.SIMULATOR,
            external_id=self.place.account,
            scope=self.scope,
            currency=self.place.currency,
            endpoint=simulator_url(self.simulator.control_url, self.place.name),
            policy=self.policy,
        )
        store_broker_clock(account=self.account, broker_at=self.broker_now(), speed=Decimal(1))
        self.catch_up()

    # what happens

    def broker_now(self) -> datetime:
        """The simulator's time."""
        return datetime.fromisoformat(self.simulator.get("/clock")["now"]).astimezone(UTC)

    def catch_up(self) -> None:
        """Book what the broker has to tell."""
        broker = broker_for(self.account)
        try:
            catch_up(account=self.account, broker=broker)
        finally:
            broker.close()

    def price(self, bid: Decimal, ask: Decimal) -> None:
        """Let the market jump."""
        self.simulator.post("/prices", {"instrument": self.place.instrument, "bid": str(bid), "ask": str(ask)})

    def truth(self) -> dict[str, Any]:
        """What the account really holds."""
        return self.simulator.truth(self.place.account)

    def plan(self, *, type: OrderType = OrderType.MARKET, entry: Decimal | None = None) -> Order:
        """The mirror's order of a new decision on a paper account of its own; committed, not sent."""
        number = next(self._numbers)
        paper = ensure_account(
            name=f"paper-{number}",
            broker=Account.Broker.PAPER,
            environment=Account.Environment.IN_PROCESS,
            external_id=f"paper-{number}",
            currency=self.place.currency,
        )
        decision = decide_entry(
            account=paper,
            place=self.place,
            session=self.session,
            now=self.broker_now(),
            type=type,
            entry=self.place.ask if entry is None else entry,
            mirrors=[self.account],
        )
        assert decision.verdict == Decision.Verdict.APPROVED, decision.reason
        refused = RiskEvent.objects.filter(account=self.account, decision=decision).first()
        assert refused is None, refused
        return Order.objects.get(account=self.account, decision=decision, tag="ENTRY")

    def pass_time(self, order: Order, seconds: float) -> None:
        """Let the order's lease, quarantine and next look-up, and what its account waits for, be so many seconds on."""
        span = timedelta(seconds=seconds)
        Order.objects.filter(pk=order.pk).update(
            lease_until=F("lease_until") - span,
            quarantine_until=F("quarantine_until") - span,
            next_check_at=F("next_check_at") - span,
        )
        Lease.objects.filter(key=f"login:{self.account.pk}").update(until=F("until") - span)
        order.refresh_from_db()

    def send_task(self, name: str, *arguments: Any, queue: str = "orders", **options: Any) -> None:
        """Give workers a task; `options` as Celery knows them (headers, expires)."""
        self._celery.send_task(name, args=list(arguments), queue=queue, **options)

    def fault(self, action: str, *, when: str = "after", route: str = "", times: int = 1, **arguments: Any) -> None:
        """Order a fault at the simulator, by default for the next write of an order."""
        self.simulator.post(
            "/faults",
            {
                "broker": self.place.name,
                "route": route or self.place.posting,
                "when": when,
                "action": action,
                "times": times,
                "args": arguments,
            },
        )

    def start_worker(self, *, name: str, queues: str = "orders", failpoint: str = "") -> Worker:
        """Start a worker without waiting for it."""
        worker = Worker(self.directory, self.environment, name=name, queues=queues, failpoint=failpoint)
        self.workers.append(worker)
        return worker

    def wait_for_worker(self, worker: Worker) -> None:
        """Return when it takes tasks."""
        self.wait(lambda: worker.is_ready, READY_SECONDS, "the worker is ready")

    def wait(self, what: Callable[[], Any], seconds: float, meaning: str) -> Any:
        """What it gives once that is true, sweeping meanwhile as beat does. Raises AssertionError after the seconds."""
        end = time.monotonic() + seconds
        while not (found := what()):
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:g} s: {meaning}")
            self.sweep()
            time.sleep(0.03)
        return found

    def sweep(self) -> None:
        """Ask for a round of the watcher, at most once a second, where `sweeps_in` names the queue for it."""
        if self.sweeps_in and time.monotonic() - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self._celery.send_task("orders.watch", queue=self.sweeps_in, expires=2 * SWEEP_SECONDS)

    @contextmanager
    def no_sweep(self) -> Iterator[None]:
        """Without rounds of the watcher in here."""
        queue, self.sweeps_in = self.sweeps_in, ""
        try:
            yield
        finally:
            self.sweeps_in = queue

    def close(self) -> None:
        """Kill the workers that are left."""
        for worker in self.workers:
            worker.kill()
        self._celery.close()

    # what the broker's journal says

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The journal's rows of one kind."""
        return [row for row in self.simulator.journal(self.since) if row["kind"] == kind]

    def posts(self, order: Order) -> list[dict[str, Any]]:
        """The requests that asked the broker for this order."""
        return [
            row
            for row in self.rows("request")
            if row["data"]["method"] == "POST" and order.client_order_id in self.place.ids(row["data"]["body"])
        ]

    def fills(self) -> list[tuple[str, Decimal, Decimal, str]]:
        """The fills of the journal, as our books should have them: id, quantity, price, the broker's order."""
        return sorted(
            (self.place.fill_id(r), Decimal(r["data"]["quantity"]), Decimal(r["data"]["price"]), r["data"]["order_id"])
            for r in self.rows("fill")
        )

    def copies(self, order: Order) -> set[str]:
        """The broker's ids of all orders that carry this order's client id."""
        mine = [row["data"] for row in self.rows("order") if row["data"]["client_id"] == order.client_order_id]
        return {row["id"] for row in mine}

    def wall_time(self, row: Mapping[str, Any]) -> datetime:
        """When a row of the journal was written, on the machine's clock (the simulator runs at its speed)."""
        before = datetime.now(UTC)
        offset = before + (datetime.now(UTC) - before) / 2 - self.broker_now()
        return datetime.fromisoformat(row["at"]).astimezone(UTC) + offset

    # the judge

    def problems(self, order: Order) -> list[str]:
        """What is wrong with a market order by the journal: empty when it exists there once and is booked once."""
        order.refresh_from_db()
        at_broker = self.copies(order)
        filled = [fill for fill in self.fills() if fill[3] in at_broker]
        booked = Fill.objects.filter(account=self.account, order=order)
        found = []
        if len(at_broker) != 1:
            found.append(f"{len(at_broker)} orders at the broker")
        if at_broker != {order.broker_order_id}:
            found.append(f"bound to {order.broker_order_id!r}, the broker has {sorted(at_broker)}")
        if order.state != "FILLED" or order.filled_quantity != order.quantity:
            found.append(f"{order.state} with {order.filled_quantity} of {order.quantity} ({order.reason})")
        theirs = [fill[:3] for fill in filled]
        ours = sorted((r.external_id, r.quantity, r.price) for r in booked)
        if theirs != ours or len(ours) != 1:
            found.append(f"fills at the broker {theirs}, in the books {ours}")
        legs = {leg.tag: leg for leg in Order.objects.filter(rides_on=order)}
        if not self.place.links_legs:  # the stop is an order of our own; a round of the watcher has placed it
            placed = Order.objects.filter(account=self.account, decision=order.decision, tag="STOP", rides_on=None)
            legs = {leg.tag: leg for leg in placed.order_by("sequence")}
            if legs.keys() != {"STOP"}:
                found.append("it has no stop")
        for tag, leg in legs.items():
            if leg.state != "WORKING" or not leg.broker_order_id:
                found.append(f"its {tag} is {leg.state} with the broker's id {leg.broker_order_id!r}")
        return found

    def differences(self) -> list[str]:
        """Where the account's books differ from the simulator's truth, to the last digit."""
        truth = self.truth()
        found = []
        cash = {code: amount for code, amount in books.cash_balances(self.account).items() if amount}
        theirs = {code: Decimal(amount) for code, amount in truth["cash"].items()}
        if cash != theirs:
            found.append(f"cash: books {cash}, broker {theirs}")
        held = {s: (p.quantity, p.average_price, p.external_quantity) for s, p in books.positions(self.account).items()}
        there = {
            self.place.symbol_of(row["instrument"]): (
                Decimal(row["quantity"]) * (1 if row["side"] == "LONG" else -1),
                Decimal(row["average_price"]),
                Decimal(0),
            )
            for row in truth["positions"]
            if Decimal(row["quantity"])
        }
        if held != there:
            found.append(f"positions: books {held}, broker {there}")
        return found


def decide_entry(
    *,
    account: Account,
    place: Place,
    session: SessionConfig,
    now: datetime,
    type: OrderType,
    entry: Decimal,
    mirrors: Sequence[Account] = (),
) -> Decision:
    """The decision that `account` buys, and its mirrors with it; the same arguments find the same decision."""
    closed = now.replace(minute=now.minute - now.minute % 5, second=0, microsecond=0)
    return decide(
        account=account,
        session=session,
        version=ensure_session(session),
        intent=SignalIntent(
            strategy="orb",
            symbol=place.symbol,
            side=Side.BUY,
            order_type=type,
            entry=entry,
            stop=entry - place.away,
            target=entry + 2 * place.away,
            bar_start=closed - timedelta(minutes=5),
            bar_end=closed,
            features={},
            reason="a fault test",
        ),
        market=MarketView(
            now=now,
            last_price=entry,
            price_at=now,
            in_hole=False,
            indicators_ready=True,
            bar_had_position=False,
            equity=Decimal(100_000),
            weight=place.weight,
            quote_rate=Decimal(1),
            previous_close=entry,
            open_pnl=Decimal(0),
            cash=Decimal(100_000),
        ),
        mirrors=mirrors,
    )


def worker_environment(urls: Mapping[str, str], redis_url: str) -> dict[str, str]:
    """The environment of a worker on this database and Redis, without the owner's login."""
    inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_OWNER_URL"}
    return {**inherited, "DATABASE_URL": urls["DATABASE_URL"], "REDIS_URL": redis_url}
