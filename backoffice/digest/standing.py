"""What waits for people beside the figures: open differences with their age, approvals, last runs, the chain's head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Q, QuerySet

from reconciliation.models import Discrepancy, Run
from reconciliation.selectors import discrepancies
from trading.clock import wall_now
from trading.models import Account, Approval, AuditEvent, ChainHead, Entry, Proposal

from .books import account_now


@dataclass(frozen=True, slots=True)
class Case:
    """An open difference: what it is about, where its resolution stands, how long it has been there."""

    number: int
    account: str
    kind: str
    key: str
    severity: str
    state: str
    age: timedelta


@dataclass(frozen=True, slots=True)
class Waiting:
    """A proposal that a second person has not decided on."""

    number: int
    account: str
    kind: str
    proposer: str
    reason: str
    age: timedelta


@dataclass(frozen=True, slots=True)
class LastRun:
    """The latest reconciliation of an account; `at` is None when there was none."""

    account: str
    status: str
    at: datetime | None
    age: timedelta | None


@dataclass(frozen=True, slots=True)
class Standing:
    """All of it. The heads are the numbers of the last entry in the ledger and of the last audit event, 0 for none.

    `block` and `block_hash` (hex) are the last block of the hash chain over all of it.
    """

    cases: tuple[Case, ...]
    waiting: tuple[Waiting, ...]
    runs: tuple[LastRun, ...]
    ledger_head: int
    audit_head: int
    block: int = 0
    block_hash: str = ""

    @property
    def oldest(self) -> timedelta | None:
        """The age of the oldest open difference."""
        return max((case.age for case in self.cases), default=None)


def standing_of(accounts: Sequence[Account]) -> Standing:
    """How these accounts stand now."""
    sealed = ChainHead.objects.get()
    return Standing(
        cases=tuple(case for account in accounts for case in _cases(account)),
        waiting=tuple(_waiting(accounts)),
        runs=tuple(_last_run(account) for account in accounts if not account.is_paper_book),
        ledger_head=_head(Entry.objects.all()),
        audit_head=_head(AuditEvent.objects.all()),
        block=sealed.number,
        block_hash=bytes(sealed.hash).hex() if sealed.number else "",
    )


def _head(rows: QuerySet[Any]) -> int:
    return rows.aggregate(head=Max("pk"))["head"] or 0


def _cases(account: Account) -> list[Case]:
    """Confirmed ones only: a suspicion has been seen once and may be gone with the next run."""
    moment = account_now(account)
    rows = discrepancies.live(account).exclude(state=Discrepancy.State.SUSPECTED).order_by("first_seen_at", "id")
    return [
        Case(
            number=row.pk,
            account=account.name,
            kind=row.kind,
            key=row.key,
            severity=row.severity,
            state=row.state,
            age=discrepancies.age(row, moment),
        )
        for row in rows
    ]


def _waiting(accounts: Sequence[Account]) -> list[Waiting]:
    """Alive, not applied, and not yet approved by as many persons as it needs."""
    moment = wall_now()
    mine = Q(account__in=accounts) | Q(account=None)
    rows = (
        Proposal.objects.filter(mine, application=None, expires_at__gt=moment)
        .exclude(approvals__verdict__in=[Approval.Verdict.REJECT, Approval.Verdict.WITHDRAW])
        .select_related("account", "proposer")
        .prefetch_related("approvals__approver")
        .order_by("id")
    )
    found = []
    for row in rows:
        persons = {approval.approver.person_id for approval in row.approvals.all()} - {row.proposer.person_id}
        if len(persons) < row.approvals_required:
            found.append(
                Waiting(
                    number=row.pk,
                    account=row.account.name if row.account is not None else "",
                    kind=row.kind,
                    proposer=row.proposer.get_username(),
                    reason=row.reason,
                    age=max(moment - row.recorded_at, timedelta(0)),
                )
            )
    return found


def _last_run(account: Account) -> LastRun:
    looks = Run.objects.filter(account=account).exclude(trigger=Run.Trigger.STATEMENT)
    run = looks.order_by("-id").first()
    if run is None:
        return LastRun(account.name, "NONE", None, None)
    return LastRun(account.name, run.status, run.at, max(account_now(account) - run.at, timedelta(0)))
