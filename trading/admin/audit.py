"""The audit trail as people read it: who did what, through which door, why, what it changed, and what came of it.

What always holds: nothing on it can be edited; an event shows both sides of a change, its cause, what it caused, and
everything else of the same request.
"""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from trading.domain.audit_kinds import KINDS, field_name
from trading.models import AuditEvent

from . import columns, values
from .pages import Panel, ReadOnlyAdmin, Table

MOST = 200
_COLUMNS = ("At (UTC)", "Who", "Through", "What", "Account")


class _Asked(admin.SimpleListFilter):
    """A choice that only an address makes; it is shown, to be taken back, while it is made."""

    field = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The one that was asked for."""
        asked = request.GET.get(self.parameter_name or "", "")
        return [(asked, asked)] if asked else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Its events alone."""
        return queryset.filter(**{self.field: self.value()}) if self.value() else queryset

    def get_facet_counts(self, pk_attname: str, filtered_qs: QuerySet[Any]) -> dict[str, Any]:
        """None: there is one choice."""
        return {}


class OfRequest(_Asked):
    """One request, command or task, and every task that it woke."""

    title, parameter_name, field = "request", "request_id", "request_id"


class OfAddress(_Asked):
    """Where a request came from."""

    title, parameter_name, field = "address", "address", "address"


class OfKind(admin.SimpleListFilter):
    """The kinds there are, by what they are about; a whole group of them or one."""

    title, parameter_name = "kind", "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The groups, and the kinds of the chosen one."""
        chosen = request.GET.get("kind", "").split(".")[0]
        groups = sorted({name.split(".")[0] for name in KINDS})
        own = sorted(name for name in KINDS if chosen and name.startswith(f"{chosen}."))
        offered = [(group, values.words(group)) for group in groups]
        return offered + [(name, f"· {values.words(name.split('.', 1)[1])}") for name in own]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Its events alone."""
        asked = self.value()
        if not asked:
            return queryset
        return queryset.filter(kind=asked) if "." in asked else queryset.filter(kind__startswith=f"{asked}.")

    def get_facet_counts(self, pk_attname: str, filtered_qs: QuerySet[Any]) -> dict[str, Any]:
        """None: counting each kind would read the whole trail."""
        return {}


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who did what, through which door, why, and what it changed."""

    list_display = (
        columns.moment("at"),
        "what",
        columns.text("actor_name", "who"),
        columns.text("via", "through"),
        columns.brief("reason"),
        columns.link("account"),
        columns.text("level"),
        "request",
    )
    list_display_links = (list_display[0],)
    list_filter = ("level", "via", OfKind, OfRequest, OfAddress, "actor_name", "account")
    list_select_related = ("account", "actor", "cause")
    search_fields = ("kind", "object_repr", "object_type", "object_id", "reason", "request_id", "address")
    date_hierarchy = "at"
    hidden = (
        "id", "kind", "actor", "actor_name", "via", "request_id", "address", "object_type", "object_id", "object_repr",
        "before", "after", "cause",
    )  # fmt: skip

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """The trail of one object is a plain address."""
        return lookup in {"object_type", "object_id"} or super().lookup_allowed(lookup, value, request)

    @admin.display(description="what", ordering="kind")
    def what(self, event: AuditEvent) -> SafeString:
        """The event in words; its kind on hover."""
        return format_html('<span title="{}">{}</span>', event.kind, event.sentence)

    @admin.display(description="request", ordering="request_id")
    def request(self, event: AuditEvent) -> SafeString:
        """The way to everything of its request."""
        return _of_request(event, event.request_id[:8])

    def facts(self, subject: AuditEvent) -> list[tuple[str, SafeString]]:
        """In words first, then who, from where, about what, and why."""
        who = values.link(subject.actor, subject.actor_name) if subject.actor is not None else subject.actor_name
        return [
            ("What", values.show(subject.sentence)),
            ("Kind", values.code(subject.kind)),
            ("Who", values.show(who)),
            ("Through", values.show(subject.via)),
            ("From", values.code(subject.address)),
            ("About", _about(subject)),
            *super().facts(subject),
            ("Request", _of_request(subject, subject.request_id)),
            ("Caused by", values.link(subject.cause, subject.cause.sentence) if subject.cause else values.NOTHING),
        ]

    def panels(self, request: HttpRequest, subject: AuditEvent) -> list[Panel]:
        """Both sides of the change, what it caused, and the rest of its request."""
        names = [*subject.before, *(name for name in subject.after if name not in subject.before)]
        rows = [(field_name(name), _side(subject.before, name), _side(subject.after, name)) for name in names]
        effects = subject.effects.select_related("account").order_by("id")[:MOST]
        panels: list[Panel] = [
            Table("What changed", ("What", "Before", "After"), rows, "It tells of an act, not of a change."),
            Table(
                "What it caused", _COLUMNS, [_row(event) for event in effects], "Nothing that names it as its cause."
            ),
        ]
        if subject.request_id:
            same = AuditEvent.objects.filter(request_id=subject.request_id).exclude(pk=subject.pk)
            others = [_row(event) for event in same.select_related("account").order_by("id")[:MOST]]
            title = "Everything else of this request"
            panels.append(Table(title, _COLUMNS, others, "It is the only event of its request."))
        return panels


def _row(event: AuditEvent) -> tuple[Any, ...]:
    return event.at, event.actor_name, event.via, values.link(event, event.sentence), event.account


def _side(values_of: dict[str, Any], name: str) -> Any:
    """A value as a side of a change shows it: a short list as words."""
    value = values.typed(values_of.get(name))
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return ", ".join(str(item) for item in value)
    return value


def _of_request(event: AuditEvent, text: str) -> SafeString:
    if not event.request_id:
        return values.NOTHING
    address = f"{reverse('admin:trading_auditevent_changelist')}?{urlencode({'request_id': event.request_id})}"
    return format_html('<a href="{}" title="everything of this request"><code>{}</code></a>', address, text)


def _about(event: AuditEvent) -> SafeString:
    """The object, linked where it can be shown."""
    if not event.object_id:
        return values.NOTHING
    try:
        model: type[Model] = apps.get_model(event.object_type)
        found = model._default_manager.filter(pk=event.object_id).first()
    except (LookupError, ValueError):
        found = None
    return values.link(found, event.object_repr) if found is not None else values.show(event.object_repr)
