"""`make clean-week`: 2,016 periodic runs of each account without a case, then one fault of each kind at each broker.

What always holds: nothing is planted in the week itself; every slot of every account must have its run, and none may
leave a case behind, suspected ones included; `verify` reads everything at the end of each day; the last line is one
JSON object, and the exit code is 0 only when every target was met.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.clean_week.desk import SLOT_SECONDS, WeekDesk, week_desk
from benchmarks.clean_week.faults import Search, search, unmet
from benchmarks.progress import Bar, finish
from benchmarks.soak import MOST_GROWTH_PERCENT, Memory

WEEK = 2016
A_DAY = 24 * 3600 // SLOT_SECONDS
SAMPLE_EVERY = 12


def run(runs: int, *, faults: bool = True) -> dict[str, Any]:
    """So many slots, then the faults; figures, targets, and whether they were met."""
    began = time.perf_counter()
    memory = Memory()
    cases: list[str] = []
    violations: list[str] = []
    with week_desk() as desk:
        bar, started = Bar(runs), time.perf_counter()
        for number in range(1, runs + 1):
            desk.step()
            cases.extend(str(sight) for sight in desk.live() if str(sight) not in cases)
            if number % SAMPLE_EVERY == 0:
                memory.take(os.getpid())
            if number % A_DAY == 0 or number == runs:
                violations.extend(verify())
            bar.show(f"{desk.now():%a %H:%M}", 1)
        week = time.perf_counter() - started
        figures = {**of_the_week(desk, runs), "cases": cases, "memory": memory.growth()}
        figures |= {"seconds_of_the_week": round(week, 1), "seconds_per_slot": round(week / runs, 3)}
        searches = search(desk, bar.show) if faults else []
        violations.extend(verify())
        figures |= of_the_faults(searches) | {"violations": violations[:20]}
    figures["seconds"] = round(time.perf_counter() - began)
    return judged(figures, runs)


def verify() -> list[str]:
    """Every rule that can be seen in the data, now."""
    from backoffice.verification import run_all

    return [
        f"{result.invariant.id} {row.object} {row.id} {row.problem}"[:300]
        for result in run_all().results
        for row in result.rows[:3]
    ]


def of_the_week(desk: WeekDesk, runs: int) -> dict[str, Any]:
    """What ran and what happened, by account."""
    from reconciliation.models import Discrepancy, Run
    from trading.models import CashEvent, DayState, Fill, Order, Trade

    accounts: dict[str, Any] = {}
    for account in desk.accounts:
        periodic = Run.objects.filter(account=account, trigger=Run.Trigger.PERIODIC)
        slots = sorted(slot for slot in periodic.values_list("scheduled_for", flat=True) if slot is not None)
        accounts[account.name] = {
            "periodic_runs": len(slots),
            "missed_slots": int((slots[-1] - slots[0]).total_seconds()) // SLOT_SECONDS + 1 - len(set(slots)),
            "post_trade_runs": desk.runs[account.name, "POST_TRADE"],
            "orders": Order.objects.filter(account=account).count(),
            "fills": Fill.objects.filter(account=account).count(),
            "trades_ended": Trade.objects.filter(account=account, state=Trade.State.CLOSED).count(),
            "financing": CashEvent.objects.filter(account=account, kind="FINANCING").count(),
            "days": DayState.objects.filter(account=account).count(),
        }
    spent = sorted(desk.run_seconds)
    return {
        "slots": runs,
        "accounts": accounts,
        "not_complete": desk.not_complete[:20],
        "cases_ever": Discrepancy.objects.count(),
        "run_seconds": {"p50": round(spent[len(spent) // 2], 3), "p99": round(spent[len(spent) * 99 // 100], 3)},
    }


def of_the_faults(searches: Sequence[Search]) -> dict[str, Any]:
    """What became of each fault."""
    return {
        "faults": [row for one in searches for row in one.found],
        "faults_unmet": unmet(searches),
        "faults_wrong": [text for one in searches for text in dict.fromkeys(one.wrong)][:20],
    }


def judged(figures: dict[str, Any], runs: int) -> dict[str, Any]:
    """The figures beside their targets. That every account traded is asked of a whole week only."""
    none: dict[str, Any] = {
        "cases": [],
        "cases_ever": 0,
        "not_complete": [],
        "violations": [],
        "faults_unmet": [],
        "faults_wrong": [],
    }
    targets = {**none, "periodic_runs": runs, "missed_slots": 0, "memory_growth_percent": MOST_GROWTH_PERCENT}
    rows = figures["accounts"].values()
    met = (
        all(figures[name] == wanted for name, wanted in none.items())
        and all(row["periodic_runs"] == runs and row["missed_slots"] == 0 for row in rows)
        and all(row["growth_percent"] <= MOST_GROWTH_PERCENT for row in figures["memory"].values())
    )
    if runs >= WEEK:
        targets["least_fills"] = 1
        met = met and all(row["fills"] >= 1 for row in rows) and any(row["financing"] for row in rows)
    return {"figures": figures, "targets": targets, "met": met}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every target was met."""
    parser = argparse.ArgumentParser(prog="clean-week", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=WEEK, help="slots, and so periodic runs of each account")
    parser.add_argument("--no-faults", action="store_true", help="end with the clean part")
    options = parser.parse_args(arguments)
    result = run(options.runs, faults=not options.no_faults)
    return finish(result)


if __name__ == "__main__":
    sys.exit(main())
