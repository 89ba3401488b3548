"""A lane as a process of its own: batches of cells come in on stdin, what is going on and what came of them goes out.

What always holds here: one JSON object a line: `{"tell": …}` or `{"outcomes": […]}`; a batch that fails as a whole is
told as the failure of each of its cells. The environment names the books and Redis.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def say(**line: Any) -> None:
    """One line to whoever started us."""
    print(json.dumps(line), flush=True)


def main(directory: Path) -> int:
    """Run what comes in until nothing more does."""
    import django

    django.setup()
    from tests.faults.matrix.cells import Cell
    from tests.faults.matrix.lane import Lane, Outcome
    from tests.faults.world import worker_environment

    lane = Lane(directory, worker_environment(os.environ, os.environ["REDIS_URL"]), os.environ["REDIS_URL"])
    try:
        say(tell="ready")
        for line in sys.stdin:
            cells = [Cell(**row) for row in json.loads(line)]
            try:
                outcomes = lane.run(cells, lambda what: say(tell=what))
            except Exception as error:  # noqa: BLE001 - told, and the next batch is run
                outcomes = [Outcome(cell, [f"the batch failed: {type(error).__name__}: {error}"]) for cell in cells]
            say(outcomes=[outcome.as_json() for outcome in outcomes])
    finally:
        lane.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
