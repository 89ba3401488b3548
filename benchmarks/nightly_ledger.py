"""`make nightly-ledger`: 10,000 random sequences of 50 operations on the books, legal and refused, against a model.

What always holds: each shard is a process with a database of its own, on a server of ours; the last line is one JSON
object, and the exit code is 0 only when every sequence was run and none failed. The seed is in it: `--seed` repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from benchmarks.own_database import FAST, own_database
from benchmarks.progress import Bar

SEQUENCES, STEPS = 10_000, 50
PART = 10  # a shard says how far it is after so many sequences


def run_shard(sequences: int, steps: int, seed: int) -> int:
    """In a shard: run its sequences, saying after each part how far it is. 1 when one failed."""
    import django

    django.setup()
    import hypothesis
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    from tests.trading.ledger.machine import BooksMachine, prepare, tally

    prepare()
    tally.steps = steps
    for part in count():
        if tally.sequences >= sequences:
            return 0
        machine = type("BooksMachine", (BooksMachine,), {})
        hypothesis.seed(seed * 1_000_003 + part)(machine)
        told: dict[str, Any] = {}
        try:
            run_state_machine_as_test(  # type: ignore[no-untyped-call]
                machine,
                settings=settings(
                    max_examples=PART,
                    stateful_step_count=steps + 1,  # the deposits at the beginning are one
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
                _min_steps=steps + 1,
            )
        except Exception as error:  # noqa: BLE001 whatever went wrong in a sequence is a finding
            told["problem"] = "\n".join([repr(error)[:600], *getattr(error, "__notes__", [])])
        print(json.dumps({**vars(tally), **told}), flush=True)
        if told:
            return 1
    raise AssertionError("counting never ends")


def watch(shards: list[subprocess.Popen[str]], total: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Follow the shards to their ends: what each said last, and what failed."""
    bar, last, problems = Bar(total), [dict[str, Any]() for _ in shards], list[str]()
    done = 0
    with selectors.DefaultSelector() as waiting:
        for number, shard in enumerate(shards):
            waiting.register(shard.stdout, selectors.EVENT_READ, number)  # type: ignore[arg-type]
        while waiting.get_map():
            for key, _ in waiting.select():
                line = key.fileobj.readline()  # type: ignore[union-attr]
                if not line:
                    waiting.unregister(key.fileobj)
                    continue
                last[key.data] = json.loads(line)
                if "problem" in last[key.data]:
                    problems.append(last[key.data].pop("problem"))
                before, done = done, sum(each.get("sequences", 0) for each in last)
                bar.show(
                    f"{sum(each.get('operations', 0) for each in last)} operations",
                    min(done, total) - min(before, total),
                )
    problems += [f"a shard ended with {shard.wait()}" for shard in shards if shard.wait() and not problems]
    return last, problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when all sequences held."""
    parser = argparse.ArgumentParser(prog="nightly_ledger", description=__doc__.partition("\n")[0])
    parser.add_argument("--sequences", type=int, default=SEQUENCES)
    parser.add_argument("--steps", type=int, default=STEPS, help="operations of each")
    parser.add_argument("--shards", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--shard", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.shard:
        return run_shard(options.sequences, options.steps, options.seed)
    print(f"seed {options.seed}", file=sys.stderr)
    begin = time.monotonic()
    with own_database("nightly_ledger", FAST) as own:
        shards = []
        for number in range(options.shards):
            urls = own.databases.clone(own.name, f"shard_{number}")
            share = options.sequences // options.shards + (number < options.sequences % options.shards)
            asked = ["--sequences", share, "--steps", options.steps, "--seed", options.seed * 1000 + number]
            command = [sys.executable, "-m", "benchmarks.nightly_ledger", "--shard", *(str(each) for each in asked)]
            environment = {**os.environ, **urls.environment()}
            shards.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        try:
            last, problems = watch(shards, options.sequences)
        finally:
            for shard in shards:
                shard.kill()
    print(file=sys.stderr)
    seconds = time.monotonic() - begin
    figures = {
        "sequences": sum(each.get("sequences", 0) for each in last),
        "operations": sum(each.get("operations", 0) for each in last),
        "operations_of_each": options.steps,
        "refused_and_unchanged": sum(each.get("refused", 0) for each in last),
        "failures": len(problems),
        "problems": problems,
        "seed": options.seed,
        "seconds": round(seconds, 1),
    }
    targets = {"sequences": SEQUENCES, "operations_of_each": STEPS, "failures": 0}
    met = figures["sequences"] >= SEQUENCES and options.steps >= STEPS and not problems
    print(json.dumps({"figures": figures, "targets": targets, "met": met}), flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
