"""Inflow: fetch what happened at the broker since the cursor, and hand it to the inbox.

What always holds: one reader per account at a time (a lease); no transaction is open while the socket is; the cursor
moves with the rows it stands for; a page with a gap moves it only up to the gap; events of a stream are taken only
when they follow the cursor exactly, otherwise the history is asked.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from trading.domain.broker import BrokerEvent, BrokerUnreachable, BrokerWentBack, Completeness, OrderPort
from trading.failpoints import failpoint
from trading.locks import lock_account
from trading.models import Account
from trading.services import cursors, leases, restrictions
from trading.services.audit import Actor
from trading.services.inbox import INFLOW, Received, receive
from trading.services.notifications import note

# So many events are booked in one transaction: it holds the append lock, for which everybody else who writes waits.
BATCH = 20
# Longer than one answer and the booking of one batch take: it is renewed between them, so that the lease of a reader
# that died does not keep the others waiting for long.
LEASE_SECONDS = 10
WENT_BACK = "broker went back"


def holder() -> str:
    """This process, for leases."""
    return f"{socket.gethostname()}:{os.getpid()}"


def catch_up(*, account: Account, broker: OrderPort, wait_seconds: float = 5.0) -> Received:
    """Read on from the cursor until the broker has nothing newer.

    Raises BrokerUnreachable when the broker does not answer, or when another reader keeps the lease for longer than
    `wait_seconds`.
    """
    if account.is_paper_book:
        return _read_on(account, broker, lambda: None)  # in this very process: nobody else can read it
    with _only_reader(account, wait_seconds) as go_on:
        try:
            return _read_on(account, broker, go_on)
        except BrokerWentBack as error:
            _stop_entries(account, str(error))
            raise


@transaction.atomic
def _stop_entries(account: Account, reason: str) -> None:
    """What the broker shows is older than what it showed: no new risk until a person has asked it. Said once."""
    restrictions.restrict(
        account=account, level=restrictions.REDUCE_ONLY, source=WENT_BACK, reason=reason, actor=Actor.system("inflow")
    )
    note(
        key=f"went-back:{account.pk}:{cursors.get(account, INFLOW)}",
        level="CRITICAL",
        text=f"{account.name}: {reason} Entries are blocked; lift the restriction once the broker has explained it.",
    )


def take(*, account: Account, events: Sequence[BrokerEvent], wait_seconds: float = 5.0) -> Received | None:
    """Take events that a stream told. None when they do not follow the cursor: the history must be asked then.

    Events that were read before change nothing. Raises BrokerUnreachable as `catch_up` does.
    """
    with _only_reader(account, wait_seconds), transaction.atomic():
        lock_account(account.pk)
        cursor = cursors.get(account, INFLOW)
        if not cursor.isdecimal():
            return None
        new = [event for event in events if event.sequence > int(cursor)]
        if not new:
            return Received()
        if [event.sequence for event in new] != list(range(int(cursor) + 1, int(cursor) + 1 + len(new))):
            return None
        return receive(account=account, events=new, cursor=new[-1].external_id)


@contextmanager
def _only_reader(account: Account, wait_seconds: float) -> Iterator[Callable[[], None]]:
    """Read alone; what is given must be called between answers, and raises BrokerUnreachable once we do no more."""
    key = f"inflow:{account.pk}"
    token = leases.acquire(key=key, holder=holder(), seconds=LEASE_SECONDS)
    deadline = time.monotonic() + wait_seconds
    while token is None:
        if time.monotonic() > deadline:
            raise BrokerUnreachable(f"{account.name}: another process is still reading the broker's history")
        time.sleep(0.05)
        token = leases.acquire(key=key, holder=holder(), seconds=LEASE_SECONDS)

    def go_on() -> None:
        if not leases.renew(key=key, token=token, seconds=LEASE_SECONDS):
            raise BrokerUnreachable(f"{account.name}: another process reads the broker's history by now")

    try:
        yield go_on
    finally:
        _give_back(key, token)


def _give_back(key: str, token: int) -> None:
    """Release the lease, on a new connection where ours is lost: the others need not wait until it has run out."""
    try:
        leases.release(key=key, token=token)
    except (OperationalError, InterfaceError):
        connection.close()
        with suppress(DatabaseError):  # nobody answers: it runs out by itself
            leases.release(key=key, token=token)


def _read_on(account: Account, broker: OrderPort, go_on: Callable[[], None]) -> Received:
    total = Received()
    while True:
        before = cursors.get(account, INFLOW)
        page = broker.events_since(before)
        if page.completeness is Completeness.FAILED:
            raise BrokerUnreachable(f"{account.name}: {page.reason}")
        if page.events:
            failpoint("events_read")
        for start in range(0, len(page.events), BATCH):
            go_on()
            chunk = page.events[start : start + BATCH]
            last = start + BATCH >= len(page.events)
            result = receive(account=account, events=chunk, cursor=page.cursor if last else chunk[-1].external_id)
            if result.stored:
                failpoint("booked")
            total.stored += result.stored
            total.repeated += result.repeated
            total.posted_fills += result.posted_fills
            total.changed += result.changed
            total.held += result.held
        moved = bool(page.events) and page.cursor != before
        if page.completeness is not Completeness.COMPLETE and not moved:
            raise BrokerUnreachable(f"{account.name}: the history cannot be read on ({page.reason})")
        if not moved:
            if page.cursor != before:  # nothing happened, and the broker's list stands elsewhere: an older state of it
                cursors.put(account=account, name=INFLOW, value=page.cursor)
            return total
