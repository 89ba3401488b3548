"""Many cases at once: the same services as on the page of one, each case checked anew and answered with a sentence.

What always holds: a page in between shows what would be done to each case; a verdict carries the hash and version that
was shown there; one refusal stops none of the others.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from reconciliation.models import Discrepancy
from reconciliation.services import applying, resolutions
from trading.models import Proposal, User
from trading.services.approvals import need_in_words, standing
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

from .offers import REASONS, VERDICT_REASONS, has_moved, live_proposal, title_of
from .titles import title_of_case

MOST = 50


@dataclass(frozen=True)
class Row:
    """One selected case on the page in between; `why_not` says why nothing can be done to it here."""

    case: Discrepancy
    why_not: str = ""
    actions: tuple[tuple[str, str, bool], ...] = ()
    title: str = ""
    sentences: tuple[str, ...] = ()
    proposal: Proposal | None = None

    @property
    def called(self) -> str:
        """The case as pages call it."""
        return title_of_case(self.case)


def propose(model_admin: Any, request: HttpRequest, cases: QuerySet[Discrepancy]) -> HttpResponse | None:
    """Propose a resolution for each selected case, under one reason."""
    chosen = choose(request, cases)
    if request.POST.get("confirmed"):
        for case in chosen:
            action = request.POST.get(f"action-{case.pk}", "")
            if action:
                attempt(request, case, partial(_propose, request, case, action))
        return None
    return _page(model_admin, request, "propose_selected", [_offer(case) for case in chosen], REASONS)


def approve(model_admin: Any, request: HttpRequest, cases: QuerySet[Discrepancy]) -> HttpResponse | None:
    """Approve and apply the waiting proposal of each selected case."""
    chosen = choose(request, cases)
    if request.POST.get("confirmed"):
        for case in chosen:
            if request.POST.get(f"approve-{case.pk}"):
                attempt(request, case, partial(_approve, request, case))
        return None
    user = request.user
    assert isinstance(user, User)  # the admin's views are behind its login
    return _page(model_admin, request, "approve_selected", [_waiting(case, user) for case in chosen], VERDICT_REASONS)


def choose(request: HttpRequest, cases: QuerySet[Discrepancy]) -> list[Discrepancy]:
    """The selected cases, at most fifty of them, said so where there are more."""
    rows = list(cases.select_related("account", "instrument", "owner", "proposal__proposer")[: MOST + 1])
    if len(rows) > MOST:
        messages.warning(request, f"Only the first {MOST} of the selected cases are taken at a time.")
    return rows[:MOST]


def _page(
    model_admin: Any, request: HttpRequest, action: str, rows: list[Row], reasons: tuple[str, ...]
) -> TemplateResponse:
    approving = action == "approve_selected"
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Approve what was proposed" if approving else "Propose for several cases",
        "opts": model_admin.opts,
        "action": action,
        "approving": approving,
        "rows": rows,
        "possible": [row for row in rows if not row.why_not],
        "reasons": reasons,
        "selected": [row.case.pk for row in rows],
    }
    return TemplateResponse(request, "admin/reconciliation/discrepancy/several.html", context)


def _offer(case: Discrepancy) -> Row:
    if case.state != Discrepancy.State.OPEN:
        return Row(case, why_not=f"It is {case.state.lower()}, not open.")
    suggestion = case.evidence.get("suggestion")
    actions = tuple((a, title_of(a), a == suggestion) for a in case.evidence.get("actions", []))
    return Row(case, actions=actions) if actions else Row(case, why_not="Nothing can be proposed for it.")


def _waiting(case: Discrepancy, user: User) -> Row:
    if case.state != Discrepancy.State.PROPOSED or case.proposal is None:
        return Row(case, why_not=f"It is {case.state.lower()}: no proposal waits.")
    live = live_proposal(case, case.proposal, user)
    why_not = live.blocked or live.moved
    told = (*live.work.sentences, live.needs)
    return Row(case, why_not=why_not, title=live.title, sentences=told, proposal=case.proposal)


def attempt(request: HttpRequest, case: Discrepancy, verb: Callable[[User, Actor], str]) -> None:
    """Do it to one case; its answer, refusals included, is a message under the name of the case."""
    user = request.user
    assert isinstance(user, User)  # the admin's views are behind its login
    try:
        messages.success(request, f"{title_of_case(case)}: {verb(user, Actor.of(user, via='admin'))}")
    except RuleBroken as refusal:
        messages.error(request, f"{title_of_case(case)}: {refusal}")


def _propose(request: HttpRequest, case: Discrepancy, action: str, user: User, actor: Actor) -> str:
    reason = request.POST.get("reason", "")
    made = resolutions.propose(discrepancy_id=case.pk, action=action, reason=reason, proposer=user, actor=actor)
    who = "a second person" if made.approvals_required == 1 else f"{made.approvals_required} other people"
    return f"proposed to {title_of(action).lower()}; {who} must approve it."


def _approve(request: HttpRequest, case: Discrepancy, user: User, actor: Actor) -> str:
    proposal = case.proposal
    if proposal is None or str(proposal.pk) != request.POST.get(f"proposal-{case.pk}"):
        raise RuleBroken("The proposal you looked at is not this case's any more; nothing was decided.")
    if has_moved(case, _payload(proposal)):
        raise RuleBroken("What would be posted now differs from what was proposed; nothing was decided.")
    version = request.POST.get(f"version-{case.pk}", "")
    resolutions.approve(
        proposal_id=proposal.pk,
        approver=user,
        payload_sha256=request.POST.get(f"payload-{case.pk}", ""),
        subject_version=int(version) if version.isascii() and version.isdigit() else -1,
        reason=request.POST.get("reason", "").strip(),
        actor=actor,
    )
    if standing(proposal) == "WAITING":
        return f"approved. {need_in_words(proposal)}"
    applied = applying.apply(proposal_id=proposal.pk, actor=actor, applied_by=user)
    if applied.refused:
        raise RuleBroken(f"Approved, but it could not be applied. {applied.refused}")
    return "approved and applied. The next complete run closes it if books and broker agree."


def _payload(proposal: Proposal) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(proposal.payload)
    return payload
