"""The statement of a ledger account as a page and as a file: opening balance, every posting, closing balance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseBase
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.text import slugify

from trading.models import Entry, LedgerAccount
from trading.selectors.statement import Axis, Line, Period, Statement, all_lines, statement

from . import moments, values
from .downloads import download
from .figures import Figures

AXES = {Axis.HAPPENED: "When it happened", Axis.KNOWN: "When we knew it"}
CSV_COLUMNS = (
    "at", "recorded_at", "entry", "kind", "memo", "other_side", "debit", "credit", "balance", "commodity"
)  # fmt: skip


class StatementForm(forms.Form):
    """The period, along which of the two times, and what counts at all."""

    since = moments.BeginField(label="From (UTC)", required=False)
    as_of = moments.MomentField(label="To (UTC)", required=False)
    known_at = moments.MomentField(label="Known at (UTC)", required=False)
    by = forms.ChoiceField(
        label="Order and begin by", required=False, choices=[(axis.value, name) for axis, name in AXES.items()]
    )

    def period(self) -> Period:
        """What was asked for."""
        found = self.cleaned_data
        by = Axis(found["by"]) if found["by"] else Axis.HAPPENED
        return Period(found["since"], found["as_of"], found["known_at"], by)


@dataclass(frozen=True)
class ShownLine:
    """One posting as the page shows it."""

    line: Line
    entry: SafeString
    other_side: SafeString
    debit: SafeString
    credit: SafeString
    balance: SafeString


@dataclass(frozen=True)
class Figure:
    """A named figure above the lines."""

    name: str
    value: SafeString


def words(period: Period, **changes: Any) -> str:
    """The words of an address that asks for the same period, but for the changes."""
    parts = {
        "since": moments.written_begin(period.since),
        "as_of": moments.written(period.as_of),
        "known_at": moments.written(period.known_at),
        "by": "" if period.by is Axis.HAPPENED else period.by.value,
    }
    return moments.query(**(parts | changes))


def context(request: HttpRequest, ledger_account: LedgerAccount) -> dict[str, Any]:
    """What the page shows. A moment that was not understood shows no figures at all."""
    form = StatementForm(request.GET)
    if not form.is_valid():
        return {"form": form}
    shown = statement(ledger_account, form.period(), page=_page(request))
    figures = _figures(shown)
    return {
        "form": form,
        "statement": shown,
        "said": said(shown.period),
        "sums": _sums(shown, figures),
        "lines": [_line(line, figures) for line in shown.lines],
        "brought_forward": figures.cell(shown.brought_forward),
        "carried_forward": figures.cell(shown.carried_forward),
        "pages": _pages(shown),
        "by_known": shown.period.by is Axis.KNOWN,
        "presets": _presets(shown),
        "file": reverse("admin:trading_ledgeraccount_statement_csv", args=[ledger_account.pk]) + words(shown.period),
        "origin": origin_address(ledger_account, shown.period),
        "trial_balance": reverse("admin:trading_ledgeraccount_trial_balance")
        + words(shown.period, account=ledger_account.account_id, since="", by=""),
    }


def file(request: HttpRequest, ledger_account: LedgerAccount) -> HttpResponseBase:
    """The whole period as CSV, between its opening and its closing balance."""
    form = StatementForm(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest(moments.NOT_UNDERSTOOD, content_type="text/plain; charset=utf-8")
    shown = statement(ledger_account, form.period(), size=1)
    account = ledger_account.account
    return download(
        request,
        name=f"statement-{slugify(f'{account.name}-{ledger_account.kind}-{ledger_account.commodity_id}')}.csv",
        columns=CSV_COLUMNS,
        rows=_file_rows(shown),
        account=account,
        subject=ledger_account,
        said=f"statement {said(shown.period)}",
    )


def origin_address(ledger_account: LedgerAccount, period: Period) -> str:
    """The page that says where the closing balance of a period comes from."""
    page = reverse("admin:trading_ledgeraccount_origin", args=[ledger_account.pk])
    return page + words(replace(period, since=None))


def said(period: Period) -> str:
    """A period in words."""
    is_known = period.by is Axis.KNOWN
    until, other = (period.known_at, period.as_of) if is_known else (period.as_of, period.known_at)
    begin = (
        f"from {moments.to_second(period.since + moments.TICK)}" if period.since is not None else "from the beginning"
    )
    end = f"to {moments.to_second(until)} UTC" if until is not None else "to now"
    axis = "by when we knew it, " if is_known else ""
    limit = ""
    if other is not None:
        limit = f", {'as of' if is_known else 'as known at'} {moments.to_second(other)} UTC"
    return f"{axis}{begin} {end}{limit}"


def _page(request: HttpRequest) -> int | None:
    text = request.GET.get("page", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _figures(shown: Statement) -> Figures:
    numbers = [shown.opening, shown.debits, shown.credits, shown.brought_forward]
    numbers += [number for line in shown.lines for number in (line.amount, line.balance)]
    commodity = shown.ledger_account.commodity
    return Figures.for_all(numbers, is_money=commodity.kind == commodity.Kind.CURRENCY)


def _sums(shown: Statement, figures: Figures) -> list[Figure]:
    parts = (
        ("Opening balance", shown.opening),
        ("Debits", shown.debits),
        ("Credits", shown.credits),
        ("Closing balance", shown.closing),
    )
    return [Figure(name, figures.cell(number)) for name, number in parts]


def _line(line: Line, figures: Figures) -> ShownLine:
    return ShownLine(
        line,
        values.link(Entry(pk=line.entry_id), f"entry {line.entry_id}"),
        values.link(LedgerAccount(pk=line.counter_id), values.words(line.counter_kind)),
        figures.cell(line.debit),
        figures.cell(line.credit),
        figures.cell(line.balance),
    )


def _pages(shown: Statement) -> list[tuple[str, str, bool]]:
    """Links to other pages: name, address, whether it is this one. The last page has the newest postings."""
    if shown.pages == 1:
        return []
    page, last = shown.page, shown.pages
    wanted = sorted({1, *range(max(page - 2, 1), min(page + 2, last) + 1), last})
    return [(str(number), words(shown.period, page=number), number == page) for number in wanted]


def _presets(shown: Statement) -> list[tuple[str, str, bool]]:
    """Periods by when things happened; what was known stays as it is."""
    period = shown.period
    offered = [
        (name, replace(period, since=since, as_of=until, by=Axis.HAPPENED))
        for name, since, until in moments.periods(shown.ledger_account.account)
    ]
    return [(name, words(wanted) or "?", wanted == period) for name, wanted in offered]


def _file_rows(shown: Statement) -> Iterator[tuple[Any, ...]]:
    commodity, balance = shown.ledger_account.commodity_id, shown.opening
    empty = (None,) * 4
    yield ("", "", "", "opening balance", *empty, balance, commodity)
    for line in all_lines(shown):
        balance = line.balance
        yield (
            line.at, line.recorded_at, line.entry_id, line.entry_kind, line.memo, line.counter_kind, line.debit,
            line.credit, balance, commodity,
        )  # fmt: skip
    yield ("", "", "", "closing balance", *empty, balance, commodity)
