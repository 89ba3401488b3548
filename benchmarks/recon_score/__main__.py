"""`make recon-score`: does the desk find what is wrong, call it by its name, and find nothing else?

What always holds: what was planted says what must be found; each wrong verdict is printed with the words that play it
again. The last line is one JSON object; the exit code is 0 only when every target was met. The table in the document
is written only by a whole run: every broker, every fault.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from multiprocessing import get_context

from benchmarks.progress import Bar, finish
from benchmarks.recon_score.catalogue import EVERY
from benchmarks.recon_score.judge import Task, Verdict, judged
from benchmarks.recon_score.score import MOST_WRONG, Score, section, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every target was met."""
    asked = _asked(arguments)
    seeds = [asked.seed] if asked.seed is not None else list(range(1, asked.seeds + 1))
    brokers = [asked.broker] if asked.broker else list(EVERY)
    only = tuple(asked.fault.split("+")) if asked.fault else ()
    tasks = [(broker, seed, asked.pairs, only) for seed in seeds for broker in brokers]
    score, bar = Score(), Bar(len(tasks))
    bar.show("seeds at brokers")
    for verdicts in _judged(tasks, asked.processes):
        score.add(verdicts)
        last = verdicts[-1]
        bar.show(f"{last.broker}, seed {last.seed}", 1, sum(not each.good for each in verdicts))
    print(file=sys.stderr)
    for told in score.wrong[:MOST_WRONG]:
        print(told)
    targets = score.targets(brokers) if not only else {}
    is_met = all(row["met"] for row in targets.values()) and not score.wrong
    if not only and len(brokers) == len(EVERY) and asked.seed is None and not asked.dry:
        command = f"make recon-score SEEDS={asked.seeds}"
        write(section(score, seeds=asked.seeds, command=command, on=datetime.now(UTC).date()))
    figures = {"seeds": len(seeds), "brokers": brokers, **score.figures(), "load": round(os.getloadavg()[0], 1)}
    return finish({"figures": figures, "targets": targets, "met": is_met})


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="recon_score", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=1_000, help="seeds 1 to so many, at each broker")
    parser.add_argument("--seed", type=int, help="this seed alone")
    parser.add_argument("--broker", choices=EVERY, help="this broker alone")
    parser.add_argument("--fault", default="", help="this fault alone, or two joined by +, in every role")
    parser.add_argument("--pairs", type=int, default=4, help="pairs drawn for each seed at each broker")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="leave the table in the document as it is")
    return parser.parse_args(arguments)


def _judged(tasks: Sequence[Task], processes: int) -> Iterator[list[Verdict]]:
    """The verdicts of each task, as they come."""
    if processes <= 1 or len(tasks) == 1:
        yield from map(judged, tasks)
        return
    with get_context("spawn").Pool(processes, maxtasksperchild=300) as pool:
        yield from pool.imap_unordered(judged, tasks)


if __name__ == "__main__":
    raise SystemExit(main())
