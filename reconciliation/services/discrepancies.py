"""The one writer of discrepancies: every step of a case, with its event and its audit, in the caller's transaction.

What always holds: callers hold the account's lock; `state` changes only here, together with a DiscrepancyEvent; a
new version of the matter takes the proposal off the case; the restriction on an instrument stands exactly while a
confirmed case of high or critical severity about it is alive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Max, Q

from reconciliation.domain.findings import Finding
from reconciliation.domain.fingerprint import fingerprint
from reconciliation.domain.kinds import Action
from reconciliation.domain.lifecycle import ENDED, QUIET, Case, State, Step, StepKind, plan
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.models import Discrepancy, DiscrepancyEvent, Run
from reconciliation.selectors.discrepancies import BLOCKING, application_of
from trading.clock import now, wall_now
from trading.domain.canonical import canonical_json
from trading.domain.orders import TERMINAL, OrderState
from trading.models import Account, Application, Instrument, Notification, Order, Proposal, Restriction
from trading.services import audit, restrictions
from trading.services.audit import Actor

LOCK_SOURCE = restrictions.RECONCILIATION
ACCEPTED = f"reconciliation.{Action.ACCEPT}"
CONFIRMED = [State.OPEN, State.PROPOSED, State.APPROVED, State.APPLIED]
MATTER = ("events", "evidence", "explains", "actions", "suggestion", "substance")


@dataclass(slots=True)
class Observed:
    """What one run's findings did to the cases, by number."""

    suspected: int = 0
    opened: int = 0
    cleared: int = 0
    closed: int = 0
    reopened: int = 0
    accepted: int = 0
    flattened: int = 0
    steps: list[tuple[Step, Discrepancy]] = field(default_factory=list)

    @property
    def resolved(self) -> int:
        """Cases that this run ended."""
        return self.cleared + self.closed


def account_identity(account: Account) -> str:
    """The text that names an account in fingerprints, for ever."""
    return ":".join([account.broker, account.environment, account.scope, account.external_id])


def stored(value: Any) -> Any:
    """A value as JSON columns keep it: decimals as plain text."""
    return json.loads(canonical_json(value))


def plan_steps(
    *,
    account: Account,
    findings: tuple[Finding, ...],
    complete: bool,
    at: datetime,
    read_at: datetime,
    policy: ReconciliationPolicy,
) -> tuple[tuple[Step, ...], dict[str, Discrepancy]]:
    """What a run will do to the cases, and the locked rows. `read_at` is the wall time at which the books were read."""
    found = {fingerprint(account=account_identity(account), kind=f.kind, key=f.key): f for f in findings}
    accepted = Q(state=State.CLOSED, proposal__kind=ACCEPTED)
    concerned = Q(state__in=Discrepancy.LIVE) | Q(fingerprint__in=found) | accepted
    locked_rows = Discrepancy.objects.select_for_update(no_key=True, of=("self",)).filter(account=account)
    rows = {row.fingerprint: row for row in locked_rows.filter(concerned).order_by("pk")}
    standing = {name: _case(row, read_at) for name, row in rows.items()}
    return plan(standing=standing, found=found, complete=complete, at=at, policy=policy), rows


def _case(row: Discrepancy, read_at: datetime) -> Case:
    application = application_of(row)
    accepted = ""
    pending = failed = False
    if application is not None:
        payload = json.loads(application.proposal.payload)
        if payload["action"] == Action.ACCEPT:
            accepted = str(payload["substance"])
        if payload["action"] == Action.FLATTEN:
            states = set(Order.objects.filter(application=application).values_list("state", flat=True))
            pending = bool(states - {str(state) for state in TERMINAL})
            failed = not pending and states != {str(OrderState.FILLED)}
    return Case(
        state=State(row.state),
        substance=str(row.evidence.get("substance", "")),
        times_seen=row.times_seen,
        first_seen_at=row.first_seen_at,
        accepted_substance=accepted,
        just_applied=application is not None and application.recorded_at > read_at,
        order_pending=pending,
        order_failed=failed,
    )


def tally(steps: tuple[Step, ...], rows: Mapping[str, Discrepancy]) -> Observed:
    """The steps by number."""
    observed = Observed()
    for step in steps:
        before = rows.get(step.fingerprint)
        observed.suspected += step.kind is StepKind.SEEN
        observed.reopened += step.kind is StepKind.REOPENED
        observed.opened += step.to_state is State.OPEN and step.kind is StepKind.OPENED
        observed.cleared += step.kind is StepKind.CLEARED
        observed.closed += step.kind in (StepKind.CLOSED, StepKind.ACCEPTED, StepKind.NOT_FLATTENED)
        observed.accepted += step.kind is StepKind.ACCEPTED
        if step.kind is StepKind.CLOSED and before is not None:
            application = application_of(before)
            action = json.loads(application.proposal.payload)["action"] if application is not None else ""
            observed.flattened += action == Action.FLATTEN
    return observed


def carry_out(
    *, account: Account, run: Run, steps: tuple[Step, ...], rows: dict[str, Discrepancy], actor: Actor
) -> None:
    """Write the steps of a run."""
    for step in steps:
        row = rows.get(step.fingerprint)
        if row is None:
            assert step.finding is not None  # only a finding makes a case
            row = _new(account, run, step.fingerprint, step.finding)
            before = ""
        else:
            before = str(row.state)
            _follow(row, run, step)
        row.state = step.to_state
        if step.new_version and before:
            row.version += 1
        if step.new_version or step.kind is StepKind.ACCEPTANCE_ENDED:
            row.proposal = None
        row.opened_at = run.at if step.kind in (StepKind.OPENED, StepKind.NOT_CURED) else row.opened_at
        row.closed_at = (row.closed_at or run.at) if step.to_state in ENDED else None
        row.save()
        if step.kind not in QUIET:
            _event(row, step.kind, before, run=run, actor=actor, reason=step.reason or row.cause)
        if step.kind is StepKind.OPENED and row.severity in BLOCKING:
            _notify(row)
    _lock_instruments(account, actor)


def _new(account: Account, run: Run, name: str, finding: Finding) -> Discrepancy:
    row = Discrepancy(
        account=account,
        fingerprint=name,
        first_run=run,
        last_run=run,
        first_seen_at=run.at,
        last_seen_at=run.at,
        times_seen=1 if run.status == Run.Status.COMPLETE else 0,
    )
    _describe(row, finding)
    return row


def _follow(row: Discrepancy, run: Run, step: Step) -> None:
    if step.kind is StepKind.REOPENED:
        row.times_reopened += 1
        row.times_seen = 0
        row.first_seen_at = run.at
        row.opened_at = None
    if step.counts:
        row.times_seen += 1
    if step.finding is not None or step.kind is StepKind.SEEN_AGAIN:
        row.last_seen_at = run.at
        row.last_run = run
    if step.finding is not None:
        _describe(row, step.finding)


def _describe(row: Discrepancy, finding: Finding) -> None:
    row.kind = finding.kind
    row.key = finding.key[:120]
    row.severity = finding.severity
    row.instrument = Instrument.objects.filter(symbol=finding.instrument).first() if finding.instrument else None
    row.commodity = finding.commodity
    row.books_value = _storable(finding.books_value)
    row.broker_value = _storable(finding.broker_value)
    row.difference = _storable(finding.difference)
    row.cause = finding.cause
    recorded = stored(finding.recorded())
    row.evidence = {name: recorded[name] for name in MATTER}


def _storable(value: Any) -> Any:
    return None if value is None else round(value, 12)


def move(
    row: Discrepancy,
    to: State,
    *,
    kind: str,
    actor: Actor,
    proposal: Proposal | None,
    reason: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """A step that people take. `row` is locked by the caller; `proposal` is the case's proposal from now on."""
    before = str(row.state)
    about = proposal or row.proposal
    row.state = to
    row.proposal = proposal
    row.save()
    _event(row, kind, before, actor=actor, proposal=about, reason=reason, details=details)


def locked(discrepancy_id: int) -> Discrepancy:
    """The case's row, locked. The caller holds the account's lock."""
    rows = Discrepancy.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("account", "instrument", "proposal").get(pk=discrepancy_id)


def _event(
    row: Discrepancy,
    kind: str,
    before: str,
    *,
    actor: Actor,
    run: Run | None = None,
    proposal: Proposal | None = None,
    reason: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    last = DiscrepancyEvent.objects.filter(discrepancy=row).aggregate(last=Max("sequence"))["last"] or 0
    at = run.at if run is not None else now(row.account)
    facts = {
        "version": row.version,
        "kind": row.kind,
        "severity": row.severity,
        "books": row.books_value,
        "broker": row.broker_value,
        "difference": row.difference,
        **(details or {}),
    }
    DiscrepancyEvent.objects.create(
        at=at,
        discrepancy=row,
        sequence=last + 1,
        kind=str(kind),
        from_state=before,
        to_state=row.state,
        run=run,
        proposal=proposal,
        actor=actor.user,
        reason=reason[:500],
        details=stored(facts),
    )
    loud = row.severity in BLOCKING and row.state not in (State.CLOSED, State.CLEARED, State.SUSPECTED)
    audit.record(
        kind=f"discrepancy.{str(kind).lower()}",
        actor=actor,
        account=row.account,
        obj=row,
        before={"state": before},
        after={"state": str(row.state), "version": row.version},
        reason=reason,
        level="WARNING" if loud or kind == StepKind.NOT_FLATTENED else "INFO",
        at=at,
    )


def _notify(row: Discrepancy) -> None:
    Notification.objects.get_or_create(
        key=f"discrepancy:{row.pk}:{row.times_reopened}",
        defaults={
            "level": "CRITICAL" if row.severity == Discrepancy.Severity.CRITICAL else "WARNING",
            "text": f"{row.account.name}: {row.kind} {row.key}. {row.cause}",
            "at": wall_now(),
        },
    )


def _lock_instruments(account: Account, actor: Actor) -> None:
    """Entries on an instrument stop while a confirmed, grave case about it is alive."""
    grave = Discrepancy.objects.filter(
        account=account, state__in=CONFIRMED, severity__in=BLOCKING, instrument__isnull=False
    ).select_related("instrument")
    wanted = {row.instrument_id: row for row in grave.order_by("pk")}
    standing = Restriction.objects.filter(
        account=account, source=LOCK_SOURCE, lifted_at=None, instrument__isnull=False
    ).order_by("pk")
    for restriction in standing:
        if restriction.instrument_id not in wanted:
            reason = "no difference about it is open any more"
            restrictions.lift(restriction=restriction, actor=actor, reason=reason)
    for row in wanted.values():
        restrictions.restrict(
            account=account,
            instrument=row.instrument,
            level=restrictions.REDUCE_ONLY,
            source=LOCK_SOURCE,
            reason=f"{row.kind} {row.key}: no entries until the difference is resolved",
            actor=actor,
        )


def application_recorded(row: Discrepancy, application: Application, actor: Actor, reason: str) -> None:
    """The case's resolution was carried out; a later run closes it."""
    move(
        row,
        State.APPLIED,
        kind="APPLIED",
        actor=actor,
        proposal=application.proposal,
        reason=reason,
        details={"application": application.pk},
    )
