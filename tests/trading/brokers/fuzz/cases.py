"""Bad answers by the thousand: each case plays one taped call with one or several of its answers made bad.

What always holds: a case is fixed by the seed and its number, whatever else ran; it is bounded in requests and in
processor time; a case that goes wrong is kept with all that is needed to see it again.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tests.trading.brokers.fuzz.grammar import Mutated, as_it_was, mutate
from tests.trading.brokers.fuzz.oracle import Wrong, judge_failure, judge_result
from tests.trading.brokers.fuzz.serving import AsksForEver, Script, Served
from tests.trading.brokers.fuzz.sockets import SocketPlayback
from tests.trading.brokers.fuzz.subjects import Opened, Subject, Tape, subject
from tests.trading.brokers.fuzz.tapes import Taped

MOST_SECONDS = 2.0
MOST_KEPT = 20
# Of ten cases so many are messages of a stream.
STREAM_SHARE = 0.1
_ITEMS = 50


@dataclass(slots=True)
class Tally:
    """What a run of cases came to."""

    cases: int = 0
    bad_values: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    wrongs: int = 0
    slowest: float = 0.0
    peak_megabytes: int = 0

    def add(self, other: Tally) -> None:
        """Take another run's figures in."""
        self.cases += other.cases
        self.bad_values += other.bad_values
        self.outcomes += other.outcomes
        self.rules += other.rules
        self.wrong = (self.wrong + other.wrong)[:MOST_KEPT]
        self.wrongs += other.wrongs
        self.slowest = max(self.slowest, other.slowest)
        self.peak_megabytes = max(self.peak_megabytes, other.peak_megabytes)


def _peak_megabytes() -> int:
    """The most memory that this program has had; `getrusage` would count whoever started it as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


class Fuzzer:
    """Plays the cases of some tapes in this process."""

    def __init__(self, tapes: Sequence[Tape], seed: int, server: SocketPlayback | None = None) -> None:
        """Over `server` the answers take the way through real sockets; without it they stay in this process."""
        logging.getLogger("trading.brokers").setLevel(logging.CRITICAL)
        self._seed = seed
        self._tapes = [
            (subject(tape.subject), tape, subject(tape.subject).open(tape.account, server)) for tape in tapes
        ]

    def run(self, numbers: Sequence[int], tick: Callable[[int], None] = lambda count: None) -> Tally:
        """The cases with these numbers; `tick` is told each hundred."""
        tally = Tally()
        for done, number in enumerate(numbers, start=1):
            self.case(number, tally)
            if done % 100 == 0:
                tick(100)
        tick(len(numbers) % 100)
        tally.peak_megabytes = _peak_megabytes()
        return tally

    def case(self, number: int, tally: Tally) -> None:
        """One case, by its number."""
        rng = random.Random(f"{self._seed} {number}")
        chosen, tape, opened = self._tapes[number % len(self._tapes)]
        of_stream = bool(tape.streams) and rng.random() < STREAM_SHARE
        taped = rng.choice(tape.streams if of_stream else tape.calls)
        mutated = _made_bad(rng, taped)
        served = [each.served for each in mutated]
        rules = [rule for each in mutated for rule in each.rules]
        tally.cases += 1
        tally.bad_values += max(1, len(rules))
        tally.rules.update(rules)
        began = time.process_time()
        try:
            outcome = _stream(chosen, opened, taped, served) if of_stream else _call(chosen, opened, taped, served)
            tally.outcomes[outcome] += 1
            took = time.process_time() - began
            tally.slowest = max(tally.slowest, took)
            if took > MOST_SECONDS:
                raise Wrong(f"took {took:.1f} s of the processor")
        except (Wrong, AsksForEver) as error:
            tally.wrongs += 1
            if len(tally.wrong) < MOST_KEPT:
                tally.wrong.append(f"seed {self._seed} case {number} {chosen.name}.{taped.name} {rules}: {error}")


def _made_bad(rng: random.Random, taped: Taped) -> list[Mutated]:
    """The answers of a call, one of them bad, sometimes more."""
    chosen = {rng.randrange(len(taped.answers))}
    if rng.random() < 0.15:
        chosen |= {index for index in range(len(taped.answers)) if rng.random() < 0.5}
    return [
        mutate(rng, answer) if index in chosen else Mutated(as_it_was(answer), ())
        for index, answer in enumerate(taped.answers)
    ]


def _call(chosen: Subject, opened: Opened, taped: Taped, served: Sequence[Served]) -> str:
    opened.playback.script = Script(list(zip(taped.answers, served, strict=True)))
    opened.fresh()
    try:
        result = getattr(opened.broker, taped.name)(**taped.arguments)
    except Exception as error:  # noqa: BLE001 - whatever comes is judged
        judge_failure(error, writes=taped.writes)
        return type(error).__name__
    asked = [] if "request" not in taped.arguments else [_numbers_of(taped.arguments["request"])]
    judge_result(result, [*_bodies(served), *asked], chosen.derived, writes=taped.writes)
    return type(result).__name__


def _stream(chosen: Subject, opened: Opened, taped: Taped, served: Sequence[Served]) -> str:
    frames = [each.wire for each in served]
    items: list[Any] = []
    stream: Iterator[Any] = opened.stream(taped.name, frames)
    try:
        items.extend(islice(stream, _ITEMS))
        ended = "items"
    except Exception as error:  # noqa: BLE001 - whatever comes is judged
        judge_failure(error, writes=False)
        ended = type(error).__name__
    lines = [line for frame in frames for line in (frame, *frame.split(b"\n"))]
    judge_result(items, lines, chosen.derived | chosen.derived_in_streams, writes=False)
    return f"stream {ended}"


def _bodies(served: Sequence[Served]) -> list[bytes]:
    """What was said, decompressed by no code of the product."""
    found = []
    for each in served:
        body = each.wire
        if any(name == "Content-Encoding" for name, _ in each.headers) and len(body) < 1 << 20:
            body = _inflated(body)
        found.append(body)
    return found


def _inflated(body: bytes) -> bytes:
    import zlib

    try:
        return zlib.decompressobj(wbits=47).decompress(body, 9 << 20)
    except zlib.error:
        return body


def _numbers_of(request: Any) -> bytes:
    return f'["{request.quantity}"]'.encode()
