"""One reconciliation of one account: catch up, look, compare, record.

What always holds: runs of an account never overlap (a lease); no transaction is open while the broker is asked; both
sides are cut at the same event of the broker's history, or nothing is compared; a broker that does not answer ends in
a FAILED run without findings; one that has had too many requests is asked nothing more, and the run is INCOMPLETE and
goes on later from the cursor; a report-only run writes nothing at all.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction

from reconciliation.domain.compare import nothing_compared, reconcile
from reconciliation.domain.findings import Findings
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.snapshots import BooksSnapshot
from reconciliation.models import Discrepancy, Run
from reconciliation.selectors.books import books_snapshot, post_trade_mark
from reconciliation.selectors.discrepancies import live
from reconciliation.selectors.policies import reconciliation_policy
from reconciliation.services.discrepancies import Observed
from reconciliation.services.runs import Reading, record_failure, record_run, slot_is_taken
from trading.brokers.counting import Wire, counting
from trading.brokers.registry import BadConnection, MissingCredentials
from trading.clock import wall_now
from trading.domain.broker import (
    Broker,
    BrokerEvent,
    BrokerNeedsLogin,
    BrokerSnapshot,
    BrokerUnreachable,
    Completeness,
    Part,
)
from trading.engine.connections import connected
from trading.engine.inflow import catch_up, holder
from trading.locks import lock_account
from trading.models import Account
from trading.services import cursors, leases, logins
from trading.services.audit import Actor
from trading.services.inbox import INFLOW

log = logging.getLogger(__name__)

ACTOR = Actor.system("reconciliation")
LEASE_SECONDS = 60
CUTS = 3
PATIENT_SECONDS, HASTY_SECONDS = 2.0, 0.5
LONGEST_WAIT_SECONDS = 40.0
"""How long a run waits between its tries altogether: well below what a task may take, so that its failure is stored."""
BUSY, SKIPPED = "BUSY", "SKIPPED"
QUIET_SECONDS = 15
"""How long a broker is left alone that has had too many requests and does not say for how long."""
BROKEN_OFF = (
    "The broker has had too many requests for now, and is left alone for {seconds} s: {error} What it had told by then "
    "is kept, nothing was concluded from the rest, and the run goes on by itself."
)
TOO_LONG = "It took longer than a task may; nothing was compared."
OVERLAP = "Another reconciliation of this account is under way; its result is the one to look at."


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run. `status` is COMPLETE, INCOMPLETE, FAILED, BUSY (another one is under way) or SKIPPED.

    `run_id` is None for a report-only run and where nothing was run. `live` and `proposals` count the account's cases
    and waiting proposals afterwards.
    """

    account: str
    status: str
    run_id: int | None = None
    completeness: str = str(Completeness.FAILED)
    error: str = ""
    findings: Findings | None = None
    observed: Observed | None = None
    live: int = 0
    proposals: int = 0

    @property
    def ok(self) -> bool:
        """True when both sides were read completely and compared, whatever was found."""
        return self.status == Run.Status.COMPLETE


@dataclass(frozen=True, slots=True)
class _Sides:
    broker: BrokerSnapshot
    books: BooksSnapshot
    read_at: datetime
    mark: str


class _BrokenOff(Exception):
    """The broker has had too many requests."""


class _Overtaken(Exception):
    """The lease passed to another run."""


@dataclass(frozen=True, slots=True)
class _Keep:
    """The lease of a run that writes; None for one that does not."""

    held: tuple[str, int] | None

    def lease(self) -> None:
        """Hold it a while longer. Raises _Overtaken when it is no longer ours."""
        if self.held is not None and not leases.renew(key=self.held[0], token=self.held[1], seconds=LEASE_SECONDS):
            raise _Overtaken


def run_reconciliation(
    *,
    account: Account,
    trigger: str,
    report_only: bool = False,
    scheduled_for: datetime | None = None,
    broker: Broker | None = None,
) -> RunResult:
    """Reconcile the account now. Never raises for what the broker does: that is in the result and in the run.

    `trigger` is one of `Run.Trigger`. A manual run retries quickly, the others patiently.
    """
    if report_only:
        return _attempt(account, trigger, scheduled_for, broker, report_only=True, lease=None)
    key = lease_key(account)
    token = leases.acquire(key=key, holder=holder(), seconds=LEASE_SECONDS)
    if token is None:
        return _result(account, BUSY, error=OVERLAP)
    try:
        if scheduled_for is not None and slot_is_taken(account, trigger, scheduled_for):
            return _result(account, SKIPPED)
        return _attempt(account, trigger, scheduled_for, broker, report_only=False, lease=(key, token))
    finally:
        leases.release(key=key, token=token)


def lease_key(account: Account) -> str:
    """The lease that whoever reconciles the account holds."""
    return f"reconcile:{account.pk}"


def _attempt(
    account: Account,
    trigger: str,
    scheduled_for: datetime | None,
    broker: Broker | None,
    *,
    report_only: bool,
    lease: tuple[str, int] | None,
) -> RunResult:
    policy = reconciliation_policy(account)
    started_at, cursor = wall_now(), cursors.get(account, INFLOW)
    keep = _Keep(lease)
    nothing: Findings | None = None
    try:
        with counting() as wire:
            try:
                with connected(account, broker) as port:
                    sides = _read_with_patience(account, port, policy, trigger, report_only, keep, wire)
            except _BrokenOff as error:
                sides = _unread(account)
                note = str(error) if report_only else BROKEN_OFF.format(seconds=_quiet(wire), error=error)
                nothing = nothing_compared(sides.broker, sides.books, note)
        keep.lease()  # whoever lost it must not write: a later run may have seen more
    except _Overtaken:
        return _result(account, BUSY, error=OVERLAP)
    except (BrokerUnreachable, MissingCredentials, BadConnection, SoftTimeLimitExceeded) as error:
        why = TOO_LONG if isinstance(error, SoftTimeLimitExceeded) else str(error)
        log.warning("%s: reconciliation failed: %s", account.name, why)
        if report_only:
            return _result(account, Run.Status.FAILED, error=why)
        try:
            keep.lease()
        except _Overtaken:
            return _result(account, BUSY, error=OVERLAP)
        if isinstance(error, BrokerNeedsLogin):
            logins.turned_away(account, error)
        run = record_failure(
            account=account,
            trigger=trigger,
            scheduled_for=scheduled_for,
            started_at=started_at,
            error=why,
            policy=policy,
            reading=Reading(wire.requests, cursor),
            actor=ACTOR,
        )
        return _result(account, Run.Status.FAILED, run_id=run.pk, error=why)
    findings = nothing or reconcile(sides.broker, sides.books, policy)
    complete = findings.completeness is Completeness.COMPLETE
    doubt = "" if complete else " ".join(findings.notes)
    if report_only:
        status = Run.Status.COMPLETE if complete else Run.Status.INCOMPLETE
        return _result(account, status, findings=findings, error=doubt)
    recorded = record_run(
        account=account,
        trigger=trigger,
        scheduled_for=scheduled_for,
        started_at=started_at,
        read_at=sides.read_at,
        broker=sides.broker,
        books=sides.books,
        findings=findings,
        policy=policy,
        mark=sides.mark,
        reading=Reading(wire.requests, cursor, _quiet(wire) if wire.too_many and not complete else None),
        actor=ACTOR,
    )
    if nothing is None:
        logins.let_in(account)
    return _result(
        account,
        recorded.run.status,
        run_id=recorded.run.pk,
        findings=findings,
        observed=recorded.observed,
        error=doubt,
    )


def _read_with_patience(
    account: Account,
    broker: Broker,
    policy: ReconciliationPolicy,
    trigger: str,
    report_only: bool,
    keep: _Keep,
    wire: Wire,
) -> _Sides:
    """Both sides, with the policy's retries, whose waits grow as far as they fit into `LONGEST_WAIT_SECONDS`.

    Raises BrokerUnreachable when the last try fails too, and _BrokenOff when no further try would be welcome.
    """
    base = HASTY_SECONDS if trigger == Run.Trigger.MANUAL else PATIENT_SECONDS
    tries = max(policy.max_retries, 1)
    for number in range(tries):
        try:
            return _read(account, broker, report_only, keep)
        except BrokerNeedsLogin:
            raise  # asking again cannot help: a person must act first
        except BrokerUnreachable as error:
            if wire.too_many:
                raise _BrokenOff(str(error)) from error
            if number == tries - 1:
                raise
            time.sleep(min(base * 2**number, LONGEST_WAIT_SECONDS / (tries - 1)))
    raise AssertionError("unreachable: the last try returns or raises")


def _read(account: Account, broker: Broker, report_only: bool, keep: _Keep) -> _Sides:
    """Both sides at the same cut, if the broker's history stands still long enough."""
    for _ in range(CUTS):
        keep.lease()
        unread: Sequence[BrokerEvent] = ()
        cut: str | None = None
        if report_only:
            unread, cut = _peek(account, broker)
        else:
            catch_up(account=account, broker=broker)
        shown = broker.snapshot()
        with transaction.atomic():
            lock_account(account.pk)
            read_at = wall_now()
            books = books_snapshot(account, broker=shown, unread=unread, cut=cut)
            mark = post_trade_mark(account)
        if books.cut_event_id == shown.last_event_id:
            break
    return _Sides(shown, books, read_at, mark)


def _unread(account: Account) -> _Sides:
    """The books as they stand, beside a broker that has shown nothing: cut where the history was read up to."""
    with transaction.atomic():
        lock_account(account.pk)
        read_at = wall_now()
        books = books_snapshot(account)
        mark = post_trade_mark(account)
    nothing = Part(Completeness.FAILED, "it was not read")
    shown = BrokerSnapshot(
        account_id=account.external_id,
        currency=account.currency,
        at=books.at,
        last_event_id=books.cut_event_id,
        cash={},
        cash_part=nothing,
        positions=(),
        positions_part=nothing,
        orders=(),
        orders_part=nothing,
    )
    return _Sides(shown, books, read_at, mark)


def _quiet(wire: Wire) -> int:
    """For how many seconds the broker is left alone."""
    return QUIET_SECONDS if wire.retry_after is None else math.ceil(wire.retry_after)


def _peek(account: Account, broker: Broker) -> tuple[list[BrokerEvent], str]:
    """The history after our cursor, read and not stored."""
    cursor = cursors.get(account, INFLOW)
    events: list[BrokerEvent] = []
    while True:
        page = broker.events_since(cursor)
        if page.completeness is not Completeness.COMPLETE:
            raise BrokerUnreachable(f"{account.name}: the history has a gap: {page.reason}")
        events.extend(page.events)
        if not page.events or page.cursor == cursor:
            return events, cursor
        cursor = page.cursor


def _result(
    account: Account,
    status: str,
    *,
    run_id: int | None = None,
    findings: Findings | None = None,
    observed: Observed | None = None,
    error: str = "",
) -> RunResult:
    waiting = [Discrepancy.State.PROPOSED, Discrepancy.State.APPROVED]
    return RunResult(
        account=account.name,
        status=str(status),
        run_id=run_id,
        completeness=str(findings.completeness if findings is not None else Completeness.FAILED),
        error=error,
        findings=findings,
        observed=observed,
        live=live(account).count(),
        proposals=live(account).filter(state__in=waiting).count(),
    )
