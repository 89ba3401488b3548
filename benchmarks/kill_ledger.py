"""`make kill-ledger`: kill -9 of PostgreSQL and of writers, 200 times, while three writers post through the product.

What always holds: a durable PostgreSQL of our own; what was acknowledged was written to a log on the disk by whoever
posted it; the last line is one JSON object, and the exit code is 0 only when nothing acknowledged was lost, nothing is
there in part, the chain is whole and telling everything again adds nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.own_database import own_database
from benchmarks.progress import Bar

KILLS = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when nothing was lost."""
    parser = argparse.ArgumentParser(prog="kill_ledger", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    options = parser.parse_args(arguments)
    bar = Bar(options.kills)
    bar.show("starting PostgreSQL and the writers")
    begin = time.monotonic()
    with own_database("kill_ledger") as own:
        import django

        django.setup()
        from tests.trading.ledger.kills import Kills

        run = Kills(own.server, own.urls.application, os.environ, own.directory, options.seed)
        outcome = run.run(options.kills, bar.show)
    print(file=sys.stderr)
    figures: dict[str, Any] = {
        "kills": outcome.server_kills + outcome.writer_kills,
        "of_postgresql": outcome.server_kills,
        "of_writers": outcome.writer_kills,
        "acknowledged_entries": outcome.acknowledged,
        "lost_partial_or_broken": len(outcome.problems),
        "added_by_telling_everything_again": outcome.added_by_replay,
        "blocks_of_the_chain": outcome.blocks,
        "slowest_restart_seconds": round(outcome.slowest_restart, 2),
        "problems": outcome.problems[:20],
        "seed": options.seed,
        "seconds": round(time.monotonic() - begin, 1),
    }
    targets = {"kills": KILLS, "lost_partial_or_broken": 0, "added_by_telling_everything_again": 0}
    met = figures["kills"] >= KILLS and not outcome.problems and outcome.added_by_replay == 0
    print(json.dumps({"figures": figures, "targets": targets, "met": met}), flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
