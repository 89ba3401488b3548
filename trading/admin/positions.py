"""Positions, trades and days: projections of the facts."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse

from trading.models import DayState, Order, Position, Trade

from . import columns, filters
from .intent import orders_table
from .origins import position_address, trade_page
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

    def tools(self, request: HttpRequest, subject: Position) -> list[tuple[str, str]]:
        """Down to the fills and the broker's words."""
        address = position_address(subject.account, subject.instrument.symbol)
        return [("Where does this come from?", address)] if address else []


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
        columns.rounded("mfe_r", "MFE (R)"),
        columns.rounded("mae_r", "MAE (R)"),
        "close_reason",
    )
    list_display_links = (list_display[0],)
    list_filter = (filters.World, "state", "strategy", "instrument", "account", "close_reason")
    ordering = ("-opened_at", "-id")
    list_select_related = ("account", "instrument", "decision__signal__instrument")
    search_fields = ("strategy", "instrument__symbol", "decision__client_plan_id")
    date_hierarchy = "opened_at"

    def tools(self, request: HttpRequest, subject: Trade) -> list[tuple[str, str]]:
        """Down to the entries and the broker's words."""
        return [("Where does this come from?", reverse("admin:trading_trade_origin", args=[subject.pk]))]

    def get_urls(self) -> list[URLPattern]:
        """With where a trade's numbers come from."""
        own = path("<int:number>/origin/", self.admin_site.admin_view(self._origin), name="trading_trade_origin")
        return [own, *super().get_urls()]

    def _origin(self, request: HttpRequest, number: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        trade = get_object_or_404(Trade.objects.select_related(*self.list_select_related), pk=number)
        return trade_page(request, self.admin_site, trade)

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
