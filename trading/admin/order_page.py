"""The story of one order, from the bar that began it to the entries in the books."""

from typing import Any

from trading.models import BrokerMessage, Decision, Entry, ExitIntent, Order

from . import values
from .intent import ORDER_COLUMNS, gate_rows, order_rows
from .ledger import entry_lines
from .pages import Panel, Raw, Table, audit_panel


def lineage(order: Order) -> list[Panel]:
    """Signal, decision and gates; every event with its evidence; fills; entries; the raw messages."""
    return [
        _intent(order),
        *_gates(_decision(order)),
        _events(order),
        _fills(order),
        _entries(order),
        _legs(order),
        *_messages(order),
        audit_panel(order),
    ]


def _decision(order: Order) -> Decision | None:
    return order.decision or (order.exit_intent.decision if order.exit_intent else None)


def _intent(order: Order) -> Table:
    rows: list[tuple[Any, ...]] = []
    decision = _decision(order)
    if decision is not None:
        signal = decision.signal
        rows.append(("Signal", signal.at, values.link(signal), signal.reason))
        rows.append(("Decision", decision.at, values.link(decision, decision.verdict), decision.reason))
    intent: ExitIntent | None = order.exit_intent
    if intent is not None:
        rows.append(("Exit", intent.at, values.link(intent, f"{intent.exit_type} {intent.state}"), intent.exit_reason))
    if order.application is not None:
        proposal = order.application.proposal
        rows.append(("Approved proposal", order.application.at, values.link(proposal), proposal.reason))
    if order.kill_epoch is not None:
        rows.append(("Kill switch", order.at, f"epoch {order.kill_epoch}", "everything was stopped"))
    rows.append(("Order", order.at, str(order), order.reason))
    return Table("Where it comes from", ("Step", "At (UTC)", "What", "Why"), rows)


def _gates(decision: Decision | None) -> list[Panel]:
    if decision is None:
        return []
    columns = ("Gate", "Verdict", "Reason", "Numbers")
    return [Table("What the gates said", columns, gate_rows(decision.gates), "No gate was asked.")]


def _events(order: Order) -> Table:
    rows = []
    for event in order.events.select_related("message", "broker_event").order_by("sequence"):
        evidence = values.NOTHING
        if event.message is not None:
            evidence = values.link(event.message)
        elif event.broker_event is not None:
            evidence = values.link(event.broker_event)
        change = values.pill(event.to_state)
        rows.append(
            (
                event.sequence,
                event.at,
                event.from_state,
                change,
                event.attempt,
                event.reason,
                evidence,
                event.recorded_at,
            )
        )
    columns = ("#", "At (UTC)", "From", "To", "Attempt", "Why", "Evidence", "Learned (UTC)")
    return Table("Every step, with its evidence", columns, rows)


def _fills(order: Order) -> Table:
    rows = [
        (
            values.link(fill, fill.external_id), fill.at, fill.side, fill.quantity, fill.price,
            fill.realised, fill.commission, fill.financing, fill.reason,
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


def _legs(order: Order) -> Table:
    group = order.parent_group
    others = Order.objects.filter(parent_group=group) if group is not None else Order.objects.none()
    note = f"The group is {group.state}." if group is not None else ""
    rows = order_rows(others.exclude(pk=order.pk).select_related("instrument", "account").order_by("id"))
    return Table("Other legs of its group", ORDER_COLUMNS, rows, note=note)


def _messages(order: Order) -> list[Panel]:
    panels: list[Panel] = []
    messages = BrokerMessage.objects.filter(order=order).order_by("id")
    for message in messages:
        body = (
            f"{values.moment(message.at)} UTC  {message.method} {message.path}\n"
            f"{values.pretty(message.request_body) if message.request_body else '(no body)'}\n\n"
            f"{values.moment(message.finished_at)} UTC  {message.status or message.error or 'no answer'}\n"
            f"{values.pretty(message.response_body) if message.response_body else '(no answer)'}"
        )
        panels.append(Raw(f"Message {message.pk}: {message.purpose}, {message}", body))
    return panels
