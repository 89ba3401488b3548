"""`make bench-orders`: from a committed decision to the request at the broker, and from an order update to the ledger.

What always holds: beside our ways the same run times a bare call of the broker's SDK and a bare hop through Celery;
the last line is one JSON object, and the exit code is 0 only when every target was met.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.orders.desk import own_desk
from benchmarks.orders.measure import BURST, Times, Ways, bare_worker, order_updates
from benchmarks.progress import Bar, finish

P99_MS, OWN_MS, BURST_MS, STREAM_MS = 25, 10, 150, 250
WARM = 10


def run(rounds: int, bursts: int, updates: int) -> dict[str, Any]:
    """The whole measurement; figures, targets, and whether they were met."""
    bar, times = Bar(WARM + rounds + bursts + updates), Times()
    bar.show("starting PostgreSQL, Redis, stub and workers")
    with own_desk() as desk:
        ways = Ways(desk, Times())
        desk.start_worker(concurrency=2)
        with bare_worker(desk):
            for _ in range(WARM):
                ways.round()
                bar.show("warming up", 1)
            ways.times = times
            for _ in range(rounds):
                ways.round()
                bar.show("one order by four ways", 1)
        fastest = []
        for _ in range(bursts):
            fastest.append(ways.burst())
            bar.show(f"bursts of {BURST}", 1)
        for worker in desk.workers:
            worker.stop()
        order_updates(desk, times, updates, bar.show)
    return _report(times, sorted(fastest))


def _report(times: Times, bursts: list[float]) -> dict[str, Any]:
    figures: dict[str, Any] = {what: times.milliseconds(what) for what in sorted(times.taken)}
    bare, hop = figures["bare_sdk_call"], figures["bare_celery_hop"]
    figures["engine_to_bare_sdk_call_p50"] = round(figures["engine"]["p50_ms"] / bare["p50_ms"], 1)
    figures["queue_to_bare_celery_hop_p50"] = round(figures["queue"]["p50_ms"] / hop["p50_ms"], 1)
    figures["burst_last_sent_ms"] = round(1000 * bursts[len(bursts) // 2], 1)
    figures["orders"] = {what: len(taken) for what, taken in times.taken.items()}
    targets = {
        "engine_p99_ms": P99_MS,
        "queue_p99_ms": P99_MS,
        "own_work_p99_ms": OWN_MS,
        "burst_last_sent_ms": BURST_MS,
        "stream_to_ledger_p99_ms": STREAM_MS,
    }
    met = (
        figures["engine"]["p99_ms"] <= P99_MS
        and figures["queue"]["p99_ms"] <= P99_MS
        and figures["own_work"]["p99_ms"] <= OWN_MS
        and figures["burst_last_sent_ms"] <= BURST_MS
        and figures["stream_to_ledger"]["p99_ms"] <= STREAM_MS
    )
    return {"figures": figures, "targets": targets, "met": met}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every target was met."""
    parser = argparse.ArgumentParser(prog="bench-orders", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300, help="orders by each of the four ways")
    parser.add_argument("--bursts", type=int, default=5, help="bursts of fifty orders; their median counts")
    parser.add_argument("--updates", type=int, default=100, help="order updates by stream")
    options = parser.parse_args(arguments)
    result = run(options.rounds, options.bursts, options.updates)
    return finish(result)


if __name__ == "__main__":
    raise SystemExit(main())
