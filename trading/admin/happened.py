"""What happened at the broker: fills, cash events, and the inbox with what is posted and what is held."""

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from trading.models import BrokerEvent, CashEvent, Entry, Fill

from . import columns, filters, values
from .ledger import entry_lines
from .pages import Panel, Raw, ReadOnlyAdmin, Table, audit_panel

NOT_POSTED = Q(facts__fills=[], facts__cash=[])


def entries_panel(entries: Any) -> Table:
    """The debit and credit lines of some entries."""
    rows = [(values.link(e, f"entry {e.pk}"), values.words(e.kind), *line) for e in entries for line in entry_lines(e)]
    return Table("In the books", ("Entry", "Kind", "Ledger account", "Debit", "Credit", "Commodity"), rows)


@admin.register(Fill)
class FillAdmin(ReadOnlyAdmin):
    """Booked executions."""

    list_display = (
        columns.moment("at"),
        columns.link("account"),
        "side",
        columns.number("quantity"),
        columns.link("instrument"),
        columns.price("price"),
        columns.profit("realised"),
        columns.amount("commission"),
        "reason",
        columns.code("external_id", "broker's id"),
    )
    list_display_links = (list_display[0],)
    list_filter = (filters.World, "account", "instrument", "is_estimate", ("order", filters.OfOurs))
    ordering = ("-at", "-id")
    list_select_related = ("account", "instrument", "order__instrument", "broker_event", "application__proposal")
    search_fields = ("external_id", "order__client_order_id", "instrument__symbol")
    date_hierarchy = "at"

    def panels(self, request: HttpRequest, subject: Fill) -> list[Panel]:
        """Its entries."""
        return [entries_panel(Entry.objects.filter(fill=subject)), audit_panel(subject)]


@admin.register(CashEvent)
class CashEventAdmin(ReadOnlyAdmin):
    """Booked cash that is not an execution."""

    list_display = (
        columns.moment("at"),
        columns.link("account"),
        "kind",
        columns.profit("amount"),
        "currency",
        columns.link("instrument"),
        columns.code("external_id", "broker's id"),
    )
    list_display_links = (list_display[0],)
    list_filter = (filters.World, "kind", "currency", "account")
    ordering = ("-at", "-id")
    list_select_related = ("account", "instrument", "broker_event", "application__proposal")
    search_fields = ("external_id",)
    date_hierarchy = "at"

    def panels(self, request: HttpRequest, subject: CashEvent) -> list[Panel]:
        """Its entries."""
        return [entries_panel(Entry.objects.filter(cash_event=subject)), audit_panel(subject)]


class Posting(admin.SimpleListFilter):
    """Whether an event is in the books."""

    title = "posting"
    parameter_name = "posting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The three answers."""
        return [("posted", "posted"), ("held", "held: waits for people"), ("none", "nothing to post")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Filter by the answer."""
        if self.value() == "posted":
            return queryset.filter(is_posted=True)
        if self.value() == "held":
            return queryset.filter(is_posted=False).exclude(NOT_POSTED)
        if self.value() == "none":
            return queryset.filter(NOT_POSTED)
        return queryset


@admin.register(BrokerEvent)
class BrokerEventAdmin(ReadOnlyAdmin):
    """The inbox: every event of the broker, once."""

    list_display = (
        columns.number("sequence", "broker's order"), columns.moment("at"), columns.link("account"), "kind",
        columns.code("external_id", "broker's id"), "posting", columns.moment("recorded_at", "learned"),
    )  # fmt: skip
    list_display_links = (list_display[0],)
    list_filter = (Posting, "kind", "account")
    list_select_related = ("account",)
    search_fields = ("external_id",)
    date_hierarchy = "at"
    ordering = ("-id",)
    hidden = ("body", "facts")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BrokerEvent]:
        """With whether something was booked from it."""
        fills = Exists(Fill.objects.filter(broker_event=OuterRef("pk")))
        cash = Exists(CashEvent.objects.filter(broker_event=OuterRef("pk")))
        annotated: QuerySet[BrokerEvent] = super().get_queryset(request).annotate(is_posted=fills | cash)
        return annotated

    @admin.display(description="in the books")
    def posting(self, event: Any) -> SafeString:
        """posted, held or nothing to post."""
        carries = bool(event.facts.get("fills") or event.facts.get("cash"))
        if event.is_posted:
            return values.pill("posted")
        return values.pill("held") if carries else values.show("nothing to post")

    def panels(self, request: HttpRequest, subject: Any) -> list[Panel]:
        """What was booked from it; our reading of it; the broker's own words."""
        booked = [*subject.fills.select_related("instrument"), *subject.cash_events.all()]
        held = "Held: it carries a fill or cash that no order of ours explains. It is booked once two people agree."
        empty = held if subject.facts.get("fills") or subject.facts.get("cash") else "Nothing to post."
        return [
            Table("Booked from it", ("What", "At (UTC)"), [(values.link(row), row.at) for row in booked], empty),
            Raw("Our reading", subject.facts, is_open=True),
            Raw("The broker's words", subject.body),
        ]
