"""Whether an account's books have not begun yet.

What always holds: books begin with the first fill or order of the account, or with the first complete run that found
nothing of a past; until its opening balance is decided on, an account that has a past stays one whose books begin.
"""

from __future__ import annotations

from reconciliation.domain.kinds import Kind
from reconciliation.models import Run
from reconciliation.selectors.discrepancies import live
from trading.models import Account, Fill, Order


def has_not_begun(account: Account) -> bool:
    """True for an account without a fill or order of its own that no complete run has looked at without a past."""
    if Fill.objects.filter(account=account).exists() or Order.objects.filter(account=account).exists():
        return False
    looked_at = Run.objects.filter(account=account, status=Run.Status.COMPLETE).exclude(trigger=Run.Trigger.STATEMENT)
    return is_waiting(account) or not looked_at.exists()


def is_waiting(account: Account) -> bool:
    """Whether the opening balance of the account waits to be decided on, applied, or seen by a later run."""
    return live(account).filter(kind=Kind.OPENING_BALANCE).exists()
