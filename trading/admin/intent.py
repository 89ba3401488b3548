"""Signals, decisions with every gate, exit intents."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from trading.models import Decision, ExitIntent, Order, Signal, Trade

from . import columns, filters, values
from .pages import Panel, Raw, ReadOnlyAdmin, Table, audit_panel


def gate_rows(gates: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Name, verdict, reason and numbers of each gate; numbers are what the gate kept beside those."""
    rows = []
    for gate in gates:
        others = {key: value for key, value in gate.items() if key not in {"name", "passed", "reason", "numbers"}}
        numbers = {**others, **(gate.get("numbers") or {})}
        text = ", ".join(f"{name} {value}" for name, value in numbers.items() if value is not None)
        verdict = values.pill("passed" if gate.get("passed") else "blocked")
        rows.append((gate.get("name", ""), verdict, gate.get("reason", ""), text))
    return rows


def order_rows(orders: Any) -> list[tuple[Any, ...]]:
    """One line for each order; wants `instrument` and `account` selected."""
    return [
        (
            values.link(order, values.short_code(order.client_order_id)),
            order.account,
            order.tag,
            order.side,
            order.quantity,
            order.instrument,
            order.type,
            values.price(order.price, order.instrument.price_decimals),
            values.pill(order.state),
            order.filled_quantity,
            values.price(order.average_price, order.instrument.price_decimals),
        )
        for order in orders
    ]


ORDER_COLUMNS = (
    "Order", "Account", "Tag", "Side", "Quantity", "Instrument", "Type", "Price", "State", "Filled", "Average price",
)  # fmt: skip


def orders_table(title: str, orders: Any, empty: str = "None.", note: str = "") -> Table:
    """Orders of one account, which the page names already; the tag says enough of the type."""
    places = [place for place, name in enumerate(ORDER_COLUMNS) if name not in ("Account", "Type")]
    rows = [[row[place] for place in places] for row in order_rows(orders)]
    return Table(title, [ORDER_COLUMNS[place] for place in places], rows, empty, note)


@admin.register(Signal)
class SignalAdmin(ReadOnlyAdmin):
    """What a strategy saw."""

    list_display = (
        columns.moment("at"),
        columns.link("account"),
        "strategy",
        columns.link("instrument"),
        "side",
        "order_type",
        columns.price("entry"),
        columns.price("stop"),
        columns.price("target"),
        columns.pill("decision__verdict", "decision"),
    )
    list_display_links = (list_display[0],)
    list_filter = (filters.World, "account", "strategy", "instrument", "side")
    ordering = ("-at", "-id")
    list_select_related = ("account", "instrument", "decision", "config_version")
    search_fields = ("strategy", "instrument__symbol")
    date_hierarchy = "at"

    def panels(self, request: HttpRequest, subject: Signal) -> list[Panel]:
        """What became of it."""
        decision = Decision.objects.filter(signal=subject).first()
        rows = [(values.link(decision), values.pill(decision.verdict), decision.reason)] if decision else []
        return [Table("Decision", ("Decision", "Verdict", "Reason"), rows, "Not decided yet.")]


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    """What the gates said, with the numbers of each."""

    list_display = (
        columns.moment("at"),
        columns.link("account"),
        columns.text("signal__strategy", "strategy"),
        columns.link("signal__instrument", "instrument"),
        columns.text("signal__side", "side"),
        columns.pill("verdict"),
        columns.brief("reason"),
        columns.number("position_size", "size"),
        columns.amount("risk_amount"),
    )
    list_display_links = (list_display[0],)
    list_filter = (filters.World, "verdict", "account", "signal__strategy", "signal__instrument")
    ordering = ("-at", "-id")
    list_select_related = ("account", "signal__instrument", "config_version")
    search_fields = ("client_plan_id", "reason", "signal__strategy", "signal__instrument__symbol")
    date_hierarchy = "at"
    hidden = ("gates",)

    def panels(self, request: HttpRequest, subject: Decision) -> list[Panel]:
        """Gates, orders, trades, features."""
        orders = Order.objects.filter(decision=subject).select_related("instrument", "account").order_by("id")
        trades = Trade.objects.filter(decision=subject).select_related("instrument", "account")
        signal = subject.signal
        return [
            Table("Gates", ("Gate", "Verdict", "Reason", "Numbers"), gate_rows(subject.gates), "No gate was asked."),
            Table("Orders", ORDER_COLUMNS, order_rows(orders), "None: nothing was to be sent."),
            Table(
                "Trades",
                ("Trade", "Account", "State", "P&L", "R"),
                [(values.link(t), t.account, values.pill(t.state), t.pnl, t.r) for t in trades],
            ),
            Raw("What the strategy saw", {"features": signal.features, "scores": signal.feature_scores}),
            audit_panel(subject),
        ]


@admin.register(ExitIntent)
class ExitIntentAdmin(ReadOnlyAdmin):
    """The wish to leave a position."""

    list_display = (
        columns.moment("at"),
        columns.link("account"),
        "exit_type",
        "exit_reason",
        columns.pill("state"),
        "decision_link",
    )
    list_display_links = (list_display[0],)
    list_filter = ("state", "exit_type", "account")
    list_select_related = ("account", "decision__signal__instrument")
    date_hierarchy = "at"

    @admin.display(description="decision")
    def decision_link(self, intent: ExitIntent) -> SafeString:
        """The decision it leaves."""
        return values.link(intent.decision)

    def panels(self, request: HttpRequest, subject: ExitIntent) -> list[Panel]:
        """The orders made for it."""
        orders = subject.orders.select_related("instrument", "account")
        return [orders_table("Orders", orders), audit_panel(subject)]
