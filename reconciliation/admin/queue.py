"""The queue of discrepancies: its saved views, the filter by age, and its export.

What always holds: a saved view is a stored query string and nothing more; ages are on each account's clock; the
export has the rows of the filter that is on the screen.
"""

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Case, F, IntegerField, Q, QuerySet, Value, When
from django.http import HttpRequest, StreamingHttpResponse

from reconciliation.models import Discrepancy
from reconciliation.selectors.discrepancies import age
from trading.clock import now
from trading.domain.money import plain
from trading.models import Account

STATE = Discrepancy.State
VIEWS: dict[str, tuple[str, list[Any]]] = {
    "live": ("Live", list(Discrepancy.LIVE)),
    "people": ("Waits for people", [STATE.OPEN, STATE.PROPOSED]),
    "review": ("Needs review", [STATE.OPEN]),
    "approval": ("Awaiting approval", [STATE.PROPOSED]),
    "working": ("Being carried out", [STATE.APPROVED, STATE.APPLIED]),
    "suspected": ("Suspected", [STATE.SUSPECTED]),
    "ended": ("Closed", [STATE.CLOSED, STATE.CLEARED]),
    "all": ("All", list(STATE)),
}
DEFAULT_VIEW = "live"
BUCKETS: dict[str, tuple[str, timedelta, timedelta | None]] = {
    "hour": ("under 1 h", timedelta(0), timedelta(hours=1)),
    "day": ("1 h to 1 d", timedelta(hours=1), timedelta(days=1)),
    "days": ("1 to 3 d", timedelta(days=1), timedelta(days=3)),
    "older": ("over 3 d", timedelta(days=3), None),
}
GRAVEST_FIRST = Case(
    *(When(severity=word, then=Value(rank)) for rank, word in enumerate(("CRITICAL", "HIGH", "MEDIUM", "LOW"))),
    output_field=IntegerField(),
)
COLUMNS = (
    "id", "severity", "kind", "account", "instrument", "key", "commodity", "books", "broker", "difference",
    "age_seconds", "first_seen_at", "times_seen", "state", "cause",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Standing(admin.SimpleListFilter):
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
        """Filter by the view."""
        return queryset.filter(state__in=VIEWS[self.value()][1])

    def get_facet_counts(self, pk_attname: str, filtered_qs: QuerySet[Any]) -> dict[str, Any]:
        """None: the links above the list have their own numbers."""
        return {}


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
        for account_id, at in self._times().items():
            wanted |= Q(account_id=account_id, closed_at=None) & _between(at, least, most)
        ended = Q(closed_at__gte=F("first_seen_at") + least)
        if most is not None:
            ended &= Q(closed_at__lt=F("first_seen_at") + most)
        return queryset.filter(wanted | ended)

    def _times(self) -> dict[int, datetime]:
        """The clock of every account that has a live case, read once."""
        if not hasattr(self, "_read"):
            with_cases = Account.objects.filter(discrepancies__state__in=Discrepancy.LIVE).distinct()
            self._read = {account.pk: now(account) for account in with_cases}
        return self._read


def _between(at: datetime, least: timedelta, most: timedelta | None) -> Q:
    seen = Q(first_seen_at__lte=at - least)
    return seen if most is None else seen & Q(first_seen_at__gt=at - most)


def views(counts: dict[str, int], chosen: str) -> list[tuple[str, str, int, bool]]:
    """Each saved view: its query string, name, number of cases, and whether it is the one shown."""
    return [
        (f"?standing={word}", name, sum(counts.get(state, 0) for state in states), word == chosen)
        for word, (name, states) in VIEWS.items()
    ]


def stamp_ages(cases: Any) -> None:
    """Give each case `account_now`, its account's time, asked once an account."""
    clocks: dict[int, datetime] = {}
    for case in cases:
        if case.account_id not in clocks:
            clocks[case.account_id] = now(case.account)
        case.account_now = clocks[case.account_id]


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def export(cases: QuerySet[Discrepancy]) -> StreamingHttpResponse:
    """The cases as CSV: money as plain text, times in ISO 8601 UTC; no cell begins a formula."""
    answer = StreamingHttpResponse(_lines(cases), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="discrepancies.csv"'
    return answer


def _lines(cases: QuerySet[Discrepancy]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    clocks: dict[int, datetime] = {}
    for case in cases.select_related("account", "instrument").iterator(chunk_size=500):
        if case.account_id not in clocks:
            clocks[case.account_id] = now(case.account)
        numbers = [plain(n) if n is not None else "" for n in (case.books_value, case.broker_value, case.difference)]
        seconds = int(age(case, clocks[case.account_id]).total_seconds())
        words = [case.severity, case.kind, case.account.name, case.instrument or "", case.key, case.commodity]
        yield writer.writerow(
            [
                case.pk, *map(_harmless, words), *numbers, seconds, case.first_seen_at.isoformat(), case.times_seen,
                case.state, _harmless(case.cause),
            ]
        )  # fmt: skip


def _harmless(value: object) -> str:
    """Text that a spreadsheet would calculate is quoted, so that it only reads it."""
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
