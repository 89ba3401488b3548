"""The queue of discrepancies: its saved views and its export.

What always holds: a saved view is a stored query string and nothing more; ages are on each account's clock; the
export has the rows of the filter that is on the screen.
"""

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import StreamingHttpResponse

from reconciliation.models import Discrepancy
from reconciliation.selectors.discrepancies import age, due
from trading.clock import now
from trading.domain.money import plain

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
GRAVEST_FIRST = Case(
    *(When(severity=word, then=Value(rank)) for rank, word in enumerate(("CRITICAL", "HIGH", "MEDIUM", "LOW"))),
    output_field=IntegerField(),
)
COLUMNS = (
    "id", "severity", "kind", "account", "instrument", "key", "commodity", "books", "broker", "difference",
    "age_seconds", "first_seen_at", "times_seen", "state", "cause", "owner", "labels", "due_at",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")


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
    for case in cases.select_related("account", "instrument", "owner").iterator(chunk_size=500):
        if case.account_id not in clocks:
            clocks[case.account_id] = now(case.account)
        numbers = [plain(n) if n is not None else "" for n in (case.books_value, case.broker_value, case.difference)]
        seconds = int(age(case, clocks[case.account_id]).total_seconds())
        words = [case.severity, case.kind, case.account.name, case.instrument or "", case.key, case.commodity]
        yield writer.writerow(
            [
                case.pk, *map(_harmless, words), *numbers, seconds, case.first_seen_at.isoformat(), case.times_seen,
                case.state, _harmless(case.cause), _harmless(case.owner or ""), _harmless(", ".join(case.labels)),
                until.isoformat() if (until := due(case)) is not None else "",
            ]
        )  # fmt: skip


def _harmless(value: object) -> str:
    """Text that a spreadsheet would calculate is quoted, so that it only reads it."""
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
