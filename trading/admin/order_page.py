"""The story of one order, from the bar that began it to the entries in the books."""

from collections.abc import Callable
from typing import Any

from trading.models import BrokerMessage, Decision, Entry, Fill, Order, OrderEvent
from trading.services import trades

from . import values
from .intent import gate_rows, orders_table
from .ledger import entry_lines
from .order_story import decision_of, lapse, mirrored
from .pages import Exchange, Panel, Table, audit_panel

# What others know of an order: trading knows nobody above it, so they add themselves here.
FURTHER: list[Callable[[Order], list[Panel]]] = []


def lineage(order: Order, events: list[OrderEvent]) -> list[Panel]:
    """Signal and decision, gates, every event with its evidence, raw messages, fills, entries, what others add."""
    decision = decision_of(order)
    beside = mirrored(order)
    return [
        *_asked(order),
        *_wish(decision),
        *_gates(decision),
        _events(events),
        *_aliases(order),
        *_messages(order),
        *([beside] if beside is not None else []),
        _fills(order),
        _entries(order),
        *(panel for more in FURTHER for panel in more(order)),
        *_legs(order),
        audit_panel(order),
    ]


def _asked(order: Order) -> list[Panel]:
    """The exit, proposal or kill that asked for it; an entry's own reason is its signal's."""
    rows: list[tuple[Any, ...]] = []
    if order.exit_intent is not None:
        intent = order.exit_intent
        rows.append(("Exit", intent.at, values.link(intent, str(intent.exit_type)), intent.exit_reason))
    if order.application is not None:
        proposal = order.application.proposal
        rows.append(("Approved proposal", order.application.at, values.link(proposal), proposal.reason))
    if order.kill_epoch is not None:
        rows.append(("Kill switch", order.at, f"epoch {order.kill_epoch}", "everything was stopped"))
    return [Table("What asked for it", ("What", "At (UTC)", "Which", "Why"), rows)] if rows else []


def _wish(decision: Decision | None) -> list[Panel]:
    if decision is None:
        return []
    signal = decision.signal
    decimals = signal.instrument.price_decimals
    row = (
        values.link(signal, signal.strategy), signal.at, signal.side,
        *(values.price(price, decimals) for price in (signal.entry, signal.stop, signal.target)),
        signal.reason, values.raw(signal.features, "features"),
    )  # fmt: skip
    columns = ("Strategy", "Bar closed (UTC)", "Side", "Entry", "Stop", "Target", "Why", "What it saw")
    size = (
        values.link(decision, str(decision.verdict)), decision.position_size, decision.risk_amount,
        values.percent(decision.risk_pct), decision.portfolio_heat_before, decision.portfolio_heat_after,
        decision.reason,
    )  # fmt: skip
    decided = ("Verdict", "Size", "Risk amount", "Risk %", "Heat before", "Heat after", "Reason")
    return [Table("What the strategy wished", columns, [row]), Table("What was decided", decided, [size])]


def _gates(decision: Decision | None) -> list[Panel]:
    if decision is None:
        return []
    columns = ("Gate", "Verdict", "Reason", "Numbers")
    return [Table("What the gates said", columns, gate_rows(decision.gates), "No gate was asked.")]


def _events(events: list[OrderEvent]) -> Table:
    rows = []
    before = None
    for event in events:
        evidence = values.NOTHING
        if event.message is not None:
            evidence = values.link(event.message)
        elif event.broker_event is not None:
            evidence = values.link(event.broker_event)
        after = values.whole(lapse(event.at - before)) if before is not None else ""
        moved = values.changed(event.from_state, event.to_state)
        rows.append((str(event.sequence), event.at, after, moved, str(event.attempt or ""), event.reason, evidence))
        before = event.at
    columns = ("#", "At (UTC)", "After", "State", "Attempt", "Why", "Evidence")
    return Table("Every step, with its evidence", columns, rows)


def _aliases(order: Order) -> list[Panel]:
    """The ids under which the broker knew it before, when it put another order in its place."""
    rows = [(values.code(alias.broker_order_id), alias.at) for alias in order.aliases.order_by("id")]
    note = f"It goes on as {order.broker_order_id}." if order.broker_order_id else ""
    return [Table("Earlier ids at its broker", ("Id", "Left at (UTC)"), rows, note=note)] if rows else []


def _fills(order: Order) -> Table:
    standing = set(trades.standing(Fill.objects.filter(order=order)).values_list("pk", flat=True))
    rows = [
        (
            values.link(fill, values.short_code(fill.external_id)), fill.at, fill.side, fill.quantity,
            values.price(fill.price, order.instrument.price_decimals), values.profit(fill.realised),
            values.amount(fill.commission), values.amount(fill.financing),
            fill.reason if fill.pk in standing else f"{fill.reason} (taken back)",
        )
        for fill in order.fills.order_by("id")
    ]  # fmt: skip
    columns = ("Fill", "At (UTC)", "Side", "Quantity", "Price", "Realised", "Commission", "Financing", "Reason")
    return Table("Fills", columns, rows, "Nothing filled.")


def _entries(order: Order) -> Table:
    rows = []
    for entry in Entry.objects.filter(fill__order=order).order_by("id"):
        for line in entry_lines(entry):
            rows.append((values.link(entry, f"entry {entry.pk}"), entry.at, *line))
    columns = ("Entry", "At (UTC)", "Ledger account", "Debit", "Credit", "Commodity")
    return Table("In the books", columns, rows, "Nothing booked.")


def _legs(order: Order) -> list[Panel]:
    group = order.parent_group
    if group is None:
        return []
    others = Order.objects.filter(parent_group=group).exclude(pk=order.pk)
    orders = others.select_related("instrument", "account").order_by("id")
    shown = orders_table("Other legs of its group", orders, note=f"The group is {group.state}.")
    return [shown] if shown.rows else []


def _messages(order: Order) -> list[Panel]:
    return [
        Exchange(
            f"{message.purpose}: {message.method} {message.path}",
            message.request_body or "(no body)",
            message.response_body or message.error or "(no answer)",
            str(message.status or message.error or "no answer"),
            lapse(message.finished_at - message.at) if message.finished_at >= message.at else "",
            values.link(message, f"message {message.pk}"),
            message.at,
        )
        for message in BrokerMessage.objects.filter(order=order).order_by("id")
    ]
