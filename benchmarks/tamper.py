"""`make tamper`: 1,000 times a superuser changes what was written; every time it is found, and the row named.

What always holds: a PostgreSQL of our own with small rich books; what is done depends on the seed alone; the last line
is one JSON object, and the exit code is 0 only when nothing was missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.own_database import FAST, own_database
from benchmarks.progress import Bar

TIMES, SEED = 1000, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every tampering was found and named."""
    parser = argparse.ArgumentParser(prog="tamper", description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    bar = Bar(options.times)
    bar.show("making the books")
    begin = time.monotonic()
    with own_database("tamper", FAST) as own:
        import django

        django.setup()
        from django.db import connections

        from backoffice.desk import logins
        from tests.trading.ledger.tampering import Tamperer
        from tests.trading.ledger.world import make_books

        make_books()
        connections.close_all()
        tamperer = Tamperer(logins.superuser_url(own.server, own.name), options.seed)
        clean = tamperer.findings() == []
        for _ in range(options.times):
            tamperer.tamper()
            bar.show("found" if not tamperer.score.missed else f"{len(tamperer.score.missed)} missed", 1)
        score = tamperer.score
        tables, blocks = len(tamperer.tables), tamperer.head[0]
        tamperer.close()
    print(file=sys.stderr)
    figures: dict[str, Any] = {
        "tampered": score.tampered.total(),
        "of_each_kind": dict(score.tampered),
        "found": score.tampered.total() - len(score.missed),
        "row_or_block_named": score.tampered.total() - len(score.missed) - len(score.unnamed),
        "of_them_exactly_the_row": score.named_exactly,
        "tables": tables,
        "blocks": blocks,
        "problems": [*score.missed, *score.unnamed][:20],
        "seed": options.seed,
        "seconds": round(time.monotonic() - begin, 1),
    }
    targets = {"tampered": TIMES, "found": TIMES, "row_or_block_named": TIMES}
    met = clean and all(figures[name] >= wanted for name, wanted in targets.items())
    print(json.dumps({"figures": figures, "targets": targets, "met": met}), flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
