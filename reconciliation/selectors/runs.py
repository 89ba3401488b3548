"""Questions about an account's runs: its looks at the broker, what they could not read, and what was broken off."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from reconciliation.domain.fetches import PARTS, Unread
from reconciliation.domain.kinds import Confidence
from reconciliation.models import Run
from trading.models import Account

COMPLETE_PARTS = "complete_parts"
"""In the counts of a run that is not complete: by which parts of the answer it may move cases all the same."""
WAIT = "wait_seconds"
"""In the counts of a run that the broker broke off with "too many requests": how long it is left alone."""


def looks(account: Account) -> QuerySet[Run]:
    """The account's runs that looked at the broker, the newest first; what they have found is read when asked for."""
    runs = Run.objects.filter(account=account).exclude(trigger=Run.Trigger.STATEMENT).order_by("-id")
    return runs.defer("findings", "proof")


def broken_off(account: Account) -> Run | None:
    """The account's last look, if the broker broke it off with "too many requests"."""
    last = looks(account).first()
    return last if last is not None and WAIT in last.counts else None


def goes_on_at(run: Run) -> datetime:
    """The wall time from which a run that was broken off may be taken up again."""
    return run.recorded_at + timedelta(seconds=float(run.counts[WAIT]))


def unread(account: Account, read: Collection[Confidence], *, at: datetime, error: str) -> list[Unread]:
    """The parts that a run that ends `at` now has not `read`, with the runs before it that have not, either."""
    earlier = looks(account)
    found = []
    for part in (Confidence.ANSWER, *PARTS):
        if part in read:
            continue
        last = earlier.filter(_has_read(PARTS if part is Confidence.ANSWER else (part,))).first()
        without = earlier.filter(id__gt=last.pk if last is not None else 0)
        first = without.last()
        found.append(
            Unread(
                part=part,
                runs=without.count() + 1,
                since=first.at if first is not None else at,
                error=error,
                answered=Confidence.ANSWER in read or without.filter(_has_read(PARTS)).exists(),
            )
        )
    return found


def _has_read(parts: Collection[Confidence]) -> Q:
    """Runs that have read one of the parts completely."""
    wanted = Q(status=Run.Status.COMPLETE)
    for part in parts:
        wanted |= Q(**{f"counts__{COMPLETE_PARTS}__contains": [str(part)]})
    return wanted
