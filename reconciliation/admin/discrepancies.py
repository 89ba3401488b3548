"""The queue of discrepancies, and the page on which two people resolve one.

What always holds: this page decides nothing itself; every button is a POST that calls one service, and what a service
refuses comes back as its own sentence. A verdict carries the hash and version that the person saw.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from reconciliation.models import Discrepancy
from reconciliation.selectors.discrepancies import age, due
from reconciliation.selectors.overview import accounts_with_live_cases
from reconciliation.services import notes
from trading.admin import columns, filters, values
from trading.admin.pages import Panel, ReadOnlyAdmin
from trading.models import User
from trading.services.errors import RuleBroken

from . import bulk, bulk_work, case_page, statistics, verbs, work
from .groups import grouped
from .queue import DEFAULT_VIEW, GRAVEST_FIRST, export, stamp_ages, views
from .queue_filters import About, Age, Label, Owner, Standing, Term
from .titles import about, is_money, kind_of, term


@admin.register(Discrepancy)
class DiscrepancyAdmin(ReadOnlyAdmin):
    """Differences between the broker's truth and our books."""

    change_form_template = "admin/reconciliation/discrepancy/change_form.html"
    change_list_template = "admin/reconciliation/discrepancy/change_list.html"
    list_display = (
        columns.pill("severity"),
        "name",
        columns.link("account"),
        "nowrap_about",
        "num_books",
        "num_broker",
        "num_difference",
        "nowrap_age",
        columns.pill("state"),
        "whose",
    )
    list_display_links = ("name",)
    list_filter = (
        Standing,
        Term,
        Age,
        "severity",
        Owner,
        Label,
        ("kind", filters.Words),
        "account",
        About,
        ("state", filters.ShortChoices),
    )
    list_select_related = ("account", "instrument", "owner", "proposal__proposer__person", "first_run", "last_run")
    search_fields = ("key", "kind", "cause", "commodity")
    show_facets = admin.ShowFacets.ALWAYS
    actions = (
        "propose_selected", "approve_selected", "reject_selected", "withdraw_selected", "take_selected",
        "label_selected",
    )  # fmt: skip

    def get_list_select_related(self, request: HttpRequest) -> tuple[str, ...]:
        """The list names less than the page."""
        return ("account", "instrument", "owner")

    def get_ordering(self, request: HttpRequest) -> Any:
        """The gravest first, of those the oldest."""
        return [GRAVEST_FIRST.asc(), "first_seen_at"]

    @admin.display(description="what", ordering="kind")
    def name(self, case: Discrepancy) -> SafeString:
        """Its kind, in words, and below it the words that people put on it."""
        labels = format_html('<span class="sub">{}</span>', ", ".join(case.labels)) if case.labels else ""
        return format_html("{}{}", kind_of(case), labels)

    @admin.display(description="about", ordering="key")
    def nowrap_about(self, case: Discrepancy) -> SafeString:
        """The instrument, or else the currency, order or event; the whole of its name on hover."""
        return format_html('<span title="{}">{}</span>', case.key, about(case))

    @admin.display(description="our books", ordering="books_value")
    def num_books(self, case: Discrepancy) -> SafeString:
        """What the books say: money to two decimals, units as they are."""
        return values.listed(case.books_value) if is_money(case) else values.show(case.books_value)

    @admin.display(description="broker", ordering="broker_value")
    def num_broker(self, case: Discrepancy) -> SafeString:
        """What the broker says."""
        return values.listed(case.broker_value) if is_money(case) else values.show(case.broker_value)

    @admin.display(description="difference", ordering="difference")
    def num_difference(self, case: Discrepancy) -> SafeString:
        """Broker − books, with its sign and the colour that repeats it."""
        return values.listed_profit(case.difference) if is_money(case) else values.difference(case.difference)

    @admin.display(description="age, decision due", ordering="-first_seen_at")
    def nowrap_age(self, case: Any) -> SafeString:
        """Since it was first seen, on the account's clock, and until when people should decide, by its severity."""
        exact = f"first seen {values.moment(case.first_seen_at)} UTC, {case.times_seen} times since"
        aged = format_html('<span title="{}">{}</span>', exact, values.show(age(case, case.account_now)))
        if due(case) is None:
            return aged
        return format_html("{}<br>{}", aged, term(case, case.account_now, before="due "))

    @admin.display(description="owner", ordering="owner__username")
    def whose(self, case: Discrepancy) -> SafeString:
        """Who has it."""
        return values.whole(case.owner.get_username()) if case.owner is not None else values.NOTHING

    def has_work_permission(self, request: HttpRequest) -> bool:
        """Who may propose or approve, may take cases and label them."""
        return isinstance(request.user, User) and notes.may_work_on(request.user)

    def has_propose_permission(self, request: HttpRequest) -> bool:
        """Who may propose, may for several at once."""
        return request.user.has_perm("trading.propose")

    def has_approve_permission(self, request: HttpRequest) -> bool:
        """Who may approve, may for several at once."""
        return request.user.has_perm("trading.approve")

    @admin.action(description="Propose a resolution for each …", permissions=["propose"])
    def propose_selected(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> HttpResponse | None:
        """See `bulk.propose`."""
        return bulk.propose(self, request, queryset)

    @admin.action(description="Approve what was proposed …", permissions=["approve"])
    def approve_selected(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> HttpResponse | None:
        """See `bulk.approve`."""
        return bulk.approve(self, request, queryset)

    @admin.action(description="Reject what was proposed …", permissions=["approve"])
    def reject_selected(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> HttpResponse | None:
        """See `bulk_work`."""
        return bulk_work.run(self, request, queryset, bulk_work.REJECT)

    @admin.action(description="Withdraw what I proposed …", permissions=["propose"])
    def withdraw_selected(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> HttpResponse | None:
        """See `bulk_work`."""
        return bulk_work.run(self, request, queryset, bulk_work.WITHDRAW)

    @admin.action(description="Take them …", permissions=["work"])
    def take_selected(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> HttpResponse | None:
        """See `bulk_work`."""
        return bulk_work.run(self, request, queryset, bulk_work.TAKE)

    @admin.action(description="Label them …", permissions=["work"])
    def label_selected(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> HttpResponse | None:
        """See `bulk_work`."""
        return bulk_work.run(self, request, queryset, bulk_work.LABEL)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """With the account's time on each row, asked once an account."""
        changes = super().get_changelist_instance(request)
        stamp_ages(changes.result_list)
        return changes

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the saved views and how many cases each has."""
        states = Discrepancy.objects.order_by().values_list("state").annotate(number=Count("id"))
        shown = views(dict(states), request.GET.get("standing", DEFAULT_VIEW))
        more = {"views": shown, "by_account": accounts_with_live_cases()}
        return super().changelist_view(request, {**(extra_context or {}), **more})

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """The rows of the current filter as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return export(super().get_changelist_instance(request).get_queryset(request))

    def groups(self, request: HttpRequest) -> HttpResponse:
        """The cases of the current filter, those alike in one line."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        changes = super().get_changelist_instance(request)
        return grouped(self, request, changes.get_queryset(request))

    def statistics(self, request: HttpRequest) -> HttpResponse:
        """Cases in numbers."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return statistics.page(self, request)

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
        own = [
            path(f"{name}/", self.admin_site.admin_view(view), name=f"reconciliation_discrepancy_{name}")
            for name, view in (("export", self.export), ("groups", self.groups), ("statistics", self.statistics))
        ]
        for name, view in (("propose", self.propose), ("decide", self.decide), ("work", self.work)):
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

    @method_decorator(require_POST)
    def work(self, request: HttpRequest, case_id: int) -> HttpResponse:
        """Take, give, release, label, comment, relate, reopen."""
        return self._act(request, case_id, "trading.propose", work.work, or_else="trading.approve")

    @staticmethod
    def _act(
        request: HttpRequest,
        case_id: int,
        permission: str,
        verb: Callable[[HttpRequest, Discrepancy], str],
        or_else: str = "",
    ) -> HttpResponse:
        if not (request.user.has_perm(permission) or (or_else and request.user.has_perm(or_else))):
            raise PermissionDenied
        case = get_object_or_404(Discrepancy.objects.select_related("account"), pk=case_id)
        try:
            messages.success(request, verb(request, case))
        except RuleBroken as refusal:
            messages.error(request, str(refusal))
        return redirect("admin:reconciliation_discrepancy_change", case_id)
