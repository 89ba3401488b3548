"""The measured work: both sides in the database, rounds of everybody over the same rows, the whole ladder, and cases.

What always holds: within a round everybody works on the same rows, in an order that turns; another answer than
the data were made for ends the run; loading is told apart, because the bare join and pandas begin with it, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from django.db import transaction

from benchmarks.progress import Bar
from reconciliation.domain.rules import RULES
from reconciliation.selectors.matching import Ladder, loaded
from reconciliation.selectors.rungs import SIDES

from . import data, peers

ROUNDS = 5
LADDERS = 3
LARGER = 3


@dataclass(slots=True)
class Times:
    """Seconds by name, one a round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """The median."""
        return median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """The median of the ratio within a round."""
        return median(one / two for one, two in zip(self.seconds[name], self.seconds[other], strict=True))

    def told(self) -> dict[str, Any]:
        """Medians, and what was fastest and slowest."""
        return {
            name: {"median_s": round(median(each), 2), "from_s": round(min(each), 2), "to_s": round(max(each), 2)}
            for name, each in self.seconds.items()
        }


def matching(rows: int, bar: Bar) -> Times:
    """Everything about sides of so many fills, and the ladder over `LARGER` times as many."""
    times = Times()

    def timed(name: str, act: Callable[[], object]) -> object:
        bar.show(name)
        begin = time.perf_counter()
        answer = act()
        times.seconds.setdefault(name, []).append(time.perf_counter() - begin)
        bar.show(name, 1)
        return answer

    with ExitStack() as stack:
        sides = loaded(data.broker(rows), data.books(rows), steps=data.steps())
        ladder = timed("load", lambda: stack.enter_context(sides))
        assert isinstance(ladder, Ladder)
        _rounds(ladder, rows, timed)
        large = _grown(ladder, rows)
        for _ in range(LADDERS):
            found = timed("ladder_large", lambda: _from_the_ground(large, _whole))
            _must_be(found, data.expected(LARGER * rows), "the ladder")
    return times


def _grown(ladder: Ladder, rows: int) -> Ladder:
    """The sides `LARGER` times, each time under other ids and on days of their own."""
    for table in SIDES:
        ladder.cursor.execute(
            f"""
            INSERT INTO {table} SELECT ref + 4::bigint * %(rows)s * k, external_id || '-' || k, client_id || '-' || k,
                broker_order_id || '-' || k, key, price_step, quantity, price, amount, at, day + 10000 * k
            FROM {table}, generate_series(1, %(more)s) k""",
            {"rows": rows, "more": LARGER - 1},
        )
        ladder.cursor.execute(f"ANALYZE {table}")
    return Ladder(ladder.cursor, (LARGER * ladder.rows[0], LARGER * ladder.rows[1]))


STEPS = 1 + 4 * ROUNDS + LADDERS
"""How many steps of the bar `matching` takes."""


def _rounds(ladder: Ladder, rows: int, timed: Callable[[str, Callable[[], object]], object]) -> None:
    cursor = ladder.cursor
    ways: list[tuple[str, Callable[[], object]]] = [
        ("exact_rule", lambda: _from_the_ground(ladder, _exact)),
        ("bare_join", lambda: peers.bare_join(cursor)),
        ("pandas", lambda: peers.with_pandas(cursor)),
        ("ladder", lambda: _from_the_ground(ladder, _whole)),
    ]
    for number in range(ROUNDS):
        answers = {name: timed(name, act) for name, act in ways[number % 4 :] + ways[: number % 4]}
        _must_be(answers["exact_rule"], answers["bare_join"], "the exact rule")
        _must_be(answers["pandas"], answers["bare_join"], "pandas")
        _must_be(answers["ladder"], data.expected(rows), "the ladder")


def _from_the_ground(ladder: Ladder, climb: Callable[[Ladder], object]) -> object:
    """Climb a ladder that nobody has climbed, and leave the rows as they were."""
    kept = transaction.savepoint()
    try:
        return climb(Ladder(ladder.cursor, ladder.rows))
    finally:
        transaction.savepoint_rollback(kept)


def _exact(ladder: Ladder) -> peers.Counts:
    """The rule of the id alone: what it does not match is written, differing pairs are named."""
    ladder.climb(RULES[0])
    ladder.cursor.execute(
        "SELECT (SELECT count(*) FROM matching_broker_left), (SELECT count(*) FROM matching_books_left)"
    )
    only_broker, only_books = ladder.cursor.fetchone()
    return len(ladder.differing), only_broker, only_books


def _whole(ladder: Ladder) -> data.Expected:
    """All rules; everything that did not match is fetched."""
    found = ladder.breaks(RULES)
    return data.Expected(dict(found.matched), len(found.differing), len(found.only_broker), len(found.only_books))


def _must_be(answer: object, wanted: object, whose: str) -> None:
    if answer != wanted:
        raise SystemExit(f"{whose} says {answer} instead of {wanted}")
