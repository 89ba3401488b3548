"""One seed at one broker: its clean stream, each fault alone, and some two at once, each judged by what was planted.

What always holds: every fault begins from the same account, read and booked; what must be found is said by the plant;
what was found are the cases that stand open after the runs, compared exactly, kind and key.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from benchmarks.recon_score import at_broker, in_books
from benchmarks.recon_score.catalogue import Fault, Wanted, of, shares_instrument, together
from benchmarks.recon_score.house import RUN_EVERY, House, Reading, build
from reconciliation.domain.kinds import Kind
from trading.simulator.runtime import Runtime

PLANTS = (at_broker, in_books)
RUNS = 2
CLEAN_RUNS = 3
Placed = Sequence[tuple[Fault, str]]
Task = tuple[str, int, int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one plant. `detected` has, per case found, its kind and the runs and seconds until it was open."""

    broker: str
    seed: int
    faults: tuple[str, ...]
    roles: tuple[str, ...]
    wanted: tuple[tuple[str, str], ...] = ()
    missed: tuple[tuple[str, str], ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    detected: tuple[tuple[str, int, float], ...] = ()
    writes: int = 0
    posted: int = 0
    same_instrument: bool = False
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether exactly what was planted was found, and nothing was done about it."""
        return not (self.missed or self.extra or self.writes or self.posted or self.problem)

    def told(self) -> str:
        """The plant in words that play it again."""
        what = self.problem or f"missed {list(self.missed)}, extra {list(self.extra)}"
        what += f", {self.writes} requests that write, books changed {self.posted} times"
        how = f"--broker {self.broker} --seed {self.seed} --fault {'+'.join(self.faults)}"
        return f"{how} ({', '.join(self.roles)}): {what}"


@dataclass(slots=True)
class _Stand:
    """The account of a seed as every plant finds it."""

    house: House
    runtime: Runtime
    offset: int
    planted: datetime
    still: list[Reading] = field(default_factory=list)


def judge(broker: str, seed: int, *, pairs: int, only: Sequence[str] = ()) -> list[Verdict]:
    """All verdicts of one seed at one broker. With `only`, these faults and nothing else; more than one at once."""
    house = build(broker, seed)
    try:
        if only:
            stand = _stand(house)
            return [_plant(stand, placed) for placed in _named(broker, only)]
        verdicts = [_clean(house)]
        stand = _stand(house)
        dice = random.Random(f"roles {broker} {seed}")
        verdicts += [_plant(stand, [(fault, dice.choice(fault.roles))]) for fault in of(broker)]
        verdicts += [_plant(stand, placed) for placed in _drawn(broker, dice, pairs)]
        return verdicts
    finally:
        house.sim.close()


def judged(task: Task) -> list[Verdict]:
    """The same for a task of another process: broker, seed, pairs, only."""
    broker, seed, pairs, only = task
    return judge(broker, seed, pairs=pairs, only=only)


def _named(broker: str, names: Sequence[str]) -> list[Placed]:
    known = {fault.name: fault for fault in of(broker)}
    if len(names) == 1:
        return [[(known[names[0]], role)] for role in known[names[0]].roles]
    wanted = set(names)
    return [
        [(one, here), (other, there)]
        for one, here, other, there in together(broker)
        if {one.name, other.name} == wanted
    ]


def _drawn(broker: str, dice: random.Random, pairs: int) -> list[Placed]:
    """Some pairs, half of them about one instrument."""
    every = together(broker)
    near = [pair for pair in every if shares_instrument(pair)]
    far = [pair for pair in every if not shares_instrument(pair)]
    drawn = [dice.choice(near if index % 2 else far) for index in range(pairs)]
    return [[(one, here), (other, there)] for one, here, other, there in drawn]


def _clean(house: House) -> Verdict:
    """Runs over a stream without a plant: whatever they find is false."""
    writes = house.sim.writes()
    for _ in range(CLEAN_RUNS):
        house.run()
    return Verdict(
        house.broker,
        house.seed,
        (),
        (),
        extra=tuple((str(held.finding.kind), held.finding.key) for held in house.cases.values()),
        writes=house.sim.writes() - writes,
        posted=house.posted_by_runs,
        problem="; ".join(house.not_complete),
    )


def _stand(house: House) -> _Stand:
    """The account after a run, at a moment between two runs; its readings while nothing happens are kept."""
    house.run()
    house.cases, house.runs, house.posted_by_runs, house.not_complete = {}, 0, 0, []
    offset = random.Random(f"offset {house.broker} {house.seed}").randint(1, RUN_EVERY - 10)
    house.sim.step(offset)
    runtime = house.sim.copied()
    stand = _Stand(house, runtime, offset, house.sim.now)
    cursor = house.cursor
    for number in range(RUNS):
        stand.still.append(house.read(RUN_EVERY - offset if number == 0 else RUN_EVERY))
        house.cursor = stand.still[-1].page.cursor
    house.cursor = cursor
    return stand


def _plant(stand: _Stand, placed: Placed) -> Verdict:
    on_wire = any(fault.on_wire for fault, _ in placed)
    base, names = stand.house, tuple(fault.name for fault, _ in placed)
    roles = tuple(role for _, role in placed)
    house = copy.copy(base)
    house.books = base.books.copied()
    house.prices, house.cases, house.runs, house.not_complete = dict(base.prices), {}, 0, []
    house.dice = random.Random(f"{base.seed} {names} {roles}")
    if on_wire:
        house.sim.runtime = stand.runtime
        house.sim.runtime = house.sim.copied()
    else:
        house.readings, house.clock = list(stand.still), stand.planted
    wanted: Wanted = set()
    try:
        for fault, role in placed:
            wanted |= fault.plant(house, role)
        begun, writes = house.now, house.sim.writes()
        for number in range(RUNS):
            if on_wire and number == 0:
                house.readings = [house.read(RUN_EVERY - stand.offset)]
            house.run()
    except (ValueError, RuntimeError, LookupError, ArithmeticError, AssertionError) as error:
        return Verdict(base.broker, base.seed, names, roles, problem=f"{type(error).__name__}: {error}"[:300])
    found = {(held.finding.kind, held.finding.key): held for held in house.alive()}
    return Verdict(
        base.broker,
        base.seed,
        names,
        roles,
        wanted=_words(wanted),
        missed=_words(wanted - set(found)),
        extra=_words(set(found) - wanted),
        detected=tuple(
            (str(kind), held.opened_run, (held.opened_at - begun).total_seconds())
            for (kind, key), held in sorted(found.items())
            if (kind, key) in wanted and held.opened_at is not None
        ),
        writes=house.sim.writes() - writes,
        posted=house.posted_by_runs,
        same_instrument=len(placed) == 2 and shares_instrument((*placed[0], *placed[1])),
    )


def _words(cases: set[tuple[Kind, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((str(kind), key) for kind, key in cases))
