"""The filters of the queue: saved views, age, term, owner, label and what a case is about.

What always holds: ages and terms are on each account's clock; a queue that was asked for one state shows that state,
whichever view stands; what nobody chose filters nothing, but for the view of the live cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.contrib import admin
from django.db import connection
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest

from reconciliation.models import Discrepancy
from reconciliation.selectors.discrepancies import UNDECIDED, clocks, is_overdue
from trading.models import Instrument, User

from .queue import DEFAULT_VIEW, VIEWS

BUCKETS: dict[str, tuple[str, timedelta, timedelta | None]] = {
    "hour": ("under 1 h", timedelta(0), timedelta(hours=1)),
    "day": ("1 h to 1 d", timedelta(hours=1), timedelta(days=1)),
    "days": ("1 to 3 d", timedelta(days=1), timedelta(days=3)),
    "older": ("over 3 d", timedelta(days=3), None),
}
NOBODY, MINE = "nobody", "me"
MOST_LABELS = 50
_Answer = TypeVar("_Answer")


class _Plain(admin.SimpleListFilter):
    """A filter without numbers beside its choices: each of those would cost the list a query of its own."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        """All, and the lookups."""
        none = changelist.get_query_string(remove=[self.parameter_name])
        yield {"selected": self.value() is None, "query_string": none, "display": "All"}
        for word, name in self.lookup_choices:
            address = changelist.get_query_string({self.parameter_name: word})
            yield {"selected": self.value() == str(word), "query_string": address, "display": name}

    def get_facet_counts(self, pk_attname: str, filtered_qs: QuerySet[Any]) -> dict[str, Any]:
        """None."""
        return {}


def _once(request: HttpRequest, ask: Callable[[], _Answer]) -> _Answer:
    """The answer to a question that every filter of a request asks: the admin makes its filters many times over."""
    known: dict[Any, Any] = request.__dict__.setdefault("_asked_by_the_queue", {})
    if ask not in known:
        known[ask] = ask()
    answer: _Answer = known[ask]
    return answer


class Standing(_Plain):
    """The saved views. Without a word of the address it is the live cases; drawn as links above the list."""

    title = "standing"
    parameter_name = "standing"
    template = "admin/reconciliation/discrepancy/no_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The views."""
        return [(word, name) for word, (name, _) in VIEWS.items()]

    def value(self) -> str:
        """The chosen view."""
        word = super().value()
        return word if word in VIEWS else DEFAULT_VIEW

    def queryset(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> QuerySet[Discrepancy]:
        """Filter by the view; a list of one state needs no view to be chosen."""
        if any(name.startswith("state") for name in request.GET) and self.parameter_name not in request.GET:
            return queryset
        return queryset.filter(state__in=VIEWS[self.value()][1])


class Age(admin.SimpleListFilter):
    """How long a case stands or stood, on its account's clock."""

    title = "age"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The buckets."""
        return [(word, name) for word, (name, _, _) in BUCKETS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> QuerySet[Discrepancy]:
        """Filter by the bucket."""
        bucket = BUCKETS.get(self.value() or "")
        if bucket is None:
            return queryset
        _, least, most = bucket
        wanted = Q(pk__in=[])
        for account_id, at in _once(request, clocks).items():
            wanted |= Q(account_id=account_id, closed_at=None) & _between(at, least, most)
        ended = Q(closed_at__gte=F("first_seen_at") + least)
        if most is not None:
            ended &= Q(closed_at__lt=F("first_seen_at") + most)
        return queryset.filter(wanted | ended)


def _between(at: datetime, least: timedelta, most: timedelta | None) -> Q:
    seen = Q(first_seen_at__lte=at - least)
    return seen if most is None else seen & Q(first_seen_at__gt=at - most)


class Term(_Plain):
    """Whether people should have decided on a case by now."""

    title = "term"
    parameter_name = "term"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Over, or still running."""
        return [("overdue", "overdue"), ("running", "in time")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> QuerySet[Discrepancy]:
        """Filter by the term; a case that nobody has to decide on has none."""
        if self.value() == "overdue":
            return queryset.filter(is_overdue(_once(request, clocks)))
        if self.value() == "running":
            late = is_overdue(_once(request, clocks))
            return queryset.filter(state__in=UNDECIDED, opened_at__isnull=False).exclude(late)
        return queryset


class Owner(_Plain):
    """Whose a case is."""

    title = "owner"
    parameter_name = "owner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Mine, nobody's, and everybody's who has one."""
        others = [(key, name) for key, name in _once(request, _owners) if key != str(request.user.pk)]
        return [(MINE, "mine"), (NOBODY, "nobody's"), *others]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> QuerySet[Discrepancy]:
        """Filter by the owner."""
        word = self.value()
        if word == MINE:
            return queryset.filter(owner_id=request.user.pk)
        if word == NOBODY:
            return queryset.filter(owner=None)
        return queryset.filter(owner_id=int(word)) if word and word.isascii() and word.isdigit() else queryset


class Label(_Plain):
    """A label that people put on cases."""

    title = "label"
    parameter_name = "label"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The labels that there are, the most frequent first."""
        return [(word, word) for word in _once(request, labels_in_use)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> QuerySet[Discrepancy]:
        """Filter by the label."""
        word = self.value()
        return queryset.exclude(labels=[]).filter(labels__contains=[word]) if word else queryset


class About(_Plain):
    """The instrument of a case."""

    title = "instrument"
    parameter_name = "instrument"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The instruments of live cases."""
        return _once(request, _instruments)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Discrepancy]) -> QuerySet[Discrepancy]:
        """Filter by the instrument, also by one of which no case is alive any more."""
        return queryset.filter(instrument__symbol=self.value()) if self.value() else queryset


def _owners() -> list[tuple[str, str]]:
    owners = Discrepancy.objects.exclude(owner=None).order_by().values("owner").distinct()
    return [(str(user.pk), user.get_username()) for user in User.objects.filter(pk__in=owners).order_by("username")]


def _instruments() -> list[tuple[str, str]]:
    of_cases = Discrepancy.objects.filter(state__in=Discrepancy.LIVE).order_by().values("instrument").distinct()
    return list(Instrument.objects.filter(pk__in=of_cases).order_by("symbol").values_list("symbol", "symbol"))


def labels_in_use() -> list[str]:
    """The labels that there are, the most frequent first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT word FROM reconciliation_discrepancy, jsonb_array_elements_text(labels) word "
            "WHERE labels <> '[]' GROUP BY word ORDER BY count(*) DESC, word LIMIT %s",
            [MOST_LABELS],
        )
        return [word for (word,) in cursor.fetchall()]
