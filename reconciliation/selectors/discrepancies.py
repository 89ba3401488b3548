"""Questions about discrepancies: which are alive, how old they are, when they are due, what blocks an account.

What always holds: ages and terms are on each account's clock; a case has a term from its confirmation until two people
have decided on it, and none before and after.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet

from reconciliation.domain.kinds import Kind, Severity
from reconciliation.domain.severity import SLA, due_at
from reconciliation.models import Discrepancy, Run
from trading.clock import now
from trading.models import Account, Application

BLOCKING = [Discrepancy.Severity.HIGH, Discrepancy.Severity.CRITICAL]
ADDS_NOTHING = [str(Kind.UNMAPPED_TRADE)]
"""Kinds that tell of a trade which the account does not hold: no entry makes them worse, and each one that a block
turned away would be one more of them."""
UNDECIDED = [Discrepancy.State.OPEN, Discrepancy.State.PROPOSED]
"""States in which a case waits for people."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's reconciliation in a line: live cases, the oldest of them, the last runs."""

    live: int
    blocking: int
    oldest_seconds: int
    last_complete: datetime | None
    last_error: str


def live(account: Account | None = None) -> QuerySet[Discrepancy]:
    """Cases that are not closed or cleared, newest first."""
    rows = Discrepancy.objects.filter(state__in=Discrepancy.LIVE)
    return rows if account is None else rows.filter(account=account)


def blocking(account: Account) -> QuerySet[Discrepancy]:
    """Live cases of high or critical severity that stand in the way of entries."""
    return live(account).filter(severity__in=BLOCKING).exclude(kind__in=ADDS_NOTHING)


def by_state(account: Account) -> dict[str, int]:
    """How many cases of the account are in each state."""
    rows = Discrepancy.objects.filter(account=account).order_by().values("state").annotate(number=Count("id"))
    return {row["state"]: row["number"] for row in rows}


def age(discrepancy: Discrepancy, at: datetime | None = None) -> timedelta:
    """How long the case stands, on the account's clock; an ended one stopped ageing."""
    until = discrepancy.closed_at or at or now(discrepancy.account)
    return max(until - discrepancy.first_seen_at, timedelta(0))


def due(discrepancy: Discrepancy) -> datetime | None:
    """Until when people should have decided on the case, on the account's clock; None where nobody has to."""
    if discrepancy.state not in UNDECIDED or discrepancy.opened_at is None:
        return None
    return due_at(Severity(discrepancy.severity), discrepancy.opened_at)


def clocks() -> dict[int, datetime]:
    """The time of every account that has a live case, read once."""
    with_cases = Account.objects.filter(discrepancies__state__in=Discrepancy.LIVE).distinct()
    return {account.pk: now(account) for account in with_cases}


def is_overdue(times: dict[int, datetime]) -> Q:
    """The condition for cases that should have been decided by now; `times` are the accounts' clocks."""
    late = Q(pk__in=[])
    for account_id, at in times.items():
        for severity, span in SLA.items():
            late |= Q(account_id=account_id, severity=severity, opened_at__lt=at - span)
    return late & Q(state__in=UNDECIDED)


def same_orders(discrepancy: Discrepancy) -> Q:
    """The condition for cases that name an order which this one names, too; none where it names none."""
    evidence = discrepancy.evidence.get("evidence", {})
    names = {fill.get("client_id") for fill in evidence.get("fills", []) if isinstance(fill, dict)}
    prefix, _, rest = discrepancy.key.partition(":")
    wanted = Q(pk__in=[])
    for name in sorted({*filter(None, names), *([rest] if prefix == "order" else [])}):
        wanted |= Q(key=f"order:{name}") | Q(evidence__evidence__fills__contains=[{"client_id": name}])
    if isinstance(evidence.get("order"), int):
        wanted |= Q(evidence__evidence__order=evidence["order"])
    if evidence.get("broker_order"):
        wanted |= Q(evidence__evidence__broker_order=evidence["broker_order"])
    return wanted


def standing(account: Account) -> Standing:
    """The account's reconciliation in a line."""
    oldest = live(account).order_by("first_seen_at").first()
    looks = Run.objects.filter(account=account).exclude(trigger=Run.Trigger.STATEMENT).order_by("-id")
    last, complete = looks.first(), looks.filter(status=Run.Status.COMPLETE).first()
    return Standing(
        live=live(account).count(),
        blocking=blocking(account).count(),
        oldest_seconds=int(age(oldest).total_seconds()) if oldest is not None else 0,
        last_complete=complete.at if complete is not None else None,
        last_error=last.error if last is not None else "",
    )


def application_of(discrepancy: Discrepancy) -> Application | None:
    """The application of the case's current proposal, if it was carried out."""
    if discrepancy.proposal_id is None:
        return None
    return Application.objects.filter(proposal_id=discrepancy.proposal_id).select_related("proposal").first()
