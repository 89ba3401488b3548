"""`make bench-reconcile`: how fast millions of fills are matched, and thousands of differences become cases.

What always holds: one server of its own with PostgreSQL's own configuration, one run; what is compared is measured in
the same rounds over the same rows. The last line is one JSON object; the exit code is 0 only when every target was met.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from benchmarks.own_database import own_database
from benchmarks.progress import Bar, finish

CASES = 5_000
ROW_BY_ROW = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every target was met."""
    parser = argparse.ArgumentParser(prog="bench_reconcile", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="fills of each side; three times as many at last")
    rows = parser.parse_args(arguments).rows
    load = os.getloadavg()
    with own_database("bench_reconcile"):
        import django

        django.setup()
        from django.db import connections

        from . import cases, measure

        bar = Bar(measure.STEPS + 4)
        times = measure.matching(rows, bar)
        rates = []
        for number in range(3):
            bar.show("cases")
            rates.append(cases.cases_a_second(CASES, f"set-{number}"))
            bar.show("cases", 1)
        one_by_one = cases.cases_a_second(ROW_BY_ROW, "one-by-one", row_by_row=True)
        bar.show("cases one by one", 1)
        connections.close_all()
    wanted: dict[str, tuple[float, str, float]] = {
        "exact_rule_to_bare_join": (times.ratio("exact_rule", "bare_join"), "at_most", 2.0),
        "pandas_to_exact_rule": (times.ratio("pandas", "exact_rule"), "at_least", 2.0),
        "ladder_s": (times.of("ladder"), "at_most", 5.0),
        "ladder_a_fill_large_to_small": (
            times.of("ladder_large") / measure.LARGER / times.of("ladder"),
            "at_most",
            1.25,
        ),
        "cases_a_second": (sorted(rates)[1], "at_least", 2_000),
    }
    targets: dict[str, dict[str, Any]] = {
        name: {bound: limit, "measured": round(measured, 2), "met": _met(measured, bound, limit)}
        for name, (measured, bound, limit) in wanted.items()
    }
    figures = {
        "machine": {
            "cores": os.cpu_count(),
            "load_before": round(load[0], 1),
            "load_after": round(os.getloadavg()[0], 1),
        },
        "fills_a_side": {"small": rows, "large": measure.LARGER * rows},
        "matching": times.told(),
        "ladder_to_bare_join": round(times.ratio("ladder", "bare_join"), 2),
        "cases_a_second": [round(rate) for rate in rates],
        "cases_a_second_one_by_one": round(one_by_one),
    }
    return finish({"figures": figures, "targets": targets, "met": all(row["met"] for row in targets.values())})


def _met(measured: float, bound: str, limit: float) -> bool:
    return measured <= limit if bound == "at_most" else measured >= limit


if __name__ == "__main__":
    raise SystemExit(main())
