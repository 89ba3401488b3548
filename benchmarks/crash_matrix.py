"""`make crash-matrix`: processes struck at 14 points in three ways, at every broker, over every kind of work.

What always holds: real PostgreSQL, Redis, Celery workers and a simulator for each cell, all their own, in a temporary
directory; each lane is a process with books of its own; the last line is one JSON object, and the exit code is 0 only
when every cell was right: each order once at its broker, each fill once in the books, `verify` clean.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.own_database import FAST, OwnDatabase, own_database
from benchmarks.progress import Bar
from tests.faults.matrix.cells import BROKERS, Cell, all_cells, batches, slice_of
from tests.faults.matrix.table import Table

LANES = 3
Batch = list[Cell]
# Called with all results so far, whenever there are more.
Keep = Callable[[Sequence[dict[str, Any]]], None]


def run_lane(
    number: int,
    own: OwnDatabase,
    redis_url: str,
    work: queue.SimpleQueue[Batch],
    bar: Bar,
    results: list[dict[str, Any]],
    keep: Keep,
) -> None:
    """Give a lane of its own books one batch after the other, until none is left."""
    name = f"lane_{number}"
    directory = own.directory / name
    directory.mkdir()
    urls = own.databases.clone(own.name, name)
    environment = {**os.environ, **urls.environment(), "REDIS_URL": f"{redis_url.partition('?')[0]}?db={number}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.matrix", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(directory / "lane.log").open("wb"),
        text=True,
        env=environment,
    )
    assert process.stdin is not None and process.stdout is not None
    batch: Batch = []
    try:
        for line in process.stdout:
            told = json.loads(line)
            outcomes = told.get("outcomes", [])
            results += outcomes
            if outcomes:
                keep(results)
            bar.show(told.get("tell", ""), len(outcomes), sum(bool(each["problems"]) for each in outcomes))
            if outcomes or told.get("tell") == "ready":
                batch = []
                batch = work.get_nowait()
                process.stdin.write(json.dumps([_as_json(cell) for cell in batch]) + "\n")
                process.stdin.flush()
    except queue.Empty:
        pass
    process.stdin.close()
    if process.wait() != 0 or batch:
        log = (directory / "lane.log").read_text(errors="replace")[-2000:]
        results += [{"cell": _as_json(cell), "problems": [f"its lane ended: {log}"], "seconds": 0.0} for cell in batch]


def _as_json(cell: Cell) -> dict[str, str]:
    return {"broker": cell.broker, "kind": cell.kind, "mode": cell.mode, "point": cell.point}


def run(cells: Sequence[Cell], lanes: int, seed: int, keep: Keep = lambda _results: None) -> list[dict[str, Any]]:
    """All cells, in an order that the seed gives, over so many lanes; what is there is kept after each batch."""
    bar = Bar(len(cells))
    bar.show("starting PostgreSQL, Redis and the lanes")
    work: queue.SimpleQueue[Batch] = queue.SimpleQueue()
    mixed = list(cells)
    random.Random(seed).shuffle(mixed)
    planned = list(batches(mixed))
    random.Random(seed).shuffle(planned)
    for batch in planned:
        work.put(batch)
    results: list[dict[str, Any]] = []
    with own_database("crash_matrix", FAST) as own:
        from tests.servers import start_redis

        redis = start_redis(own.directory / "redis")
        try:
            threads = [
                threading.Thread(target=run_lane, args=(number, own, redis.url, work, bar, results, keep))
                for number in range(lanes)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            redis.stop()
    print(file=sys.stderr)
    return results


def report(results: Sequence[dict[str, Any]], cells: Sequence[Cell], seed: int, seconds: float) -> dict[str, Any]:
    """The figures, the targets, and whether they were met."""
    wrong = {str(Cell(**each["cell"])): each["problems"] for each in results if each["problems"]}
    figures = {
        "cells": len(results),
        "right": len(results) - len(wrong),
        "wrong": wrong,
        "others_went_on_while_frozen": sum(each.get("while_frozen", False) for each in results),
        "slowest_seconds": max((each["seconds"] for each in results), default=0.0),
        "seed": seed,
        "seconds": round(seconds),
    }
    targets = {"cells": len(cells), "right": len(cells)}
    return {"figures": figures, "targets": targets, "met": all(figures[name] == targets[name] for name in targets)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every cell was right."""
    parser = argparse.ArgumentParser(prog="crash_matrix", description=__doc__.partition("\n")[0])
    parser.add_argument("--brokers", default=",".join(BROKERS), help="whose protocols are spoken")
    parser.add_argument("--slice", action="store_true", help="only the few cells that the test suite runs")
    parser.add_argument("--lanes", type=int, default=LANES, help="how many sets of books at once")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which processes are struck")
    parser.add_argument("--table", type=Path, help="a document into which the table is written, between its markers")
    parser.add_argument("--missing", action="store_true", help="only the cells that the table does not show as right")
    options = parser.parse_args(arguments)
    brokers = options.brokers.split(",")
    cells = slice_of(brokers) if options.slice else all_cells(brokers)
    table = Table(options.table, options.seed, datetime.now(UTC)) if options.table is not None else None
    if options.missing and table is not None:
        cells = [cell for cell in cells if not table.known.get(cell)]
    begin = time.monotonic()
    keep: Keep = table.write if table is not None else lambda _results: None
    results = run(cells, options.lanes, options.seed, keep)
    keep(results)
    result = report(results, cells, options.seed, time.monotonic() - begin)
    print(json.dumps(result), flush=True)
    return 0 if result["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
