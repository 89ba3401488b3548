"""A run and everything it found, written in one transaction.

What always holds: snapshots, run, steps of the cases, the post-trade mark and the audit commit together or not at
all; a FAILED run has an error and no findings, and touches no case but those of what cannot be read; a slot of the
schedule is run once; what was compared has one hash, whenever it was compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from reconciliation.domain.fetches import read_parts
from reconciliation.domain.findings import Findings
from reconciliation.domain.kinds import Confidence
from reconciliation.domain.lifecycle import EVERY_PART
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.rules import RULES_VERSION
from reconciliation.domain.run_hash import run_sha256
from reconciliation.domain.snapshots import BooksSnapshot, broker_text
from reconciliation.models import Discrepancy, Run, Snapshot
from reconciliation.selectors.books import POST_TRADE
from reconciliation.selectors.discrepancies import blocking
from reconciliation.selectors.opening import is_waiting
from reconciliation.selectors.runs import COMPLETE_PARTS, WAIT, broken_off
from reconciliation.statements.compare import STATEMENT
from trading.clock import now, wall_now
from trading.domain.broker import BrokerSnapshot, Completeness
from trading.domain.canonical import sha256_hex
from trading.failpoints import failpoint
from trading.locks import lock_account
from trading.models import Account, Notification, Restriction
from trading.services import audit, cursors, restrictions
from trading.services.audit import Actor
from trading.services.inbox import INFLOW

from . import alerts
from .cases_bulk import carry_out
from .discrepancies import CONFIRMED, Observed, plan_steps, stored, tally
from .fetches import of_the_sides, plan_fetches
from .mass import judge

STARTUP = "startup"
STALLED, RESUMED = "run-overdue", "run-resumed"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a run has read the broker: the requests it sent, and where the history's cursor stood before.

    `wait_seconds`: the broker has broken the run off with "too many requests", and is left alone for so long.
    """

    requests: int
    cursor_from: str
    wait_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A stored run and what it did."""

    run: Run
    observed: Observed


@transaction.atomic
def record_run(
    *,
    account: Account,
    trigger: str,
    scheduled_for: datetime | None,
    started_at: datetime,
    read_at: datetime,
    broker: BrokerSnapshot,
    books: BooksSnapshot,
    findings: Findings,
    policy: ReconciliationPolicy,
    mark: str,
    reading: Reading,
    actor: Actor,
) -> Recorded:
    """Store a comparison. `read_at` is the wall time at which the books were read, `mark` their post-trade mark."""
    lock_account(account.pk)
    at = now(account)
    complete = findings.completeness is Completeness.COMPLETE
    steps, rows = plan_steps(
        account=account,
        findings=findings.findings,
        complete=complete,
        at=at,
        read_at=read_at,
        policy=policy,
        concerns=of_the_sides,
        parts=findings.complete_parts,
    )
    error = "" if complete else " ".join(findings.notes)[:500]
    read = read_parts(EVERY_PART if complete else findings.complete_parts)
    of_fetches, failing = plan_fetches(account=account, read=read, error=error, at=at, policy=policy)
    every, rows = (*steps, *of_fetches), {**rows, **failing}
    observed = tally(every, rows)
    stood = alerts.stood_before(rows)
    shown, kept = broker_text(broker), books.text()
    theirs = _snapshot(account, Snapshot.Side.BROKER, broker.completeness, broker.last_event_id, shown, at)
    ours = _snapshot(account, Snapshot.Side.BOOKS, Completeness.COMPLETE, books.cut_event_id, kept, at)
    run = Run.objects.create(
        at=at,
        account=account,
        trigger=trigger,
        scheduled_for=scheduled_for,
        started_at=started_at,
        status=Run.Status.COMPLETE if complete else Run.Status.INCOMPLETE,
        completeness=findings.completeness,
        error=error,
        cut_event_id=books.cut_event_id,
        broker_snapshot=theirs,
        books_snapshot=ours,
        policy_id=account.policy_id,
        counts={**_counts(findings, observed, policy), **_left_off(findings, reading)},
        findings=stored([finding.recorded() for finding in findings.findings]),
        proof=stored(findings.proof_recorded()),
        sha256=run_sha256(broker=(shown, broker.at), books=(kept, books.at), policy=policy, findings=findings),
        rules_version=RULES_VERSION,
        requests=reading.requests,
        cursor_from=reading.cursor_from,
        cursor_to=books.cut_event_id,
        resumes=broken_off(account),
    )
    carry_out(account=account, run=run, steps=every, rows=rows, actor=actor)
    mass = judge(account=account, steps=steps, complete=complete, limit=policy.mass_difference_at, actor=actor)
    cap = policy.alert_cap
    alerts.tell(account=account, run=run, steps=every, rows=rows, stood=stood, cap=cap, mass=mass)
    alerts.tell_waiting(account=account, run=run, cap=cap)
    failpoint("cases_written")
    if complete:
        cursors.put(account=account, name=POST_TRADE, value=mark)
        _lift_startup(account, actor)
    elif trigger == Run.Trigger.STARTUP:
        block_until_reconciled(
            account=account, reason=f"the start-up reconciliation is not complete: {error}"[:300], actor=actor
        )
    audit.record(
        kind="reconciliation.run",
        actor=actor,
        account=account,
        obj=run,
        after={"status": run.status, "trigger": trigger, **run.counts},
        level="INFO" if complete else "WARNING",
        reason=run.error,
        at=at,
    )
    return Recorded(run, observed)


@transaction.atomic
def record_failure(
    *,
    account: Account,
    trigger: str,
    scheduled_for: datetime | None,
    started_at: datetime,
    error: str,
    policy: ReconciliationPolicy,
    reading: Reading,
    actor: Actor,
) -> Run:
    """Store a run that could not read the broker. Only the cases of what cannot be read are touched.

    A failed start keeps entries blocked.
    """
    lock_account(account.pk)
    at = now(account)
    steps, rows = plan_fetches(account=account, read=(), error=error, at=at, policy=policy)
    stood = alerts.stood_before(rows)
    run = Run.objects.create(
        at=at,
        account=account,
        trigger=trigger,
        scheduled_for=scheduled_for,
        started_at=started_at,
        status=Run.Status.FAILED,
        completeness=Completeness.FAILED,
        error=error[:500],
        policy_id=account.policy_id,
        counts={COMPLETE_PARTS: [str(Confidence.ANSWER)]},
        rules_version=RULES_VERSION,
        requests=reading.requests,
        cursor_from=reading.cursor_from,
        cursor_to=cursors.get(account, INFLOW),
        resumes=broken_off(account),
    )
    carry_out(account=account, run=run, steps=steps, rows=rows, actor=actor)
    alerts.tell(account=account, run=run, steps=steps, rows=rows, stood=stood, cap=policy.alert_cap)
    alerts.tell_waiting(account=account, run=run, cap=policy.alert_cap)
    if trigger == Run.Trigger.STARTUP:
        block_until_reconciled(account=account, reason=f"the start-up reconciliation failed: {error}", actor=actor)
    audit.record(
        kind="reconciliation.failed", actor=actor, account=account, obj=run, level="WARNING", reason=error, at=run.at
    )
    return run


def block_until_reconciled(*, account: Account, reason: str, actor: Actor) -> Restriction:
    """No entries on the account until a complete run finds nothing grave; exits stay possible."""
    return restrictions.restrict(
        account=account, level=restrictions.REDUCE_ONLY, source=STARTUP, reason=reason, actor=actor
    )


@transaction.atomic
def block_anew(*, account: Account, reason: str, actor: Actor) -> Restriction:
    """The same for a start: a block that stands from before ends with it, so that its time is that of the start."""
    lock_account(account.pk)
    before = Restriction.objects.filter(account=account, source=STARTUP, lifted_at=None).exclude(reason=reason)
    for restriction in before.order_by("pk"):
        restrictions.lift(restriction=restriction, actor=actor, reason=reason)
    return block_until_reconciled(account=account, reason=reason, actor=actor)


@transaction.atomic
def note_missed(*, account: Account, missed: int, actor: Actor) -> None:
    """Say that slots of the schedule passed without a run."""
    lock_account(account.pk)
    audit.record(
        kind="reconciliation.overdue",
        actor=actor,
        account=account,
        level="WARNING",
        after={"missed": missed},
        reason=f"{missed} scheduled reconciliations of {account.name} were not run; the next one runs now",
    )


@transaction.atomic
def note_stalled(*, account: Account, last: Run | None, since: datetime, why: str, actor: Actor) -> None:
    """Tell people that the account's run is overdue. Said once for each `last` look; `since` is wall time.

    The account is not locked: the run that hangs may hold it. Of several who tell it at once the key lets one.
    """
    key = f"{STALLED}:{account.pk}:{last.pk if last is not None else 0}"
    text = (
        f"{account.name} has not been compared with its broker since {since:%Y-%m-%d %H:%M:%S} UTC, though it is due. "
        f"{why} Until then differences with the broker are not seen; orders and exits go on. Look at the workers with "
        f"`manage.py health`, and run `manage.py reconcile --account {account.name}` if it lasts."
    )
    if not _is_told_first(key, text, level="WARNING"):
        return
    audit.record(
        kind="reconciliation.stalled",
        actor=actor,
        account=account,
        obj=account,
        level="WARNING",
        after={"since": since.isoformat(), "last_run": last.pk if last is not None else None},
        reason=text,
    )


def stalled_after(account: Account) -> int | None:
    """The look after which the account's runs were last told to be overdue, if their return was not told yet."""
    told = Notification.objects.filter(key__startswith=f"{STALLED}:{account.pk}:").order_by("-id").first()
    if told is None:
        return None
    last = int(told.key.rsplit(":", 1)[1])
    return None if Notification.objects.filter(key=f"{RESUMED}:{account.pk}:{last}").exists() else last


@transaction.atomic
def note_resumed(*, account: Account, stalled: int, run: Run, actor: Actor) -> None:
    """Tell people, once, that the account is compared again, after it was overdue since the look `stalled`."""
    key = f"{RESUMED}:{account.pk}:{stalled}"
    text = f"{account.name} is compared with its broker again: run {run.pk} ended {run.status}."
    if not _is_told_first(key, text):
        return
    audit.record(
        kind="reconciliation.resumed",
        actor=actor,
        account=account,
        obj=run,
        after={"run": run.pk},
        reason=text,
    )


def _is_told_first(key: str, text: str, level: str = "INFO") -> bool:
    """Tell people; False where it was told under that key before."""
    row = {"text": text, "level": level, "at": wall_now()}
    return Notification.objects.get_or_create(key=key, defaults=row)[1]


def slot_is_taken(account: Account, trigger: str, scheduled_for: datetime) -> bool:
    """True when a run of that slot is stored already."""
    return Run.objects.filter(account=account, trigger=trigger, scheduled_for=scheduled_for).exists()


def keep_entries_waiting(account: Account) -> QuerySet[Discrepancy]:
    """The cases that let no entry begin after a start: grave ones that no lock of an instrument covers.

    What only a statement tells of is about the past, and no look at the broker could ever end it.
    """
    grave = blocking(account).exclude(instrument__isnull=False, state__in=CONFIRMED)
    return grave.exclude(evidence__evidence__has_key=STATEMENT)


def _lift_startup(account: Account, actor: Actor) -> None:
    """After a complete run: entries begin, unless something grave stands that no lock of an instrument covers.

    While the opening balance of an account waits they are blocked, whether or not a start has blocked them.
    """
    standing = list(Restriction.objects.filter(account=account, source=STARTUP, lifted_at=None).order_by("pk"))
    grave = keep_entries_waiting(account).order_by("pk").first()
    if grave is None:
        reason = "a complete reconciliation found no difference of high or critical severity that is not locked"
    else:
        reason = f"{grave.kind} {grave.key} stands: entries wait until it is resolved"[:300]
        standing = [restriction for restriction in standing if restriction.reason != reason]
    for restriction in standing:
        restrictions.lift(restriction=restriction, actor=actor, reason=reason)
    if grave is not None and (standing or is_waiting(account)):
        block_until_reconciled(account=account, reason=reason, actor=actor)


def _snapshot(account: Account, side: str, completeness: str, last: str, body: str, at: datetime) -> Snapshot:
    return Snapshot.objects.create(
        at=at,
        account=account,
        side=side,
        completeness=completeness,
        last_event_id=last,
        body=body,
        sha256=sha256_hex(body),
    )


def _counts(findings: Findings, observed: Observed, policy: ReconciliationPolicy) -> dict[str, Any]:
    counts: dict[str, Any] = stored(
        {
            "findings": len(findings.findings),
            "suspected": observed.suspected,
            "opened": observed.opened,
            "reopened": observed.reopened,
            "closed": observed.closed,
            "cleared": observed.cleared,
            "accepted": observed.accepted,
            "flattened": observed.flattened,
            "linked": findings.linked,
            "broker_positions": findings.broker_positions,
            "books_positions": findings.books_positions,
            "notes": list(findings.notes),
            "tolerances": policy.recorded(),
        }
    )
    return counts


def _left_off(findings: Findings, reading: Reading) -> dict[str, Any]:
    """Of a run that is not complete: what it has read nevertheless, and when it may be taken up again."""
    if findings.completeness is Completeness.COMPLETE:
        return {}
    parts = {str(part) for part in (*findings.complete_parts, Confidence.ANSWER)}
    wait = {} if reading.wait_seconds is None else {WAIT: reading.wait_seconds}
    return {COMPLETE_PARTS: sorted(parts), **wait}
