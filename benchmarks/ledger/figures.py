"""What a run measures, how rounds become figures, and the targets.

What always holds: a comparison is made within a round first, then the median is taken over the rounds; its least and
greatest stand beside it. What was not measured is never met.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. Counts are of entries; each has two transfers, which are four postings."""

    rounds: int
    bulk: int
    single: int
    clients: int
    stock_postings: int
    tail: int
    readings: int
    with_hordak: bool
    load: tuple[float, float, float] = field(default_factory=os.getloadavg)

    @property
    def fills(self) -> int:
        """So many events are posted to our books altogether."""
        return self.rounds * (self.bulk + (2 + self.clients) * self.single) + self.tail

    @property
    def steps(self) -> int:
        """How many steps the progress bar has."""
        peer = int(self.with_hordak)
        return self.rounds * (6 + peer + 3 + peer) + 2 + self.readings

    def told(self) -> dict[str, Any]:
        """For the reader of the figures."""
        return {
            "rounds": self.rounds,
            "bulk_entries_a_round": self.bulk,
            "single_entries_a_round": self.single,
            "balances_postings": self.stock_postings,
            "balances_tail_entries": self.tail,
        }


FULL = Plan(7, 10_000, 400, 4, 2_000_000, 5_000, 9, True)
QUICK = Plan(2, 40, 5, 2, 2_000, 40, 2, False)


@dataclass(slots=True)
class Rounds:
    """Rates by name, one a round, and what is known without rounds."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, rate: float) -> None:
        """One round's rate, so many a second."""
        self.rates.setdefault(name, []).append(rate)

    def ratio(self, ours: str, other: str) -> tuple[float, float, float] | None:
        """Median, least and greatest of the ratio within a round; None when either was not measured."""
        pairs = list(zip(self.rates.get(ours, []), self.rates.get(other, []), strict=False))
        if not pairs:
            return None
        found = [one / two for one, two in pairs]
        return median(found), min(found), max(found)

    def rate(self, name: str) -> float:
        """The median rate."""
        return median(self.rates[name])

    def figures(self) -> dict[str, Any]:
        """The median of every rate, and the facts."""
        return {name: _short(median(values)) for name, values in self.rates.items()} | self.facts


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: a ratio of two rates, or a fact, and its bound."""

    name: str
    bound: float
    ours: str
    other: str = ""
    at_most: bool = False


TARGETS: Sequence[Target] = (
    Target("bulk_to_hordak_bulk", 4.0, "bulk_ours_postings_per_s", "bulk_hordak_postings_per_s"),
    Target("bulk_to_unguarded_two_row_copy", 0.5, "bulk_ours_postings_per_s", "bulk_two_rows_postings_per_s"),
    Target("single_to_hordak_single", 2.0, "single_ours_entries_per_s", "single_hordak_entries_per_s"),
    Target("chain_overhead", 1.25, "bulk_unchained_postings_per_s", "bulk_ours_postings_per_s", at_most=True),
    Target("verify_rows_to_bulk_rows", 5.0, "verify_rows_per_s", "bulk_ours_rows_per_s"),
    Target("trial_balance_from_snapshot_to_full_sum", 10.0, "balances_snapshot_per_s", "balances_full_per_s"),
    Target("bytes_a_transfer", 320, "bytes_a_transfer", at_most=True),
)


def targets(rounds: Rounds) -> dict[str, dict[str, Any]]:
    """Every target with what was measured, and whether it was met."""
    return {target.name: _judged(target, rounds) for target in TARGETS}


def _judged(target: Target, rounds: Rounds) -> dict[str, Any]:
    bound = {"at_most" if target.at_most else "at_least": target.bound}
    if not target.other:
        measured = rounds.facts[target.ours]
        return {**bound, "measured": measured, "met": measured <= target.bound}
    ratio = rounds.ratio(target.ours, target.other)
    if ratio is None:
        return {**bound, "measured": None, "met": False}
    middle, least, greatest = ratio
    met = middle <= target.bound if target.at_most else middle >= target.bound
    return {**bound, "measured": _short(middle), "rounds_from": _short(least), "to": _short(greatest), "met": met}


def _short(number: float) -> float:
    return round(number) if number >= 100 else round(number, 2)
