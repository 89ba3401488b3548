"""Many cases at once, where nothing is proposed or posted: reject, withdraw, take, label.

What always holds: a page in between shows what may be done to each case and why not to the others; each case is checked
anew by its service and answered with a sentence; one refusal stops none of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from reconciliation.models import Discrepancy
from reconciliation.services import notes, resolutions
from trading.models import Proposal, User
from trading.services.approvals import standing
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

from .bulk import Row, attempt, choose
from .offers import VERDICT_REASONS, title_of
from .work import words_of

STATE = Discrepancy.State
UNDER_DECISION = (STATE.PROPOSED, STATE.APPROVED)


@dataclass(frozen=True)
class Verb:
    """One thing that may be done to many cases: what the page says of it, and what does it."""

    action: str
    title: str
    button: str
    is_hard: bool
    asks_reason: bool
    asks_labels: bool
    offer: Callable[[Discrepancy, User], Row]
    act: Callable[[HttpRequest, Discrepancy, User, Actor], str]


def run(model_admin: Any, request: HttpRequest, cases: QuerySet[Discrepancy], verb: Verb) -> HttpResponse | None:
    """Show the page in between, or do it to each case that is ticked there."""
    chosen = choose(request, cases)
    user = request.user
    assert isinstance(user, User)  # the admin's views are behind its login
    if request.POST.get("confirmed"):
        ticked = [case for case in chosen if request.POST.get(f"do-{case.pk}")]
        for case in ticked:
            attempt(request, case, partial(verb.act, request, case))
        if not ticked:
            messages.warning(request, "No case was ticked; nothing was changed.")
        return None
    rows = [verb.offer(case, user) for case in chosen]
    context = {
        **model_admin.admin_site.each_context(request),
        "title": verb.title,
        "opts": model_admin.opts,
        "verb": verb,
        "rows": rows,
        "possible": [row for row in rows if not row.why_not],
        "reasons": VERDICT_REASONS,
        "selected": [row.case.pk for row in rows],
    }
    return TemplateResponse(request, "admin/reconciliation/discrepancy/ticked.html", context)


def _waiting(case: Discrepancy) -> Proposal | None:
    proposal = case.proposal
    if proposal is None or case.state not in UNDER_DECISION or standing(proposal) not in ("WAITING", "APPROVED"):
        return None
    return proposal


def _offer_verdict(case: Discrepancy, user: User, *, of_own: bool) -> Row:
    proposal = _waiting(case)
    if proposal is None:
        return Row(case, why_not=f"It is {case.state.lower()}: no proposal waits.")
    proposer = proposal.proposer.get_username()
    if of_own and proposal.proposer_id != user.pk:
        return Row(case, why_not=f"{proposer} proposed it: only {proposer} withdraws it.")
    if not of_own and proposal.proposer.person_id == user.person_id:
        return Row(case, why_not=f"{proposer} proposed this; a second person must decide.")
    action = str(proposal.kind).rpartition(".")[2]
    return Row(case, title=title_of(action), sentences=(f"{proposer}: “{proposal.reason}”",), proposal=proposal)


def _seen(request: HttpRequest, case: Discrepancy) -> Proposal:
    """The proposal that stood on the page, which must still be the case's."""
    proposal = case.proposal
    if proposal is None or str(proposal.pk) != request.POST.get(f"proposal-{case.pk}"):
        raise RuleBroken("The proposal you looked at is not this case's any more; nothing was decided.")
    return proposal


def _reject(request: HttpRequest, case: Discrepancy, user: User, actor: Actor) -> str:
    reason = request.POST.get("reason", "").strip()
    resolutions.reject(proposal_id=_seen(request, case).pk, approver=user, reason=reason, actor=actor)
    return "rejected. The case is open again."


def _withdraw(request: HttpRequest, case: Discrepancy, user: User, actor: Actor) -> str:
    reason = request.POST.get("reason", "").strip()
    resolutions.withdraw(proposal_id=_seen(request, case).pk, proposer=user, reason=reason, actor=actor)
    return "withdrawn. The case is open again."


def _offer_take(case: Discrepancy, user: User) -> Row:
    if case.owner_id is not None:
        whose = "yours already" if case.owner_id == user.pk else f"{case.owner.get_username()}'s"  # type: ignore[union-attr]
        return Row(case, why_not=f"It is {whose}.")
    return Row(case, title="Take it", sentences=("Nobody has it.",))


def _take(request: HttpRequest, case: Discrepancy, user: User, actor: Actor) -> str:
    notes.take(discrepancy_id=case.pk, person=user, actor=actor)
    return "yours now."


def _offer_label(case: Discrepancy, user: User) -> Row:
    stands = f"Now: {', '.join(case.labels)}." if case.labels else "It has no label."
    return Row(case, title="Label it", sentences=(stands,))


def _label(request: HttpRequest, case: Discrepancy, user: User, actor: Actor) -> str:
    add, remove = words_of(request, "add"), words_of(request, "remove")
    row = notes.label(discrepancy_id=case.pk, add=add, remove=remove, person=user, actor=actor)
    return f"labelled {', '.join(row.labels)}." if row.labels else "has no label any more."


REJECT = Verb(
    "reject_selected", "Reject what was proposed", "Reject", True, True, False,
    partial(_offer_verdict, of_own=False), _reject,
)  # fmt: skip
WITHDRAW = Verb(
    "withdraw_selected", "Withdraw what you proposed", "Withdraw", True, True, False,
    partial(_offer_verdict, of_own=True), _withdraw,
)  # fmt: skip
TAKE = Verb("take_selected", "Take several cases", "Take them", False, False, False, _offer_take, _take)
LABEL = Verb("label_selected", "Label several cases", "Label them", False, False, True, _offer_label, _label)
