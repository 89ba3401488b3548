"""Thousands of differences at once become cases: as a run writes them, and one by one beside it.

What always holds: every run is a transaction of its own that commits, on an account of its own; the time is believed
only when all findings have become open cases.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import transaction

from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Action, Confidence, Kind, Severity
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.models import Discrepancy, Run
from reconciliation.services import cases_bulk, discrepancies
from tests.reconciliation.services import row_by_row as plainly
from trading.locks import lock_account
from trading.models import Account
from trading.services.audit import Actor
from trading.services.setup import ensure_account

SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")
_POLICY = ReconciliationPolicy(confirm_runs=2, race_window_seconds=600)
_AT = datetime(2026, 1, 5, tzinfo=UTC)
_ACTOR = Actor.system("benchmark", via="command")


def cases_a_second(many: int, name: str, *, row_by_row: bool = False) -> float:
    """Steps of cases a second, audit and events included: so many are first suspected, then opened.

    Deciding what to do is not measured, writing it is.
    """
    account = ensure_account(
        name=name,
        broker=Account.Broker.OANDA,
        environment=Account.Environment.SIMULATOR,
        external_id=name,
        currency="USD",
    )
    write = plainly.carry_out if row_by_row else cases_bulk.carry_out
    seconds = 0.0
    for number in range(2):
        with transaction.atomic():
            lock_account(account.pk)
            run = _run(account, _AT + timedelta(minutes=number))
            steps, rows = discrepancies.plan_steps(
                account=account,
                findings=tuple(_finding(place) for place in range(many)),
                complete=True,
                at=run.at,
                read_at=datetime.now(tz=UTC),
                policy=_POLICY,
            )
            begin = time.perf_counter()
            write(account=account, run=run, steps=steps, rows=rows, actor=_ACTOR)
        seconds += time.perf_counter() - begin
    opened = Discrepancy.objects.filter(account=account, state=Discrepancy.State.OPEN).count()
    if opened != many:
        raise SystemExit(f"{opened} of {many} cases are open")
    return 2 * many / seconds


def _run(account: Account, at: datetime) -> Run:
    status = Run.Status.COMPLETE
    return Run.objects.create(
        at=at, account=account, trigger=Run.Trigger.MANUAL, started_at=at, status=status, completeness=status
    )


def _finding(number: int) -> Finding:
    quantity = Decimal(number + 1)
    symbol = SYMBOLS[number % len(SYMBOLS)]
    return Finding(
        kind=Kind.MISSING_FILL,
        key=f"fill:{number}",
        severity=Severity.HIGH,
        cause=f"fill {number} is in the broker's history and not in our books",
        relies_on=Confidence.HISTORY,
        instrument=symbol,
        broker_value=quantity,
        difference=quantity,
        explains={symbol: quantity},
        event_ids=(number,),
        evidence={"fill": {"id": str(number), "quantity": str(quantity), "price": "1.10000"}},
        actions=(Action.BOOK_FILLS, Action.ACCEPT),
        suggestion=Action.BOOK_FILLS,
    )
