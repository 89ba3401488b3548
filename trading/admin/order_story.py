"""The way of one order as a row of stages with the time between them, and the same leg on every account beside it.

What always holds: times are those of the account's clock, as the facts have them; what has not happened is shown as not
happened, never left out.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Q
from django.utils.safestring import SafeString

from trading.domain.broker import Side
from trading.models import Decision, Entry, Order, OrderEvent

from . import values
from .pages import Table

ENDED_BADLY = ("REJECTED", "UNKNOWN", "EXPIRED")
MIRROR_COLUMNS = ("Account", "Order", "State", "Quantity", "Filled", "Average price", "Slippage", "Sent to filled")


@dataclass(frozen=True)
class Stage:
    """One stage of the way. `tone` is done, bad or ahead; `after` the time since the stage before it."""

    name: str
    says: SafeString
    at: datetime | None = None
    after: str = ""
    tone: str = "done"


def decision_of(order: Order) -> Decision | None:
    """The decision that an order stands for: its own, or that of the exit it carries out."""
    return order.decision or (order.exit_intent.decision if order.exit_intent else None)


def lapse(delta: timedelta) -> str:
    """A short time between two steps: `145 ms`, `2.4 s`, or as ages are written."""
    thousandths = int(delta / timedelta(milliseconds=1))
    if thousandths < 0:
        return f"−{lapse(-delta)}"
    if thousandths < 1000:
        return f"{thousandths} ms"
    return f"{thousandths / 1000:.1f} s" if thousandths < 60_000 else values.span(delta)


def stages(order: Order, events: list[OrderEvent]) -> list[Stage]:
    """Intent, decision, sending, the broker's answer, fills, books."""
    first = _intent(order)
    steps = {event.to_state: event for event in events}
    sent, ended = steps.get("SENDING"), events[-1] if events else None
    answered = next((event for event in events if event.from_state == "SENDING"), None)
    fills = list(order.fills.order_by("at", "id"))
    booked = list(Entry.objects.filter(fill__order=order).order_by("id"))
    ahead = "not yet" if order.state not in ("CANCELLED", "REJECTED", "EXPIRED") else "never"
    way = [
        *first,
        _step("Planned", events[0].at if events else order.at, values.code(order.client_order_id)),
        _step(
            "Sent", sent.at if sent else None, values.show(f"attempt {sent.attempt}" if sent else _unsent(order, ahead))
        ),
        _answer(answered, order, ahead),
    ]
    if fills:
        units = sum((fill.quantity for fill in fills), Decimal(0))
        way.append(_step("Filled", fills[-1].at, values.show(f"{values.plain_number(units)} in {len(fills)}")))
        said = values.link(booked[-1], f"entry {booked[-1].pk}") if booked else values.show("not booked")
        way.append(_step("Booked", booked[-1].at if booked else None, said))
    elif ended is not None and order.state in ("CANCELLED", "REJECTED", "EXPIRED"):
        way.append(_step(order.state.capitalize(), ended.at, values.show(order.reason), "bad"))
    else:
        way.append(_step("Filled", None, values.show(ahead)))
        way.append(_step("Booked", None, values.show(ahead)))
    return _with_lapses(way)


def _unsent(order: Order, ahead: str) -> str:
    """What it waits for, where that is known."""
    if order.state == "PLANNED" and order.reason:
        return order.reason
    return "rides on its entry" if order.rides_on_id else ahead


def _step(name: str, at: datetime | None, says: SafeString, tone: str = "done") -> Stage:
    return Stage(name, says, at, tone=tone if at is not None else "ahead")


def _intent(order: Order) -> list[Stage]:
    decision = decision_of(order)
    found: list[Stage] = []
    if decision is not None:
        found.append(_step("Signal", decision.signal.at, values.link(decision.signal, decision.signal.strategy)))
        passed = sum(1 for gate in decision.gates if gate.get("passed"))
        said = f"{passed} of {len(decision.gates)} gates" if decision.gates else str(decision.verdict)
        tone = "done" if decision.verdict == Decision.Verdict.APPROVED else "bad"
        found.append(_step("Decision", decision.at, values.link(decision, said), tone))
    if order.exit_intent is not None:
        intent = order.exit_intent
        found.append(_step("Exit", intent.at, values.link(intent, str(intent.exit_type))))
    if order.application is not None:
        proposal = order.application.proposal
        found.append(_step("Approved", order.application.at, values.link(proposal, f"proposal {proposal.pk}")))
    if order.kill_epoch is not None:
        found.append(_step("Kill switch", order.at, values.show(f"epoch {order.kill_epoch}")))
    return found


def _answer(event: OrderEvent | None, order: Order, ahead: str) -> Stage:
    if event is None:
        resting = order.rides_on_id is not None and order.broker_order_id
        return _step("Broker", None, values.code(order.broker_order_id) if resting else values.show(ahead))
    tone = "bad" if event.to_state in ENDED_BADLY else "done"
    name = {"UNKNOWN": "No answer", "REJECTED": "Refused"}.get(event.to_state, "Accepted")
    said = values.link(event.message, event.to_state) if event.message else values.show(event.to_state)
    return _step(name, event.at, said, tone)


def _with_lapses(way: list[Stage]) -> list[Stage]:
    shown: list[Stage] = []
    before: datetime | None = None
    for stage in way:
        after = lapse(stage.at - before) if stage.at is not None and before is not None else ""
        shown.append(Stage(stage.name, stage.says, stage.at, after, stage.tone))
        before = stage.at or before
    return shown


def mirrored(order: Order) -> Table | None:
    """The same leg of the same decision on all accounts, the paper book first; None where there is only this one."""
    decision = decision_of(order)
    if decision is None:
        return None
    same = Q(decision=decision) | Q(exit_intent__decision=decision)
    found = Order.objects.filter(same, tag=order.tag, sequence=order.sequence)
    rows = list(found.select_related("account", "instrument").prefetch_related("events"))
    rows.sort(key=lambda row: (not row.account.is_paper_book, row.pk))
    if len({row.account_id for row in rows}) < 2:
        return None
    paper = rows[0] if rows[0].account.is_paper_book else None
    shown = [_mirror_row(row, paper, order) for row in rows]
    note = "Slippage is what the mirror paid more than the paper book, per unit; below zero it paid less."
    return Table("The same leg on every account", MIRROR_COLUMNS, shown, note=note)


def _mirror_row(row: Order, paper: Order | None, shown: Order) -> tuple[Any, ...]:
    slippage: Any = None
    if paper is not None and row.pk != paper.pk and row.average_price is not None and paper.average_price is not None:
        slippage = values.cost((row.average_price - paper.average_price) * Side(row.side).sign)
    name = values.show("this order") if row.pk == shown.pk else values.link(row, values.short_code(row.client_order_id))
    return (
        row.account, name, values.pill(row.state), row.quantity, row.filled_quantity,
        values.price(row.average_price, row.instrument.price_decimals), slippage,
        values.whole(_sent_to_filled(row)),
    )  # fmt: skip


def _sent_to_filled(row: Order) -> str:
    times = {event.to_state: event.at for event in row.events.all()}
    if "SENDING" in times and "FILLED" in times:
        return lapse(times["FILLED"] - times["SENDING"])
    return ""
