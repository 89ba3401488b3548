"""Orders with their whole story, and the raw messages behind it."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from trading.models import BrokerMessage, Order, OrderEvent

from . import columns, filters
from .order_page import lineage
from .order_story import stages
from .pages import Panel, Raw, ReadOnlyAdmin, facts_of

LEASE_FIELDS = (
    "lease_until",
    "lease_token",
    "next_check_at",
    "kill_epoch",
    "application",
    "exit_intent",
    "since_event_id",
)


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """One leg of one intent: where it stands, and how it got there."""

    change_form_template = "admin/trading/order/change_form.html"

    list_display = (
        columns.moment("at"),
        columns.link("account"),
        "tag",
        "side",
        columns.number("quantity"),
        columns.link("instrument"),
        "type",
        columns.price("price"),
        columns.pill("state"),
        columns.number("filled_quantity", "filled"),
        columns.price("average_price"),
    )
    list_display_links = (list_display[0],)
    list_filter = (filters.World, filters.TradingDay, "state", "tag", "account", "instrument")
    ordering = ("-at", "-id")
    list_select_related = (
        "account",
        "instrument",
        "parent_group",
        "rides_on__instrument",
        "decision__signal__instrument",
        "exit_intent__decision__signal__instrument",
        "application__proposal",
    )
    search_fields = ("client_order_id", "broker_order_id", "instrument__symbol", "reason")
    date_hierarchy = "at"

    def get_list_select_related(self, request: HttpRequest) -> tuple[str, ...]:
        """The list names less than the page."""
        return ("account", "instrument")

    def facts(self, subject: Order) -> list[tuple[str, SafeString]]:
        """Without the sender's book-keeping unless it says something now."""
        empty = [name for name in LEASE_FIELDS if not getattr(subject, name)]
        return facts_of(subject, (*empty, "decision"))

    def panels(self, request: HttpRequest, subject: Order) -> list[Panel]:
        """Signal → decision → order → fills → entries."""
        return lineage(subject, _events(subject))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """With the way it took."""
        order: Order = context["original"]
        context["stages"] = stages(order, _events(order))
        return super().render_change_form(request, context, *args, **kwargs)


def _events(order: Order) -> list[OrderEvent]:
    return list(order.events.select_related("message", "broker_event").order_by("sequence"))


@admin.register(BrokerMessage)
class BrokerMessageAdmin(ReadOnlyAdmin):
    """What was written to a broker and what came back; secrets were redacted before it was stored."""

    list_display = (
        columns.moment("at"),
        columns.link("account"),
        "purpose",
        "method",
        columns.brief("path"),
        "status",
        columns.brief("error"),
        columns.link("order"),
    )
    list_display_links = (list_display[0],)
    list_filter = ("purpose", "account")
    list_select_related = ("account", "order__instrument")
    search_fields = ("path", "error", "order__client_order_id")
    date_hierarchy = "at"
    hidden = ("request_body", "response_body")

    def panels(self, request: HttpRequest, subject: BrokerMessage) -> list[Panel]:
        """Both bodies."""
        return [
            Raw("Request", subject.request_body or "(empty)", is_open=True),
            Raw("Answer", subject.response_body or "(no answer)", is_open=True),
        ]
