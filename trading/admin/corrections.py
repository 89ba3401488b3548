"""Taking an entry back from its page: what it would do, the proposal, and the second person's verdict.

What always holds: this page decides nothing itself; every button is a POST that calls one service, and what a service
refuses comes back as its own sentence.
"""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from trading.models import Entry
from trading.services import reversals
from trading.services.errors import RuleBroken

from . import values
from .pages import ReadOnlyAdmin, Table
from .verdicts import decision_for, person_of

PAGE = "trading_entry_reverse"
LINES = ("Reverses", "Ledger account", "Debit", "Credit", "Commodity")
BALANCES = ("Ledger account", "Balance now", "After the reversal", "Commodity")


def reversal_address(entry_id: int) -> str:
    """The page on which an entry is taken back."""
    return reverse(f"admin:{PAGE}", args=[entry_id])


class Reversible(ReadOnlyAdmin):
    """The page of an entry, with the way to its reversal."""

    def get_urls(self) -> list[URLPattern]:
        """Plus the page of the reversal."""
        page = path("<int:entry_id>/reverse/", self.admin_site.admin_view(self.reversal), name=PAGE)
        return [page, *super().get_urls()]

    def tools(self, request: HttpRequest, subject: Any) -> list[tuple[str, str]]:
        """The way there, for whoever may propose or decide."""
        shown = super().tools(request, subject)
        if subject.kind == Entry.Kind.REVERSAL or subject.reversals.exists():
            return shown
        if reversals.waiting_proposal(subject) is not None:
            return [*shown, ("A reversal waits for approval", reversal_address(subject.pk))]
        if request.user.has_perm("trading.propose"):
            return [*shown, ("Propose reversal", reversal_address(subject.pk))]
        return shown

    def reversal(self, request: HttpRequest, entry_id: int) -> HttpResponse:
        """Shows what a reversal would do; a POST proposes it, or decides on the one that waits."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        entry = get_object_or_404(Entry.objects.select_related("account"), pk=entry_id)
        if request.method == "POST":
            try:
                messages.success(request, _act(request, entry))
            except RuleBroken as refusal:
                messages.error(request, str(refusal))
                return redirect(reversal_address(entry.pk))
            return redirect("admin:trading_entry_change", entry.pk)
        common = {**self.admin_site.each_context(request), "opts": self.opts, "original": entry}
        context = {**common, **_page(request, entry)}
        return TemplateResponse(request, "admin/trading/entry/reverse.html", context)


def _page(request: HttpRequest, entry: Entry) -> dict[str, Any]:
    user, _ = person_of(request)
    seen, waiting = reversals.preview(entry.pk), reversals.waiting_proposal(entry)
    lines = [
        (values.link(Entry(pk=n.entry), f"entry {n.entry}"), n.ledger_account, n.debit, n.credit,
         n.ledger_account.commodity_id)
        for n in seen.lines
    ]  # fmt: skip
    balances = [
        (b.ledger_account, values.amount(b.before), values.amount(b.after), b.ledger_account.commodity_id)
        for b in seen.balances
    ]
    address = reversal_address(entry.pk)
    return {
        "title": f"Reversal of entry {entry.pk}",
        "called": f"entry {entry.pk}",
        "refused": seen.refused,
        "warnings": seen.warnings,
        "panels": [
            Table("Exactly these lines would be posted", LINES, lines, "Nothing."),
            Table("Balances, as they stand now", BALANCES, balances, "None."),
        ],
        "decision": decision_for(waiting, user, address=address, verb="Approve and reverse") if waiting else None,
        "may_propose": waiting is None and not seen.refused and user.has_perm("trading.propose"),
    }


def _act(request: HttpRequest, entry: Entry) -> str:
    verdict = request.POST.get("verdict", "")
    reason = request.POST.get("reason", "").strip()
    user, actor = person_of(request, "" if verdict else "trading.propose")
    if not verdict:
        made = reversals.propose(entry_id=entry.pk, reason=reason, proposer=user, actor=actor)
        return f"Proposed as {made.pk}. A second person must approve it before {made.expires_at:%Y-%m-%d %H:%M} UTC."
    proposal = reversals.waiting_proposal(entry)
    if proposal is None or str(proposal.pk) != request.POST.get("proposal"):
        raise RuleBroken("The proposal you looked at does not wait any more; nothing was decided. See the page anew.")
    if verdict != "APPLY":
        reversals.decide(
            proposal_id=proposal.pk, person=user, verdict=verdict, reason=reason, actor=actor,
            payload_sha256=request.POST.get("payload_sha256", ""),
        )  # fmt: skip
    if verdict in ("REJECT", "WITHDRAW"):
        return "Rejected; the entry stands." if verdict == "REJECT" else "Withdrawn; the entry stands."
    reversals.apply(proposal_id=proposal.pk, actor=actor, applied_by=user)
    return f"Approved and reversed: entry {entry.pk} is taken back, with what followed from it."
