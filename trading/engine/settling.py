"""The sweep over payments that are due: every account that ever traded cash instruments, on its own clock.

What always holds: the trouble of one account never keeps the others waiting; it is logged, and the next sweep tries
again. Running it twice at once settles nothing twice.
"""

from __future__ import annotations

import logging

from celery.exceptions import SoftTimeLimitExceeded

from trading.models import Account, LedgerAccount
from trading.services.settlement import settle_due

log = logging.getLogger(__name__)


def settle_all() -> int:
    """Settle what is due on every account; returns how many fills."""
    done = 0
    for account in Account.objects.filter(ledger_accounts__kind=LedgerAccount.Kind.UNSETTLED).distinct().order_by("pk"):
        try:
            done += settle_due(account)
        except SoftTimeLimitExceeded:
            raise  # the sweep has taken too long: the next one goes on
        except Exception:
            log.exception("%s: its payments could not be settled; the next sweep tries again", account.name)
    return done
