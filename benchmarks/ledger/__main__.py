"""`make bench-ledger`: how fast, how small and how readable our books are, as ratios to peers measured beside them.

What always holds: one server, one run; what is compared is measured in the same rounds, in an order that turns with
every round, and each ledger must hold the same sums afterwards; a ratio is the median over the rounds of the ratio
within a round. The last line is one JSON object, and the exit code is 0 only when every target was met.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .figures import FULL, QUICK, Plan, targets
from .rounds import Run
from .server import fresh_server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every target was met."""
    parser = argparse.ArgumentParser(prog="bench_ledger", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny numbers without django-hordak: shows that it runs")
    options = parser.parse_args(arguments)
    plan: Plan = QUICK if options.quick else FULL
    columns = (TextColumn("{task.description:34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("server, migrations, peers", total=plan.steps)

        def show(what: str) -> None:
            progress.update(task, advance=1, description=what)

        with fresh_server() as server:
            run = Run(server, plan, show)
            try:
                rounds = run.all()
            finally:
                run.close()
            figures: dict[str, Any] = {
                "machine": {
                    "cores": os.cpu_count(),
                    "python": platform.python_version(),
                    "load_before": [round(each, 1) for each in plan.load],
                    "load_after": [round(each, 1) for each in os.getloadavg()],
                    **server.configuration(),
                },
                "plan": plan.told(),
                **rounds.figures(),
            }
    wanted = targets(rounds)
    result = {"figures": figures, "targets": wanted, "met": all(row["met"] for row in wanted.values())}
    print(json.dumps(result), flush=True)
    return 0 if result["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
