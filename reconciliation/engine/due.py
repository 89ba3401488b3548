"""What is due, asked by a tick in wall time and answered on each account's own clock.

What always holds: a run is due because of rows (a run that the broker has broken off, a start-up restriction, fills and
ended orders past the mark, an empty slot of the schedule), never because of a message; at most one run per account is
due at a time, the most urgent first; a broker that has asked for quiet has it; a start whose block waits for people
alone makes no further runs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciliation.domain.lifecycle import State
from reconciliation.engine.run import ACTOR, RunResult, run_reconciliation
from reconciliation.engine.statements import look_again
from reconciliation.models import Run
from reconciliation.selectors.books import POST_TRADE, post_trade_mark
from reconciliation.selectors.policies import reconciliation_policy
from reconciliation.selectors.runs import broken_off, goes_on_at, looks
from reconciliation.services.runs import STARTUP, keep_entries_waiting, note_missed, slot_is_taken
from trading.clock import now, wall_now
from trading.models import Account, Application, Restriction
from trading.services import cursors

log = logging.getLogger(__name__)

AGAIN_AFTER = timedelta(seconds=15)
"""Wall time between two start-up or post-trade runs of an account while they do not get through."""
OVERDUE_AFTER = timedelta(seconds=30)
"""Wall time without a periodic run before missed slots are noticed."""


@dataclass(frozen=True, slots=True)
class Due:
    """A run that is due. `missed` counts slots of the schedule that nobody ran."""

    account: Account
    trigger: str
    scheduled_for: datetime | None = None
    missed: int = 0


def reconcilable() -> list[Account]:
    """The accounts that the desk reconciles by itself: active, at a broker, of the desk's own world."""
    accounts = Account.objects.filter(is_active=True, scope="").exclude(broker=Account.Broker.PAPER)
    return list(accounts.select_related("policy").order_by("pk"))


def due(account: Account) -> Due | None:
    """The most urgent run that is due for the account, if any."""
    left_off = broken_off(account)
    if left_off is not None:
        return Due(account, left_off.trigger) if wall_now() >= goes_on_at(left_off) else None
    if _startup_is_due(account):
        return Due(account, Run.Trigger.STARTUP)
    if _post_trade_is_due(account):
        return Due(account, Run.Trigger.POST_TRADE)
    return _periodic(account)


def is_periodic_due(account: Account) -> bool:
    """Whether the slot of the schedule that the account's clock is in has no run yet."""
    return _periodic(account) is not None


def run_if_due(account: Account) -> RunResult | None:
    """Run what is due for the account now; None when nothing is."""
    wanted = due(account)
    if wanted is None:
        return None
    if wanted.missed:
        note_missed(account=account, missed=wanted.missed, actor=ACTOR)
    result = run_reconciliation(account=account, trigger=wanted.trigger, scheduled_for=wanted.scheduled_for)
    if result.ok:
        look_again(account)
    return result


def slot_of(moment: datetime, interval_seconds: int) -> datetime:
    """The beginning of the schedule's slot that a moment is in."""
    epoch = int(moment.timestamp())
    return datetime.fromtimestamp(epoch - epoch % interval_seconds, UTC)


def _startup_is_due(account: Account) -> bool:
    put = Restriction.objects.filter(account=account, source=STARTUP, lifted_at=None).order_by("-id").first()
    if put is None:
        return False
    seen = looks(account).filter(status=Run.Status.COMPLETE, recorded_at__gte=put.recorded_at).first()
    if seen is not None and _waits_for_people(account, seen):
        return False
    tried = Run.objects.filter(account=account, trigger=Run.Trigger.STARTUP, recorded_at__gte=put.recorded_at)
    return not tried.exists() or not _ran_lately(account)


def _waits_for_people(account: Account, seen: Run) -> bool:
    """Whether what the complete run has let block entries is confirmed, and nobody has decided on anything since."""
    suspected = keep_entries_waiting(account).filter(state=State.SUSPECTED)
    decided = Application.objects.filter(proposal__account=account, recorded_at__gt=seen.recorded_at)
    return not suspected.exists() and not decided.exists()


def _post_trade_is_due(account: Account) -> bool:
    if _pair(post_trade_mark(account)) == _pair(cursors.get(account, POST_TRADE)):
        return False
    last = looks(account).first()
    got_through = last is None or last.status == Run.Status.COMPLETE
    return got_through or not _ran_lately(account)


def _periodic(account: Account) -> Due | None:
    interval = reconciliation_policy(account).interval_seconds
    slot = slot_of(now(account), interval)
    if slot_is_taken(account, Run.Trigger.PERIODIC, slot):
        return None
    last = looks(account).filter(trigger=Run.Trigger.PERIODIC, scheduled_for__isnull=False).first()
    missed = 0
    if last is not None and last.scheduled_for is not None and wall_now() - last.recorded_at > OVERDUE_AFTER:
        missed = max(int((slot - last.scheduled_for).total_seconds()) // interval - 1, 0)
    return Due(account, Run.Trigger.PERIODIC, slot, missed)


def _ran_lately(account: Account) -> bool:
    return looks(account).filter(recorded_at__gt=wall_now() - AGAIN_AFTER).exists()


def _pair(mark: str) -> tuple[int, int]:
    fill, _, ended = (mark or "0:0").partition(":")
    return int(fill or 0), int(ended or 0)
