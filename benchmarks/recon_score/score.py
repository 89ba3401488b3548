"""What the verdicts come to: precision, recall, wrong mutations, false cases, time to detect; and the table of them.

What always holds: precision and recall count cases by kind and key, so that a case under a wrong kind is both a miss
and a false one; nothing is rounded to look whole.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.recon_score.catalogue import EVERY, FAULTS, of
from benchmarks.recon_score.judge import Verdict

BEGIN, END = "<!-- recon-score -->", "<!-- /recon-score -->"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reconciliation.md"
LEAST_FAULTS = 25
MOST_WRONG = 20


@dataclass(slots=True)
class Count:
    """Cases of some plants."""

    plants: int = 0
    wanted: int = 0
    missed: int = 0
    extra: int = 0

    def add(self, verdict: Verdict) -> None:
        """Count one more plant. One that could not be planted counts as missed."""
        self.plants += 1
        self.wanted += len(verdict.wanted) + bool(verdict.problem)
        self.missed += len(verdict.missed) + bool(verdict.problem)
        self.extra += len(verdict.extra)

    @property
    def recall(self) -> float:
        """Found of what was planted; 1 where nothing was."""
        return (self.wanted - self.missed) / self.wanted if self.wanted else 1.0

    @property
    def precision(self) -> float:
        """Planted of what was found; 1 where nothing was found."""
        found = self.wanted - self.missed + self.extra
        return (found - self.extra) / found if found else 1.0


@dataclass(slots=True)
class Score:
    """All verdicts, counted as they come."""

    alone: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    pairs: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    near: Count = field(default_factory=Count)
    clean: Count = field(default_factory=Count)
    faults: dict[tuple[str, str], Count] = field(default_factory=lambda: defaultdict(Count))
    kinds: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    combinations: set[tuple[str, tuple[str, ...], tuple[str, ...]]] = field(default_factory=set)
    runs: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    mutations: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, verdicts: Iterable[Verdict]) -> None:
        """Count more verdicts."""
        for each in verdicts:
            self.mutations += each.writes + each.posted
            if not each.good:
                self.wrong.append(each.told())
            if not each.faults:
                self.clean.add(each)
                continue
            if len(each.faults) == 1:
                self.alone[each.broker].add(each)
                self.faults[each.broker, each.faults[0]].add(each)
            else:
                self.pairs[each.broker].add(each)
                self.combinations.add((each.broker, each.faults, each.roles))
                if each.same_instrument:
                    self.near.add(each)
            for kind, runs, seconds in each.detected:
                self.runs[runs] += 1
                self.seconds.append(seconds)
                self.kinds[kind][each.broker].append(seconds)

    def total(self, counts: Mapping[str, Count]) -> Count:
        """The brokers' counts together."""
        found = Count()
        for each in counts.values():
            found.plants, found.wanted = found.plants + each.plants, found.wanted + each.wanted
            found.missed, found.extra = found.missed + each.missed, found.extra + each.extra
        return found

    def targets(self, brokers: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What was aimed at, what was measured, and whether it was met."""
        alone, pairs = self.total(self.alone), self.total(self.pairs)
        fewest = min(len([name for at, name in self.faults if at == broker]) for broker in brokers)
        wanted: dict[str, tuple[float, str, float]] = {
            "kinds_of_fault_at_each_broker": (fewest, "at_least", LEAST_FAULTS),
            "precision_alone": (alone.precision, "at_least", 1.0),
            "recall_alone": (alone.recall, "at_least", 1.0),
            "precision_in_pairs": (pairs.precision, "at_least", 1.0),
            "recall_in_pairs": (pairs.recall, "at_least", 1.0),
            "wrong_mutations": (self.mutations, "at_most", 0),
            "false_cases_on_clean_streams": (self.clean.extra + self.clean.missed, "at_most", 0),
        }
        return {
            name: {
                bound: limit,
                "measured": measured,
                "met": measured >= limit if bound == "at_least" else measured <= limit,
            }
            for name, (measured, bound, limit) in wanted.items()
        }

    def figures(self) -> dict[str, Any]:
        """What was counted, for the last line."""
        return {
            "clean_streams": self.clean.plants,
            "alone": {broker: count.plants for broker, count in self.alone.items()},
            "pairs": {broker: count.plants for broker, count in self.pairs.items()},
            "pairs_about_one_instrument": self.near.plants,
            "different_pairs": len(self.combinations),
            "kinds_found": {kind: sum(map(len, at.values())) for kind, at in sorted(self.kinds.items())},
            "runs_to_detect": dict(sorted(self.runs.items())),
            "seconds_to_detect": self.spread(),
            "wrong": len(self.wrong),
        }

    def spread(self) -> dict[str, float]:
        """How long it took from the plant to the open case, on the account's clock."""
        if not self.seconds:
            return {}
        ordered = sorted(self.seconds)
        return {"least": ordered[0], "median": median(ordered), "most": ordered[-1]}


def section(score: Score, *, seeds: int, command: str, on: date) -> str:
    """The table between its two marks."""
    alone, pairs, times = score.total(score.alone), score.total(score.pairs), score.spread()
    lines = [
        BEGIN,
        f"Measured on {on} with seeds 1 to {seeds} at each broker, by `{command}`: simulator and real adapters in one",
        "process without sockets, the comparison and the life of cases as they are, books folded in memory.",
        "",
        "| | clean streams | faults alone | two at once | of these about one instrument |",
        "|---|---|---|---|---|",
        f"| plants | {score.clean.plants:,} | {alone.plants:,} | {pairs.plants:,} | {score.near.plants:,} |",
        f"| cases planted | 0 | {alone.wanted:,} | {pairs.wanted:,} | {score.near.wanted:,} |",
        f"| missed | – | {alone.missed} | {pairs.missed} | {score.near.missed} |",
        f"| false | {score.clean.extra} | {alone.extra} | {pairs.extra} | {score.near.extra} |",
        f"| precision, kind and key | – | {alone.precision:.6g} | {pairs.precision:.6g} | {score.near.precision:.6g} |",
        f"| recall, kind and key | – | {alone.recall:.6g} | {pairs.recall:.6g} | {score.near.recall:.6g} |",
        "",
        f"Wrong mutations (a request that writes, or books changed by a run): {score.mutations}. "
        f"Different pairs drawn: {len(score.combinations):,}.",
        f"Opened in the second complete run: {score.runs.get(2, 0):,} of {sum(score.runs.values()):,} cases. Seconds "
        f"on the account's clock from the fault to the open case, with a run every 300 s: at least "
        f"{times.get('least', 0):.0f}, {times.get('median', 0):.0f} in the middle, {times.get('most', 0):.0f} at most.",
        "",
        "| fault | side | " + " | ".join(EVERY) + " |",
        "|---|---|---|---|---|",
    ]
    for name, fault in FAULTS.items():
        cells = [_cell(score.faults.get((broker, name))) if fault in of(broker) else "–" for broker in EVERY]
        lines.append(f"| {name.replace('_', ' ')} | {fault.by} | {' | '.join(cells)} |")
    lines += ["", "Kinds that were planted and told, cases at each broker:", "", "| kind | " + " | ".join(EVERY) + " |"]
    lines.append("|---|---|---|---|")
    for kind, at in sorted(score.kinds.items()):
        lines.append(f"| {kind} | {' | '.join(f'{len(at[broker]):,}' if broker in at else '–' for broker in EVERY)} |")
    return "\n".join([*lines, END])


def _cell(count: Count | None) -> str:
    if count is None:
        return "not run"
    wrong = count.missed + count.extra
    return f"{count.plants:,}" + (f", {wrong} wrong" if wrong else "")


def write(text: str) -> None:
    """Put the section in its place in the document; everything else there stays."""
    standing = DOCUMENT.read_text(encoding="utf-8")
    head, tail = standing[: standing.index(BEGIN)], standing[standing.index(END) + len(END) :]
    DOCUMENT.write_text(head + text + tail, encoding="utf-8")
