"""Writers that somebody kills: they post through the product's inbox and write down what was acknowledged.

`python -m tests.trading.ledger.writer prepare|write|replay DIRECTORY NUMBER`. What always holds: event number n of a
writer is the same whoever tells it again; a line in the log is on the disk after the commit and before the next event;
whoever is killed is followed by another, who begins with the event after the last one that was acknowledged.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import django

ACCOUNTS = 3
BATCH = 200


def log_of(directory: Path, number: int) -> Path:
    """Where a writer writes down what was acknowledged, one event number a line."""
    return directory / f"acknowledged-{number}"


def pid_of(directory: Path, number: int) -> Path:
    """Where the process that writes just now says its number."""
    return directory / f"writing-{number}"


def acknowledged(directory: Path, number: int) -> int:
    """The last event that was acknowledged; a torn line counts as none."""
    log = log_of(directory, number)
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return max((int(line) for line in lines if line.endswith("\n") and line.strip().isdigit()), default=0)


def prepare() -> None:
    """An account and an order for each writer."""
    from tests.trading.services import making

    for number in range(ACCOUNTS):
        making.make_entry(making.make_account(f"writer-{number}"), quantity="1000000000")


def event(number: int, place: int) -> object:
    """Event `place` of a writer: two fills, then a movement of cash."""
    from tests.trading.services import making
    from trading.models import Order

    if place % 3 == 0:
        return making.cash_of(place, "TRANSFER", f"{place}.25")
    order = Order.objects.select_related("account", "instrument").get(account__name=f"writer-{number}")
    return making.fill_of(place, order, f"{place}", "1.1", commission="-0.5")


def write(directory: Path, number: int) -> None:
    """Until killed: the next event, posted, acknowledged, written down."""
    from django.db import DatabaseError, connection

    from tests.trading.services import making
    from trading.models import Account

    done = acknowledged(directory, number)
    with log_of(directory, number).open("a") as log:
        log.write("\n")  # after a torn line
        while True:
            try:
                account = Account.objects.get(name=f"writer-{number}")
                making.receive(account, event(number, done + 1))  # type: ignore[arg-type]
            except DatabaseError:  # the server is gone; the same event again, when it is back
                connection.close()
                time.sleep(0.05)
                continue
            done += 1
            log.write(f"{done}\n")
            log.flush()
            os.fsync(log.fileno())


def keep_writing(directory: Path, number: int) -> None:
    """One writer after the other: a killed one is followed by the next."""
    while True:
        child = os.fork()
        if child == 0:
            write(directory, number)
        pid_of(directory, number).write_text(str(child))
        os.waitpid(child, 0)


def replay(directory: Path, number: int) -> None:
    """Tell everything again that was acknowledged."""
    from tests.trading.services import making
    from trading.models import Account

    account, last = Account.objects.get(name=f"writer-{number}"), acknowledged(directory, number)
    for first in range(1, last + 1, BATCH):
        batch = [event(number, place) for place in range(first, min(first + BATCH, last + 1))]
        making.receive(account, *batch)  # type: ignore[arg-type]


if __name__ == "__main__":
    verb, where, which = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    django.setup()
    if verb == "prepare":
        prepare()
    elif verb == "write":
        keep_writing(where, which)
    else:
        replay(where, which)
