"""The steps of a run written the plain way, one after the other: what `cases_bulk` must come to, and is measured by.

What always holds: nothing but this and the tests' own eyes says what the steps of a run leave in the database.
"""

from __future__ import annotations

from django.db.models import Max

from reconciliation.domain.lifecycle import QUIET, Step
from reconciliation.models import Discrepancy, DiscrepancyEvent, Run
from reconciliation.services.discrepancies import audit_of, event_of, lock_instruments, stepped
from trading.models import Account, Instrument
from trading.services import audit
from trading.services.audit import Actor


def carry_out(
    *, account: Account, run: Run, steps: tuple[Step, ...], rows: dict[str, Discrepancy], actor: Actor
) -> None:
    """Write the steps of a run, in the caller's transaction."""
    for step in steps:
        symbol = step.finding.instrument if step.finding is not None else ""
        instrument = Instrument.objects.filter(symbol=symbol).first() if symbol else None
        row, before = stepped(rows.get(step.fingerprint), step, account=account, run=run, instrument=instrument)
        row.save()
        if step.kind not in QUIET:
            _append(account, run, step, row, before, actor)
    lock_instruments(account, actor)


def _append(account: Account, run: Run, step: Step, row: Discrepancy, before: str, actor: Actor) -> None:
    last = DiscrepancyEvent.objects.filter(discrepancy=row).aggregate(last=Max("sequence"))["last"] or 0
    reason = step.reason or row.cause
    event = event_of(row, step.kind, before, sequence=last + 1, at=run.at, actor=actor, reason=reason)
    event.run = run
    event.save()
    audit.record_all([audit_of(row, step.kind, before, account=account, at=run.at, actor=actor, reason=reason)])
