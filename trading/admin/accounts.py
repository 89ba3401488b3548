"""Accounts with their positions, cash and restrictions; instruments; versions of configuration."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from trading.models import Account, ConfigVersion, Instrument, InstrumentAlias, LedgerAccount, Position, Restriction
from trading.selectors import books
from trading.selectors.balances import with_balance

from . import columns, filters, values
from .pages import Panel, Raw, ReadOnlyAdmin, Table, audit_panel
from .policies import UnderAPolicy

CASH_NAMES: dict[str, str] = {
    LedgerAccount.Kind.CASH: "Cash, settled",
    LedgerAccount.Kind.UNSETTLED: "Unsettled, payable or receivable",
    LedgerAccount.Kind.SUSPENSE: "Suspense: approved adjustments",
}


@admin.register(Account)
class AccountAdmin(UnderAPolicy):
    """An account: PAPER or LIVE in words, and what the books say it holds."""

    change_form_template = "admin/trading/account/change_form.html"
    list_display = (
        "name",
        columns.pill("mode"),
        "at_broker",
        "environment",
        columns.code("external_id"),
        "currency",
        columns.link("mirror_of", "mirror of"),
        "is_active",
        columns.moment("opened_at", "opened"),
    )
    list_filter = ("mode", ("broker", filters.ShortChoices), "environment", "is_active")
    list_select_related = ("mirror_of", "policy")
    search_fields = ("name", "external_id", "scope")
    show_facets = admin.ShowFacets.ALWAYS

    @admin.display(description="broker", ordering="broker")
    def at_broker(self, account: Account) -> str:
        """The broker as it calls itself."""
        return values.BROKERS.get(account.broker, account.broker)

    def tools(self, request: HttpRequest, subject: Account) -> list[tuple[str, str]]:
        """Its policy, its books, and the sign-off of its days."""
        balance = ("Trial balance", reverse("admin:trading_ledgeraccount_trial_balance") + f"?account={subject.pk}")
        shown = [*super().tools(request, subject), balance]
        if subject.is_paper_book:
            return shown
        reconciled = reverse("admin:reconciliation_run_account", args=[subject.pk])
        signed_off = reverse("admin:reconciliation_signoff_account", args=[subject.pk])
        return [*shown, ("Reconciliation", reconciled), ("Sign off days", signed_off)]

    def panels(self, request: HttpRequest, subject: Account) -> list[Panel]:
        """Cash and positions of the books, live restrictions, mirrors."""
        kinds = (LedgerAccount.Kind.CASH, LedgerAccount.Kind.UNSETTLED, LedgerAccount.Kind.SUSPENSE)
        cash: Any = with_balance(subject.ledger_accounts.filter(kind__in=kinds)).order_by("kind", "commodity_id")
        positions = Position.objects.filter(account=subject).exclude(quantity=0).select_related("instrument")
        live = Restriction.objects.filter(lifted_at=None, account=subject).select_related("instrument")
        return [
            Table(
                "Cash in the books",
                ("Ledger account", "Balance", "Currency"),
                [
                    *(
                        (values.link(row, CASH_NAMES[row.kind]), values.amount(row.balance), row.commodity_id)
                        for row in cash
                    ),
                    *(
                        ("Cash, trade date", values.amount(held.trade_date), currency)
                        for currency, held in books.cash(subject).items()
                    ),
                ],
                "Nothing booked yet.",
            ),
            Table(
                "Positions in the books",
                ("Instrument", "Quantity", "Of it external", "Average price"),
                [
                    (values.link(p, str(p.instrument)), p.quantity, p.external_quantity, p.average_price)
                    for p in positions
                ],
                "Flat.",
            ),
            Table(
                "Restrictions in force",
                ("Level", "Strategy", "Instrument", "Source", "Reason", "Since (UTC)", "Until (UTC)"),
                [
                    (values.pill(r.level), r.strategy, r.instrument, r.source, values.link(r, r.reason), r.at, r.until)
                    for r in live
                ],
                "None: trading is open.",
            ),
            Table("Mirrors", ("Account", "Scale"), [(mirror, mirror.mirror_scale) for mirror in subject.mirrors.all()]),
            audit_panel(subject),
        ]


@admin.register(Instrument)
class InstrumentAdmin(ReadOnlyAdmin):
    """What is traded, and each broker's name for it."""

    list_display = (
        "symbol",
        "base",
        "quote",
        columns.number("pip_size"),
        columns.number("tick_size"),
        columns.number("lot_size"),
        columns.number("min_units"),
        columns.number("max_units"),
        columns.number("freeze_quantity"),
        "is_margin",
    )
    list_filter = ("quote", "is_margin")
    search_fields = ("symbol", "aliases__symbol")
    show_facets = admin.ShowFacets.ALWAYS

    def panels(self, request: HttpRequest, subject: Instrument) -> list[Panel]:
        """The brokers' names, each with its dates."""
        aliases: Any = InstrumentAlias.objects.filter(instrument=subject).order_by("broker", "valid_from")
        rows = [(a.broker, values.code(a.symbol), a.valid_from, a.valid_until) for a in aliases]
        return [Table("Brokers' names", ("Broker", "Symbol", "From (UTC)", "Until (UTC)"), rows)]


@admin.register(ConfigVersion)
class ConfigVersionAdmin(ReadOnlyAdmin):
    """Session files and policies, each version for ever."""

    list_display = ("name", "kind", columns.code("sha256"), columns.moment("recorded_at", "recorded"))
    list_filter = ("kind", "name")
    search_fields = ("name", "sha256")
    date_hierarchy = "recorded_at"
    hidden = ("body",)

    def panels(self, request: HttpRequest, subject: ConfigVersion) -> list[Panel]:
        """The whole text."""
        return [Raw("Content", subject.body, is_open=True)]
