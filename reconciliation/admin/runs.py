"""Runs with what they compared and found, the snapshots, and the button that starts a run."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from reconciliation.engine.run import BUSY, SKIPPED, run_reconciliation
from reconciliation.models import Discrepancy, Run, Snapshot
from trading.admin import columns, values
from trading.admin.pages import Panel, Raw, ReadOnlyAdmin, Table
from trading.models import Account, User
from trading.services import audit
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

from . import overview
from .counts import PROOF_COLUMNS, counts_text, numbers_of


def start_run(account: Account, user: User) -> tuple[int, str, int | None]:
    """A run made now: level and sentence of the message, and the run."""
    if account.is_paper_book or not account.is_active:
        return messages.ERROR, f"{account} has no broker to compare with; nothing was run.", None
    audit.record(kind="reconciliation.requested", actor=Actor.of(user, via="admin"), account=account, obj=account)
    try:
        result = run_reconciliation(account=account, trigger=Run.Trigger.MANUAL)
    except RuleBroken as refusal:
        return messages.ERROR, str(refusal), None
    if result.status in (BUSY, SKIPPED):
        return messages.WARNING, result.error or "A run of this account was made just now.", result.run_id
    if not result.ok:
        sentence = f"The run ended {result.status}: {result.error} Nothing was concluded and no case was touched."
        return messages.ERROR, sentence, result.run_id
    seen = len(result.findings.findings) if result.findings is not None else 0
    if seen == 0:
        return messages.SUCCESS, "Books and broker agree.", result.run_id
    sentence = (
        f"{seen} difference{'s' if seen > 1 else ''} found; {result.live} live case{'s' if result.live != 1 else ''}."
    )
    return messages.WARNING, sentence, result.run_id


def _page_of(statement_id: int) -> str:
    return reverse("admin:reconciliation_statement_change", args=[statement_id])


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """One comparison of an account's books with the broker's."""

    list_display = (
        columns.moment("at"),
        columns.link("account"),
        "trigger",
        columns.pill("status"),
        columns.pill("completeness"),
        "counted",
        "took",
        columns.brief("error"),
    )
    list_display_links = (list_display[0],)
    list_filter = ("status", "trigger", "account")
    list_select_related = ("account", "policy", "broker_snapshot", "books_snapshot")
    search_fields = ("error",)
    date_hierarchy = "at"
    hidden = ("findings", "counts", "proof", "statement")

    def get_list_select_related(self, request: HttpRequest) -> tuple[str, ...]:
        """The list names less than the page."""
        return ("account",)

    @admin.display(description="counted")
    def counted(self, run: Run) -> str:
        """What came of it, in numbers."""
        return counts_text(run.counts)

    @admin.display(description="took")
    def took(self, run: Run) -> SafeString:
        """Wall time from start to end."""
        return values.whole(f"{(run.recorded_at - run.started_at).total_seconds():.1f} s")

    def tools(self, request: HttpRequest, subject: Run) -> list[tuple[str, str]]:
        """The days that it may be the evidence for."""
        address = reverse("admin:reconciliation_signoff_account", args=[subject.account_id])
        told = [("The statement", _page_of(subject.statement_id))] if subject.statement_id is not None else []
        account = reverse("admin:reconciliation_run_account", args=[subject.account_id])
        return [*super().tools(request, subject), *told, ("The account", account), ("Sign off days", address)]

    def panels(self, request: HttpRequest, subject: Run) -> list[Panel]:
        """Counts, findings, the proof, and the cases it saw last."""
        cases = Discrepancy.objects.filter(last_run=subject).select_related("account", "instrument")
        rows = [(values.link(case), values.pill(case.severity), values.pill(case.state), case.cause) for case in cases]
        proof = [
            (commodity, *(values.typed(line.get(name.lower())) for name in PROOF_COLUMNS[1:]))
            for commodity, line in sorted(subject.proof.items())
        ]
        empty = (
            "No difference."
            if subject.status == Run.Status.COMPLETE
            else "A run that is not complete concludes nothing."
        )
        return [
            Table("Counted", ("What", "Number"), numbers_of(subject.counts)),
            Table("What could not be concluded", ("Note",), [(note,) for note in subject.counts.get("notes", [])]),
            Table("Cases it saw last", ("Case", "Severity", "State", "Cause"), rows, empty),
            Table("Proof: broker − books − explained = 0", PROOF_COLUMNS, proof, "Nothing was compared."),
            Raw("Findings", subject.findings),
            Raw("Tolerances in force", subject.counts.get("tolerances", {})),
        ]

    def get_urls(self) -> list[URLPattern]:
        """Plus the address of the button."""
        reconcile, account = self.admin_site.admin_view(self.reconcile), self.admin_site.admin_view(self.account)
        own = [
            path("reconcile/<int:account_id>/", reconcile, name="reconciliation_run_reconcile"),
            path("account/<int:account_id>/", account, name="reconciliation_run_account"),
        ]
        return [*own, *super().get_urls()]

    def account(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """One account's reconciliation as it stands."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return overview.page(self, request, get_object_or_404(Account, pk=account_id))

    @method_decorator(require_POST)
    def reconcile(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Run a reconciliation of one account now, and say what came of it."""
        if not request.user.has_perm("trading.propose"):
            raise PermissionDenied
        account = get_object_or_404(Account, pk=account_id)
        user = request.user
        assert isinstance(user, User)  # whoever has a permission is one of ours
        level, sentence, run_id = start_run(account, user)
        messages.add_message(request, level, sentence)
        if run_id is None:
            return redirect("admin:trading_account_change", account.pk)
        return redirect("admin:reconciliation_run_change", run_id)


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    """One side of a comparison, word for word."""

    list_display = (
        columns.moment("at"), columns.link("account"), "side", columns.pill("completeness"), "last_event_id",
        columns.code("sha256"),
    )  # fmt: skip
    list_display_links = (list_display[0],)
    list_filter = ("side", "completeness", "account")
    list_select_related = ("account",)
    date_hierarchy = "at"
    hidden = ("body",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Bodies are read on the page only."""
        queryset = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and (match.url_name or "").endswith("changelist")
        return queryset.defer("body") if is_list else queryset

    def panels(self, request: HttpRequest, subject: Snapshot) -> list[Panel]:
        """The whole text."""
        return [Raw("Content", subject.body, is_open=True)]
