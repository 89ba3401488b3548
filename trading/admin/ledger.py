"""The books: entries as debit and credit lines that sum to zero, ledger accounts with balance and statement, lots."""

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.safestring import SafeString

from trading.models import Entry, LedgerAccount, Lot
from trading.models.fields import Numeric

from . import columns, filters, values
from .balances import statement, with_balance
from .pages import Panel, ReadOnlyAdmin, Table, audit_panel

ZERO = Decimal(0)
STATEMENT_LINES = 200


def entry_lines(entry: Entry) -> list[tuple[Any, Any, Any, str]]:
    """Ledger account, debit, credit, commodity: two lines for each transfer."""
    lines: list[tuple[Any, Any, Any, str]] = []
    for transfer in entry.transfers.select_related("debit__account", "credit__account").order_by("id"):
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
class EntryAdmin(ReadOnlyAdmin):
    """One business event in the books."""

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
    list_select_related = ("account", "fill__instrument", "cash_event", "application", "reverses")
    search_fields = ("idempotency_key", "memo")
    date_hierarchy = "at"

    @admin.display(description="of")
    def booked_from(self, entry: Entry) -> SafeString:
        """The fill or movement of cash that it books."""
        return values.link(entry.fill or entry.cash_event)

    def panels(self, request: HttpRequest, subject: Entry) -> list[Panel]:
        """Debit and credit lines, the sum of each commodity, lots opened and closed."""
        lines = entry_lines(subject)
        opened = subject.lots.select_related("instrument")
        closed = subject.lot_closes.select_related("lot__instrument")
        return [
            Table("Lines", ("Ledger account", "Debit", "Credit", "Commodity"), lines),
            Table("Sums", ("Commodity", "Debit", "Credit", "Difference"), sums(lines)),
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


def side(lot: Lot) -> str:
    """long or short."""
    return "long" if lot.side > 0 else "short"


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin):
    """The trial balance, and a statement for each account of the books."""

    list_display = ("__str__", columns.link("account"), columns.words("kind"), "commodity", "num_balance")
    list_filter = (("kind", filters.ShortChoices), "commodity", "account")
    list_select_related = ("account", "commodity")
    search_fields = ("account__name", "commodity__code")
    ordering = ("account", "kind", "commodity")
    sortable_by = ("__str__", "nowrap_kind", "commodity")

    @admin.display(description="balance", ordering="balance")
    def num_balance(self, row: Any) -> SafeString:
        """Money to two decimals, contracts as they are."""
        is_money = row.commodity.kind == row.commodity.Kind.CURRENCY
        return values.listed(row.balance) if is_money else values.show(row.balance)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerAccount]:
        """With balances: debits − credits."""
        return with_balance(super().get_queryset(request))

    def panels(self, request: HttpRequest, subject: Any) -> list[Panel]:
        """The newest postings with the balance after each."""
        rows = [
            (
                t.entry.at,
                values.link(t.entry, f"entry {t.entry_id}"),
                values.words(t.entry.kind),
                t.entry.memo,
                amount,
                balance,
            )
            for t, amount, balance in statement(subject, subject.balance, STATEMENT_LINES)
        ]
        note = f"Balance {values.plain_number(subject.balance)} {subject.commodity_id} (debits − credits)."
        names = ("At (UTC)", "Entry", "Kind", "Memo", "Debit − credit", "Balance after")
        return [Table("Statement", names, rows, "Nothing booked.", note)]


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
