"""Where a number comes from, as pages show it: a chain of steps from an entry down to what the broker wrote.

What always holds: each step shows a row of the database with the block that seals it; raw words are shown as they were
stored, folded; what an entry has not (an order of ours, a decision) is left out, because it never was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Model
from django.utils.html import format_html
from django.utils.safestring import SafeString

from trading.models import Approval, BrokerEvent, BrokerMessage, CashEvent, ChainBlock, Entry, LedgerAccount
from trading.selectors.provenance import (
    ApprovalOrigin,
    CashOrigin,
    DecisionOrigin,
    EntryOrigin,
    FillOrigin,
    OrderOrigin,
    Provenance,
)
from trading.selectors.seals import Seal

from . import values
from .intent import gate_rows
from .pages import Raw, Table

VERDICTS = {
    Approval.Verdict.APPROVE: ("Approved", "good"),
    Approval.Verdict.REJECT: ("Rejected", "bad"),
    Approval.Verdict.WITHDRAW: ("Withdrawn", "bad"),
}


def name_of_ledger_account(row: LedgerAccount) -> str:
    """`Cash USD`, `Position EURUSD`."""
    return f"{values.words(row.kind)} {row.commodity_id}"


def name_of_cash(row: CashEvent) -> str:
    """`+100,000.00 USD, transfer`."""
    return f"{values.signed_money(row.amount)} {row.currency}, {values.words(row.kind).lower()}"


values.NAMES[LedgerAccount] = name_of_ledger_account
values.NAMES[Entry] = lambda entry: f"entry {entry.pk}"
values.NAMES[CashEvent] = name_of_cash


@dataclass(frozen=True)
class Step:
    """One step of the chain. `tone` is info, good or bad; `folded` are tables and raw words behind a line each."""

    name: str
    says: SafeString
    at: datetime | None = None
    seal: SafeString | None = None
    tone: str = "info"
    folded: tuple[Raw | Table, ...] = ()


@dataclass(frozen=True)
class Story:
    """The panel with one entry's chain."""

    steps: tuple[Step, ...]
    title: str = "Where this comes from"
    note: str = ""
    template: str = "admin/panels/story.html"


def seal_text(seal: Seal | None) -> SafeString | None:
    """`block 412 3f9a02c1 · anchored outside the database`."""
    if seal is None:
        return None
    block = values.link(ChainBlock(number=seal.block), f"block {seal.block}")
    where = "anchored outside the database" if seal.is_anchored else "not anchored yet"
    shape = '{} <code title="{}">{}</code> · {}'
    return format_html(shape, block, seal.hash, seal.hash[:8], where)


def story_of(origin: EntryOrigin, found: Provenance, *, with_entry: bool = True) -> Story:
    """The chain of an entry, the number first and the evidence last."""
    return Story(tuple(_Teller(found).entry(origin, with_entry)))


def corrections(origin: EntryOrigin) -> list[tuple[str, SafeString]]:
    """What an entry corrects and what corrects it, in words, each a link."""
    rows = (
        ("Reverses", origin.reverses),
        ("Reversed by", origin.reversed_by),
        ("Replaces", origin.replaces),
        ("Replaced by", origin.replaced_by),
    )
    return [(name, values.link(row)) for name, row in rows if row is not None]


class _Teller:
    """Writes the steps; knows the seals."""

    def __init__(self, found: Provenance) -> None:
        self.found = found

    def step(self, name: str, row: Model, says: SafeString, *folded: Raw | Table, tone: str = "info") -> Step:
        at = getattr(row, "at", None)
        return Step(name, says, at, seal_text(self.found.seal_of(row)), tone, folded)

    def entry(self, origin: EntryOrigin, with_entry: bool) -> Iterator[Step]:
        if with_entry:
            entry = origin.entry
            shape = "{} {}{}"
            memo = f": {entry.memo}" if entry.memo else ""
            yield self.step(
                "Entry", entry, format_html(shape, values.link(entry), values.words(entry.kind).lower(), memo)
            )
        for name, row in corrections(origin):
            yield Step(name, row, tone="bad" if name.startswith("Revers") else "info")
        if origin.fill is not None:
            yield from self.fill(origin.fill)
        if origin.cash is not None:
            yield from self.cash(origin.cash)
        if origin.approval is not None and origin.approval not in _inner_approvals(origin):
            yield from self.approval(origin.approval)

    def fill(self, part: FillOrigin) -> Iterator[Step]:
        fill = part.fill
        yield self.step("Estimate" if fill.is_estimate else "Fill", fill, values.link(fill))
        if part.event is not None:
            yield self.told(part.event)
        if part.approval is not None:
            yield from self.approval(part.approval)
        if part.order is not None:
            yield from self.order(part.order)

    def cash(self, part: CashOrigin) -> Iterator[Step]:
        cash = part.cash
        says = values.link(
            cash, f"{values.signed_money(cash.amount)} {cash.currency}, {values.words(cash.kind).lower()}"
        )
        yield self.step("Movement of cash", cash, says)
        if part.event is not None:
            yield self.told(part.event)
        if part.approval is not None:
            yield from self.approval(part.approval)

    def told(self, event: BrokerEvent) -> Step:
        says = format_html("{} {}", values.link(event, values.words(event.kind)), values.short_code(event.external_id))
        return self.step(
            "The broker told of it", event, says, Raw("The broker's words", event.body),
            Table("Their hash", ("SHA-256",), [(values.code(event.body_sha256),)]), tone="good",
        )  # fmt: skip

    def order(self, part: OrderOrigin) -> Iterator[Step]:
        order = part.order
        wanted = f"{order.tag} {order.side} {values.plain_number(order.quantity)} {order.instrument}"
        says = format_html("{} {}", values.link(order, wanted), values.pill(order.state))
        yield Step("Order", says, order.at, folded=(self.order_steps(part),))
        for message in part.messages:
            yield self.message("Sent and answered", message)
        if part.placed_by is not None:
            for message in part.placed_by.messages:
                yield self.message("Placed with its entry order", message)
        if order.kill_epoch is not None:
            yield Step("Kill switch", values.show(f"epoch {order.kill_epoch}"), order.at, tone="bad")
        if part.approval is not None:
            yield from self.approval(part.approval)
        if part.exit_intent is not None:
            leaves = part.exit_intent
            reason = format_html("{}: {}", values.link(leaves, leaves.exit_type), leaves.exit_reason)
            yield Step("Exit", reason, leaves.at)
        if part.decision is not None:
            yield from self.decision(part.decision)

    def order_steps(self, part: OrderOrigin) -> Table:
        rows = [
            (
                str(event.sequence), event.at, values.changed(event.from_state, event.to_state), event.reason,
                values.link(event.message or event.broker_event), _block(self.found.seal_of(event)),
            )
            for event in part.events
        ]  # fmt: skip
        return Table("Every step of it", ("#", "At (UTC)", "State", "Why", "Evidence", "Block"), rows)

    def message(self, name: str, message: BrokerMessage) -> Step:
        answer = str(message.status or message.error or "no answer")
        is_good = answer.startswith("2")
        said = f"{message.method} {message.path}"
        shape = '{} <span class="pill {}">{}</span>'
        says = format_html(shape, values.link(message, said), "good" if is_good else "bad", answer)
        return self.step(
            name, message, says, Raw("Our request", message.request_body or "(no body)"),
            Raw("The broker's answer", message.response_body or message.error or "(no answer)"),
            Table("Their hash", ("SHA-256",), [(values.code(message.sha256),)]), tone="good" if is_good else "bad",
        )  # fmt: skip

    def decision(self, part: DecisionOrigin) -> Iterator[Step]:
        decision, signal = part.decision, part.signal
        passed = sum(1 for gate in decision.gates if gate.get("passed"))
        said = f"{passed} of {len(decision.gates)} gates passed" if decision.gates else "no gate was asked"
        says = format_html("{} {}", values.link(decision, said), values.pill(decision.verdict))
        gates = Table(
            "Gates", ("Gate", "Verdict", "Reason", "Numbers"), gate_rows(decision.gates), "No gate was asked."
        )
        yield self.step("Decision", decision, says, gates)
        seen = Raw("What the strategy saw", {"features": signal.features, "scores": signal.feature_scores})
        wished = f"{signal.strategy} {signal.side} {signal.instrument}"
        reason = f": {signal.reason}" if signal.reason else ""
        yield self.step("Signal", signal, format_html("{}{}", values.link(signal, wished), reason), seen)
        for version in {part.policy.pk: part.policy, part.session.pk: part.session}.values():
            shape, sha256 = '{} <code title="{}">{}</code>', version.sha256
            text = format_html(shape, values.link(version, version.name), sha256, sha256[:8])
            yield self.step("Configuration", version, text, Raw("Its text", version.body))

    def approval(self, part: ApprovalOrigin) -> Iterator[Step]:
        proposal = part.proposal
        proposer = proposal.proposer
        says = format_html("{} proposed {}: {}", proposer.get_username(), values.link(proposal), proposal.reason)
        yield self.step("Proposed", proposal, says, Raw("Its payload", proposal.payload))
        for verdict in part.approvals:
            name, tone = VERDICTS[Approval.Verdict(verdict.verdict)]
            reason = f": {verdict.reason}" if verdict.reason else ""
            who = f"{verdict.approver.get_username()} ({verdict.approver.person.name}){reason}"
            yield self.step(name, verdict, values.link(verdict, who), tone=tone)
        yield self.step("Applied", part.application, values.link(part.application))


def _inner_approvals(origin: EntryOrigin) -> tuple[ApprovalOrigin, ...]:
    """Approvals that a step of the fill or cash tells already."""
    parts = (origin.fill.approval if origin.fill else None, origin.cash.approval if origin.cash else None)
    return tuple(part for part in parts if part is not None)


def _block(seal: Seal | None) -> SafeString:
    return values.link(ChainBlock(number=seal.block), str(seal.block)) if seal is not None else values.NOTHING
