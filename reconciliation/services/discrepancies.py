"""The steps of discrepancies: what one makes of a case, its event and its audit; people's are written here, too.

What always holds: callers hold the account's lock; `state` changes only here and, for the steps of runs, in
`cases_bulk`, together with a DiscrepancyEvent; a new version of the matter takes the proposal off the case; the
restriction on an instrument stands exactly while a confirmed case of high or critical severity about it is alive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, Max, Q

from reconciliation.domain.findings import Finding
from reconciliation.domain.fingerprint import fingerprint
from reconciliation.domain.kinds import Action, Confidence, Kind
from reconciliation.domain.lifecycle import ENDED, EVERY_PART, Case, State, Step, StepKind, plan
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.models import Discrepancy, DiscrepancyEvent, Run
from reconciliation.selectors.discrepancies import BLOCKING, application_of, blocking
from reconciliation.statements.compare import STATEMENT
from trading.clock import now
from trading.domain.canonical import simple
from trading.domain.orders import OrderState
from trading.models import Account, Application, Instrument, Order, Proposal, Restriction
from trading.services import audit, restrictions
from trading.services.audit import Actor

from .stop_payloads import closing_is_under_way, is_under_way

LOCK_SOURCE = restrictions.RECONCILIATION
ACCEPTED = f"reconciliation.{Action.ACCEPT}"
CONFIRMED = [State.OPEN, State.PROPOSED, State.APPROVED, State.APPLIED]
MATTER = ("events", "evidence", "explains", "actions", "suggestion", "substance", "relies_on")


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
    return simple(value)


def told_by(row: Discrepancy) -> int | None:
    """The statement that the case is known from; None for one that a look at the broker has found."""
    evidence = row.evidence.get("evidence", {})
    return int(evidence[STATEMENT]) if STATEMENT in evidence else None


def seen_at_the_broker(row: Discrepancy) -> bool:
    """Whether a run that looks at the broker may say that the case is gone."""
    return told_by(row) is None


def plan_steps(
    *,
    account: Account,
    findings: tuple[Finding, ...],
    complete: bool,
    at: datetime,
    read_at: datetime,
    policy: ReconciliationPolicy,
    concerns: Callable[[Discrepancy], bool] = seen_at_the_broker,
    parts: Collection[Confidence] = (),
) -> tuple[tuple[Step, ...], dict[str, Discrepancy]]:
    """What a run will do to the cases, and the locked rows. `read_at` is the wall time at which the books were read.

    `concerns` says of a case that was not found whether the run looked at what it is about; `parts` are those of the
    answer that are complete where the whole is not.
    """
    found = {fingerprint(account=account_identity(account), kind=f.kind, key=f.key): f for f in findings}
    accepted = Q(state=State.CLOSED, proposal__kind=ACCEPTED)
    concerned = Q(state__in=Discrepancy.LIVE) | Q(fingerprint__in=found) | accepted
    locked_rows = Discrepancy.objects.select_for_update(no_key=True, of=("self",)).filter(account=account)
    rows = {row.fingerprint: row for row in locked_rows.filter(concerned).order_by("pk")}
    standing = {name: _case(row, read_at, at, policy) for name, row in rows.items() if name in found or concerns(row)}
    return plan(standing=standing, found=found, complete=complete, at=at, policy=policy, parts=parts), rows


def _case(row: Discrepancy, read_at: datetime, at: datetime, policy: ReconciliationPolicy) -> Case:
    application = application_of(row)
    accepted = ""
    pending = failed = False
    if application is not None:
        payload = json.loads(application.proposal.payload)
        if payload["action"] == Action.ACCEPT:
            accepted = str(payload["substance"])
        # Another window for the run itself: what it took for on its way must not count as arrived.
        since = at - 2 * timedelta(seconds=policy.race_window_seconds)
        if payload["action"] == Action.FLATTEN:
            orders = Order.objects.filter(application=application)
            pending = closing_is_under_way(orders, since=since)
            failed = not pending and set(orders.values_list("state", flat=True)) != {str(OrderState.FILLED)}
        if payload["action"] == Action.RESIZE_STOP:
            pending = is_under_way(payload, since=since)
    return Case(
        state=State(row.state),
        substance=str(row.evidence.get("substance", "")),
        times_seen=row.times_seen,
        first_seen_at=row.first_seen_at,
        accepted_substance=accepted,
        just_applied=application is not None and application.recorded_at > read_at,
        order_pending=pending,
        order_failed=failed,
        relies_on=frozenset({Confidence(part)}) if (part := row.evidence.get("relies_on")) else EVERY_PART,
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


def stepped(
    row: Discrepancy | None, step: Step, *, account: Account, run: Run, instrument: Instrument | None
) -> tuple[Discrepancy, str]:
    """The case after the step, to be saved, and its state before ("" for a new one). `instrument` is the finding's."""
    if row is None:
        assert step.finding is not None  # only a finding makes a case
        row, before = _new(account, run, step), ""
    else:
        row.account, before = account, str(row.state)
        _follow(row, run, step)
    if step.finding is not None:
        _describe(row, step.finding, instrument)
    row.state = step.to_state
    if step.new_version and before:
        row.version += 1
    if step.new_version or step.kind is StepKind.ACCEPTANCE_ENDED:
        row.proposal = None
    row.opened_at = run.at if step.kind in (StepKind.OPENED, StepKind.NOT_CURED) else row.opened_at
    row.closed_at = (row.closed_at or run.at) if step.to_state in ENDED else None
    return row, before


def _new(account: Account, run: Run, step: Step) -> Discrepancy:
    return Discrepancy(
        account=account,
        fingerprint=step.fingerprint,
        first_run=run,
        last_run=run,
        first_seen_at=run.at,
        last_seen_at=run.at,
        times_seen=1 if step.counts else 0,
    )


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


def _describe(row: Discrepancy, finding: Finding, instrument: Instrument | None) -> None:
    row.kind = finding.kind
    row.key = finding.key[:120]
    row.severity = finding.severity
    row.instrument = instrument
    row.commodity = finding.commodity
    row.books_value = _storable(finding.books_value)
    row.broker_value = _storable(finding.broker_value)
    row.difference = _storable(finding.difference)
    row.cause = finding.cause
    recorded = finding.recorded()
    row.evidence = stored({name: recorded[name] for name in MATTER})


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
    proposal: Proposal | None,
    reason: str,
    details: dict[str, Any] | None,
) -> None:
    last = DiscrepancyEvent.objects.filter(discrepancy=row).aggregate(last=Max("sequence"))["last"] or 0
    at = now(row.account)
    event = event_of(row, kind, before, sequence=last + 1, at=at, actor=actor, reason=reason, details=details)
    event.proposal = proposal
    event.save()
    audit.record_all([audit_of(row, kind, before, account=row.account, at=at, actor=actor, reason=reason)])


def event_of(
    row: Discrepancy,
    kind: str,
    before: str,
    *,
    sequence: int,
    at: datetime,
    actor: Actor,
    reason: str,
    details: dict[str, Any] | None = None,
) -> DiscrepancyEvent:
    """The event of a step that `row` has taken, to be saved."""
    facts = {
        "version": row.version,
        "kind": row.kind,
        "severity": row.severity,
        "books": row.books_value,
        "broker": row.broker_value,
        "difference": row.difference,
        "relies_on": row.evidence.get("relies_on", ""),
        **(details or {}),
    }
    return DiscrepancyEvent(
        at=at,
        discrepancy=row,
        sequence=sequence,
        kind=str(kind),
        from_state=before,
        to_state=row.state,
        actor=actor.user,
        reason=reason[:500],
        details=stored(facts),
    )


def audit_of(
    row: Discrepancy, kind: str, before: str, *, account: Account, at: datetime, actor: Actor, reason: str
) -> audit.Draft:
    """What the audit trail tells of a step that `row` has taken."""
    loud = row.severity in BLOCKING and row.state not in (State.CLOSED, State.CLEARED, State.SUSPECTED)
    return audit.Draft(
        kind=f"discrepancy.{str(kind).lower()}",
        actor=actor,
        account=account,
        obj=row,
        before={"state": before},
        after={"state": str(row.state), "version": row.version},
        reason=reason,
        level="WARNING" if loud or kind == StepKind.NOT_FLATTENED else "INFO",
        at=at,
    )


def lock_instruments(account: Account, actor: Actor) -> None:
    """Entries on an instrument stop while a confirmed, grave case about it is alive."""
    grave = blocking(account).filter(state__in=CONFIRMED, instrument__isnull=False).select_related("instrument")
    # Of each instrument one, as there may be thousands: the oldest that lets no order pass, which goes on for longest.
    first = grave.annotate(lets_one_pass=ExpressionWrapper(Q(kind=Kind.ORDER_UNCONFIRMED), BooleanField())).order_by(
        "instrument_id", "lets_one_pass", "first_seen_at", "kind", "key"
    )
    wanted = {row.instrument_id: row for row in first.distinct("instrument_id")}
    standing = Restriction.objects.filter(
        account=account, source=LOCK_SOURCE, lifted_at=None, instrument__isnull=False
    ).order_by("pk")
    since: dict[int | None, datetime] = {}
    for restriction in standing:
        row = wanted.get(restriction.instrument_id)
        if row is None:
            reason = "no difference about it is open any more"
        elif restriction.reason != (reason := _reason_of_lock(row)):
            since[row.instrument_id] = restriction.at  # it goes on, for another reason
        else:
            continue
        restrictions.lift(restriction=restriction, actor=actor, reason=reason)
    for row in wanted.values():
        restrictions.restrict(
            account=account,
            instrument=row.instrument,
            level=restrictions.REDUCE_ONLY,
            source=LOCK_SOURCE,
            reason=_reason_of_lock(row),
            at=since.get(row.instrument_id),
            actor=actor,
        )


def _reason_of_lock(row: Discrepancy) -> str:
    """It names the case that stands: an order's lock lets that very order pass, and no other case's may."""
    return f"{row.kind} {row.key}: no entries until the difference is resolved"[:300]


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
