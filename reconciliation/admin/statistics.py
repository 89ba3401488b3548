"""The page of statistics: what kinds of case there are, how soon they are found and how soon they are over.

What always holds: every number of a picture stands in the table below it; the days end with that of the latest of the
accounts' clocks; without a case the page says what it would show.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from reconciliation.models import Discrepancy
from reconciliation.selectors.statistics import Day, Spread, Statistics, statistics
from trading.admin import values
from trading.admin.pages import Table
from trading.clock import now, wall_now
from trading.models import Account

from . import chart

RANGES = {"7": "7 days", "30": "30 days", "90": "90 days"}
DEFAULT_RANGE = "30"
STATES = tuple(Discrepancy.State)
DAY_COLUMNS = (
    "Day", "First seen", "Confirmed", "Ended", "Detect, median", "Detect, p90", "Resolve, median", "Resolve, p90",
)  # fmt: skip


def page(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """All cases, or those of one account, over a range of days."""
    accounts = list(Account.objects.filter(scope="", discrepancies__isnull=False).distinct().order_by("name"))
    chosen = next((one for one in accounts if str(one.pk) == request.GET.get("account")), None)
    word = request.GET.get("days", DEFAULT_RANGE)
    word = word if word in RANGES else DEFAULT_RANGE
    shown = [chosen] if chosen is not None else accounts
    until = max((now(account) for account in shown), default=wall_now())
    seen = statistics(until=until, days=int(word), account=chosen)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Statistics of discrepancies",
        "opts": model_admin.opts,
        "accounts": [
            _choice(None, "All accounts", word, chosen),
            *(_choice(one.pk, one.name, word, chosen) for one in accounts),
        ],
        "ranges": [
            (f"?{_query(chosen.pk if chosen is not None else None, key)}", name, key == word)
            for key, name in RANGES.items()
        ],
        "range": RANGES[word],
        "figures": _figures(seen),
        "begin_unknown": seen.begin_unknown,
        **_pictures(seen),
        "tables": _tables(seen),
    }
    return TemplateResponse(request, "admin/reconciliation/discrepancy/statistics.html", context)


def _query(account: int | None, days: str) -> str:
    return urlencode({**({"account": account} if account is not None else {}), "days": days})


def _choice(key: int | None, name: str, days: str, chosen: Account | None) -> tuple[str, str, bool]:
    return f"?{_query(key, days)}", name, key == (chosen.pk if chosen is not None else None)


def _pictures(seen: Statistics) -> dict[str, Any]:
    days = seen.days
    return {
        "numbers": chart.numbers(days) if any(day.opened or day.ended for day in days) else "",
        "detect": chart.times(days, [day.detect for day in days], "Time to detect") if seen.detect else "",
        "resolve": chart.times(days, [day.resolve for day in days], "Time to resolve") if seen.resolve else "",
    }


def _figures(seen: Statistics) -> list[tuple[str, str, str]]:
    """Name, figure and what is below it."""
    return [
        _times("Time to detect", seen.detect, "from the broker's event to the first run that saw it"),
        _runs(seen.detect_runs),
        _times("Time to resolve", seen.resolve, "from the confirmation to the run that ended it"),
    ]


def _times(name: str, spread: Spread | None, means: str) -> tuple[str, str, str]:
    if spread is None:
        return name, "none", f"{means}; none in these days"
    below = (
        f"median of {spread.number}; p90 {chart.lasted(spread.p90)}, longest {chart.lasted(spread.longest)}; {means}"
    )
    return name, chart.lasted(spread.median), below


def _runs(spread: Spread | None) -> tuple[str, str, str]:
    means = "complete runs from the event on, the one that saw it included"
    if spread is None:
        return "Runs to detect", "none", f"{means}; none in these days"
    below = f"median of {spread.number}; p90 {spread.p90:g}, most {spread.longest:g}; {means}"
    return "Runs to detect", f"{spread.median:g}", below


def _tables(seen: Statistics) -> list[Table]:
    columns = ("", *(values.words(state) for state in STATES), "All")
    return [
        Table("By kind and state", ("Kind", *columns[1:]), _counted(seen.by_kind), "No case yet."),
        Table("By severity and state", ("Severity", *columns[1:]), _counted(seen.by_severity), "No case yet."),
        Table("Day by day", DAY_COLUMNS, [_day(day) for day in reversed(seen.days) if _is_busy(day)], "No case yet."),
    ]


def _counted(rows: list[tuple[str, dict[str, int]]]) -> list[tuple[Any, ...]]:
    return [
        (values.words(name), *(_number(of.get(state, 0)) for state in STATES), _number(sum(of.values())))
        for name, of in rows
    ]


def _number(value: int) -> Any:
    return Decimal(value) if value else values.listed(Decimal(0), 0)


def _is_busy(day: Day) -> bool:
    return bool(day.seen or day.opened or day.ended)


def _day(day: Day) -> tuple[Any, ...]:
    numbers = (_number(day.seen), _number(day.opened), _number(day.ended))
    return (day.day, *numbers, *_two(day.detect), *_two(day.resolve))


def _two(spread: Spread | None) -> tuple[Any, Any]:
    return (None, None) if spread is None else (chart.lasted(spread.median), chart.lasted(spread.p90))
