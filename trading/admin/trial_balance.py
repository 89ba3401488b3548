"""The trial balance as a page and a file: every ledger account, by when things happened and by when we knew them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from trading.clock import wall_now
from trading.models import Account
from trading.selectors.trial_balance import Columns, CommodityBalance, Row, TrialBalance, trial_balance

from . import moments, values
from .downloads import download
from .figures import Figures

PAGE, FILE = "admin:trading_ledgeraccount_trial_balance", "admin:trading_ledgeraccount_trial_balance_csv"
CSV_COLUMNS = (
    "commodity", "account", "ledger_account", "postings", "debits", "credits", "debit_balance", "credit_balance",
    "as_of", "known_at",
)  # fmt: skip


class TrialBalanceForm(forms.Form):
    """Whose books, and the two moments."""

    account = forms.ModelChoiceField(
        Account.objects.order_by("scope", "name"), required=False, empty_label="All accounts of the desk"
    )
    as_of = moments.MomentField(label="As of (UTC)", required=False, help_text="what had happened by then")
    known_at = moments.MomentField(label="Known at (UTC)", required=False, help_text="what was booked by then")


@dataclass(frozen=True)
class Asked:
    """What the form asks for."""

    account: Account | None
    as_of: datetime | None
    known_at: datetime | None

    def words(self, **changes: Any) -> str:
        """The words of an address that asks for the same, but for the changes."""
        parts = {
            "account": self.account.pk if self.account is not None else "",
            "as_of": moments.written(self.as_of),
            "known_at": moments.written(self.known_at),
        }
        return moments.query(**(parts | changes))


@dataclass(frozen=True)
class Shown:
    """A line of a table: names, figures, and whether it is the sum of lines above it."""

    names: tuple[SafeString, ...]
    cells: tuple[SafeString, ...]
    is_sum: bool = False
    is_zero: bool = False


@dataclass(frozen=True)
class Module:
    """One table: a currency's, or that of all contracts."""

    title: str
    note: str
    headings: tuple[str, ...]
    lines: tuple[Shown, ...]
    total: tuple[SafeString, ...] = ()

    @property
    def names(self) -> int:
        """How many of the columns are names."""
        return len(self.headings)


def page(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """The page. A moment that was not understood shows no figures at all."""
    form = TrialBalanceForm(request.GET)
    asked, shown = None, None
    if form.is_valid():
        asked = _asked(form)
        shown = trial_balance(asked.account, as_of=asked.as_of, known_at=asked.known_at)
    context = {
        **site.each_context(request),
        "title": "Trial balance",
        "form": form,
        "asked": asked,
        "balance": shown,
        "unequal": [part.commodity for part in shown.commodities if not part.columns.is_balanced] if shown else [],
        "modules": modules(shown, asked) if shown is not None and asked is not None else [],
    }
    if asked is not None:
        context |= {
            "said": moments.said(asked.as_of, asked.known_at),
            "ends": _chips(asked, "as_of", moments.ends(asked.account)),
            "known": _chips(asked, "known_at", moments.ends(None)),
            "file": reverse(FILE) + asked.words(),
        }
    return TemplateResponse(request, "admin/trading/ledgeraccount/trial_balance.html", context)


def file(request: HttpRequest) -> HttpResponseBase:
    """The same figures as CSV."""
    form = TrialBalanceForm(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest(moments.NOT_UNDERSTOOD, content_type="text/plain; charset=utf-8")
    asked = _asked(form)
    shown = trial_balance(asked.account, as_of=asked.as_of, known_at=asked.known_at)
    return download(
        request,
        name="trial-balance.csv",
        columns=CSV_COLUMNS,
        rows=_file_rows(shown),
        account=asked.account,
        said=f"trial balance {moments.said(asked.as_of, asked.known_at)}",
    )


def modules(shown: TrialBalance, asked: Asked) -> list[Module]:
    """A table for each currency, and one for all contracts."""
    is_many = asked.account is None
    tables = [_currency(part, asked, is_many) for part in shown.commodities if part.is_currency]
    contracts = [part for part in shown.commodities if not part.is_currency]
    return [*tables, _contracts(contracts, asked, is_many)] if contracts else tables


def statement_address(row: Row, asked: Asked) -> str:
    """The statement that ends with a balance."""
    page = reverse("admin:trading_ledgeraccount_change", args=[row.ledger_account_id])
    return page + asked.words(account="")


def _asked(form: TrialBalanceForm) -> Asked:
    found = form.cleaned_data
    return Asked(found["account"], found["as_of"], found["known_at"])


def _chips(asked: Asked, name: str, offered: list[tuple[str, datetime | None]]) -> list[tuple[str, str, bool]]:
    return [
        (label, asked.words(**{name: moments.written(moment)}) or "?", getattr(asked, name) == moment)
        for label, moment in offered
    ]


def _currency(part: CommodityBalance, asked: Asked, is_many: bool) -> Module:
    figures = _figures([part])
    lines = []
    for kind in part.kinds:
        lines += [_line(row, figures, asked, _names(row, is_many)) for row in kind.rows]
        if is_many and len(kind.rows) > 1:
            names = (values.show(values.words(kind.kind)), values.show(f"all {len(kind.rows)} accounts"))
            lines.append(Shown(names, _sum(kind.columns, figures), is_sum=True))
    headings = ("Ledger account", "Account") if is_many else ("Ledger account",)
    return Module(part.commodity, "", headings, tuple(lines), _sum(part.columns, figures))


def _contracts(parts: list[CommodityBalance], asked: Asked, is_many: bool) -> Module:
    figures = _figures(parts)
    lines = [
        _line(row, figures, asked, (values.show(part.commodity), *_names(row, is_many)))
        for part in parts
        for row in part.rows
    ]
    headings = ("Instrument", "Ledger account", "Account") if is_many else ("Instrument", "Ledger account")
    return Module("Contracts", "Units held, and their other side. Units of different instruments are not added up.",
                  headings, tuple(lines))  # fmt: skip


def _figures(parts: list[CommodityBalance]) -> Figures:
    numbers = [number for part in parts for row in part.rows for number in (row.debits, row.credits)]
    return Figures.for_all(numbers, is_money=any(part.is_currency for part in parts))


def _names(row: Row, is_many: bool) -> tuple[SafeString, ...]:
    kind = values.show(values.words(row.kind))
    return (kind, values.show(row.account_name)) if is_many else (kind,)


def _line(row: Row, figures: Figures, asked: Asked, names: tuple[SafeString, ...]) -> Shown:
    """The balance is the link; one that is zero stands in the column of debits, so that it can be followed too."""
    columns, address = row.columns, statement_address(row, asked)
    title = f"Statement: {row.postings} posting{'s' if row.postings > 1 else ''}"
    is_credit = columns.credit > 0
    balance = (
        figures.cell(None if is_credit else columns.debit, address, title),
        figures.cell(columns.credit if is_credit else None, address, title),
    )
    movements = (figures.cell(columns.debits), figures.cell(columns.credits))
    return Shown(names, (*movements, *balance), is_zero=not columns.balance)


def _sum(columns: Columns, figures: Figures) -> tuple[SafeString, ...]:
    """The sum of each column; a side of the balance on which nothing stands is left blank."""
    balances = (columns.debit, columns.credit) if columns.debit or columns.credit else (columns.debit, None)
    movements = (figures.cell(columns.debits), figures.cell(columns.credits))
    return (*movements, *(figures.cell(number or None if any(balances) else number) for number in balances))


def _file_rows(shown: TrialBalance) -> Iterator[tuple[Any, ...]]:
    known_at = shown.known_at or wall_now()
    for part in shown.commodities:
        for row in part.rows:
            columns = row.columns
            money: tuple[Decimal, ...] = (columns.debits, columns.credits, columns.debit, columns.credit)
            yield (
                row.commodity, row.account_name, row.kind, row.postings, *money, shown.as_of or "", known_at
            )  # fmt: skip
