"""Carry out what two people approved, and send the orders that it plans.

What always holds: the application is one transaction of a service; its orders are PLANNED rows that the sender picks
up whether or not somebody wakes it; what crashed between approval and application is found here again, and what ends
in an error that nobody expected is begun three times and then told; it keeps no other resolution waiting.
"""

from __future__ import annotations

import logging

from reconciliation.domain.lifecycle import State
from reconciliation.models import Discrepancy
from reconciliation.services.applying import Applied, apply
from reconciliation.services.resolutions import release_expired
from trading.models import Account
from trading.services import attempts
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

from . import stops
from .guard import alone

log = logging.getLogger(__name__)

ACTOR = Actor.system("reconciliation")


def apply_proposal(*, proposal_id: int) -> Applied:
    """Carry out one approved proposal; begun at most three times if it keeps ending in an error or killing its worker.

    Raises what nobody expected, and counts it as a beginning without an end.
    """
    key = f"reconciliation.apply:{proposal_id}"
    if not attempts.begin(key=key):
        return Applied(None, (), "It was begun three times and never ended; a person must look at the worker's log.")
    try:
        applied = apply(proposal_id=proposal_id, actor=ACTOR)
    except RuleBroken as error:
        applied = Applied(None, (), str(error))
    attempts.end(key=key)
    if applied.application is not None and applied.application.proposal.account is not None:
        stops.ask_for(applied.application.proposal.account)
    return applied


def sweep(account: Account) -> int:
    """Carry out every approved resolution of the account that is still waiting; give back expired ones."""
    release_expired(account_id=account.pk, actor=ACTOR)
    waiting = Discrepancy.objects.filter(account=account, state=State.APPROVED, proposal__isnull=False)
    done = 0
    for proposal_id in list(waiting.order_by("pk").values_list("proposal_id", flat=True)):
        with alone(f"proposal {proposal_id}"):
            outcome = apply_proposal(proposal_id=proposal_id)
            done += outcome.application is not None
            if outcome.refused:
                log.warning("proposal %s: %s", proposal_id, outcome.refused)
    stops.ask_for(account)
    return done
