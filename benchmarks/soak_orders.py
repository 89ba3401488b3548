"""`make soak-orders ORDERS=30000 MINUTES=…`: many orders through real processes while everything around them fails.

What always holds: PostgreSQL (durable), Redis, workers and simulator are real and the run's own; faults come from one
seed, which is printed: the broker's answers are lost, late or wrong, workers are killed, the queue doubles, loses and
shuffles and is flushed, PostgreSQL is restarted immediately; the simulator's journal judges: no order of ours twice, no
fill lost or invented, books equal to the broker's; `verify` runs all the time while orders travel, and at the end. The
last line is one JSON object, and the exit code is 0 only when every target was met.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.own_database import OwnDatabase, own_database

if TYPE_CHECKING:
    from backoffice.desk.redis import RedisServer
    from tests.faults.workers import Worker
    from tests.faults.world import World

BATCH = 10
WORKERS = 2
# Orders that may be unfinished before new ones wait: doubts take as long as leases and quarantines do.
MOST_UNFINISHED = 120
SETTLE_SECONDS = 240.0
VERIFY_SECONDS = 30.0
# A mirror's orders are of its own paper account's decisions. Here each decision has a paper account of its own, so that
# no limit keeps an order from being sent; every other rule is checked.
OF_MIRRORS = "I-27"
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

    orders: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    verified: int = 0
    violations: list[str] = field(default_factory=list)


class Soak:
    """The run on two worlds, one at each broker, over the same database and queue."""

    def __init__(self, own: OwnDatabase, redis: RedisServer, worlds: Sequence[World], seed: int) -> None:
        self._own, self._redis, self._worlds = own, redis, worlds
        self._random = random.Random(seed)
        self._names = count(1)
        self._workers: list[Worker] = []
        self._verified_at = time.monotonic()
        self.tally = Tally()

    def run(self, orders: int, seconds: float, show: Callable[[int], None]) -> None:
        """So many orders, or as many as the time allows; every batch meets at most one new fault."""
        self._staff()
        for worker in self._workers:
            self._worlds[0].wait_for_worker(worker)
        began = time.monotonic()
        while self.tally.orders < orders and time.monotonic() - began < seconds:
            self._fault()
            self._batch(min(BATCH, orders - self.tally.orders))
            self._breathe()
            show(self.tally.orders)
        self._calm()

    def settle(self) -> bool:
        """No more faults: whether everything unfinished is finished within the time for that."""
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            self._sweep()
            if self._again(self._unfinished) == 0:
                for world in self._worlds:
                    self._again(world.catch_up)
                return True
            time.sleep(1)
        return False

    def verify(self) -> None:
        """Every invariant, on the desk as it is at this moment."""
        from backoffice.verification import INVARIANTS, run_all

        rules = [rule for rule in INVARIANTS if rule.id != OF_MIRRORS]
        report = self._again(lambda: run_all(invariants=rules))
        self.tally.verified += 1
        for result in report.results:
            for row in result.rows[:3]:
                self.tally.violations.append(f"{result.invariant.id} {row.object} {row.id} {row.problem}"[:300])

    # what happens

    def _batch(self, number: int) -> None:
        from tests.faults.task_layer import TaskLayer

        world = self._random.choice(self._worlds)
        layer = TaskLayer(
            world._celery, seed=self._random.randrange(2**32), twice=self._random.random() < 0.3, drop=0.1, shuffle=True
        )
        for _ in range(number):
            layer.send("orders.send", self._again(world.plan).pk)
            self.tally.orders += 1
        with suppress(OSError, *_queue_errors()):
            layer.deliver()
        self._sweep()

    def _fault(self) -> None:
        roll = self._random.random()
        if roll < 0.40:
            world = self._random.choice(self._worlds)
            action, when, arguments = self._random.choice(ANSWERS)
            world.fault(action, when=when, times=self._random.randint(1, 3), **arguments)
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
            self._move_market()
            self.tally.faults["market jumped over all stops or targets"] += 1

    def _restart_postgresql(self) -> None:
        from django.db import connections

        server = self._own.server
        assert server.process is not None
        server.process.send_signal(signal.SIGQUIT)
        server.process.wait(60)
        connections.close_all()
        server.start()

    def _move_market(self) -> None:
        """Over everybody's target or stop and back, so that positions end and the accounts can go on."""
        for world in self._worlds:
            place = world.place
            far = 3 * place.away * self._random.choice((1, -1))
            world.price(place.bid + far, place.ask + far)
            world.price(place.bid, place.ask)

    def _breathe(self) -> None:
        """Let the workers get along, and look at the books now and then."""
        while self._again(self._unfinished) > MOST_UNFINISHED:
            self._sweep()
            time.sleep(0.5)
        if time.monotonic() - self._verified_at > VERIFY_SECONDS:
            self.verify()
            self._verified_at = time.monotonic()

    def _calm(self) -> None:
        self._worlds[0].simulator.delete("/faults")

    def _staff(self) -> None:
        """As many workers as there should be; a new one takes tasks once it is up."""
        while len(self._workers) < WORKERS:
            self._workers.append(self._worlds[0].start_worker(name=f"worker-{next(self._names)}"))

    def _sweep(self) -> None:
        world = self._worlds[0]
        world.sweeps_in = "orders"
        with suppress(OSError, *_queue_errors()):
            world.sweep()

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
    def _unfinished() -> int:
        from trading.models import Account, Order

        unfinished = Order.objects.filter(state__in=["PLANNED", "SENDING", "UNKNOWN"], rides_on=None)
        return unfinished.exclude(account__broker=Account.Broker.PAPER).count()


def _queue_errors() -> tuple[type[Exception], ...]:
    import redis.exceptions
    from kombu.exceptions import OperationalError

    return OperationalError, redis.exceptions.RedisError


def judge(worlds: Sequence[World]) -> dict[str, Any]:
    """What the journal says of our orders and fills, and what the books say."""
    from trading.models import Fill, Order

    figures: dict[str, Any] = {"duplicates": [], "fills_lost": [], "fills_invented": [], "differences": []}
    states: Counter[str] = Counter()
    for world in worlds:
        rows = [row for row in world.simulator.journal() if row["account"] == world.place.account]
        ours = dict(Order.objects.filter(account=world.account).values_list("client_order_id", "state"))
        entries = Order.objects.filter(account=world.account, tag="ENTRY")
        states.update(entries.values_list("state", flat=True))
        copies: dict[str, set[str]] = {}
        for row in rows:
            if row["kind"] == "order" and row["data"]["client_id"] in ours:
                copies.setdefault(row["data"]["client_id"], set()).add(row["data"]["id"])
        figures["duplicates"] += sorted(name for name, ids in copies.items() if len(ids) > 1)
        theirs = {
            (row["data"]["id"], Decimal(row["data"]["quantity"]), Decimal(row["data"]["price"]))
            for row in rows
            if row["kind"] == "fill"
        }
        booked = set(Fill.objects.filter(account=world.account).values_list("external_id", "quantity", "price"))
        figures["fills_lost"] += sorted(str(fill) for fill in theirs - booked)
        figures["fills_invented"] += sorted(str(fill) for fill in booked - theirs)
        figures["fills"] = figures.get("fills", 0) + len(theirs)
        figures["orders_at_broker"] = figures.get("orders_at_broker", 0) + len(copies)
        figures["differences"] += world.differences()
    figures["states"] = dict(states)
    return figures


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
        from tests.faults.places import ALPACA, OANDA
        from tests.faults.world import START, World, worker_environment
        from tests.servers import Simulator

        simulator = Simulator.start(own.directory / "simulator", START)
        stack.callback(simulator.stop)
        environment = worker_environment(own.urls.environment(), redis.url)
        worlds = []
        for index, place in enumerate((OANDA, ALPACA)):
            world = World(
                simulator,
                redis.url,
                environment,
                own.directory,
                place=place,
                name=f"{place.name}-mirror",
                _numbers=count(1 + index * 10_000_000),  # each decision has a paper account of its own
            )
            stack.callback(world.close)
            worlds.append(world)
        yield Soak(own, redis, worlds, seed), worlds


def run(orders: int, minutes: float, seed: int) -> dict[str, Any]:
    """The soak; figures, targets, and whether they were met."""
    os.environ.pop("ALPACA_API_KEY", None)
    began = time.monotonic()

    def show(done: int) -> None:
        filled = WIDTH * done // orders
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
            "orders": soak.tally.orders,
            "orders_per_second": round(soak.tally.orders / travelled, 2),
            "faults": dict(sorted(soak.tally.faults.items())),
            "settled": settled,
            "verified": soak.tally.verified,
            "violations": soak.tally.violations[:20],
            **judge(worlds),
            "seconds": round(time.monotonic() - began),
        }
    targets = {
        "orders": orders,
        "duplicates": [],
        "fills_lost": [],
        "fills_invented": [],
        "differences": [],
        "violations": [],
        "settled": True,
    }
    return {
        "figures": figures,
        "targets": targets,
        "met": all(figures[name] == wanted for name, wanted in targets.items()),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every target was met."""
    parser = argparse.ArgumentParser(prog="soak-orders", description=__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=30_000, help="entries to decide and send")
    parser.add_argument("--minutes", type=float, default=600.0, help="at most, of wall time")
    parser.add_argument("--seed", type=int, default=5, help="of every fault and every choice")
    options = parser.parse_args(arguments)
    result = run(options.orders, options.minutes, options.seed)
    print(file=sys.stderr)
    print(json.dumps(result), flush=True)
    return 0 if result["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
