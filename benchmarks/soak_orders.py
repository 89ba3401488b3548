"""`make soak-orders ORDERS=30000 MINUTES=…`: entries, stops, targets and exits in real processes while all else fails.

What always holds: PostgreSQL (durable), Redis, workers and simulators are real and the run's own; at each broker one
paper account decides for several mirrors; faults come from one seed, which is printed: the broker's answers are lost,
late or wrong, workers are killed, the queue doubles, loses and shuffles and is flushed, PostgreSQL is restarted
immediately; the simulators' journals judge: no order of ours twice, no fill lost or invented, books equal to the
broker's; `verify`, every rule of it, runs all the time while orders travel, and at the end. The last line is one JSON
object, and the exit code is 0 only when every target was met.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.own_database import OwnDatabase, own_database
from benchmarks.soak_judge import judge
from benchmarks.soak_pairs import Pair, Rejected, make_pairs, settle_by_people

if TYPE_CHECKING:
    from backoffice.desk.redis import RedisServer
    from tests.faults.workers import Worker
    from tests.faults.world import World

# Mirrors at each broker. At Kite an entry waits until the stop of the one before it rests, so it takes fewer orders.
MIRRORS = {"oanda": 4, "alpaca": 4, "kite": 2}
SHARE = {"oanda": 9, "alpaca": 9, "kite": 2}
DECISIONS_PER_BATCH = 4
WORKERS = 2
# Orders that may be unfinished before new ones wait: doubts take as long as leases and quarantines do.
MOST_UNFINISHED = 120
SETTLE_SECONDS = 240.0
# `verify` reads everything, so it takes longer and longer: at most this share of the time is its own.
VERIFY_SECONDS, VERIFY_SHARE = 30.0, 0.1
CHORES_SECONDS = 15.0
# A jump ends the paper trades, and what their mirrors have not sent by then is never sent.
LEAVE_SECONDS = 20.0
# Of the entries, at least this share must have reached its broker: what is never sent proves nothing.
LEAST_SENT = 0.8
BEAT_SECONDS = 2.0
WIDTH = 40
# What the broker does to the next answers: the action, when, and its arguments.
ANSWERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("drop", "after", {}),
    ("drop", "before", {}),
    ("reset", "after", {}),
    ("status", "before", {"status": 503}),
    ("status", "after", {"status": 504}),
    ("truncate", "after", {"bytes": 60}),
    ("hang", "after", {"seconds": 4}),
    ("late_accept", "before", {"seconds": 3}),
)
Given = TypeVar("Given")


@dataclass
class Tally:
    """What was done and found so far."""

    entries: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    decided: int = 0
    verified: int = 0
    violations: list[str] = field(default_factory=list)


class Soak:
    """The run on a desk of pairs, over one database and one queue."""

    def __init__(self, own: OwnDatabase, redis: RedisServer, worlds: Sequence[World], seed: int) -> None:
        self._own, self._redis, self._worlds = own, redis, worlds
        self._pairs = make_pairs(worlds)
        self._random = random.Random(seed)
        self._names, self._decisions = count(1), count(1)
        self._workers: list[Worker] = []
        self._verify_at = self._chores_at = time.monotonic()
        self._over = threading.Event()
        self.tally = Tally()

    def end(self) -> None:
        """Nobody asks for anything any more."""
        self._over.set()

    def run(self, orders: int, seconds: float, show: Callable[[int], None]) -> None:
        """So many orders at the brokers, or as many as the time allows; every batch meets at most one new fault."""
        self._staff()
        threading.Thread(target=self._beat, daemon=True).start()
        for worker in self._workers:
            self._worlds[0].wait_for_worker(worker)
        began, done = time.monotonic(), 0
        while done < orders and time.monotonic() - began < seconds:
            self._fault()
            self._batch()
            self._breathe()
            done = self._again(self._at_brokers)
            show(done)
        self._calm()

    def settle(self) -> bool:
        """No more faults: whether everything unfinished is finished within the time for that."""
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            self._chores()
            if self._again(self._unfinished) == 0:
                for world in self._worlds:
                    self._again(world.catch_up)
                return True
            time.sleep(1)
        return False

    def verify(self) -> None:
        """Every invariant, on the desk as it is at this moment."""
        from backoffice.verification import run_all

        began = time.monotonic()
        report = self._again(run_all)
        self._verify_at = time.monotonic() + max(VERIFY_SECONDS, (time.monotonic() - began) / VERIFY_SHARE)
        self.tally.verified += 1
        for result in report.results:
            for row in result.rows[:3]:
                told = f"{datetime.now(UTC):%H:%M:%S} {result.invariant.id} {row.object} {row.id} {row.problem}"
                self.tally.violations.append(told[:300] + self._again(lambda row=row: _story(row.object, row.id)))  # type: ignore[misc]

    # what happens

    def _batch(self) -> None:
        from tests.faults.task_layer import TaskLayer

        pair = self._random.choices(self._pairs, [SHARE[pair.place.name] for pair in self._pairs])[0]
        layer = TaskLayer(
            pair.worlds[0]._celery,
            seed=self._random.randrange(2**32),
            twice=self._random.random() < 0.3,
            drop=0.1,
            shuffle=True,
        )
        for number in [next(self._decisions) for _ in range(DECISIONS_PER_BATCH)]:
            try:
                entries = self._at(pair, lambda number=number: pair.decide(number))  # type: ignore[misc]
            except Rejected as told:
                self.tally.rejected[str(told)] += 1
                continue
            for entry in entries:
                layer.send("orders.send", entry.pk)
                self.tally.entries += 1
        with suppress(OSError, *_queue_errors()):
            layer.deliver()

    def _fault(self) -> None:
        roll = self._random.random()
        if roll < 0.40:
            world = self._random.choice(self._worlds)
            action, when, arguments = self._random.choice(ANSWERS)
            route = "" if self._random.random() < 0.8 else "*"
            world.fault(action, when=when, route=route, times=self._random.randint(1, 3), **arguments)
            self.tally.faults[f"answer {action} {when}"] += 1
        elif roll < 0.52:
            victim = self._workers.pop(self._random.randrange(len(self._workers)))
            victim.kill()
            self._worlds[0].workers.remove(victim)
            self._staff()
            self.tally.faults["worker killed"] += 1
        elif roll < 0.60:
            import redis

            with redis.Redis(unix_socket_path=str(self._redis.socket)) as client:
                client.flushall()
            self.tally.faults["redis flushed"] += 1
        elif roll < 0.64:
            self._restart_postgresql()
            self.tally.faults["postgresql restarted immediately"] += 1
        elif roll < 0.80:
            pair, up = self._random.choice(self._pairs), self._random.random() < 0.5
            end = time.monotonic() + LEAVE_SECONDS
            while self._again(pair.has_unsent) and time.monotonic() < end:
                time.sleep(0.2)
            self._at(pair, lambda: pair.jump(up))
            self.tally.faults["market jumped over all stops or targets"] += 1

    def _restart_postgresql(self) -> None:
        from django.db import connections

        server = self._own.server
        assert server.process is not None
        server.process.send_signal(signal.SIGQUIT)
        server.process.wait(60)
        connections.close_all()
        server.start()

    def _breathe(self) -> None:
        """Let the workers get along, and look at the books now and then."""
        while self._again(self._unfinished) > MOST_UNFINISHED:
            self._chores()
            time.sleep(0.2)
        if time.monotonic() > self._verify_at:
            self.verify()

    def _chores(self) -> None:
        """What is due is settled; what a broker that cannot prove absence left in doubt is decided by two people."""
        from trading.services.settlement import settle_due

        if time.monotonic() < self._chores_at:
            return
        for pair in self._pairs:
            for account in (pair.paper, *pair.mirrors):
                self._again(lambda account=account: settle_due(account))  # type: ignore[misc]
        for world in self._worlds:
            if not world.place.links_legs:
                self.tally.decided += self._again(lambda world=world: settle_by_people(world))  # type: ignore[misc]
        self._chores_at = time.monotonic() + CHORES_SECONDS

    def _calm(self) -> None:
        for world in self._worlds:
            world.simulator.delete("/faults")

    def _staff(self) -> None:
        """As many workers as there should be; a new one takes tasks once it is up."""
        while len(self._workers) < WORKERS:
            self._workers.append(self._worlds[0].start_worker(name=f"worker-{next(self._names)}"))

    def _beat(self) -> None:
        """As the desk's beat does: rounds of the watcher are asked for, whatever the run is busy with."""
        world = self._worlds[0]
        world.sweeps_in = "orders"
        while not self._over.wait(BEAT_SECONDS):
            with suppress(OSError, *_queue_errors()):
                world.sweep()

    def _at(self, pair: Pair, what: Callable[[], Given]) -> Given:
        """What it gives; interrupted by the database, it goes on with a paper book made anew from the facts."""

        def once() -> Given:
            try:
                return what()
            except Rejected:
                raise
            except Exception:
                pair.forget()
                raise

        return self._again(once)

    def _again(self, what: Callable[[], Given]) -> Given:
        """What it gives, on a new connection where the old one has gone, and once nobody else reads the broker."""
        from django.db import Error as DatabaseError
        from django.db import connections

        from trading.domain.broker import BrokerUnreachable

        for _ in range(20):
            try:
                return what()
            except (DatabaseError, BrokerUnreachable):
                connections.close_all()
                time.sleep(0.5)
        return what()

    @staticmethod
    def _at_brokers() -> int:
        """The orders of ours that a broker has: entries, their stops and targets, exits."""
        from trading.models import Account, Order

        return Order.objects.exclude(account__broker=Account.Broker.PAPER).exclude(broker_order_id="").count()

    @staticmethod
    def _unfinished() -> int:
        from trading.models import Account, Order

        unfinished = Order.objects.filter(state__in=["PLANNED", "SENDING", "UNKNOWN"], rides_on=None)
        return unfinished.exclude(account__broker=Account.Broker.PAPER).count()


def _story(noun: str, identity: str) -> str:
    """What happened to a trade's orders, in the order in which it was learned; the database is gone after the run."""
    from trading.models import OrderEvent, Trade

    if noun != "trade":
        return ""
    trade = Trade.objects.get(pk=identity)
    events = OrderEvent.objects.filter(order__account_id=trade.account_id, order__decision_id=trade.decision_id)
    told = events.order_by("recorded_at").values_list("recorded_at", "order__tag", "order_id", "to_state")
    return "; then " + ", ".join(f"{at:%H:%M:%S.%f} {tag} {order} {state}" for at, tag, order, state in told)


def _queue_errors() -> tuple[type[Exception], ...]:
    import redis.exceptions
    from kombu.exceptions import OperationalError

    return OperationalError, redis.exceptions.RedisError


@contextmanager
def own_soak(seed: int) -> Iterator[tuple[Soak, Sequence[World]]]:
    """Everything of the run's own, stopped and removed at the end."""
    with ExitStack() as stack:
        own = stack.enter_context(own_database("soak_orders", ("max_connections=100",)))
        from backoffice.desk import paths
        from tests.servers import start_redis

        redis = start_redis(own.directory / "redis")
        stack.callback(redis.stop)
        import django

        django.setup()
        paths.log_directory()
        from tests.faults.places import BY_NAME
        from tests.faults.world import World, worker_environment
        from tests.servers import Simulator

        environment = worker_environment(own.urls.environment(), redis.url)
        worlds = []
        for name, number in ((name, number) for name, most in MIRRORS.items() for number in range(1, most + 1)):
            place, scope = BY_NAME[name], f"{name}-{number}"
            simulator = Simulator.start(own.directory / scope, place.start)
            stack.callback(simulator.stop)
            world = World(simulator, redis.url, environment, own.directory, scope=scope, place=place, name=scope)
            stack.callback(world.close)
            worlds.append(world)
        soak = Soak(own, redis, worlds, seed)
        stack.callback(soak.end)
        yield soak, worlds


def run(orders: int, minutes: float, seed: int) -> dict[str, Any]:
    """The soak; figures, targets, and whether they were met."""
    os.environ.pop("ALPACA_API_KEY", None)
    began = time.monotonic()

    def show(done: int) -> None:
        filled = min(WIDTH, WIDTH * done // orders)
        line = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {done}/{orders} orders {time.monotonic() - began:5.0f} s"
        print(f"\r{line}  {sum(soak.tally.faults.values())} faults", end="", file=sys.stderr, flush=True)

    with own_soak(seed) as (soak, worlds):
        started = time.monotonic()
        soak.run(orders, minutes * 60, show)
        travelled = time.monotonic() - started
        settled = soak.settle()
        soak.verify()
        figures = {
            "seed": seed,
            "entries": soak.tally.entries,
            "entries_per_second": round(soak.tally.entries / travelled, 2),
            "faults": dict(sorted(soak.tally.faults.items())),
            "rejected": dict(soak.tally.rejected),
            "decided_by_people": soak.tally.decided,
            "settled": settled,
            "verified": soak.tally.verified,
            "violations": soak.tally.violations[:20],
            **judge(worlds),
            "seconds": round(time.monotonic() - began),
        }
    none: dict[str, Any] = {
        "duplicates": [],
        "strangers": [],
        "fills_lost": [],
        "fills_invented": [],
        "differences": [],
        "violations": [],
        "settled": True,
    }
    least = {"orders_at_broker": orders, "sent_share": LEAST_SENT}
    met = all(figures[name] == wanted for name, wanted in none.items())
    return {
        "figures": figures,
        "targets": {**none, **least},
        "met": met and all(figures[name] >= wanted for name, wanted in least.items()),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every target was met."""
    parser = argparse.ArgumentParser(prog="soak-orders", description=__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=30_000, help="orders that the brokers shall have had")
    parser.add_argument("--minutes", type=float, default=600.0, help="at most, of wall time")
    parser.add_argument("--seed", type=int, default=5, help="of every fault and every choice")
    options = parser.parse_args(arguments)
    result = run(options.orders, options.minutes, options.seed)
    print(file=sys.stderr)
    print(json.dumps(result), flush=True)
    return 0 if result["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
