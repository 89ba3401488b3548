"""Celery's doors into reconciliation: parse, one engine verb, report. Rows are the work list; these only look at it."""

from __future__ import annotations

from celery import shared_task

from reconciliation.engine.applications import apply_proposal, sweep
from reconciliation.engine.due import due, reconcilable, run_if_due
from reconciliation.engine.guard import alone
from reconciliation.engine.overdue import watch_runs
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Run
from trading import context
from trading.models import Account
from trading.services import heartbeats
from trading.wake import wake


@shared_task(name="reconciliation.tick")  # type: ignore[untyped-decorator]
def tick() -> dict[str, int]:
    """Carry out what was approved; then run what is due: here when it is one account, else a task for each."""
    heartbeats.beat("reconciliation")
    watch_runs()
    accounts = reconcilable()
    applied = 0
    waiting = []
    for account in accounts:
        with alone(f"{account.name}, what was approved"), context.part():
            applied += sweep(account)
    for account in accounts:
        with alone(f"{account.name}, whether a run is due"):
            if due(account) is not None:
                waiting.append(account)
    if len(waiting) == 1:
        run_if_due(waiting[0])
    else:
        for account in waiting:
            wake("reconciliation.run", account.pk)
    return {"applied": applied, "due": len(waiting)}


@shared_task(name="reconciliation.run")  # type: ignore[untyped-decorator]
def run(account_id: int, trigger: str = "") -> str:
    """Run an account now (with a trigger), or whatever is due for it (without one)."""
    account = Account.objects.select_related("policy").get(pk=account_id)
    if trigger:
        return run_reconciliation(account=account, trigger=Run.Trigger(trigger)).status
    result = run_if_due(account)
    return result.status if result is not None else "NOTHING_DUE"


@shared_task(name="slow.overdue")  # type: ignore[untyped-decorator]
def overdue() -> int:
    """Watch the runs from a worker that makes none: all that make them may hang."""
    return watch_runs()


@shared_task(name="reconciliation.apply")  # type: ignore[untyped-decorator]
def apply(proposal_id: int) -> str:
    """Carry out an approved proposal."""
    outcome = apply_proposal(proposal_id=proposal_id)
    return outcome.refused or f"application {outcome.application.pk if outcome.application else ''}"
