"""Positions, trades and days: projections of the facts."""

from django.contrib import admin
from django.http import HttpRequest

from trading.models import DayState, Order, Position, Trade

from . import columns, filters
from .intent import orders_table
from .pages import Panel, ReadOnlyAdmin


@admin.register(Position)
class PositionAdmin(ReadOnlyAdmin):
    """What each account holds, by the books."""

    list_display = (
        "__str__",
        columns.link("account"),
        columns.link("instrument"),
        columns.number("quantity"),
        columns.number("external_quantity", "of it external"),
        columns.price("average_price"),
        columns.moment("updated_at", "updated"),
    )
    list_filter = (filters.Holding, filters.World, "account", "instrument")
    list_select_related = ("account", "instrument")
    search_fields = ("instrument__symbol", "account__name")
    show_facets = admin.ShowFacets.ALWAYS


@admin.register(Trade)
class TradeAdmin(ReadOnlyAdmin):
    """Round trips."""

    list_display = (
        columns.moment("opened_at", "opened"),
        columns.link("account"),
        "strategy",
        columns.link("instrument"),
        "side",
        columns.pill("state"),
        columns.number("quantity"),
        columns.price("entry_price", "entry"),
        columns.price("exit_price", "exit"),
        columns.profit("pnl", "P&L"),
        columns.rounded("r", "R"),
        "close_reason",
    )
    list_display_links = (list_display[0],)
    list_filter = (filters.World, "state", "strategy", "instrument", "account", "close_reason")
    ordering = ("-opened_at", "-id")
    list_select_related = ("account", "instrument", "decision__signal__instrument")
    search_fields = ("strategy", "instrument__symbol", "decision__client_plan_id")
    date_hierarchy = "opened_at"

    def panels(self, request: HttpRequest, subject: Trade) -> list[Panel]:
        """All orders of its decision on this account."""
        mine = Order.objects.filter(account=subject.account).select_related("instrument", "account").order_by("id")
        own = mine.filter(decision=subject.decision) | mine.filter(exit_intent__decision=subject.decision)
        return [orders_table("Orders", own)]


@admin.register(DayState)
class DayStateAdmin(ReadOnlyAdmin):
    """What each trading day came to."""

    list_display = (
        "trading_day", columns.link("account"), columns.number("trades"), columns.profit("pnl", "P&L"),
        columns.rounded("r", "R"),
    )  # fmt: skip
    list_filter = (filters.World, "account")
    ordering = ("-trading_day", "account")
    list_select_related = ("account",)
    date_hierarchy = "trading_day"
