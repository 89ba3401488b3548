"""Resolutions: propose, approve, reject, withdraw. Two people decide on exactly what will be posted and sent.

What always holds: a proposal carries the exact entries and orders and is bound to the version of its case; the one
who decides names the hash that was shown; whoever proposed cannot approve (the database compares persons); a
rejected or withdrawn proposal gives the case back.
"""

from __future__ import annotations

from decimal import Decimal

from django.db import transaction

from reconciliation.domain.lifecycle import State
from reconciliation.models import Discrepancy
from trading.locks import lock_account
from trading.models import Approval, Proposal, User
from trading.services import approvals
from trading.services.audit import Actor
from trading.services.errors import RuleBroken
from trading.wake import wake

from . import approvals_needed, discrepancies
from .payloads import preview

SUBJECT = "reconciliation.Discrepancy"
KIND_PREFIX = "reconciliation."
APPLY_TASK = "reconciliation.apply"


@transaction.atomic
def propose(
    *,
    discrepancy_id: int,
    action: str,
    reason: str,
    proposer: User,
    actor: Actor,
    price: Decimal | None = None,
    realised: Decimal | None = None,
) -> Proposal:
    """Propose a resolution of an open case; see `payloads.preview` for `price` and `realised`.

    It needs one approval, or two where more is at stake than the policy calls material. Raises RuleBroken when the
    case is not open, the action does not fit it, or the proposer may not propose.
    """
    row = _locked(discrepancy_id)
    _may(proposer, "trading.propose", "propose a resolution")
    if row.state != State.OPEN:
        raise RuleBroken(_not_open(row))
    seen = preview(row, action, price=price, realised=realised)
    proposal = approvals.propose(
        kind=KIND_PREFIX + seen.action,
        account=row.account,
        subject_type=SUBJECT,
        subject_id=row.pk,
        subject_version=row.version,
        payload=seen.payload,
        reason=reason,
        proposer=proposer,
        approvals_required=approvals_needed.of(seen.payload),
        actor=actor,
    )
    discrepancies.move(row, State.PROPOSED, kind="PROPOSED", actor=actor, proposal=proposal, reason=reason)
    return proposal


@transaction.atomic
def approve(
    *, proposal_id: int, approver: User, payload_sha256: str, subject_version: int, reason: str = "", actor: Actor
) -> Approval:
    """Approve what was shown: its hash and the version of the case. Wakes the worker that applies it.

    Raises RuleBroken when four eyes refuse it, the case has changed, or the approver may not approve.
    """
    proposal, row = _proposal(proposal_id)
    if proposal.proposer.person_id != approver.person_id:  # the database has the better sentence for that case
        _may(approver, "trading.approve", "approve a resolution")
        _still_current(row, proposal)
    approval = _decide(proposal, approver, "APPROVE", payload_sha256, subject_version, reason, actor)
    if approvals.approved(proposal):
        discrepancies.move(row, State.APPROVED, kind="APPROVED", actor=actor, proposal=proposal, reason=reason)
        wake(APPLY_TASK, proposal.pk)
    return approval


@transaction.atomic
def reject(*, proposal_id: int, approver: User, reason: str, actor: Actor) -> Approval:
    """Reject a proposal; the case is open again. Raises RuleBroken without a reason or the right to decide."""
    proposal, row = _proposal(proposal_id)
    _may(approver, "trading.approve", "reject a resolution")
    return _give_back(proposal, row, approver, "REJECT", reason, actor)


@transaction.atomic
def withdraw(*, proposal_id: int, proposer: User, reason: str, actor: Actor) -> Approval:
    """Take one's own proposal back; the case is open again. Raises RuleBroken for anybody else's."""
    proposal, row = _proposal(proposal_id)
    return _give_back(proposal, row, proposer, "WITHDRAW", reason, actor)


@transaction.atomic
def release_expired(*, account_id: int, actor: Actor) -> int:
    """Give back the cases whose proposal has expired without being carried out. Returns how many."""
    lock_account(account_id)
    waiting = Discrepancy.objects.filter(
        account_id=account_id, state__in=[State.PROPOSED, State.APPROVED], proposal__isnull=False
    )
    released = 0
    for identity in waiting.order_by("pk").values_list("pk", flat=True):
        row = discrepancies.locked(identity)
        if row.proposal is not None and approvals.standing(row.proposal) == "EXPIRED":
            reason = "the proposal expired before it was approved and carried out"
            discrepancies.move(row, State.OPEN, kind="EXPIRED", actor=actor, proposal=None, reason=reason)
            released += 1
    return released


def _give_back(proposal: Proposal, row: Discrepancy, person: User, verdict: str, reason: str, actor: Actor) -> Approval:
    if len(reason.strip()) < 5:
        raise RuleBroken("Say why, in at least five characters: whoever proposes next reads it.")
    approval = _decide(proposal, person, verdict, proposal.payload_sha256, proposal.subject_version, reason, actor)
    if row.proposal_id == proposal.pk and row.state in (State.PROPOSED, State.APPROVED):
        kind = {"REJECT": "REJECTED", "WITHDRAW": "WITHDRAWN"}[verdict]
        discrepancies.move(row, State.OPEN, kind=kind, actor=actor, proposal=None, reason=reason)
    return approval


def _decide(
    proposal: Proposal, person: User, verdict: str, sha256: str, version: int, reason: str, actor: Actor
) -> Approval:
    return approvals.decide(
        proposal=proposal,
        approver=person,
        verdict=verdict,
        payload_sha256=sha256,
        subject_version=version,
        reason=reason,
        actor=actor,
    )


def _locked(discrepancy_id: int) -> Discrepancy:
    account_id = Discrepancy.objects.values_list("account_id", flat=True).get(pk=discrepancy_id)
    lock_account(account_id)
    return discrepancies.locked(discrepancy_id)


def _proposal(proposal_id: int) -> tuple[Proposal, Discrepancy]:
    proposal = Proposal.objects.select_related("account", "proposer").get(pk=proposal_id)
    if proposal.subject_type != SUBJECT:
        raise RuleBroken(f"Proposal {proposal.pk} is not about a difference; decide on it on its own page.")
    return proposal, _locked(proposal.subject_id)


def _still_current(row: Discrepancy, proposal: Proposal) -> None:
    if row.proposal_id != proposal.pk or row.version != proposal.subject_version:
        raise RuleBroken(
            f"{row.kind} {row.key} has changed since proposal {proposal.pk} was made, so it no longer says what would "
            "happen. Nothing was changed. Look at the case again and propose anew."
        )


def _may(user: User, permission: str, what: str) -> None:
    if not user.is_active or not user.has_perm(permission):
        raise RuleBroken(f"{user.get_username()} may not {what}: the right {permission} is missing.")


def _not_open(row: Discrepancy) -> str:
    why = {
        State.SUSPECTED: "It was seen too recently; it opens when further runs confirm it.",
        State.PROPOSED: "A proposal for it waits already: approve, reject or withdraw that one first.",
        State.APPROVED: "An approved resolution is being carried out.",
        State.APPLIED: "A resolution was carried out; the next complete run decides whether it is closed.",
    }
    return f"{row.kind} {row.key} is {row.state}. {why.get(State(row.state), 'It has ended.')}"
