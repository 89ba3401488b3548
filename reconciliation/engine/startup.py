"""The start of a process epoch: no entries until a complete run has found nothing grave.

What always holds: exits stay possible (REDUCE_ONLY); the restriction is lifted only by a complete run.
"""

from __future__ import annotations

from reconciliation.engine.due import reconcilable
from reconciliation.engine.run import ACTOR
from reconciliation.services.runs import block_anew

REASON = "the desk has just started; entries wait for a complete reconciliation"


def block_entries_until_reconciled() -> int:
    """Put the start-up restriction on every account that the desk reconciles. Returns how many there are."""
    accounts = reconcilable()
    for account in accounts:
        block_anew(account=account, reason=REASON, actor=ACTOR)
    return len(accounts)
