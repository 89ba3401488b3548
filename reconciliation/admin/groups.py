"""The queue with cases that are alike in one line: the same account, kind and instrument (or else currency).

What always holds: it shows the cases that the queue shows under the same filter, and each line leads to its own; the
gravest line stands first, of those the longest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, F, Min, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from reconciliation.models import Discrepancy
from reconciliation.selectors.discrepancies import clocks, is_overdue
from trading.admin import values
from trading.models import Account, Instrument

from .queue import GRAVEST_FIRST, stamp_ages
from .titles import term

KEY = ("account_id", "kind", "instrument_id", "commodity")
MOST, UNFOLDED = 200, 10
GRAVEST = ("CRITICAL", "HIGH", "MEDIUM", "LOW")


@dataclass(frozen=True)
class Line:
    """Cases that are alike: how many, the gravest severity, the oldest, how many are late, and the first of them."""

    account: Account
    kind: str
    about: str
    number: int
    severity: str
    oldest: datetime
    age: Any
    overdue: int
    without_owner: int
    address: str
    cases: list[tuple[Discrepancy, Any]]

    @property
    def more(self) -> int:
        """Cases that are not unfolded here."""
        return self.number - len(self.cases)


def grouped(model_admin: Any, request: HttpRequest, cases: QuerySet[Discrepancy]) -> HttpResponse:
    """The page."""
    lines = lines_of(cases, request.GET.dict())
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Discrepancies, those alike together",
        "opts": model_admin.opts,
        "lines": lines[:MOST],
        "left_out": len(lines) - MOST if len(lines) > MOST else 0,
        "number": sum(line.number for line in lines),
        "query": request.GET.urlencode(),
    }
    return TemplateResponse(request, "admin/reconciliation/discrepancy/groups.html", context)


def lines_of(cases: QuerySet[Discrepancy], asked: dict[str, str]) -> list[Line]:
    """Each group of the cases as a line. `asked` is the filter that they came through, for the lines' own lists."""
    times = clocks()
    rows = list(
        cases.order_by()
        .values(*KEY)
        .annotate(
            number=Count("pk"),
            gravest=Min(GRAVEST_FIRST),
            oldest=Min("first_seen_at"),
            overdue=Count("pk", filter=is_overdue(times)),
            without_owner=Count("pk", filter=Q(owner=None)),
        )
        .order_by("gravest", "-number", *KEY)
    )
    place = Window(RowNumber(), partition_by=[F(name) for name in KEY], order_by=[GRAVEST_FIRST.asc(), "first_seen_at"])
    first = cases.order_by().annotate(place=place).filter(place__lte=UNFOLDED)
    shown = list(first.select_related("account", "instrument", "owner").order_by("place"))
    stamp_ages(shown)
    unfolded: dict[tuple[Any, ...], list[tuple[Discrepancy, Any]]] = {}
    for case in shown:
        of_line = unfolded.setdefault(tuple(getattr(case, name) for name in KEY), [])
        of_line.append((case, term(case, case.account_now)))  # type: ignore[attr-defined]
    accounts = Account.objects.in_bulk({row["account_id"] for row in rows})
    instruments = Instrument.objects.in_bulk({row["instrument_id"] for row in rows} - {None})
    return [_line(row, accounts, instruments, times, unfolded, asked) for row in rows]


def _line(
    row: dict[str, Any],
    accounts: dict[int, Account],
    instruments: dict[int, Instrument],
    times: dict[int, datetime],
    unfolded: dict[tuple[Any, ...], list[tuple[Discrepancy, Any]]],
    asked: dict[str, str],
) -> Line:
    instrument = instruments.get(row["instrument_id"])
    wanted = {"account__id__exact": row["account_id"], "kind": row["kind"], "commodity": row["commodity"]}
    more = {"instrument": instrument.symbol} if instrument is not None else {"instrument_id__isnull": "1"}
    at = times.get(row["account_id"])
    return Line(
        account=accounts[row["account_id"]],
        kind=values.words(row["kind"]),
        about=str(instrument or row["commodity"] or "no instrument"),
        number=row["number"],
        severity=GRAVEST[row["gravest"]] if row["gravest"] is not None else "LOW",
        oldest=row["oldest"],
        age=values.show(at - row["oldest"]) if at is not None else values.NOTHING,
        overdue=row["overdue"],
        without_owner=row["without_owner"],
        address=f"{reverse('admin:reconciliation_discrepancy_changelist')}?{urlencode({**asked, **wanted, **more})}",
        cases=unfolded.get(tuple(row[name] for name in KEY), []),
    )
