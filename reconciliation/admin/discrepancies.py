"""The queue of discrepancies, and the page on which two people resolve one.

What always holds: this page decides nothing itself; every button is a POST that calls one service, and what a service
refuses comes back as its own sentence. A verdict carries the hash and version that the person saw.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from reconciliation.models import Discrepancy
from reconciliation.selectors.discrepancies import age
from trading.admin import columns, values
from trading.admin.pages import Panel, ReadOnlyAdmin
from trading.clock import now
from trading.services.errors import RuleBroken

from . import case_page, verbs


class Standing(admin.SimpleListFilter):
    """Live cases or ended ones."""

    title = "standing"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The answers."""
        return [("live", "live"), ("review", "needs a proposal"), ("approval", "awaits approval"), ("ended", "ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> QuerySet[Discrepancy]:
        """Filter by the answer."""
        state = Discrepancy.State
        wanted: dict[str | None, Any] = {
            "live": Discrepancy.LIVE,
            "review": [state.OPEN],
            "approval": [state.PROPOSED],
            "ended": [state.CLOSED, state.CLEARED],
        }
        return queryset.filter(state__in=wanted[self.value()]) if self.value() in wanted else queryset


@admin.register(Discrepancy)
class DiscrepancyAdmin(ReadOnlyAdmin):
    """Differences between the broker's truth and our books."""

    change_form_template = "admin/reconciliation/discrepancy/change_form.html"
    list_display = (
        "name",
        columns.link("account"),
        columns.pill("severity"),
        columns.pill("state"),
        columns.number("books_value", "books"),
        columns.number("broker_value", "broker"),
        columns.number("difference", "difference"),
        "commodity",
        "age",
    )
    list_filter = (Standing, "severity", "kind", "state", "account")
    list_select_related = ("account", "instrument", "proposal__proposer__person", "first_run", "last_run")
    search_fields = ("key", "kind", "cause", "commodity")
    show_facets = admin.ShowFacets.ALWAYS

    def get_list_select_related(self, request: HttpRequest) -> tuple[str, ...]:
        """The list names less than the page."""
        return ("account",)

    @admin.display(description="what", ordering="kind")
    def name(self, case: Discrepancy) -> str:
        """Kind and what it is about."""
        return str(case)

    @admin.display(description="age", ordering="-first_seen_at")
    def age(self, case: Any) -> SafeString:
        """Since it was first seen, on the account's clock; an ended case keeps the age it had."""
        exact = f"first seen {values.moment(case.first_seen_at)} UTC, {case.times_seen} times since"
        return format_html('<span title="{}">{}</span>', exact, values.show(age(case, case.account_now)))

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """With the account's time on each row, asked once an account."""
        changes = super().get_changelist_instance(request)
        clocks: dict[int, datetime] = {}
        for case in changes.result_list:
            if case.account_id not in clocks:
                clocks[case.account_id] = now(case.account)
            case.account_now = clocks[case.account_id]
        return changes

    def facts(self, subject: Discrepancy) -> list[tuple[str, SafeString]]:
        """Where it stands and since when."""
        return case_page.facts(subject)

    def panels(self, request: HttpRequest, subject: Discrepancy) -> list[Panel]:
        """Evidence, timeline, audit."""
        return case_page.panels(subject)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """With what may be decided, by this person."""
        context.update(case_page.decision(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        """Plus the addresses of the forms."""
        own = []
        for name, view in (("propose", self.propose), ("decide", self.decide)):
            own.append(
                path(
                    f"<int:case_id>/{name}/",
                    self.admin_site.admin_view(view),
                    name=f"reconciliation_discrepancy_{name}",
                )
            )
        return [*own, *super().get_urls()]

    @method_decorator(require_POST)
    def propose(self, request: HttpRequest, case_id: int) -> HttpResponse:
        """Put a resolution forward."""
        return self._act(request, case_id, "trading.propose", verbs.propose)

    @method_decorator(require_POST)
    def decide(self, request: HttpRequest, case_id: int) -> HttpResponse:
        """Approve and apply, reject, or withdraw."""
        permission = "trading.propose" if request.POST.get("verdict") == "WITHDRAW" else "trading.approve"
        return self._act(request, case_id, permission, verbs.decide)

    @staticmethod
    def _act(
        request: HttpRequest, case_id: int, permission: str, verb: Callable[[HttpRequest, Discrepancy], str]
    ) -> HttpResponse:
        if not request.user.has_perm(permission):
            raise PermissionDenied
        case = get_object_or_404(Discrepancy.objects.select_related("account"), pk=case_id)
        try:
            messages.success(request, verb(request, case))
        except RuleBroken as refusal:
            messages.error(request, str(refusal))
        return redirect("admin:reconciliation_discrepancy_change", case_id)
