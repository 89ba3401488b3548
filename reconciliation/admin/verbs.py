"""What the buttons do: one service each, and the sentence that says how it went.

What always holds: whatever a person may not do is refused by the service with a RuleBroken; nothing here looks at
who proposed.
"""

from decimal import Decimal

from django.http import HttpRequest

from reconciliation.models import Discrepancy
from reconciliation.services import applying, resolutions
from trading.domain.money import BadNumber, parse_decimal
from trading.models import Proposal, User
from trading.services.approvals import need_in_words, standing
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

from .offers import WITH_PRICE, WITH_REALISED


def _person(request: HttpRequest) -> tuple[User, Actor]:
    user = request.user
    if not isinstance(user, User):
        raise RuleBroken("Nobody is signed in. Sign in again; nothing was changed.")
    return user, Actor.of(user, via="admin")


def _number(request: HttpRequest, action: str, name: str) -> Decimal | None:
    """A number of the form: each action has its own field for it; one without an action's name is meant for it too."""
    text = (request.POST.get(f"{action}-{name}") or request.POST.get(name, "")).strip()
    if not text:
        return None
    try:
        return parse_decimal(text)
    except BadNumber as error:
        raise RuleBroken(
            f"The {name} was not understood: {error}. Nothing was proposed; correct it and try again."
        ) from error


def propose(request: HttpRequest, case: Discrepancy) -> str:
    """Put an action forward for approval."""
    user, actor = _person(request)
    action = request.POST.get("action", "")
    price, realised = _number(request, action, "price"), _number(request, action, "realised")
    if (price is not None and action not in WITH_PRICE) or (realised is not None and action not in WITH_REALISED):
        raise RuleBroken(
            "This action takes no number of its own: empty the number fields, or choose the action they belong to. "
            "Nothing was proposed."
        )
    proposal = resolutions.propose(
        discrepancy_id=case.pk,
        action=action,
        reason=request.POST.get("reason", ""),
        proposer=user,
        actor=actor,
        price=price,
        realised=realised,
    )
    who = "A second person" if proposal.approvals_required == 1 else f"{proposal.approvals_required} other people"
    return f"Proposed as {proposal.pk}. {who} must approve it before {proposal.expires_at:%Y-%m-%d %H:%M} UTC."


def decide(request: HttpRequest, case: Discrepancy) -> str:
    """Give a verdict on what was seen; an approved proposal is applied at once."""
    user, actor = _person(request)
    verdict = request.POST.get("verdict", "")
    reason = request.POST.get("reason", "").strip()
    proposal = _seen(request, case)
    if verdict == "APPROVE":
        resolutions.approve(
            proposal_id=proposal.pk,
            approver=user,
            payload_sha256=request.POST.get("payload_sha256", ""),
            subject_version=_version(request),
            reason=reason,
            actor=actor,
        )
        return _apply(proposal, user, actor)
    if verdict == "REJECT":
        resolutions.reject(proposal_id=proposal.pk, approver=user, reason=reason, actor=actor)
        return "Rejected. The case is open again, and somebody may propose another resolution."
    if verdict == "WITHDRAW":
        resolutions.withdraw(proposal_id=proposal.pk, proposer=user, reason=reason, actor=actor)
        return "Withdrawn. The case is open again."
    raise RuleBroken("No verdict was given. Nothing was changed.")


def _seen(request: HttpRequest, case: Discrepancy) -> Proposal:
    """The proposal the person looked at, which must still be the case's."""
    proposal = case.proposal
    if proposal is None or str(proposal.pk) != request.POST.get("proposal"):
        raise RuleBroken(
            "The proposal you looked at is not this case's any more; nothing was decided. See the page as it is now."
        )
    return proposal


def _version(request: HttpRequest) -> int:
    text = request.POST.get("version", "")
    if not (text.isascii() and text.isdigit()):
        raise RuleBroken("The form did not say which version was seen. Load the page again; nothing was changed.")
    return int(text)


def _apply(proposal: Proposal, user: User, actor: Actor) -> str:
    """Carry out what has all its approvals. A worker may have been faster; either way it happens once."""
    if standing(proposal) == "WAITING":
        return f"Approved. {need_in_words(proposal)}"
    applied = applying.apply(proposal_id=proposal.pk, actor=actor, applied_by=user)
    if applied.refused:
        raise RuleBroken(f"Approved, but it could not be applied. {applied.refused}")
    sent = f" {len(applied.orders)} order is on its way to the broker." if applied.orders else ""
    return f"Approved and applied.{sent} The next complete run closes the case if books and broker agree."
