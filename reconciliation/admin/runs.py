"""Runs with what they compared and found, the snapshots, and the button that starts a run."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from reconciliation.models import Discrepancy, Run, Snapshot
from trading.admin import columns, values
from trading.admin.pages import Panel, Raw, ReadOnlyAdmin, Table
from trading.models import Account


def counts_text(counts: dict[str, Any]) -> str:
    """`3 orders, 2 fills`: what is not zero."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "nothing"


def start_run(account: Account) -> tuple[int, str]:
    """Level and sentence of a run made now."""
    from reconciliation.engine.run import run_reconciliation

    run_reconciliation(account=account)
    return messages.SUCCESS, "done"


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """One comparison of an account's books with the broker's."""

    list_display = (
        columns.moment("at"),
        columns.link("account"),
        "trigger",
        columns.pill("status"),
        columns.pill("completeness"),
        "compared",
        "found",
        "took",
        "error",
    )
    list_display_links = (list_display[0],)
    list_filter = ("status", "trigger", "account")
    list_select_related = ("account", "policy", "broker_snapshot", "books_snapshot")
    search_fields = ("error",)
    date_hierarchy = "at"
    hidden = ("findings", "counts", "proof")

    def get_list_select_related(self, request: HttpRequest) -> tuple[str, ...]:
        """The list names less than the page."""
        return ("account",)

    @admin.display(description="compared")
    def compared(self, run: Run) -> str:
        """What was counted."""
        return counts_text(run.counts)

    @admin.display(description="findings")
    def found(self, run: Run) -> int:
        """How many differences this run saw."""
        return len(run.findings)

    @admin.display(description="took")
    def took(self, run: Run) -> str:
        """Wall time from start to end."""
        return f"{(run.recorded_at - run.started_at).total_seconds():.1f} s"

    def panels(self, request: HttpRequest, subject: Run) -> list[Panel]:
        """Counts, findings, the proof, and the cases it saw last."""
        cases = Discrepancy.objects.filter(last_run=subject).select_related("account")
        rows = [(values.link(case), values.pill(case.severity), values.pill(case.state), case.cause) for case in cases]
        empty = (
            "No difference."
            if subject.status == Run.Status.COMPLETE
            else "A run that is not complete concludes nothing."
        )
        return [
            Table("Compared", ("What", "Count"), [(name.replace("_", " "), n) for name, n in subject.counts.items()]),
            Table("Cases it saw last", ("Case", "Severity", "State", "Cause"), rows, empty),
            Raw("Findings", subject.findings),
            Raw("Proof: broker − books − open cases", subject.proof),
        ]

    def get_urls(self) -> list[URLPattern]:
        """Plus the address of the button."""
        reconcile = self.admin_site.admin_view(self.reconcile)
        own = [path("reconcile/<int:account_id>/", reconcile, name="reconciliation_run_reconcile")]
        return [*own, *super().get_urls()]

    @method_decorator(require_POST)
    def reconcile(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Run a reconciliation of one account now, and say what came of it."""
        if not request.user.has_perm("trading.propose"):  # type: ignore[union-attr]
            raise PermissionDenied
        account = get_object_or_404(Account, pk=account_id)
        level, sentence = start_run(account)
        messages.add_message(request, level, sentence)
        return redirect("admin:trading_account_change", account.pk)


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    """One side of a comparison, word for word."""

    list_display = (
        columns.moment("at"), columns.link("account"), "side", columns.pill("completeness"), "last_event_id",
        columns.code("sha256", length=12),
    )  # fmt: skip
    list_display_links = (list_display[0],)
    list_filter = ("side", "completeness", "account")
    list_select_related = ("account",)
    date_hierarchy = "at"
    hidden = ("body",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Bodies are read on the page only."""
        queryset = super().get_queryset(request)
        is_list = request.resolver_match is not None and request.resolver_match.url_name.endswith("changelist")
        return queryset.defer("body") if is_list else queryset

    def panels(self, request: HttpRequest, subject: Snapshot) -> list[Panel]:
        """The whole text."""
        return [Raw("Content", subject.body, is_open=True)]
