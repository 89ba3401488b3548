"""Where a number comes from: from a balance over its postings and entries down to what the broker wrote.

What always holds: every part of the tree is a row as the database keeps it, none is computed here; the tree of any
number of entries costs the same few queries; an entry is grounded when its tree ends in an event of the broker or in
an approval of two people.

    balance → postings → entry → fill or cash event → broker event (its words, their hash)
                               ↘ order → steps, messages (request, answer) → decision (gates) → signal → configuration
                               ↘ application → proposal → approvals
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from django.db.models import Model, Prefetch, Q, QuerySet

from trading.models import (
    Application,
    Approval,
    BrokerEvent,
    BrokerMessage,
    CashEvent,
    ConfigVersion,
    Decision,
    Entry,
    ExitIntent,
    Fill,
    LedgerAccount,
    Order,
    OrderEvent,
    Proposal,
    Signal,
    Trade,
    Transfer,
)

from .lot_history import closed_by_others
from .seals import RowKey, Seal, is_fact, key_of, seals_of
from .statement import Period, Statement, statement

POSTINGS = 20


@dataclass(frozen=True, slots=True)
class ApprovalOrigin:
    """What two people decided: the proposal, every verdict on it, and its application."""

    application: Application
    proposal: Proposal
    approvals: tuple[Approval, ...]


@dataclass(frozen=True, slots=True)
class DecisionOrigin:
    """The verdict of the gates, under its configuration, on what a strategy saw, under its own."""

    decision: Decision
    policy: ConfigVersion
    signal: Signal
    session: ConfigVersion


@dataclass(frozen=True, slots=True)
class OrderOrigin:
    """An order with every step and every message, and what asked for it.

    `placed_by` is the entry order whose message placed this one too, for a leg that rides on it.
    """

    order: Order
    events: tuple[OrderEvent, ...]
    messages: tuple[BrokerMessage, ...]
    placed_by: OrderOrigin | None
    exit_intent: ExitIntent | None
    decision: DecisionOrigin | None
    approval: ApprovalOrigin | None


@dataclass(frozen=True, slots=True)
class FillOrigin:
    """An execution: the broker's event that told of it, and our order or the approval that let it in."""

    fill: Fill
    event: BrokerEvent | None
    order: OrderOrigin | None
    approval: ApprovalOrigin | None


@dataclass(frozen=True, slots=True)
class CashOrigin:
    """A movement of cash: the broker's event that told of it, or the approval that stands for one."""

    cash: CashEvent
    event: BrokerEvent | None
    approval: ApprovalOrigin | None


@dataclass(frozen=True, slots=True)
class EntryOrigin:
    """One entry with its legs, what it books, who approved it, and what it corrects or is corrected by."""

    entry: Entry
    legs: tuple[Transfer, ...]
    fill: FillOrigin | None
    cash: CashOrigin | None
    approval: ApprovalOrigin | None
    reverses: Entry | None
    reversed_by: Entry | None
    replaces: Entry | None
    replaced_by: Entry | None

    @property
    def broker_events(self) -> tuple[BrokerEvent, ...]:
        """The broker's own words that it rests on."""
        told = (self.fill.event if self.fill else None, self.cash.event if self.cash else None)
        return tuple(event for event in told if event is not None)

    @property
    def approvals(self) -> tuple[ApprovalOrigin, ...]:
        """What two people decided about it, or about what it books."""
        own = (self.approval, self.fill.approval if self.fill else None, self.cash.approval if self.cash else None)
        return tuple({part.application.pk: part for part in own if part is not None}.values())

    @property
    def is_grounded(self) -> bool:
        """Whether it rests on the broker's word or on an approval."""
        return bool(self.broker_events or self.approvals)


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origins of some entries, in the order asked for, and the seals of all rows in them."""

    origins: tuple[EntryOrigin, ...]
    seals: Mapping[RowKey, Seal]

    def seal_of(self, row: Model) -> Seal | None:
        """The block that covers a row of the tree; None for what is no fact."""
        return self.seals.get(key_of(row))


@dataclass(frozen=True, slots=True)
class BalanceProvenance:
    """A balance, one page of the postings that it is the sum of (newest page first), and where each comes from."""

    statement: Statement
    provenance: Provenance

    def origin_of(self, entry_id: int) -> EntryOrigin:
        """The origin of the entry that a posting belongs to. Raises KeyError for an entry of another page."""
        for origin in self.provenance.origins:
            if origin.entry.pk == entry_id:
                return origin
        raise KeyError(entry_id)


def provenance_of(entries: Iterable[int]) -> Provenance:
    """Where some entries come from; the same number of queries however many they are."""
    wanted = list(dict.fromkeys(entries))
    found = {entry.pk: entry for entry in _with_everything(Entry.objects.filter(pk__in=wanted))}
    origins = tuple(_entry(found[number]) for number in wanted if number in found)
    return Provenance(origins, seals_of(row for origin in origins for row in rows_of(origin)))


def provenance_of_balance(
    ledger_account: LedgerAccount, period: Period | None = None, *, page: int | None = None, size: int = POSTINGS
) -> BalanceProvenance:
    """Where a balance comes from: the postings of a page, the last one if none is named, down to their evidence."""
    shown = statement(ledger_account, period, page=page, size=size)
    return BalanceProvenance(shown, provenance_of(line.entry_id for line in shown.lines))


def entries_of_trade(trade: Trade) -> list[int]:
    """The entries that a round trip is made of: of its own orders' fills, of others' fills that closed its units, and
    what reverses or replaces any of them; in the order of the books."""
    by_order = Q(order__decision=trade.decision_id) | Q(order__exit_intent__decision=trade.decision_id)
    own = set(Fill.objects.filter(by_order, account=trade.account_id).values_list("pk", flat=True))
    others = {close.fill.pk for close in closed_by_others(trade.account, trade.instrument) if close.opened_by in own}
    booked = Entry.objects.filter(fill__in=own | others)
    corrected = Q(reverses__in=booked) | Q(replaces__in=booked)
    return list(Entry.objects.filter(Q(pk__in=booked) | corrected).order_by("id").values_list("pk", flat=True))


def rows_of(node: Any) -> Iterator[Model]:
    """Every fact in a tree: of the node itself, then of what it rests on."""
    if isinstance(node, Model):
        if is_fact(node):
            yield node
    elif isinstance(node, tuple):
        for part in node:
            yield from rows_of(part)
    elif is_dataclass(node):
        for field in fields(node):
            yield from rows_of(getattr(node, field.name))


_DECISION = ("config_version", "signal__config_version", "signal__instrument")
_INTENTS = (
    *(f"decision__{path}" for path in _DECISION),
    *(f"exit_intent__decision__{path}" for path in _DECISION),
    "instrument",
    "account",
)


def _approved() -> QuerySet[Application]:
    verdicts = Approval.objects.select_related("approver__person").order_by("id")
    return Application.objects.select_related("proposal__proposer__person", "applied_by").prefetch_related(
        Prefetch("proposal__approvals", verdicts)
    )


def _orders(placed_by: bool = True) -> QuerySet[Order]:
    steps = OrderEvent.objects.select_related("message", "broker_event").order_by("sequence")
    orders: QuerySet[Order] = Order.objects.select_related(*_INTENTS).prefetch_related(
        Prefetch("events", steps),
        Prefetch("messages", BrokerMessage.objects.order_by("id")),
        Prefetch("application", _approved()),
    )
    return orders.prefetch_related(Prefetch("rides_on", _orders(placed_by=False))) if placed_by else orders


def _with_everything(entries: QuerySet[Entry]) -> QuerySet[Entry]:
    legs = Transfer.objects.select_related("debit", "credit", "commodity").order_by("id")
    fills = Fill.objects.select_related("broker_event", "instrument").prefetch_related(
        Prefetch("order", _orders()), Prefetch("application", _approved())
    )
    cash = CashEvent.objects.select_related("broker_event", "instrument").prefetch_related(
        Prefetch("application", _approved())
    )
    return entries.select_related("account", "reverses", "replaces").prefetch_related(
        Prefetch("transfers", legs),
        Prefetch("fill", fills),
        Prefetch("cash_event", cash),
        Prefetch("application", _approved()),
        "reversals",
        "replacements",
    )


def _entry(entry: Entry) -> EntryOrigin:
    return EntryOrigin(
        entry=entry,
        legs=tuple(entry.transfers.all()),
        fill=_fill(entry.fill) if entry.fill is not None else None,
        cash=_cash(entry.cash_event) if entry.cash_event is not None else None,
        approval=_approval(entry.application),
        reverses=entry.reverses,
        reversed_by=next(iter(entry.reversals.all()), None),
        replaces=entry.replaces,
        replaced_by=next(iter(entry.replacements.all()), None),
    )


def _fill(fill: Fill) -> FillOrigin:
    order = _order(fill.order) if fill.order is not None else None
    return FillOrigin(fill, fill.broker_event, order, _approval(fill.application))


def _cash(cash: CashEvent) -> CashOrigin:
    return CashOrigin(cash, cash.broker_event, _approval(cash.application))


def _order(order: Order, *, is_leg: bool = True) -> OrderOrigin:
    leaves = order.exit_intent
    decision = order.decision or (leaves.decision if leaves is not None else None)
    return OrderOrigin(
        order=order,
        events=tuple(order.events.all()),
        messages=tuple(order.messages.all()),
        placed_by=_order(order.rides_on, is_leg=False) if is_leg and order.rides_on is not None else None,
        exit_intent=leaves,
        decision=_decision(decision) if decision is not None else None,
        approval=_approval(order.application),
    )


def _decision(decision: Decision) -> DecisionOrigin:
    signal = decision.signal
    return DecisionOrigin(decision, decision.config_version, signal, signal.config_version)


def _approval(application: Application | None) -> ApprovalOrigin | None:
    if application is None:
        return None
    return ApprovalOrigin(application, application.proposal, tuple(application.proposal.approvals.all()))
