"""Reversals that people ask for: one proposes to take an entry back, another one approves, and it happens once.

What always holds: the proposal names every entry that would be reversed and every line of the mirror; when it is
applied that is worked out again, and nothing is posted if anything has moved; application and reversal are one
transaction. What follows from a fill goes with it; what the broker's history still says is pointed out, because the
next reconciliation will show the difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction

from trading.domain.canonical import canonical_json
from trading.domain.money import ZERO, plain
from trading.locks import lock_account
from trading.models import Application, Approval, Entry, LedgerAccount, Proposal, User
from trading.selectors import books

from . import approvals, corrections
from .audit import Actor
from .broker_changes import changes
from .errors import RuleBroken
from .event_facts import cash_now, fills_now
from .versions import base_id

KIND = "REVERSAL"
SUBJECT = "trading.Entry"
VERSION = 1
"""Entries never change, so every proposal is about the same version of its entry."""
_RELATED = ("account", "fill__instrument", "fill__order", "fill__broker_event", "cash_event__broker_event")


@dataclass(frozen=True, slots=True)
class Line:
    """One side of one transfer of the mirror: exactly one of `debit` and `credit` is set."""

    entry: int
    ledger_account: LedgerAccount
    debit: Decimal | None
    credit: Decimal | None


@dataclass(frozen=True, slots=True)
class Resulting:
    """A ledger account's balance (debits − credits) now, and after the reversal."""

    ledger_account: LedgerAccount
    before: Decimal
    after: Decimal


@dataclass(frozen=True, slots=True)
class Preview:
    """A reversal before anybody proposes it. `refused` says why it cannot be; `warnings` what to know before."""

    entry: Entry
    lines: tuple[Line, ...] = ()
    balances: tuple[Resulting, ...] = ()
    warnings: tuple[str, ...] = ()
    refused: str = ""


def preview(entry_id: int) -> Preview:
    """What a reversal of the entry would post now, drawn up without posting it."""
    entry = _entry(entry_id)
    refused = corrections.why_not(entry)
    if refused:
        return Preview(entry, refused=refused)
    try:
        undone = corrections.without_it(entry)
    except RuleBroken as error:
        return Preview(entry, refused=str(error))
    lines = [line for each in corrections.taken_back_with(entry) for line in _mirrored(each)]
    warnings = _broker_still_says(entry)
    if undone is not None and undone.later:
        warnings.append("Later closes of the same lots realise another profit without it; that is restated with it.")
    return Preview(entry, tuple(lines), tuple(_balances(lines)), tuple(warnings))


@transaction.atomic
def propose(*, entry_id: int, reason: str, proposer: User, actor: Actor) -> Proposal:
    """Propose to reverse an entry. Raises RuleBroken when it cannot be reversed, or a proposal waits already."""
    entry = _entry(entry_id)
    lock_account(entry.account.pk)
    if not proposer.is_active or not proposer.has_perm("trading.propose"):
        raise RuleBroken(f"{proposer.get_username()} may not propose a reversal: the right trading.propose is missing.")
    waiting = waiting_proposal(entry)
    if waiting is not None:
        raise RuleBroken(f"Proposal {waiting.pk} to reverse entry {entry.pk} waits already: decide on that one first.")
    return approvals.propose(
        kind=KIND,
        account=entry.account,
        subject_type=SUBJECT,
        subject_id=entry.pk,
        subject_version=VERSION,
        payload=_payload(entry),
        reason=reason,
        proposer=proposer,
        actor=actor,
    )


@transaction.atomic
def decide(
    *, proposal_id: int, person: User, verdict: str, payload_sha256: str, reason: str = "", actor: Actor
) -> Approval:
    """Approve, reject or withdraw what was seen. Raises RuleBroken when four eyes refuse it."""
    proposal = _proposal(proposal_id)
    right = "trading.propose" if verdict == Approval.Verdict.WITHDRAW else "trading.approve"
    if proposal.proposer.person_id != person.person_id and not (person.is_active and person.has_perm(right)):
        raise RuleBroken(f"{person.get_username()} may not decide on a reversal: the right {right} is missing.")
    if verdict != Approval.Verdict.APPROVE and len(reason.strip()) < 5:
        raise RuleBroken("Say why, in at least five characters: whoever proposes next reads it.")
    return approvals.decide(
        proposal=proposal,
        approver=person,
        verdict=verdict,
        payload_sha256=payload_sha256,
        subject_version=VERSION,
        reason=reason,
        actor=actor,
    )


@transaction.atomic
def apply(*, proposal_id: int, actor: Actor, applied_by: User | None = None) -> Application:
    """Carry out an approved reversal: application and entries in one transaction. A second call finds the first.

    Raises RuleBroken when it is not approved, or what would be posted is not what was approved any more.
    """
    proposal = _proposal(proposal_id)
    entry = _entry(proposal.subject_id)
    lock_account(entry.account.pk)
    standing = Application.objects.filter(proposal=proposal).first()
    if standing is not None:
        return standing
    if not approvals.approved(proposal):
        raise RuleBroken(
            f"Proposal {proposal.pk} is {approvals.standing(proposal)}: only an approved one is carried out. "
            "Nothing was posted."
        )
    payload = json.loads(proposal.payload)
    if json.loads(canonical_json(_payload(entry))) != payload:
        raise RuleBroken(
            f"What the reversal of entry {entry.pk} would post has changed since it was proposed. Nothing was posted; "
            "reject the proposal and propose anew."
        )
    application = approvals.record_application(
        proposal=proposal,
        applied_by=applied_by,
        result={"action": payload["action"], "entry": entry.pk, "entries": payload["entries"]},
        actor=actor,
    )
    corrections.reverse(entry=entry, application=application, actor=actor)
    return application


def waiting_proposal(entry: Entry) -> Proposal | None:
    """The proposal to reverse the entry that still may be decided on or carried out."""
    made = Proposal.objects.filter(subject_type=SUBJECT, subject_id=entry.pk, kind=KIND).select_related("proposer")
    return next((each for each in made.order_by("-id") if approvals.standing(each) in ("WAITING", "APPROVED")), None)


def _entry(entry_id: int) -> Entry:
    return Entry.objects.select_related(*_RELATED).get(pk=entry_id)


def _proposal(proposal_id: int) -> Proposal:
    proposal = Proposal.objects.select_related("account", "proposer").get(pk=proposal_id)
    if proposal.kind != KIND or proposal.subject_type != SUBJECT:
        raise RuleBroken(f"Proposal {proposal.pk} is not about reversing an entry; decide on it on its own page.")
    return proposal


def _payload(entry: Entry) -> dict[str, Any]:
    refused = corrections.why_not(entry)
    if refused:
        raise RuleBroken(f"{refused} Nothing was changed.")
    corrections.without_it(entry)  # refuses what cannot be undone any more
    return {
        "action": "reverse",
        "account": entry.account.name,
        "entry": entry.pk,
        "kind": entry.kind,
        "entries": [
            {
                "entry": KIND,
                "reverses": each.pk,
                "of": each.kind,
                "memo": each.memo,
                "at": each.at,
                "lines": [_line(line) for line in _mirrored(each)],
            }
            for each in corrections.taken_back_with(entry)
        ],
    }


def _line(line: Line) -> dict[str, str]:
    side = "debit" if line.debit is not None else "credit"
    amount = line.debit if line.debit is not None else line.credit
    return {
        "ledger_account": str(line.ledger_account),
        "commodity": line.ledger_account.commodity_id,
        side: plain(amount or ZERO),
    }


def _mirrored(entry: Entry) -> list[Line]:
    lines = []
    for transfer in entry.transfers.select_related("debit__account", "credit__account").order_by("id"):
        lines.append(Line(entry.pk, transfer.credit, transfer.amount, None))
        lines.append(Line(entry.pk, transfer.debit, None, transfer.amount))
    return lines


def _balances(lines: Sequence[Line]) -> Iterable[Resulting]:
    touched = {line.ledger_account.pk: line.ledger_account for line in lines}
    for key, ledger_account in sorted(touched.items()):
        before = books.balances(ledger_account.account, ledger_account.kind).get(ledger_account.commodity_id, ZERO)
        moved = sum(((n.debit or ZERO) - (n.credit or ZERO) for n in lines if n.ledger_account.pk == key), ZERO)
        yield Resulting(ledger_account, before, before + moved)


def _broker_still_says(entry: Entry) -> list[str]:
    source = entry.fill or entry.cash_event
    if source is None or source.broker_event is None:
        return []
    event, account = source.broker_event, entry.account
    undone = {each.pk for change in changes(account) for each in (*change.undone, *change.cash_undone)}
    said = {fill.external_id for fill in fills_now(event)} | {cash.external_id for cash in cash_now(event)}
    if source.pk in undone or base_id(source.external_id) not in said:
        return []
    return [
        f"The broker's history still has it (event {event.external_id}): after the reversal books and broker differ, "
        "and the next reconciliation shows that as a case."
    ]
