"""The form with which a second person decides on a proposal, as one person sees it.

What always holds: it decides nothing itself; a button that the service would refuse for the proposer's own person is
disabled and says why; the verdict carries the hash of what was seen.
"""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from trading.models import Proposal, User
from trading.services.approvals import standing
from trading.services.audit import Actor

from . import values


@dataclass(frozen=True)
class Decision:
    """A proposal that waits, with the buttons of one person."""

    proposal: Proposal
    address: str
    verb: str
    who: str
    at: str
    expires: str
    standing: str
    blocked: str
    shows_verdicts: bool
    may_withdraw: bool
    may_apply: bool


def decision_for(proposal: Proposal, user: User, *, address: str, verb: str) -> Decision:
    """What this person may do about the proposal; `address` is where the form goes."""
    stands = standing(proposal)
    is_own = proposal.proposer.person_id == user.person_id
    who = proposal.proposer.get_username()
    return Decision(
        proposal=proposal,
        address=address,
        verb=verb,
        who=who,
        at=str(values.moment(proposal.at)),
        expires=str(values.moment(proposal.expires_at)),
        standing=stands,
        blocked=f"{who} proposed this; a second person must approve." if is_own else "",
        shows_verdicts=stands == "WAITING" and (is_own or user.has_perm("trading.approve")),
        may_withdraw=is_own and stands == "WAITING",
        may_apply=stands == "APPROVED" and user.has_perm("trading.approve"),
    )


def person_of(request: HttpRequest, permission: str = "") -> tuple[User, Actor]:
    """Who asks, and in which role. Raises PermissionDenied without the right."""
    user: Any = request.user
    if not isinstance(user, User) or (permission and not user.has_perm(permission)):
        raise PermissionDenied
    return user, Actor.of(user, via="admin")
