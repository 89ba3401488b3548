"""`make fuzz`: bad answers through the parsers of all adapters; each is refused or kept exactly, none is ever booked.

What always holds: the valid answers are taped at the run's own simulator, never written by hand; the seed is printed
and makes the same run again, one case of it too (`--first`); most cases take the fast path inside a process, a slice
goes through real sockets, and another as pages of history into a real database. The last line is one JSON object, and
the exit code is 0 only when every target was met.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.own_database import FAST, own_database
from benchmarks.progress import Bar

if TYPE_CHECKING:
    from tests.trading.brokers.fuzz.cases import Fuzzer, Tally
    from tests.trading.brokers.fuzz.inbox_cases import InboxTally
    from tests.trading.brokers.fuzz.subjects import Tape

CASES = 1_000_000
SOCKET_CASES = 3_000
INBOX_CASES = 500
PROCESSES = 2
CHUNK = 1_000
MOST_MEGABYTES = 300

_fuzzer: Fuzzer | None = None


def _begin(tapes: Sequence[Tape], seed: int) -> None:
    global _fuzzer
    from tests.trading.brokers.fuzz.cases import Fuzzer

    _fuzzer = Fuzzer(tapes, seed)


def _play(numbers: range) -> Tally:
    assert _fuzzer is not None
    return _fuzzer.run(numbers)


def in_processes(tapes: Sequence[Tape], seed: int, cases: range, processes: int, bar: Bar) -> Tally:
    """The cases in chunks, by processes of their own."""
    from tests.trading.brokers.fuzz.cases import Tally

    total = Tally()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(tapes, seed)) as pool:
        waiting = {pool.submit(_play, chunk) for chunk in _chunks(cases)}
        for done in as_completed(waiting):
            found = done.result()
            total.add(found)
            bar.show(f"{total.wrongs} wrong", found.cases)
    return total


def _chunks(cases: range) -> Iterator[range]:
    for start in range(cases.start, cases.stop, CHUNK):
        yield range(start, min(start + CHUNK, cases.stop))


def through_sockets(tapes: Sequence[Tape], seed: int, count: int, bar: Bar) -> Tally:
    """A slice through real sockets, in this process."""
    from tests.trading.brokers.fuzz.cases import Fuzzer
    from tests.trading.brokers.fuzz.sockets import listening

    with listening() as server:
        return Fuzzer(tapes, seed, server).run(range(count), lambda more: bar.show("through real sockets", more))


def into_books(tapes: Sequence[Tape], seed: int, count: int, bar: Bar) -> dict[str, InboxTally]:
    """A slice of bad pages of history into a database of this run's own; `count` for each broker."""
    if not count:
        return {}
    with own_database("fuzz", FAST):
        import django

        django.setup()
        from tests.trading.brokers.fuzz.inbox_cases import BOOKS, InboxFuzzer

        found = {}
        for books in BOOKS:
            tape = next(tape for tape in tapes if tape.subject == books.broker)
            fuzzer = InboxFuzzer(tape, seed)
            found[books.broker] = fuzzer.run(range(count), lambda more: bar.show("into the books", more))
        from django.db import connections

        connections.close_all()
    return found


def report(seed: int, main: Tally, sockets: Tally, books: dict[str, InboxTally], seconds: float) -> dict[str, Any]:
    """The figures, the targets, and whether they were met."""
    wrong = main.wrong + sockets.wrong + [line for tally in books.values() for line in tally.wrong]
    figures = {
        "seed": seed,
        "bad_answers": main.cases,
        "bad_places": main.bad_values,
        "through_sockets": sockets.cases,
        "pages_into_books": {broker: tally.cases for broker, tally in books.items()},
        "pages_refused": {broker: tally.refused for broker, tally in books.items()},
        "booked_from_bad_pages": {broker: tally.booked for broker, tally in books.items()},
        "wrong": main.wrongs + sockets.wrongs + sum(tally.wrongs for tally in books.values()),
        "first_wrong": wrong[:20],
        "outcomes": dict(main.outcomes.most_common()),
        "rules": dict(main.rules.most_common()),
        "slowest_case_seconds": round(max(main.slowest, sockets.slowest), 2),
        "peak_megabytes": main.peak_megabytes,
        "seconds": round(seconds, 1),
    }
    targets = {"wrong": 0, "peak_megabytes": MOST_MEGABYTES, "slowest_case_seconds": 2.0}
    met = figures["wrong"] == 0 and main.peak_megabytes < MOST_MEGABYTES
    return {"figures": figures, "targets": targets, "met": met}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=CASES, help="bad answers on the fast path")
    parser.add_argument("--first", type=int, default=0, help="the number of the first of them")
    parser.add_argument("--sockets", type=int, default=SOCKET_CASES, help="bad answers through real sockets")
    parser.add_argument("--inbox", type=int, default=INBOX_CASES, help="bad pages of each broker into the books")
    parser.add_argument("--seed", type=int, default=None, help="the seed of an earlier run; a new one without it")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    options = parser.parse_args(arguments)
    seed: int = secrets.randbelow(10**9) if options.seed is None else options.seed
    print(f"seed {seed} (the same run again: --seed {seed})", file=sys.stderr)
    from tests.trading.brokers.fuzz.recording import record

    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        tapes = record(Path(directory))
    bar = Bar(options.cases + options.sockets + options.inbox * len(tapes))
    bar.show("starting")
    cases = range(options.first, options.first + options.cases)
    first = in_processes(tapes, seed, cases, options.processes, bar)
    second = through_sockets(tapes, seed, options.sockets, bar)
    books = into_books(tapes, seed, options.inbox, bar)
    print(file=sys.stderr)
    result = report(seed, first, second, books, time.monotonic() - begin)
    print(json.dumps(result), flush=True)
    return 0 if result["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
