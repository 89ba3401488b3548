"""The books: entries as debit and credit lines with their story, ledger accounts as statements, lots."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from trading.models import Entry, LedgerAccount, Lot, Transfer
from trading.models.fields import Numeric
from trading.selectors.balances import with_balance
from trading.selectors.provenance import EntryOrigin, Provenance, provenance_of

from . import columns, filters, origins, statement, trial_balance, values
from .corrections import Reversible
from .pages import Panel, ReadOnlyAdmin, Table, audit_panel, facts_of
from .provenance import corrections, name_of_ledger_account, seal_text, story_of

ZERO = Decimal(0)
LOTS = ("Lots opened", "Lots closed")


def entry_lines(entry: Entry) -> list[tuple[Any, Any, Any, str]]:
    """Ledger account, debit, credit, commodity: two lines for each transfer."""
    return lines_of(entry.transfers.select_related("debit__account", "credit__account").order_by("id"))


def lines_of(transfers: Iterable[Transfer]) -> list[tuple[Any, Any, Any, str]]:
    """The same for transfers that were read already."""
    lines: list[tuple[Any, Any, Any, str]] = []
    for transfer in transfers:
        lines.append((transfer.debit, transfer.amount, None, transfer.commodity_id))
        lines.append((transfer.credit, None, transfer.amount, transfer.commodity_id))
    return lines


def sums(lines: list[tuple[Any, Any, Any, str]]) -> list[tuple[str, Decimal, Decimal, Decimal]]:
    """Per commodity: debits, credits, and their difference, which is zero in these books."""
    commodities = sorted({line[3] for line in lines})
    rows = []
    for commodity in commodities:
        debit = sum((line[1] for line in lines if line[3] == commodity and line[1] is not None), ZERO)
        credit = sum((line[2] for line in lines if line[3] == commodity and line[2] is not None), ZERO)
        rows.append((commodity, debit, credit, debit - credit))
    return rows


@admin.register(Entry)
class EntryAdmin(Reversible):
    """One business event in the books."""

    change_form_template = "admin/trading/entry/change_form.html"
    list_display = (
        "id",
        columns.moment("at"),
        columns.link("account"),
        columns.words("kind"),
        columns.brief("memo"),
        "booked_from",
    )
    list_filter = (filters.World, ("kind", filters.ShortChoices), "account")
    ordering = ("-at", "-id")
    list_select_related = ("account", "fill__instrument", "cash_event", "application")
    search_fields = ("idempotency_key", "memo")
    date_hierarchy = "at"
    hidden = ("reverses", "replaces")

    @admin.display(description="of")
    def booked_from(self, entry: Entry) -> SafeString:
        """The fill or movement of cash that it books."""
        return values.link(entry.fill or entry.cash_event)

    def panels(self, request: HttpRequest, subject: Entry) -> list[Panel]:
        """Debit and credit lines, the sum of each commodity, where they come from, lots opened and closed."""
        found, origin = _evidence(subject)
        opened = subject.lots.select_related("instrument")
        closed = subject.lot_closes.select_related("lot__instrument")
        panels: list[Panel] = [
            origins.legs_table(origin),
            Table("Sums", ("Commodity", "Debit", "Credit", "Difference"), sums(lines_of(origin.legs))),
            story_of(origin, found, with_entry=False),
            Table(
                "Lots opened",
                ("Lot", "Instrument", "Side", "Quantity", "Unit cost"),
                [(values.link(t, f"lot {t.pk}"), t.instrument, side(t), t.quantity, t.unit_cost) for t in opened],
            ),
            Table(
                "Lots closed",
                ("Lot", "Instrument", "Quantity", "Unit price", "Profit, our number"),
                [
                    (values.link(c.lot, f"lot {c.lot_id}"), c.lot.instrument, c.quantity, c.unit_price, c.profit_quote)
                    for c in closed
                ],
            ),
            audit_panel(subject, subject.fill, subject.cash_event),
        ]
        return [panel for panel in panels if not (isinstance(panel, Table) and panel.title in LOTS and not panel.rows)]

    def facts(self, subject: Entry) -> list[tuple[str, SafeString]]:
        """What corrects it first, and the block that seals it."""
        found, origin = _evidence(subject)
        sealed = seal_text(found.seal_of(subject)) or values.NOTHING
        return [*corrections(origin), *facts_of(subject, self.hidden), ("Seal", sealed)]


def _evidence(entry: Any) -> tuple[Provenance, EntryOrigin]:
    """Where an entry comes from, read once for its page."""
    if not hasattr(entry, "evidence"):
        entry.evidence = provenance_of([entry.pk])
    return entry.evidence, entry.evidence.origins[0]


def side(lot: Lot) -> str:
    """long or short."""
    return "long" if lot.side > 0 else "short"


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin):
    """The balances, a statement for each account of the books, the trial balance, and where they come from."""

    change_form_template = "admin/trading/ledgeraccount/change_form.html"
    change_list_template = "admin/trading/ledgeraccount/change_list.html"
    list_display = ("called", columns.link("account"), columns.words("kind"), "commodity", "num_balance")
    list_filter = (("kind", filters.ShortChoices), "commodity", "account")
    list_select_related = ("account", "commodity")
    search_fields = ("account__name", "commodity__code")
    ordering = ("account", "kind", "commodity")
    sortable_by = ("nowrap_kind", "commodity")

    @admin.display(description="ledger account")
    def called(self, row: LedgerAccount) -> str:
        """Its kind and commodity in words."""
        return name_of_ledger_account(row)

    @admin.display(description="balance", ordering="balance")
    def num_balance(self, row: Any) -> SafeString:
        """Money to two decimals, contracts as they are."""
        is_money = row.commodity.kind == row.commodity.Kind.CURRENCY
        return values.listed(row.balance) if is_money else values.show(row.balance)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerAccount]:
        """With balances: debits − credits."""
        return with_balance(super().get_queryset(request))

    def get_urls(self) -> list[URLPattern]:
        """With the trial balance, the files, and where a balance comes from."""
        own = [
            path("trial-balance/", self._page(trial_balance.page), name="trading_ledgeraccount_trial_balance"),
            path("trial-balance.csv", self._file(trial_balance.file), name="trading_ledgeraccount_trial_balance_csv"),
            path("<int:number>/statement.csv", self._file(statement.file), name="trading_ledgeraccount_statement_csv"),
            path("<int:number>/origin/", self._page(origins.balance_page), name="trading_ledgeraccount_origin"),
        ]
        return [*own, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """With the statement of the period that the address asks for."""
        context.update(statement.context(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)

    def _page(self, draw: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        """A page for whoever may see ledger accounts; with a number, of that one."""

        def view(request: HttpRequest, number: int | None = None) -> HttpResponse:
            return draw(request, self.admin_site, *self._subject(request, number))

        return self.admin_site.admin_view(view)

    def _file(self, write: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        """A file for whoever may see ledger accounts; with a number, of that one."""

        def view(request: HttpRequest, number: int | None = None) -> HttpResponseBase:
            return write(request, *self._subject(request, number))

        return self.admin_site.admin_view(view)

    def _subject(self, request: HttpRequest, number: int | None) -> tuple[LedgerAccount, ...]:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if number is None:
            return ()
        return (get_object_or_404(LedgerAccount.objects.select_related("account", "commodity"), pk=number),)


@admin.register(Lot)
class LotAdmin(ReadOnlyAdmin):
    """Units opened by one fill, and what is left of them."""

    list_display = (
        "id",
        columns.moment("opened_at", "opened"),
        columns.link("account"),
        columns.link("instrument"),
        side,
        columns.number("quantity"),
        columns.number("open_quantity", "open"),
        columns.number("unit_cost"),
    )
    list_filter = (filters.World, "account", "instrument")
    ordering = ("-opened_at", "-id")
    list_select_related = ("account", "instrument", "entry", "fill__instrument")
    sortable_by = ("id", "num_quantity", "moment_opened_at")
    date_hierarchy = "opened_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lot]:
        """With the units still open."""
        lots = super().get_queryset(request)
        closed = Coalesce(Sum("closes__quantity"), ZERO, output_field=Numeric())
        annotated: QuerySet[Lot] = lots.annotate(closed_quantity=closed).annotate(
            open_quantity=F("quantity") - F("closed_quantity")
        )
        return annotated

    def panels(self, request: HttpRequest, subject: Lot) -> list[Panel]:
        """Who closed it."""
        rows = [
            (c.closed_at, values.link(c.entry, f"entry {c.entry_id}"), c.quantity, c.unit_price, c.profit_quote)
            for c in subject.closes.select_related("entry").order_by("id")
        ]
        names = ("At (UTC)", "Entry", "Quantity", "Unit price", "Profit, our number")
        return [Table("Closed by", names, rows, "Nobody: it is open.")]
