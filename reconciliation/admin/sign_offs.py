"""Signing off the trading days of an account: which days wait, what each can be signed off on, and who did.

What always holds: these pages decide nothing themselves; every button is a POST that calls one service, and what a
service refuses comes back as its own sentence. Whoever prepares ticks every open case; whoever reviews sees them.
"""

from datetime import date
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from reconciliation.models import Discrepancy, SignOff
from reconciliation.services import sign_offs
from reconciliation.services.sign_offs import Evidence
from trading.admin import columns, values
from trading.admin.pages import Panel, Raw, ReadOnlyAdmin, Table, audit_panel
from trading.admin.verdicts import decision_for, person_of
from trading.clock import trading_day
from trading.models import Account, Proposal
from trading.services.errors import RuleBroken

PROOF = ("Commodity", "Broker", "Books", "Explained", "Unexplained", "Holds")


def day_address(account: Account, day: date) -> str:
    """The page on which a day is prepared and reviewed."""
    return reverse("admin:reconciliation_signoff_day", args=[account.pk, day.isoformat()])


def account_address(account: Account) -> str:
    """The page with the days of an account."""
    return reverse("admin:reconciliation_signoff_account", args=[account.pk])


@admin.register(SignOff)
class SignOffAdmin(ReadOnlyAdmin):
    """Days that two people signed off."""

    list_display = (
        "day",
        columns.link("account"),
        columns.link("run"),
        "prepared",
        "reviewed",
        columns.moment("recorded_at", "signed"),
    )
    list_filter = ("account",)
    list_select_related = ("account", "run", "application__proposal__proposer", "application__applied_by")
    date_hierarchy = "trading_day"

    @admin.display(description="day", ordering="trading_day")
    def day(self, row: SignOff) -> str:
        """The trading day, as it is written everywhere here."""
        return str(row.trading_day.isoformat())

    @admin.display(description="prepared by")
    def prepared(self, row: SignOff) -> str:
        """Who proposed it."""
        return row.application.proposal.proposer.get_username()

    @admin.display(description="reviewed by")
    def reviewed(self, row: SignOff) -> str:
        """Who approved it."""
        names = [v.approver.get_username() for v in row.application.proposal.approvals.select_related("approver")]
        return ", ".join(names)

    def panels(self, request: HttpRequest, subject: SignOff) -> list[Panel]:
        """What was seen, word for word."""
        return [Raw("Evidence", subject.application.proposal.payload, is_open=True), audit_panel(subject.run, subject)]

    def get_urls(self) -> list[URLPattern]:
        """Plus the pages of an account and of a day."""
        view = self.admin_site.admin_view
        return [
            path("account/<int:account_id>/", view(self.account_page), name="reconciliation_signoff_account"),
            path("account/<int:account_id>/<str:day>/", view(self.day_page), name="reconciliation_signoff_day"),
            *super().get_urls(),
        ]

    def account_page(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """The days that wait, and those that were signed off."""
        account = self._account(request, account_id)
        waiting = [
            (_to(day_address(account, day), str(day)), *_state(account, day))
            for day in sign_offs.days_to_sign_off(account)
        ]
        done = [
            (values.link(row, str(row.trading_day)), row.run, self.prepared(row), self.reviewed(row), row.recorded_at)
            for row in self.get_queryset(request).filter(account=account).select_related(*self.list_select_related)[:60]
        ]
        refused = sign_offs.evidence(account, trading_day(account)).refused if account.is_paper_book else ""
        return self._shown(
            request,
            account,
            {
                "title": f"Sign-offs of {account}",
                "refused": refused,
                "panels": [
                    Table("Days that wait", ("Day", "Stands", "Why not yet"), waiting, "None with entries."),
                    Table(
                        "Signed off", ("Day", "Run", "Prepared by", "Reviewed by", "Signed (UTC)"), done, "None yet."
                    ),
                ],
            },
        )

    def day_page(self, request: HttpRequest, account_id: int, day: str) -> HttpResponse:
        """What a day can be signed off on; a POST prepares it, or gives the verdict on the one that waits."""
        account = self._account(request, account_id)
        try:
            wanted = date.fromisoformat(day)
        except ValueError as error:
            raise Http404(f"{day} is no day") from error
        if request.method == "POST":
            try:
                messages.success(request, _act(request, account, wanted))
            except RuleBroken as refusal:
                messages.error(request, str(refusal))
                return redirect(day_address(account, wanted))
            return redirect(account_address(account))
        return self._shown(request, account, _day(request, account, wanted))

    def _account(self, request: HttpRequest, account_id: int) -> Account:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(Account, pk=account_id)

    def _shown(self, request: HttpRequest, account: Account, more: dict[str, Any]) -> HttpResponse:
        common = {**self.admin_site.each_context(request), "opts": self.opts, "account": account}
        return TemplateResponse(request, "admin/reconciliation/signoff/page.html", {**common, **more})


def _to(address: str, text: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', address, text)


def _state(account: Account, day: date) -> tuple[SafeString, str]:
    waiting = sign_offs.waiting_proposal(account, day)
    if waiting is not None:
        return values.pill("PREPARED"), ""
    return values.pill("OPEN"), sign_offs.evidence(account, day).refused


def _day(request: HttpRequest, account: Account, day: date) -> dict[str, Any]:
    user, _ = person_of(request)
    seen, waiting = sign_offs.evidence(account, day), sign_offs.waiting_proposal(account, day)
    may_prepare = waiting is None and not seen.refused and user.has_perm("trading.propose")
    return {
        "title": f"Sign-off of {account}, {day}",
        "day": day,
        "refused": seen.refused,
        "panels": [_facts(seen), *_proof(seen), *_cases(seen)],
        "to_accept": seen.cases if may_prepare else (),
        "may_prepare": may_prepare,
        "decision": decision_for(waiting, user, address=day_address(account, day), verb="Review and sign off")
        if waiting is not None
        else None,
        "exact": Raw("As it was prepared, word for word", waiting.payload) if waiting is not None else None,
    }


def _facts(seen: Evidence) -> Table:
    rows: list[tuple[Any, ...]] = [
        ("Evidence", values.link(seen.run, f"run {seen.run.pk}") if seen.run is not None else "no complete run yet"),
        ("Entries of the day", str(seen.entries)),
        ("Open differences", str(len(seen.cases))),
    ]
    return Table("What there is", ("What", "Value"), rows)


def _proof(seen: Evidence) -> list[Panel]:
    if seen.run is None:
        return []
    rows = [
        (commodity, *(values.typed(line.get(name.lower())) for name in PROOF[1:]))
        for commodity, line in sorted(seen.run.proof.items())
    ]
    return [Table("Proof: broker − books − explained = 0", PROOF, rows, "Nothing was compared.")]


def _cases(seen: Evidence) -> list[Panel]:
    rows = [(values.link(case), values.pill(case.severity), values.pill(case.state), case.cause) for case in seen.cases]
    return [Table("Open differences", ("Case", "Severity", "State", "Cause"), rows, "None.")]


def _act(request: HttpRequest, account: Account, day: date) -> str:
    verdict, reason = request.POST.get("verdict", ""), request.POST.get("reason", "").strip()
    user, actor = person_of(request, "" if verdict else "trading.propose")
    if not verdict:
        ticked = [int(text) for text in request.POST.getlist("accept") if text.isascii() and text.isdigit()]
        accepted = list(Discrepancy.objects.filter(account=account, pk__in=ticked).values_list("pk", flat=True))
        made = sign_offs.prepare(account=account, day=day, accepted=accepted, reason=reason, preparer=user, actor=actor)
        return f"Prepared as proposal {made.pk}. A second person must review it before {made.expires_at:%H:%M} UTC."
    proposal: Proposal | None = sign_offs.waiting_proposal(account, day)
    if proposal is None or str(proposal.pk) != request.POST.get("proposal"):
        raise RuleBroken("The proposal you looked at does not wait any more; nothing was decided. See the page anew.")
    if verdict != "APPLY":
        sign_offs.review(
            proposal_id=proposal.pk, reviewer=user, verdict=verdict, reason=reason, actor=actor,
            payload_sha256=request.POST.get("payload_sha256", ""),
        )  # fmt: skip
    if verdict in ("REJECT", "WITHDRAW"):
        return f"{'Rejected' if verdict == 'REJECT' else 'Withdrawn'}; {day} stays open."
    sign_offs.apply(proposal_id=proposal.pk, actor=actor, applied_by=user)
    return f"{day} of {account} is signed off and closed: further entries of that day need two people."
