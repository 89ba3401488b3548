"""Workers killed around the send of an order, many times: the broker must have each order exactly once.

What always holds here: one desk lives through all of it: while workers die by SIGKILL one after the other, a survivor
goes on with the rounds of the watcher, as on a second machine; the simulator's journal judges. A repetition in which
the survivor was faster than the worker that should die is void, counted and done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle, islice

from tests.faults.workers import Worker
from tests.faults.world import World
from trading.models import Order

# Where a worker dies, and what of it: its pool process alone (`kill`) or the whole worker, frozen there first (`stop`).
BEFORE_SEND = ("claimed:stop", "before_send:kill", "intent_committed:stop", "before_send:stop", "claimed:kill")
AFTER_SEND = ("after_response:stop", "after_response:kill", "answer under way", "stored:stop")
HEAL_SECONDS = 90.0
# Called with what is going on, and how many repetitions that finishes.
Progress = Callable[[str, int], None]


@dataclass
class Repetition:
    """One order whose send met a fault."""

    order: Order
    point: str
    at: datetime
    may_send_from: datetime | None
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Cell:
    """All repetitions of one kind of fault."""

    name: str
    repetitions: list[Repetition] = field(default_factory=list)
    void: int = 0

    @property
    def exactly_one(self) -> int:
        """In how many the broker has the order exactly once and the books have it as the broker has."""
        return sum(not each.problems for each in self.repetitions)

    @property
    def problems(self) -> list[str]:
        """What was wrong, in words."""
        return [f"{self.name} at {each.point}: {text}" for each in self.repetitions for text in each.problems]

    @property
    def slowest(self) -> float:
        """The longest time from a fault to the booked fill, in seconds."""
        return max((each.seconds for each in self.repetitions), default=0.0)


class CrashFirst:
    """The whole run on one world."""

    def __init__(self, world: World, repetitions: int, progress: Progress = lambda _what, _done: None) -> None:
        self.world, self.count, self._progress = world, repetitions, progress
        self._names = iter(range(1, 10_000))

    def run(self) -> list[Cell]:
        """All three cells; each order is judged once everything has healed."""
        survivor = self.world.start_worker(name="survivor", queues="slow")
        self.world.wait_for_worker(survivor)
        self.world.sweeps_in = "slow"
        cells = [self._answers_dropped(), self._killed_after_send(), self._killed_before_send()]
        for cell in cells:
            self._judge(cell)
        return cells

    @staticmethod
    def sent_again(cell: Cell) -> list[Repetition]:
        """Those of the cell that were killed between claim and send: absent at the broker until sent again."""
        return [each for each in cell.repetitions if each.may_send_from is not None]

    # the three cells

    def _answers_dropped(self) -> Cell:
        cell = Cell("answer dropped after the broker accepted")
        worker = self._worker("")
        self.world.wait_for_worker(worker)
        self.world.fault("drop", times=self.count)
        for _ in range(self.count):
            order = self.world.plan()
            self.world.send_task("orders.send", order.pk)
            cell.repetitions.append(Repetition(order, "drop", datetime.now(UTC), None))
            self._progress(cell.name, 1)
        self._heal(cell)
        for each in cell.repetitions:
            if any(post["data"]["answered"] for post in self.world.posts(each.order)):
                each.problems.append("its answer was not dropped, so nothing was tested")
        worker.stop()
        return cell

    def _killed_after_send(self) -> Cell:
        cell = Cell("killed after the send, before the answer was stored")
        points = list(islice(cycle(AFTER_SEND), self.count))
        for point in points:
            if point == "answer under way":
                cell.repetitions.append(self._kill_while_the_answer_is_under_way())
                self._progress(cell.name, 1)
        self._strike(cell, [point for point in points if ":" in point])
        self._heal(cell)
        return cell

    def _killed_before_send(self) -> Cell:
        cell = Cell("killed between the commit and the send")
        self._strike(cell, list(islice(cycle(BEFORE_SEND), self.count)))
        for each in cell.repetitions:
            if not each.point.startswith("intent_committed") and each.may_send_from is None:
                each.problems.append("it was not between claim and send, so nothing was tested")
        self._heal(cell)
        return cell

    # the killing

    def _worker(self, failpoint: str) -> Worker:
        return self.world.start_worker(name=f"victim-{next(self._names)}", failpoint=failpoint)

    def _strike(self, cell: Cell, points: list[str]) -> None:
        """Let one worker die at each of the points; the next ones start meanwhile."""
        waiting = list(points)
        victims: list[Worker] = []
        while waiting or victims:
            while waiting and len(victims) < 2:
                victims.append(self._worker(waiting.pop(0)))
            self.world.wait_for_worker(victims[0])
            with self.world.no_sweep():
                order = self.world.plan()
                self.world.send_task("orders.send", order.pk)
                victim = self._struck(victims, order)
            if victim is None:
                cell.void += 1
                continue
            order.refresh_from_db()
            if victim.failpoint.endswith(":kill"):
                self._settle()  # its parent gives the task back, and somebody finds that it is not for him
            victim.kill()
            victims.remove(victim)
            between = order.state == "SENDING" and not self.world.posts(order)
            cell.repetitions.append(
                Repetition(order, victim.failpoint, datetime.now(UTC), order.quarantine_until if between else None)
            )
            self._progress(cell.name, 1)

    def _struck(self, victims: list[Worker], order: Order) -> Worker | None:
        """The worker that died or froze over the order; None when the survivor sent it first."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for victim in victims:
                if victim.struck:
                    return victim
            order.refresh_from_db()
            if order.state == "FILLED" and not any(victim.struck for victim in victims):
                return None
            time.sleep(0.02)
        raise AssertionError(f"nobody took order {order.client_order_id}, it is {order.state}")

    def _kill_while_the_answer_is_under_way(self) -> Repetition:
        """No failpoint: the broker has accepted and keeps its answer back, and the worker dies waiting for it."""
        victim = self._worker("")
        self.world.wait_for_worker(victim)
        with self.world.no_sweep():
            self._settle()
            self.world.fault("hang", seconds=30)
            order = self.world.plan()
            self.world.send_task("orders.send", order.pk)
            self.world.wait(lambda: self.world.posts(order), 10, "the broker has accepted the order")
            victim.kill()
        order.refresh_from_db()
        problems = [] if order.state == "SENDING" else [f"it was {order.state} already when its worker was killed"]
        return Repetition(order, "answer under way", datetime.now(UTC), None, problems)

    @staticmethod
    def _settle() -> None:
        time.sleep(0.5)

    # the judging

    def _heal(self, cell: Cell) -> None:
        """Wait until every order is right by the journal and the books, or the time for it is over."""
        self._progress("waiting until all of these are booked", 0)
        ends = time.monotonic() + HEAL_SECONDS
        open_ones = [each.order for each in cell.repetitions]
        while open_ones and time.monotonic() < ends:
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                self.world.sweep()
                time.sleep(0.05)
            open_ones = [order for order in open_ones if self.world.problems(order)]

    def _judge(self, cell: Cell) -> None:
        for each in cell.repetitions:
            each.problems += self.world.problems(each.order)
            posts = self.world.posts(each.order)
            if len(posts) != 1:
                each.problems.append(f"asked the broker {len(posts)} times")
            elif each.may_send_from is not None and self.world.wall_time(posts[0]) < each.may_send_from:
                early = each.may_send_from - self.world.wall_time(posts[0])
                each.problems.append(f"sent again {early.total_seconds():.1f} s before the quarantine was over")
            for fill in each.order.fills.all():
                each.seconds = (fill.recorded_at - each.at).total_seconds()
