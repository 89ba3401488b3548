"""The watch over runs that nobody makes: whose turn passed is noticed by others than those who should have run it.

What always holds: an account is overdue only while a periodic run of it is due and no look at its broker ended for
longer than its interval and `GRACE`, in wall time; an outage is told once, and its end once; nothing is run here, so
that runs never overlap because of the watch.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from reconciliation.engine.due import is_periodic_due, reconcilable
from reconciliation.engine.guard import alone
from reconciliation.engine.run import ACTOR, lease_key
from reconciliation.models import Run
from reconciliation.selectors.policies import reconciliation_policy
from reconciliation.selectors.runs import looks
from reconciliation.services.runs import STARTUP, note_resumed, note_stalled, stalled_after
from trading.clock import wall_now
from trading.models import Account, AuditEvent, Restriction
from trading.services import leases

GRACE = timedelta(seconds=40)
"""How long a run that is due may wait for a worker and take; with the beat's pause people hear of it within 60 s."""
UNDER_WAY = "A reconciliation of it is under way and does not end."
NOBODY = "Nobody runs it: the workers are busy with something else, or stopped."


def watch_runs() -> int:
    """Tell people of every account whose run is overdue, or runs again. Returns how many are overdue now."""
    overdue = 0
    for account in reconcilable():
        with alone(f"{account.name}, the watch over its runs"):
            overdue += watch(account)
    return overdue


def watch(account: Account) -> bool:
    """Whether the account's run is overdue now; people are told when that begins and when it ends."""
    last = looks(account).first()
    since = _owed_since(account, last)
    interval = timedelta(seconds=reconciliation_policy(account).interval_seconds)
    if since is not None and wall_now() - since > interval + GRACE and is_periodic_due(account):
        why = UNDER_WAY if leases.held(lease_key(account)) else NOBODY
        note_stalled(account=account, last=last, since=since, why=why, actor=ACTOR)
        return True
    stalled = stalled_after(account)
    if stalled is not None and last is not None and last.pk > stalled:
        note_resumed(account=account, stalled=stalled, run=last, actor=ACTOR)
    return False


def _owed_since(account: Account, last: Run | None) -> datetime | None:
    """The wall time since which the account waits: its last look, a later start of the desk, or its own opening."""
    started = Restriction.objects.filter(account=account, source=STARTUP).order_by("-id").first()
    if last is None and started is None:
        opened = AuditEvent.objects.filter(account=account, kind="account.opened").first()
        return opened.recorded_at if opened is not None else None
    return max(row.recorded_at for row in (last, started) if row is not None)
