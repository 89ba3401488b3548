"""Imported statements, to read: what each covers, its control sums, its lines, and the runs that compared it."""

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import Count, Sum
from django.http import HttpRequest

from reconciliation.admin.counts import counts_text
from reconciliation.models import Statement
from trading.admin import columns, values
from trading.admin.pages import Panel, Raw, ReadOnlyAdmin, Table

MOST_LINES = 500
LINE_COLUMNS = ("Line", "At (UTC)", "Instrument", "Side", "Product", "Quantity", "Price", "Amount", "Id")


@admin.register(Statement)
class StatementAdmin(ReadOnlyAdmin):
    """One file of a broker, and what it was compared to."""

    list_display = (
        columns.moment("at"), columns.link("account"), "kind", "format", "first_day", "last_day", "line_count",
        "file_name", "stands",
    )  # fmt: skip
    list_display_links = (list_display[0],)
    list_filter = ("kind", "format", "account")
    list_select_related = ("account", "replaced_by", "replaces")
    search_fields = ("file_name", "sha256")
    date_hierarchy = "first_day"
    hidden = ("body",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Texts are read on the page only."""
        match = request.resolver_match
        is_list = match is not None and (match.url_name or "").endswith("changelist")
        queryset = super().get_queryset(request).defer("replaces__body", "replaced_by__body")
        return queryset.defer("body") if is_list else queryset

    @admin.display(description="stands")
    def stands(self, statement: Statement) -> str:
        """Whether it still counts."""
        return "replaced" if getattr(statement, "replaced_by", None) is not None else "yes"

    def panels(self, request: HttpRequest, subject: Statement) -> list[Panel]:
        """The runs, the control sums, the lines, the file."""
        runs = subject.runs.order_by("-id")[:20]
        lines = list(subject.lines.order_by("number")[:MOST_LINES])
        rows = [
            (
                line.number, line.at, line.instrument, line.side, line.product, line.quantity, line.price, line.amount,
                line.external_id,
            )
            for line in lines
        ]  # fmt: skip
        title = "Lines" if subject.line_count <= MOST_LINES else f"The first {MOST_LINES} of {subject.line_count} lines"
        return [
            Table(
                "Runs that compared it",
                ("Run", "At (UTC)", "Counted"),
                [(values.link(run), run.at, counts_text(run.counts)) for run in runs],
                "It was not compared.",
            ),
            Table("Control sums", ("What", "Value"), self._sums(subject)),
            Table(title, LINE_COLUMNS, rows, "It has no lines."),
            Raw("The file", subject.body),
        ]

    def _sums(self, subject: Statement) -> list[tuple[str, Any]]:
        amount, count = subject.lines.aggregate(sum=Sum("amount"), count=Count("id")).values()
        sums: list[tuple[str, Any]] = [("Lines", Decimal(count)), ("Sum of amounts", amount)]
        if subject.opening is not None and subject.closing is not None and subject.kind == Statement.Kind.CASH:
            left = subject.closing - subject.opening - (amount or Decimal(0))
            sums += [("Opening", subject.opening), ("Closing", subject.closing)]
            sums += [("Closing − opening − lines (0 or it would not be here)", left)]
        earlier = Statement.objects.filter(
            account=subject.account, kind=subject.kind, covers_until__lt=subject.covers_from, replaced_by=None
        ).order_by("-covers_until")
        before = earlier.defer("body").first()
        if before is not None:
            sums += [("The statement before it", values.link(before)), ("Closing of that", before.closing)]
        sides = subject.lines.exclude(side="").values("instrument", "side").annotate(units=Sum("quantity"))
        return sums + [
            (f"{row['side']} {row['instrument']}", row["units"]) for row in sides.order_by("instrument", "side")
        ]
