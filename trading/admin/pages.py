"""The page of one object, as all of them look: its facts, then panels. Nothing on it can be edited.

What always holds: a `ReadOnlyAdmin` adds, changes and deletes nothing, whoever asks, a superuser included; what people
may decide goes through a service, never through a form of the admin.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import DateTimeField, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from trading.models import AuditEvent

from . import values

if TYPE_CHECKING:
    ModelAdminOfAny = admin.ModelAdmin[Any]
else:
    ModelAdminOfAny = admin.ModelAdmin  # generic for the type checker only


def _is_number(value: Any) -> bool:
    """A number, or one that is formatted already."""
    return isinstance(value, Decimal) or (isinstance(value, SafeString) and value.startswith('<span class="num'))


@dataclass(frozen=True)
class Table:
    """A table of a page. Values are shown as `values.show` does; numbers stand to the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    empty: str = "None."
    note: str = ""
    template: str = "admin/panels/table.html"

    @property
    def headings(self) -> list[tuple[str, str]]:
        """Each column's style class and name: a column with a number in it stands to the right."""
        return [
            ("number" if any(_is_number(row[place]) for row in self.rows) else "", name)
            for place, name in enumerate(self.columns)
        ]

    @property
    def cells(self) -> list[list[tuple[str, SafeString]]]:
        """Each cell with its style class and its text."""
        classes = [css for css, _ in self.headings]
        return [[(css, values.show(value)) for css, value in zip(classes, row, strict=True)] for row in self.rows]


@dataclass(frozen=True)
class Raw:
    """A message or document, folded."""

    title: str
    body: Any
    is_open: bool = False
    template: str = "admin/panels/raw.html"

    @property
    def text(self) -> str:
        """Indented where it is JSON."""
        return values.pretty(self.body)


@dataclass(frozen=True)
class Exchange:
    """A request to a broker and what came back, side by side."""

    title: str
    request: str
    answer: str
    status: str
    took: str
    source: SafeString
    at: datetime
    template: str = "admin/panels/exchange.html"

    @property
    def sides(self) -> tuple[str, str]:
        """Both bodies, indented where they are JSON."""
        return values.pretty(self.request), values.pretty(self.answer)

    @property
    def is_good(self) -> bool:
        """Whether the broker answered with a success."""
        return self.status.startswith("2")


class Panel(Protocol):
    """Whatever a page shows below its facts: it knows its template, which knows it as `panel`."""

    @property
    def template(self) -> str:
        """The file that draws it."""


def audit_panel(subject: Model, *causes: Model | None, limit: int = 100) -> Table:
    """What the audit trail says of an object, and of what it was made from, the newest first."""
    wanted = Q(object_type=subject._meta.label, object_id=str(subject.pk))
    for cause in causes:
        if cause is not None:
            wanted |= Q(object_type=cause._meta.label, object_id=str(cause.pk))
    events = AuditEvent.objects.filter(wanted)[:limit]
    rows = [
        (event.at, event.actor_name, event.via, values.link(event, event.sentence), event.reason, event.after)
        for event in events
    ]
    return Table("Audit trail", ("At (UTC)", "Who", "Through", "What", "Reason", "After"), rows, "Nothing recorded.")


def facts_of(subject: Model, hidden: Iterable[str] = ()) -> list[tuple[str, SafeString]]:
    """Every field of an object with its name; states as pills, hashes as code."""
    hidden = set(hidden)
    facts = []
    for field in subject._meta.concrete_fields:
        if field.name in hidden:
            continue
        value = getattr(subject, field.name)
        if field.name in {"state", "verdict", "status", "mode", "severity", "level"} and value:
            value = values.pill(value)
        elif "sha256" in field.name or field.name.endswith(("external_id", "client_order_id", "broker_order_id")):
            value = values.code(str(value))
        elif field.name == "kind":
            value = values.words(str(value))
        zone = " (UTC)" if isinstance(field, DateTimeField) else ""
        facts.append((f"{capfirst(field.verbose_name)}{zone}", values.show(value)))
    return facts


class ReadOnlyAdmin(ModelAdminOfAny):
    """A list and a page to read."""

    change_form_template = "admin/facts_page.html"
    actions: Sequence[str] | None = None
    list_per_page = 50
    show_full_result_count = False
    hidden: Sequence[str] = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: rows come from services."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def facts(self, subject: Any) -> list[tuple[str, SafeString]]:
        """Name and value of what the page shows first."""
        return facts_of(subject, self.hidden)

    def panels(self, request: HttpRequest, subject: Any) -> list[Panel]:
        """What follows the facts."""
        return []

    def tools(self, request: HttpRequest, subject: Any) -> list[tuple[str, str]]:
        """Links above the page, beside the audit trail: name and address."""
        return []

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list under its own name instead of "Select … to view"."""
        changes = super().get_changelist_instance(request)
        changes.title = capfirst(str(self.opts.verbose_name_plural))
        return changes

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The object with what its page names."""
        related = self.list_select_related
        wanted: QuerySet[Any] = self.get_queryset(request)
        if isinstance(related, list | tuple) and related:
            wanted = wanted.select_related(*related)
        try:
            return wanted.filter(pk=object_id).first()
        except (ValueError, ValidationError):
            return None

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Django's page with our facts and panels in place of its form."""
        subject = context["original"]
        context["title"] = capfirst(str(self.opts.verbose_name))
        context["called"] = values.name_of(subject)
        context["facts"] = self.facts(subject)
        context["tools"] = self.tools(request, subject)
        context["panels"] = self.panels(request, subject)
        return super().render_change_form(request, context, *args, **kwargs)
