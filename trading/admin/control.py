"""Control: restrictions, risk events, heartbeats, stuck work."""

from django.contrib import admin

from trading.models import Heartbeat, Restriction, RiskEvent, TaskAttempt

from . import columns, filters
from .pages import ReadOnlyAdmin


@admin.register(Restriction)
class RestrictionAdmin(ReadOnlyAdmin):
    """What limits trading, and who lifted it."""

    list_display = (
        columns.moment("at", "since"),
        columns.pill("level"),
        columns.link("account"),
        "strategy",
        columns.link("instrument"),
        "source",
        columns.brief("reason"),
        columns.moment("until"),
        columns.moment("lifted_at", "lifted"),
        "lifted_by",
    )
    list_display_links = (list_display[0],)
    list_filter = (("lifted_at", filters.InForce), "level", "source", "account")
    list_select_related = ("account", "instrument", "lifted_by")
    search_fields = ("reason", "source", "strategy")
    ordering = ("-id",)
    show_facets = admin.ShowFacets.ALWAYS


@admin.register(RiskEvent)
class RiskEventAdmin(ReadOnlyAdmin):
    """Blocks, refusals and alarms of the risk side."""

    list_display = (columns.moment("at"), columns.link("account"), "kind", columns.brief("reason"))
    list_display_links = (list_display[0],)
    list_filter = ("kind", "account")
    list_select_related = ("account", "decision__signal__instrument")
    search_fields = ("reason", "kind")
    date_hierarchy = "at"
    ordering = ("-id",)


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    """When each part of the desk was last alive."""

    list_display = ("name", columns.moment("at", "last alive"))
    ordering = ("name",)


@admin.register(TaskAttempt)
class TaskAttemptAdmin(ReadOnlyAdmin):
    """Work that was begun and did not end; dead work waits for a person."""

    list_display = (
        "key",
        columns.number("attempts"),
        "last_error",
        columns.moment("dead_at"),
        columns.moment("updated_at"),
    )
    list_filter = (("dead_at", filters.GivenUp),)
    search_fields = ("key", "last_error")
    ordering = ("-updated_at",)
    show_facets = admin.ShowFacets.ALWAYS
