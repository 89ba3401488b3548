"""The policy of an account on a page: what stands, in words; what is proposed beside it; and the verdict on it.

What always holds: this page decides nothing itself; every button is a POST that calls one service, and what a service
refuses comes back as its own sentence, with the text that somebody had written kept.
"""

from itertools import groupby
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from trading.domain.policy import AccountPolicy
from trading.domain.policy_words import SETTINGS, changes, policy_text, values_of
from trading.models import Account, Proposal
from trading.selectors.policies import policy_of
from trading.services import policies
from trading.services.errors import RuleBroken

from . import values
from .pages import Panel, Raw, ReadOnlyAdmin, Table
from .verdicts import decision_for, person_of

PAGE = "trading_account_policy"
LONGEST = 20_000


def policy_address(account_id: int) -> str:
    """The page on which an account's policy is read, proposed and decided."""
    return reverse(f"admin:{PAGE}", args=[account_id])


def policy_panels(policy: AccountPolicy) -> list[Panel]:
    """A policy for people: a table for each group of its settings."""
    shown = values_of(policy)
    return [
        Table(
            group,
            ("What", "Value", "Setting"),
            [(each.words, shown[each.path], values.code(each.path)) for each in settings],
        )
        for group, settings in groupby(SETTINGS, key=lambda each: each.group)
    ]


class UnderAPolicy(ReadOnlyAdmin):
    """The page of an account, with the way to its policy."""

    def get_urls(self) -> list[URLPattern]:
        """Plus the page of the policy."""
        page = path("<int:account_id>/policy/", self.admin_site.admin_view(self.policy_page), name=PAGE)
        return [page, *super().get_urls()]

    def tools(self, request: HttpRequest, subject: Any) -> list[tuple[str, str]]:
        """The way there, and whether something waits."""
        waits = policies.waiting_proposal(subject) is not None
        name = "A policy waits for approval" if waits else "Policy"
        return [*super().tools(request, subject), (name, policy_address(subject.pk))]

    def policy_page(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Shows the policy; a POST proposes another one, or decides on the one that waits."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        account = get_object_or_404(Account.objects.select_related("policy"), pk=account_id)
        written = ""
        if request.method == "POST":
            try:
                messages.success(request, _act(request, account))
                return redirect(policy_address(account.pk))
            except RuleBroken as refusal:
                messages.error(request, str(refusal))
                written = _written(request)
        common = {**self.admin_site.each_context(request), "opts": self.opts, "account": account}
        context = {**common, **_page(request, account, written)}
        return TemplateResponse(request, "admin/trading/account/policy.html", context)


def _page(request: HttpRequest, account: Account, written: str) -> dict[str, Any]:
    user, _ = person_of(request)
    standing, waiting = policy_of(account), policies.waiting_proposal(account)
    return {
        "title": f"Policy of {account}",
        "stands": account.policy,
        "panels": policy_panels(standing),
        "difference": _difference(standing, waiting) if waiting is not None else None,
        "exact": Raw("As it was proposed, word for word", waiting.payload) if waiting is not None else None,
        "decision": decision_for(waiting, user, address=policy_address(account.pk), verb="Approve and put in force")
        if waiting is not None
        else None,
        "may_propose": waiting is None and user.has_perm("trading.propose"),
        "text": written or policy_text(standing),
        "reason": request.POST.get("reason", ""),
        "longest": LONGEST,
    }


def _difference(standing: AccountPolicy, waiting: Proposal) -> Table:
    rows = [
        (each.setting.words, each.before, each.after, values.code(each.setting.path))
        for each in changes(standing, policies.proposed(waiting))
    ]
    return Table("What the proposal would change", ("What", "Stands", "Proposed", "Setting"), rows, "Nothing.")


def _written(request: HttpRequest) -> str:
    return request.POST.get("policy", "").replace("\r\n", "\n")[:LONGEST]


def _act(request: HttpRequest, account: Account) -> str:
    verdict, reason = request.POST.get("verdict", ""), request.POST.get("reason", "").strip()
    user, actor = person_of(request, "" if verdict else "trading.propose")
    if not verdict:
        made = policies.propose(account=account, text=_written(request), reason=reason, proposer=user, actor=actor)
        return f"Proposed as {made.pk}. A second person must approve it before {made.expires_at:%Y-%m-%d %H:%M} UTC."
    proposal = policies.waiting_proposal(account)
    if proposal is None or str(proposal.pk) != request.POST.get("proposal"):
        raise RuleBroken("The proposal you looked at does not wait any more; nothing was decided. See the page anew.")
    policies.decide(
        proposal_id=proposal.pk, person=user, verdict=verdict, reason=reason, actor=actor,
        payload_sha256=request.POST.get("payload_sha256", ""),
    )  # fmt: skip
    if verdict in ("REJECT", "WITHDRAW"):
        return f"{'Rejected' if verdict == 'REJECT' else 'Withdrawn'}; the policy stands as it was."
    return f"Approved: {account} stands under the proposed policy from now on."
