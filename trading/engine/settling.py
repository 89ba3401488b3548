"""The sweep over payments that are due: each of the desk's accounts that ever traded cash instruments, on its clock.

What always holds: the trouble of one account never keeps the others waiting; it is logged, and the next sweep tries
again. Running it twice at once settles nothing twice. Accounts of a replay's world settle in the replay, whose bars are
their clock.
"""

from __future__ import annotations

import logging

from celery.exceptions import SoftTimeLimitExceeded

from trading.models import Account, LedgerAccount
from trading.services.settlement import settle_due

log = logging.getLogger(__name__)


def settle_all() -> int:
    """Settle what is due on every account of the desk's own world; returns how many fills."""
    done = 0
    accounts = Account.objects.filter(scope="", ledger_accounts__kind=LedgerAccount.Kind.UNSETTLED)
    for account in accounts.distinct().order_by("pk"):
        try:
            done += settle_due(account)
        except SoftTimeLimitExceeded:
            raise  # the sweep has taken too long: the next one goes on
        except Exception:
            log.exception("%s: its payments could not be settled; the next sweep tries again", account.name)
    return done
