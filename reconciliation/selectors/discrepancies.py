"""Questions about discrepancies: which are alive, how old they are, what blocks an account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet

from reconciliation.models import Discrepancy, Run
from trading.clock import now
from trading.models import Account, Application

BLOCKING = [Discrepancy.Severity.HIGH, Discrepancy.Severity.CRITICAL]


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
    """Live cases of high or critical severity: entries stay blocked after a start while there is one."""
    return live(account).filter(severity__in=BLOCKING)


def by_state(account: Account) -> dict[str, int]:
    """How many cases of the account are in each state."""
    rows = Discrepancy.objects.filter(account=account).order_by().values("state").annotate(number=Count("id"))
    return {row["state"]: row["number"] for row in rows}


def age(discrepancy: Discrepancy, at: datetime | None = None) -> timedelta:
    """How long the case stands, on the account's clock; an ended one stopped ageing."""
    until = discrepancy.closed_at or at or now(discrepancy.account)
    return max(until - discrepancy.first_seen_at, timedelta(0))


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
