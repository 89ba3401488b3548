"""So many differences in one run that they are one matter: trading pauses, and people hear of it once.

What always holds: callers hold the account's lock; from the run that finds as many differences as the policy names
until a complete run finds fewer, one restriction of this source stands on the account, and exits stay possible. No
difference resolves itself because of it: a run writes cases, and only people's proposals move anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from reconciliation.domain.lifecycle import Step
from reconciliation.domain.telling import was_found
from trading.models import Account, Restriction
from trading.services import restrictions
from trading.services.audit import Actor

SOURCE = f"{restrictions.RECONCILIATION}: mass"


class Phase(StrEnum):
    """Where a run stands in a mass of differences."""

    NONE = "NONE"
    BEGINS = "BEGINS"
    STANDS = "STANDS"
    ENDS = "ENDS"


@dataclass(frozen=True, slots=True)
class Mass:
    """What a run makes of it: how many differences it found, by which limit, and the pause it put, kept or lifted."""

    phase: Phase
    found: int
    limit: int
    restriction: Restriction | None = None


def judge(*, account: Account, steps: Sequence[Step], complete: bool, limit: int, actor: Actor) -> Mass:
    """Pause entries on the account, or let them go on, by how many differences a run has found."""
    found = sum(was_found(step) for step in steps)
    standing = Restriction.objects.filter(account=account, source=SOURCE, lifted_at=None).order_by("pk").first()
    if found >= limit:
        if standing is not None:
            return Mass(Phase.STANDS, found, limit, standing)
        reason = (
            f"{found:,} differences with the broker in one run (limit {limit:,}): no new entries. Look for their one "
            "cause (renamed instruments, a history that was not read) instead of resolving them one by one; a "
            f"complete run that finds fewer than {limit:,} lifts this."
        )
        put = restrictions.restrict(
            account=account, level=restrictions.REDUCE_ONLY, source=SOURCE, reason=reason, actor=actor
        )
        return Mass(Phase.BEGINS, found, limit, put)
    if standing is None:
        return Mass(Phase.NONE, found, limit)
    if not complete:
        return Mass(Phase.STANDS, found, limit, standing)
    reason = f"a complete reconciliation found {found:,} differences, fewer than {limit:,}"
    restrictions.lift(restriction=standing, actor=actor, reason=reason)
    return Mass(Phase.ENDS, found, limit, standing)
