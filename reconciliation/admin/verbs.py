"""What the buttons do: one service each, and the sentence that says how it went.

What always holds: whatever a person may not do is refused by the service with a RuleBroken; nothing here looks at
who proposed.
"""

from decimal import Decimal
from typing import Any

from django.http import HttpRequest

from reconciliation.models import Discrepancy
from reconciliation.services import resolutions
from trading.domain.money import BadNumber, parse_decimal
from trading.models import Proposal, User
from trading.services.approvals import standing
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

SHORTEST_REASON = 5


def _person(request: HttpRequest) -> tuple[User, Actor]:
    user = request.user
    if not isinstance(user, User):
        raise RuleBroken("Nobody is signed in. Sign in again; nothing was changed.")
    return user, Actor.of(user, via="admin")


def _price(text: str) -> Decimal | None:
    text = text.strip().replace(",", "")
    if not text:
        return None
    try:
        price = parse_decimal(text)
    except BadNumber as error:
        raise RuleBroken(f"The price was not understood: {error}. Nothing was proposed; correct it and try again.") from error
    if price <= 0:
        raise RuleBroken("A price is above zero. Nothing was proposed; correct it and try again.")
    return price


def propose(request: HttpRequest, case: Discrepancy) -> str:
    """Put an action forward for approval."""
    user, actor = _person(request)
    parameters: dict[str, Any] = {}
    action = request.POST.get("action", "")
    price = _price(request.POST.get("price", ""))
    if price is not None and action in resolutions.NEEDS_PRICE:
        parameters["price"] = price
    proposal = resolutions.propose(
        discrepancy=case,
        action=action,
        reason=request.POST.get("reason", ""),
        proposer=user,
        actor=actor,
        **parameters,
    )
    return f"Proposed as {proposal.pk}. A second person must approve it before {proposal.expires_at:%Y-%m-%d %H:%M} UTC."


def decide(request: HttpRequest, case: Discrepancy) -> str:
    """Give a verdict on what was seen; an approved proposal is applied at once."""
    user, actor = _person(request)
    verdict = request.POST.get("verdict", "")
    reason = request.POST.get("reason", "").strip()
    proposal = _seen(request, case)
    seen: dict[str, Any] = {
        "proposal": proposal,
        "payload_sha256": request.POST.get("payload_sha256", ""),
        "subject_version": _version(request),
        "reason": reason,
        "actor": actor,
    }
    if verdict == "APPROVE":
        resolutions.approve(approver=user, **seen)
        return _apply(proposal, actor)
    if len(reason) < SHORTEST_REASON:
        raise RuleBroken("Say why in at least five characters: the others read it. Nothing was changed.")
    if verdict == "REJECT":
        resolutions.reject(approver=user, **seen)
        return "Rejected. The case is open again, and somebody may propose another resolution."
    if verdict == "WITHDRAW":
        resolutions.withdraw(approver=user, **seen)
        return "Withdrawn. The case is open again."
    raise RuleBroken("No verdict was given. Nothing was changed.")


def _seen(request: HttpRequest, case: Discrepancy) -> Proposal:
    """The proposal the person looked at, which must still be the case's."""
    proposal = case.proposal
    if proposal is None or str(proposal.pk) != request.POST.get("proposal"):
        raise RuleBroken(
            "The proposal you looked at is not this case's any more; nothing was decided. Look at the page as it is now."
        )
    return proposal


def _version(request: HttpRequest) -> int:
    text = request.POST.get("version", "")
    if not (text.isascii() and text.isdigit()):
        raise RuleBroken("The form did not say which version was seen. Load the page again; nothing was changed.")
    return int(text)


def _apply(proposal: Proposal, actor: Actor) -> str:
    """Carry out what has all its approvals; what cannot be carried out now stays approved and is tried again."""
    if standing(proposal) != "APPROVED":
        return "Approved. It needs one more person before it is applied."
    try:
        resolutions.apply(proposal_id=proposal.pk, actor=actor)
    except RuleBroken as refusal:
        return f"Approved, but not applied yet: {refusal}"
    return "Approved and applied. The next complete run closes the case if books and broker agree."
