"""The pages "Where does this come from?": of a balance, posting by posting, and of a trade, entry by entry."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from trading.models import Account, Entry, LedgerAccount, Trade
from trading.selectors.provenance import (
    EntryOrigin,
    Provenance,
    entries_of_trade,
    provenance_of,
    provenance_of_balance,
)
from trading.selectors.results import ledger_pnl

from . import moments, values
from .figures import Figures
from .pages import Table
from .provenance import Story, story_of
from .statement import StatementForm, words

TEMPLATE = "admin/trading/origin.html"


@dataclass(frozen=True)
class Part:
    """One posting or entry to unfold: what it says in a line, its legs, and its chain of evidence."""

    entry: Entry
    name: SafeString
    kind: str
    other_side: str
    amount: SafeString
    balance: SafeString
    legs: Table
    story: Story
    is_grounded: bool


def balance_page(request: HttpRequest, site: AdminSite, ledger_account: LedgerAccount) -> HttpResponse:
    """What a balance is the sum of: the newest postings, each down to its evidence, and what stood before them."""
    form = StatementForm(request.GET)
    period = form.period() if form.is_valid() else None
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": "Where does this come from?",
        "about": values.link(ledger_account),
        "account": ledger_account.account,
        "form": form,
    }
    if period is not None:
        asked = request.GET.get("page", "")
        page = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else None
        found = provenance_of_balance(ledger_account, period, page=page)
        shown, commodity = found.statement, ledger_account.commodity
        numbers = [shown.opening, shown.closing, *(n for line in shown.lines for n in (line.amount, line.balance))]
        figures = Figures.for_all(numbers, is_money=commodity.kind == commodity.Kind.CURRENCY)
        parts = [
            _part(
                found.origin_of(line.entry_id), found.provenance,
                other_side=values.words(line.counter_kind), amount=_signed(line.amount, figures),
                balance=figures.cell(line.balance),
            )
            for line in reversed(shown.lines)
        ]  # fmt: skip
        back = reverse("admin:trading_ledgeraccount_change", args=[ledger_account.pk]) + words(period)
        context |= {
            "said": moments.said(period.as_of, period.known_at),
            "figure": figures.cell(shown.carried_forward),
            "unit": ledger_account.commodity_id,
            "before": figures.cell(shown.brought_forward),
            "earlier": shown.postings - len(shown.lines) if shown.page == shown.pages else None,
            "parts": parts,
            "pages": [
                (f"{number}", words(period, page=number), number == shown.page)
                for number in range(shown.pages, max(shown.pages - 10, 0), -1)
            ]
            if shown.pages > 1
            else [],
            "back": back,
        }
    return TemplateResponse(request, TEMPLATE, context)


def trade_page(request: HttpRequest, site: AdminSite, trade: Trade) -> HttpResponse:
    """What a round trip is made of: every entry of its fills, and its P&L by the ledger alone."""
    found = provenance_of(entries_of_trade(trade))
    by_ledger = ledger_pnl(trade.account, [trade.decision_id])[trade.decision_id]
    figures = Figures.for_all([trade.pnl, by_ledger], is_money=True)
    context = {
        **site.each_context(request),
        "title": "Where does this come from?",
        "about": values.link(trade),
        "account": trade.account,
        "figure": _signed(by_ledger, figures),
        "unit": f"{trade.account.currency} by the ledger alone",
        "agrees": by_ledger == trade.pnl,
        "projected": _signed(trade.pnl, figures),
        "is_trade": True,
        "parts": [_part(origin, found) for origin in found.origins],
        "back": reverse("admin:trading_trade_change", args=[trade.pk]),
    }
    return TemplateResponse(request, TEMPLATE, context)


def position_address(account: Account, symbol: str) -> str:
    """The page of the units that an account holds of an instrument; empty while it never held any."""
    kind = LedgerAccount.Kind.POSITION
    found = LedgerAccount.objects.filter(account=account, kind=kind, commodity=symbol).values_list("pk", flat=True)
    number = found.first()
    return reverse("admin:trading_ledgeraccount_origin", args=[number]) if number is not None else ""


def legs_table(origin: EntryOrigin) -> Table:
    """Debit and credit lines of an entry, each commodity's figures with the same decimals."""
    rows: list[tuple[Any, ...]] = []
    for leg in origin.legs:
        same = [other.amount for other in origin.legs if other.commodity_id == leg.commodity_id]
        is_money = leg.commodity.kind == leg.commodity.Kind.CURRENCY
        amount = Figures.for_all(same, is_money=is_money).cell(leg.amount)
        rows.append((leg.debit, amount, None, leg.commodity_id))
        rows.append((leg.credit, None, amount, leg.commodity_id))
    return Table("Lines", ("Ledger account", "Debit", "Credit", "Commodity"), rows)


def _part(
    origin: EntryOrigin,
    found: Provenance,
    *,
    other_side: str = "",
    amount: SafeString = values.NOTHING,
    balance: SafeString = values.NOTHING,
) -> Part:
    entry = origin.entry
    return Part(
        entry=entry,
        name=values.link(entry),
        kind=values.words(entry.kind),
        other_side=other_side,
        amount=amount,
        balance=balance,
        legs=legs_table(origin),
        story=story_of(origin, found),
        is_grounded=origin.is_grounded,
    )


def _signed(number: Decimal, figures: Figures) -> SafeString:
    tone = "more" if number > 0 else "less" if number < 0 else "quiet"
    sign = "+" if number > 0 else ""
    return format_html('<span class="num change {}">{}{}</span>', tone, sign, figures.text(number))
