"""A run and everything it found, written in one transaction.

What always holds: snapshots, run, steps of the cases, the post-trade mark and the audit commit together or not at
all; a FAILED run has an error, no findings, and touches no case; a slot of the schedule is run once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from reconciliation.domain.findings import Findings
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.snapshots import BooksSnapshot, broker_text
from reconciliation.models import Run, Snapshot
from reconciliation.selectors.books import POST_TRADE
from reconciliation.selectors.discrepancies import blocking
from trading.clock import now
from trading.domain.broker import BrokerSnapshot, Completeness
from trading.domain.canonical import canonical_json, sha256_hex
from trading.failpoints import failpoint
from trading.locks import lock_account
from trading.models import Account, Restriction
from trading.services import audit, cursors, restrictions
from trading.services.audit import Actor

from .discrepancies import CONFIRMED, Observed, carry_out, plan_steps, stored, tally

STARTUP = "startup"
# Of a run that is not complete: by which parts of the answer it may move cases all the same.
PARTS = "complete_parts"


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
        parts=findings.complete_parts,
    )
    observed = tally(steps, rows)
    shown = broker_text(broker)
    theirs = _snapshot(account, Snapshot.Side.BROKER, broker.completeness, broker.last_event_id, shown, at)
    ours = _snapshot(account, Snapshot.Side.BOOKS, Completeness.COMPLETE, books.cut_event_id, books.text(), at)
    run = Run.objects.create(
        at=at,
        account=account,
        trigger=trigger,
        scheduled_for=scheduled_for,
        started_at=started_at,
        status=Run.Status.COMPLETE if complete else Run.Status.INCOMPLETE,
        completeness=findings.completeness,
        error="" if complete else " ".join(findings.notes)[:500],
        cut_event_id=books.cut_event_id,
        broker_snapshot=theirs,
        books_snapshot=ours,
        policy_id=account.policy_id,
        counts=_counts(findings, observed, policy),
        findings=stored([finding.recorded() for finding in findings.findings]),
        proof=stored(findings.proof_recorded()),
        sha256=sha256_hex(canonical_json([theirs.sha256, ours.sha256, policy.recorded(), findings.text()])),
    )
    carry_out(account=account, run=run, steps=steps, rows=rows, actor=actor)
    failpoint("cases_written")
    if complete:
        cursors.put(account=account, name=POST_TRADE, value=mark)
        _lift_startup(account, actor)
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
    *, account: Account, trigger: str, scheduled_for: datetime | None, started_at: datetime, error: str, actor: Actor
) -> Run:
    """Store a run that could not read the broker. No case is touched; a failed start keeps entries blocked."""
    lock_account(account.pk)
    run = Run.objects.create(
        at=now(account),
        account=account,
        trigger=trigger,
        scheduled_for=scheduled_for,
        started_at=started_at,
        status=Run.Status.FAILED,
        completeness=Completeness.FAILED,
        error=error[:500],
        policy_id=account.policy_id,
    )
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


def slot_is_taken(account: Account, trigger: str, scheduled_for: datetime) -> bool:
    """True when a run of that slot is stored already."""
    return Run.objects.filter(account=account, trigger=trigger, scheduled_for=scheduled_for).exists()


def _lift_startup(account: Account, actor: Actor) -> None:
    """After a complete run: entries begin, unless something grave stands that no lock of an instrument covers."""
    standing = list(Restriction.objects.filter(account=account, source=STARTUP, lifted_at=None).order_by("pk"))
    grave = blocking(account).exclude(instrument__isnull=False, state__in=CONFIRMED).order_by("pk").first()
    if grave is None:
        reason = "a complete reconciliation found no difference of high or critical severity that is not locked"
    else:
        reason = f"{grave.kind} {grave.key} stands: entries wait until it is resolved"[:300]
        standing = [restriction for restriction in standing if restriction.reason != reason]
    for restriction in standing:
        restrictions.lift(restriction=restriction, actor=actor, reason=reason)
    if grave is not None and standing:
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
            **({} if findings.completeness is Completeness.COMPLETE else {PARTS: sorted(findings.complete_parts)}),
        }
    )
    return counts
