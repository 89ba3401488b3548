"""Cases written set-based are the cases written row by row, to the last event; and there is no statement per case."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Action, Confidence, Kind, Severity
from reconciliation.domain.lifecycle import Step, StepKind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.models import Discrepancy, DiscrepancyEvent, Run
from reconciliation.services import cases_bulk, discrepancies
from trading.models import Account, AuditEvent, Restriction
from trading.services import audit
from trading.services.audit import Actor
from trading.services.setup import ensure_account

from . import row_by_row

pytestmark = pytest.mark.django_db
ENGINE = Actor.system("a test")
AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
POLICY = ReconciliationPolicy(confirm_runs=2, race_window_seconds=600)
SYMBOLS = ("EURUSD", "GBPUSD", "AAPL", "UNHEARD_OF", "")


def an_account(name: str) -> Account:
    return ensure_account(
        name=name,
        broker=Account.Broker.OANDA,
        environment=Account.Environment.SIMULATOR,
        external_id=name,
        currency="USD",
    )


def a_run(account: Account, number: int, *, complete: bool) -> Run:
    status = Run.Status.COMPLETE if complete else Run.Status.INCOMPLETE
    at = AT + timedelta(minutes=number)
    return Run.objects.create(
        at=at, account=account, trigger=Run.Trigger.MANUAL, started_at=at, status=status, completeness=status
    )


def a_finding(number: int, value: int = 1) -> Finding:
    return Finding(
        kind=Kind.MISSING_FILL,
        key=f"fill:{number}",
        severity=list(Severity)[number % 4],
        cause=f"fill {number} is in the broker's history and not in our books",
        relies_on=Confidence.HISTORY,
        instrument=SYMBOLS[number % len(SYMBOLS)],
        broker_value=Decimal(value),
        difference=Decimal(value),
        explains={"EURUSD": Decimal(value)},
        event_ids=(number,),
        actions=(Action.BOOK_FILLS, Action.ACCEPT),
        suggestion=Action.BOOK_FILLS,
    )


def steps_of(account: Account, run: Run, findings: tuple[Finding, ...]) -> tuple[tuple[Step, ...], dict[str, Any]]:
    return discrepancies.plan_steps(
        account=account,
        findings=findings,
        complete=run.status == Run.Status.COMPLETE,
        at=run.at,
        read_at=datetime.now(tz=UTC),
        policy=POLICY,
    )


def told(account: Account) -> dict[str, Any]:
    """Everything the runs wrote of the account, without numbers and names of rows."""
    rows = {row.pk: row for row in Discrepancy.objects.filter(account=account)}
    runs = list(Run.objects.filter(account=account).order_by("pk").values_list("pk", flat=True))
    left_out = {"id", "account", "fingerprint", "first_run", "last_run"}
    names = [each.name for each in Discrepancy._meta.concrete_fields if each.name not in left_out]
    events = DiscrepancyEvent.objects.filter(discrepancy__account=account).order_by("sequence")
    trail = AuditEvent.objects.filter(account=account, kind__startswith="discrepancy.").order_by("id")
    return {
        "cases": {
            row.key: [getattr(row, name) for name in names]
            + [runs.index(row.first_run_id), runs.index(row.last_run_id)]
            for row in rows.values()
        },
        "events": sorted(
            (
                *(rows[e.discrepancy_id].key, e.sequence, e.kind, e.from_state, e.to_state, runs.index(e.run_id or 0)),
                *(e.at, e.reason, str(e.details), str(e.proposal_id), str(e.actor_id)),
            )
            for e in events
        ),
        "trail": sorted(
            (
                *(a.kind, a.level, rows[int(a.object_id)].key, a.object_type, a.object_repr, str(a.before)),
                *(str(a.after), a.at, a.reason, a.actor_name, a.via),
            )
            for a in trail
        ),
        "locks": sorted(
            (r.instrument.symbol, r.level, r.source, r.lifted_at is None)  # the reason names one of several cases
            for r in Restriction.objects.filter(account=account).select_related("instrument")
            if r.instrument is not None
        ),
    }


def test_both_writers_write_the_same() -> None:
    one, other = an_account("one"), an_account("other")
    dice, kinds = random.Random(3), set()
    for number in range(12):
        complete = number % 5 != 3
        findings = tuple(
            a_finding(key, dice.choice([1, 1, 1, 2]))
            for key in range(24)
            if dice.random() < (0.8 if number < 7 else 0.3)
        )
        for account, write in ((one, row_by_row.carry_out), (other, cases_bulk.carry_out)):
            run = a_run(account, number, complete=complete)
            steps, rows = steps_of(account, run, findings)
            kinds |= {step.kind for step in steps}
            with transaction.atomic():
                write(account=account, run=run, steps=steps, rows=rows, actor=ENGINE)
                audit.record(kind="reconciliation.run", actor=ENGINE, account=account, obj=run)  # as a run does
        if number == 4:  # resolutions were carried out of some
            Discrepancy.objects.filter(state="OPEN", key__in=["fill:3", "fill:7", "fill:8"]).update(state="APPLIED")
    assert told(other) == told(one)
    assert told(one)["locks"]
    assert kinds >= {StepKind.SEEN, StepKind.SEEN_AGAIN, StepKind.OPENED, StepKind.CHANGED, StepKind.CLEARED}
    assert kinds >= {StepKind.REOPENED, StepKind.NOT_CURED}


def test_a_thousand_cases_take_as_many_statements_as_ten() -> None:
    numbers = []
    for many in (10, 1000):
        account = an_account(f"with-{many}")
        for number, value in enumerate((1, 1, 2)):
            run = a_run(account, number, complete=True)
            findings = tuple(replace(a_finding(2, value), key=f"fill:{key}") for key in range(many))
            steps, rows = steps_of(account, run, findings)
            with CaptureQueriesContext(connection) as seen, transaction.atomic():
                cases_bulk.carry_out(account=account, run=run, steps=steps, rows=rows, actor=ENGINE)
            numbers.append(len(seen))
        assert Discrepancy.objects.filter(account=account, state="OPEN", version=2, times_seen=3).count() == many
    assert numbers[:3] == numbers[3:]
