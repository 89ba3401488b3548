"""`make crash-first`: workers killed around the send of an order, 20 times each; exactly one broker order every time.

What always holds: real PostgreSQL (durable, unlike in the tests), Redis, Celery workers and simulator, all its own, in
a temporary directory; the last line is one JSON object, and the exit code is 0 only when every target was met.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.progress import Bar, finish

if TYPE_CHECKING:
    from tests.faults.crash_first import Cell, CrashFirst
    from tests.faults.world import World

REPETITIONS = 20


@contextmanager
def fresh_world(broker: str) -> Iterator[World]:
    """Servers, database and a simulator of our own; everything is stopped and removed at the end."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="crash-first-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        for name in ("OANDA_API_KEY", "OANDA_ACCOUNT_ID", "OANDA_URL", "SIMULATOR_URL", "REDIS_URL"):
            os.environ.pop(name, None)
        os.environ["BACKOFFICE_VAR"] = str(directory / "var")
        os.environ["BACKOFFICE_SECRET_KEY"] = "a key for this run only"
        os.environ["DJANGO_SETTINGS_MODULE"] = "backoffice.settings"
        from backoffice.desk import paths
        from backoffice.desk.postgres import PostgresServer
        from tests.servers import DatabaseServer, Simulator, start_redis

        directory.chmod(paths.private_mode())
        stack.callback(paths.remove_run_directory)
        server = PostgresServer(
            directory / "postgres",
            paths.run_directory() / "postgres",
            "superuser-for-this-run",
            log="postgres",
            options=("max_connections=200",),
        )
        server.start()
        stack.callback(server.stop)
        urls = DatabaseServer(server).provision("crash_first").environment()
        os.environ.update(urls)
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=paths.PROJECT, check=True, timeout=120
        )
        redis = start_redis(directory / "redis")
        stack.callback(redis.stop)
        import django

        django.setup()
        from tests.faults.places import PLACES
        from tests.faults.world import START, World, worker_environment

        simulator = Simulator.start(directory / "simulator", START)
        stack.callback(simulator.stop)
        place = next(each for each in PLACES if each.name == broker)
        world = World(simulator, redis.url, worker_environment(urls, redis.url), directory, place=place)
        stack.callback(world.close)
        yield world


def report(run: CrashFirst, cells: Sequence[Cell], world: World, seconds: float) -> dict[str, Any]:
    """The figures, the targets, and whether they were met."""
    dropped, after, before = cells
    again = run.sent_again(before)
    figures = {
        "answer_dropped": _figure(dropped),
        "killed_after_send": _figure(after),
        "killed_before_send": _figure(before),
        "sent_again_after_quarantine": {
            "repetitions": len(again),
            "once_and_not_earlier": sum(not each.problems for each in again),
        },
        "orders_at_broker": len({row["data"]["id"] for row in world.rows("order") if row["data"]["type"] == "MARKET"}),
        "books_differ_from_broker": world.differences(),
        "problems": [problem for cell in cells for problem in cell.problems],
        "seconds": round(seconds, 1),
    }
    targets = {
        "exactly_one_of_each": run.count,
        "sent_again_after_quarantine": "all",
        "orders_at_broker": 3 * run.count,
        "books_differ_from_broker": [],
    }
    met = (
        all(len(cell.repetitions) == cell.exactly_one == run.count for cell in cells)
        and again != []
        and figures["orders_at_broker"] == 3 * run.count + sum(cell.void for cell in cells)
        and figures["books_differ_from_broker"] == []
    )
    return {"figures": figures, "targets": targets, "met": met}


def _figure(cell: Cell) -> dict[str, Any]:
    return {
        "repetitions": len(cell.repetitions),
        "exactly_one": cell.exactly_one,
        "void": cell.void,
        "slowest_seconds": round(cell.slowest, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every repetition ended with exactly one order."""
    parser = argparse.ArgumentParser(prog="crash_first", description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of each of the three faults")
    parser.add_argument("--broker", choices=["oanda", "alpaca"], default="oanda", help="whose protocol is spoken")
    options = parser.parse_args(arguments)
    count: int = options.repetitions
    bar = Bar(3 * count)
    bar.show("starting PostgreSQL, Redis, simulator and workers")
    begin = time.monotonic()
    with fresh_world(options.broker) as world:
        from tests.faults.crash_first import CrashFirst

        run = CrashFirst(world, count, bar.show)
        result = report(run, run.run(), world, time.monotonic() - begin)
    return finish(result)


if __name__ == "__main__":
    raise SystemExit(main())
