"""A lane of the crash matrix: one set of books, one Celery worker, and batches of cells that run on them at once.

What always holds here: each cell has an account and a simulator of its own; a batch begins and ends with nothing
unfinished; a frozen process is woken after three leases, and what it does then is judged, too; `verify` is run over the
whole books after each batch.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from django.db import connections

from backoffice.verification import run_all
from tests.faults.matrix.cells import POINTS, Cell
from tests.faults.matrix.judge import lost, problems
from tests.faults.matrix.people import decide
from tests.faults.matrix.work import Work, prepare
from tests.faults.places import BY_NAME, Place
from tests.faults.workers import READY_SECONDS, Worker
from tests.faults.world import World
from tests.servers import Simulator
from trading.domain.broker import BrokerUnreachable
from trading.domain.policy import AccountPolicy
from trading.engine.claiming import LEASE
from trading.models import ConfigVersion, Order
from trading.services.audit import Actor
from trading.services.errors import RuleBroken
from trading.services.setup import ensure_version, retire

FROZEN_SECONDS = 3 * LEASE.total_seconds()
# From the fault to the right end: a lease, the deadline, the quarantine and a reader's lease, on a busy machine.
HEAL_SECONDS = 120.0
STRIKE_SECONDS = 60.0
AGAIN_SECONDS = 1.0
# As beat asks for rounds of the watcher.
SWEEP_SECONDS = 2.0
# So long others go on, at least, before a frozen process is woken.
OTHERS_SECONDS = 3 * SWEEP_SECONDS
WORKERS = len(POINTS) + 2
# How often a cell is begun anew when the struck task was not the one that came to the point.
ATTEMPTS = 2


@dataclass
class Outcome:
    """What came of a cell. `seconds`: of sweeping until all was right; `while_frozen`: others did it meanwhile."""

    cell: Cell
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    while_frozen: bool = False

    def as_json(self) -> dict[str, Any]:
        """For a line of a lane's output."""
        return asdict(self)


@dataclass
class Struck:
    """A cell whose process was struck."""

    cell: Cell
    world: World
    work: Work
    once: Path
    outcome: Outcome
    at: float = 0.0
    healed: bool = False
    woken: bool = False
    decided: bool = False

    @property
    def frozen(self) -> bool:
        """Whether its process still stands still."""
        return self.cell.mode == "stop" and not self.woken

    def problems(self) -> list[str]:
        """What is wrong with it now."""
        return problems(self.cell, self.world, decided=self.decided)

    def decide(self) -> None:
        """Let people end the order that only they can end, if they can now; what follows of it is judged, too."""
        [order] = lost(list(Order.objects.filter(account=self.world.account)))
        try:
            decide(self.world, order)
            self.decided = True
        except (AssertionError, BrokerUnreachable, RuleBroken) as error:  # somebody else reads its history now
            self.outcome.problems.append(f"nobody could decide: {error}")

    def wake(self) -> None:
        """Let the frozen process go on."""
        os.kill(int(Path(f"{self.once}.pid").read_text()), signal.SIGCONT)
        self.woken = True

    @property
    def ended(self) -> bool:
        """Whether the struck process is through with its work, or dead."""
        return self.cell.mode != "stop" or Path(f"{self.once}.ended").exists()


class Lane:
    """Books, a worker, and the cells that run on them."""

    def __init__(self, directory: Path, environment: Mapping[str, str], redis_url: str) -> None:
        self._directory, self._environment, self._redis_url = directory, environment, redis_url
        self._number = 0
        self._given_up: set[str] = set()
        self._policy = _hasty_policy()
        self._worker = Worker(
            directory, environment, name="matrix", concurrency=WORKERS, app="tests.faults.matrix.worker"
        )
        end = time.monotonic() + READY_SECONDS
        while not self._worker.is_ready:
            assert time.monotonic() < end, f"the worker is not ready: {self._worker.last_words()}"
            time.sleep(0.05)

    def close(self) -> None:
        """End the worker, frozen processes included."""
        self._worker.kill()

    def run(self, cells: Sequence[Cell], tell: Callable[[str], None] = lambda _what: None) -> list[Outcome]:
        """Run a batch; one outcome a cell, in their order."""
        outcomes = {cell: Outcome(cell) for cell in cells}
        simulators: list[Simulator] = []
        worlds: list[World] = []
        try:
            struck = []
            for cell in cells:
                tell(f"striking {cell}")
                try:
                    struck.append(self._strike(cell, outcomes[cell], worlds, simulators))
                except Exception as error:  # noqa: BLE001 - a cell that cannot begin is a failed cell, not a failed run
                    outcomes[cell].problems.append(f"not struck: {type(error).__name__}: {error}")
            self._heal(struck, tell)
            self._verify({each.world.name: each.outcome for each in struck}, list(outcomes.values()))
        finally:
            for world in worlds:
                retire(name=world.name, reason="the cell is over", actor=Actor.system("matrix"))
                world.close()
            for simulator in simulators:
                simulator.stop()
                shutil.rmtree(simulator.directory, ignore_errors=True)
            connections.close_all()
        return [outcomes[cell] for cell in cells]

    def _simulator(self, number: int, place: Place) -> Simulator:
        return Simulator.start(self._directory / f"simulator-{number}", place.start)

    def _strike(self, cell: Cell, outcome: Outcome, worlds: list[World], simulators: list[Simulator]) -> Struck:
        for _ in range(ATTEMPTS):
            self._number += 1
            # Each attempt has a broker of its own: what is late of an earlier one must not meet this one.
            place = BY_NAME[cell.broker]
            simulators.append(self._simulator(self._number, place))
            name = f"{cell.name}-{self._number}"
            world = World(
                simulators[-1], self._redis_url, self._environment, self._directory,
                scope=name, policy=self._policy, place=place, name=name,
            )  # fmt: skip
            worlds.append(world)
            once = self._directory / f"{name}.struck"
            work = prepare(cell, world)
            headers = {"failpoint": f"{work.failpoint}:{cell.mode}", "once": str(once)}
            world.send_task(work.task, *work.arguments, headers=headers)
            end, ended = time.monotonic() + STRIKE_SECONDS, Path(f"{once}.ended")
            while not once.exists() and time.monotonic() < end:
                if ended.exists():  # it ended before the point: an exit had no room yet, a look-up was not due yet
                    ended.unlink()
                    time.sleep(AGAIN_SECONDS)
                    world.send_task(work.task, *work.arguments, headers=headers)
                time.sleep(0.02)
            if once.exists():
                struck = Struck(cell, world, work, once, outcome, at=time.monotonic())
                time.sleep(0.1)
                work.meanwhile()
                return struck
            retire(name=name, reason="the cell begins anew", actor=Actor.system("matrix"))
            self._given_up.add(name)
        raise AssertionError(
            f"no process came to {work.failpoint}; the worker said: {self._worker.last_words()[-600:]}"
        )

    def _heal(self, struck: list[Struck], tell: Callable[[str], None]) -> None:
        """Sweep as beat does until every cell is right, and was right still after its frozen process woke up."""
        asked, swept, begun = 0.0, 0.0, time.monotonic()
        while struck:
            moment = time.monotonic()
            for each in struck:
                if each.frozen and moment >= max(each.at + FROZEN_SECONDS, begun + OTHERS_SECONDS):
                    each.outcome.while_frozen = each.healed
                    with suppress(ProcessLookupError):
                        each.wake()
                    each.healed = False
            tell(f"{sum(each.healed and not each.frozen for each in struck)} of {len(struck)} are right")
            if moment - swept >= SWEEP_SECONDS:
                swept = moment
                struck[0].world.send_task("orders.watch", expires=SWEEP_SECONDS)
            if moment - asked > 3:
                asked = moment
                for each in struck:
                    if not each.healed and not each.frozen and moment - each.at > 3:
                        each.work.again()
            for each in struck:
                if each.healed or (each.frozen and each.cell.freezes_the_books) or not (each.frozen or each.ended):
                    continue
                each.outcome.problems = each.problems()
                if not each.outcome.problems and each.cell.waits_for_people and not (each.frozen or each.decided):
                    each.decide()
                elif not each.outcome.problems:
                    each.healed = True
                    each.outcome.seconds = round(time.monotonic() - max(each.at, begun), 1)
            late = struck if time.monotonic() - begun > HEAL_SECONDS else []
            if all((each.healed and not each.frozen) or each in late for each in struck):
                break
            time.sleep(0.5)
        time.sleep(SWEEP_SECONDS)
        for each in struck:  # and nothing has happened since
            ended = [] if each.ended else ["its process has not ended since it woke up"]
            each.outcome.problems = [*ended, *each.problems()]

    def _verify(self, by_account: Mapping[str, Outcome], everybody: Sequence[Outcome]) -> None:
        """A breach of a rule belongs to the cell of its account; one that belongs to none, to all of the batch."""
        for breach in run_all().as_json()["violations"]:
            for row in breach["rows"]:
                told = f"verify {breach['id']}: {row['object']} {row['id']}: {row['problem']}"
                if row["account"] in self._given_up:
                    continue  # nobody finished the work there: the cell began anew on another account
                owner = by_account.get(str(row["account"]))
                for outcome in everybody if owner is None else [owner]:
                    outcome.problems.append(told)


def _hasty_policy() -> ConfigVersion:
    """The shipped rules, but an absent order is waited for a second only."""
    policy = replace(AccountPolicy(name="matrix"), quarantine_seconds=1)
    return ensure_version(kind=ConfigVersion.Kind.POLICY, name="matrix", body=policy.canonical)
