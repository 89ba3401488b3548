"""The cases of what cannot be read of the broker: planned beside a run's own, by what the run could read.

What always holds: callers hold the account's lock; such a case opens, changes and ends by whether its own part was
read, in runs of every status, and no other case is planned here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from reconciliation.domain.fetches import compare_fetches
from reconciliation.domain.fingerprint import fingerprint
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.lifecycle import Case, State, Step, plan
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.models import Discrepancy
from reconciliation.selectors.runs import unread
from trading.models import Account

from .discrepancies import account_identity, seen_at_the_broker


def of_the_sides(row: Discrepancy) -> bool:
    """Whether a comparison of the two sides may say that the case is gone."""
    return seen_at_the_broker(row) and row.kind != Kind.FETCH_FAILED


def plan_fetches(
    *,
    account: Account,
    read: Collection[Confidence],
    error: str,
    at: datetime,
    policy: ReconciliationPolicy,
) -> tuple[tuple[Step, ...], dict[str, Discrepancy]]:
    """What a run that has `read` these parts does to the cases of what was not read, and the locked rows.

    `error` is what the run ends with, `at` its moment on the account's clock.
    """
    findings = compare_fetches(unread(account, read, at=at, error=error), at=at, policy=policy)
    found = {fingerprint(account=account_identity(account), kind=each.kind, key=each.key): each for each in findings}
    locked = Discrepancy.objects.select_for_update(no_key=True, of=("self",))
    rows = {row.fingerprint: row for row in locked.filter(account=account, kind=Kind.FETCH_FAILED).order_by("pk")}
    standing = {name: _case(row) for name, row in rows.items() if name in found or row.key in read}
    sure = replace(policy, confirm_runs=1)  # the runs in a row have confirmed it
    return plan(standing=standing, found=found, complete=True, at=at, policy=sure), rows


def _case(row: Discrepancy) -> Case:
    return Case(
        state=State(row.state),
        substance=str(row.evidence.get("substance", "")),
        times_seen=row.times_seen,
        first_seen_at=row.first_seen_at,
        relies_on=frozenset({Confidence.ANSWER}),
    )
