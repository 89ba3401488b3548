"""What one account's reconciliation looks like now: its proof, its open cases, its last runs, when the next is due.

What always holds: the proof is that of the last run that compared anything, named with the run; "due" is the schedule's
and on the account's clock; a statement's run is no look at the broker.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q

from reconciliation.models import Discrepancy, Run
from reconciliation.selectors.discrepancies import blocking, is_overdue, live
from trading.clock import now
from trading.models import Account, Restriction

LAST_RUNS, MOST_CASES = 12, 100


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it; `compared` is the run that the proof comes from, `since_complete` None before the first one."""

    at: datetime
    compared: Run | None
    complete: Run | None
    since_complete: timedelta | None
    live: int
    blocking: int
    overdue: int
    cases: list[Discrepancy]
    runs: list[Run]
    restrictions: list[Restriction]

    @property
    def rest(self) -> list[str]:
        """The commodities in which the proof leaves a rest."""
        proof = self.compared.proof if self.compared is not None else {}
        return sorted(commodity for commodity, line in proof.items() if not line.get("holds"))


def overview(account: Account) -> Overview:
    """The account's reconciliation as it stands."""
    at = now(account)
    looks = Run.objects.filter(account=account).exclude(trigger=Run.Trigger.STATEMENT).order_by("-id")
    complete = looks.filter(status=Run.Status.COMPLETE).first()
    alive = live(account)
    return Overview(
        at=at,
        compared=looks.exclude(status=Run.Status.FAILED).first(),
        complete=complete,
        since_complete=max(at - complete.at, timedelta(0)) if complete is not None else None,
        live=alive.count(),
        blocking=blocking(account).count(),
        overdue=alive.filter(is_overdue({account.pk: at})).count(),
        cases=list(alive.select_related("account", "instrument", "owner").order_by("first_seen_at")[:MOST_CASES]),
        runs=list(looks[:LAST_RUNS]),
        restrictions=list(
            Restriction.objects.filter(Q(account=account) | Q(account=None), lifted_at=None)
            .select_related("instrument")
            .order_by("-id")
        ),
    )


def accounts_with_live_cases() -> list[tuple[Account, int]]:
    """The desk's active accounts at brokers, each with the number of its live cases."""
    alive = Count("discrepancies", filter=Q(discrepancies__state__in=Discrepancy.LIVE))
    accounts = Account.objects.filter(is_active=True, scope="").exclude(broker=Account.Broker.PAPER)
    return [(account, account.alive) for account in accounts.annotate(alive=alive).order_by("name")]
