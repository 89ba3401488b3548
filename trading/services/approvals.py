"""Four eyes: propose, decide, record the one application. The database enforces it; here it gets sentences.

What always holds: a proposal is bound to the hash of its canonical payload and to its subject's version; whoever
proposed cannot approve, compared by person; nothing is applied twice.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import DatabaseError, transaction

from trading.clock import now, wall_now
from trading.domain.canonical import canonical_json, sha256_hex
from trading.locks import lock_account
from trading.models import Account, Application, Approval, AuditEvent, Proposal, User

from . import audit
from .audit import Actor
from .errors import RuleBroken, sentence

EXPIRY = timedelta(hours=24)


@transaction.atomic
def propose(
    *,
    kind: str,
    account: Account | None,
    subject_type: str,
    subject_id: int,
    subject_version: int,
    payload: dict[str, Any],
    reason: str,
    proposer: User,
    approvals_required: int = 1,
    actor: Actor,
) -> Proposal:
    """Put a proposal forward. Raises RuleBroken without a reason of at least five characters."""
    if len(reason.strip()) < 5:
        raise RuleBroken("A proposal needs a reason of at least five characters: the second person decides on it.")
    if account is not None:
        lock_account(account.pk)
    body = canonical_json(payload)
    proposal = Proposal.objects.create(
        at=now(account) if account is not None else wall_now(),
        kind=kind,
        account=account,
        subject_type=subject_type,
        subject_id=subject_id,
        subject_version=subject_version,
        payload=body,
        payload_sha256=sha256_hex(body),
        reason=reason.strip()[:500],
        proposer=proposer,
        approvals_required=approvals_required,
        expires_at=wall_now() + EXPIRY,
    )
    audit.record(
        kind="proposal.made",
        actor=actor,
        account=account,
        obj=proposal,
        after={
            "kind": kind,
            "subject": f"{subject_type} {subject_id}, version {subject_version}",
            "payload_sha256": proposal.payload_sha256,
            "expires_at": proposal.expires_at,
        },
        reason=reason,
    )
    return proposal


@transaction.atomic
def decide(
    *,
    proposal: Proposal,
    approver: User,
    verdict: str,
    payload_sha256: str,
    subject_version: int,
    reason: str = "",
    actor: Actor,
) -> Approval:
    """Approve, reject or withdraw what was seen (hash and version). Raises RuleBroken when four eyes refuse it."""
    if proposal.account_id is not None:
        lock_account(proposal.account_id)
    before = standing(proposal)
    try:
        with transaction.atomic():
            approval = Approval.objects.create(
                at=now(proposal.account) if proposal.account is not None else wall_now(),
                proposal=proposal,
                approver=approver,
                verdict=verdict,
                payload_sha256=payload_sha256,
                subject_version=subject_version,
                reason=reason.strip()[:500],
            )
    except DatabaseError as error:
        if "one_verdict_per_user" in str(error):
            raise RuleBroken("You have decided on this proposal already; a verdict stands once given.") from error
        raise RuleBroken(f"{sentence(error)}. Nothing was changed.") from error
    audit.record(
        kind=f"proposal.{verdict.lower()}",
        actor=actor,
        account=proposal.account,
        obj=proposal,
        before={"standing": before},
        after={"standing": standing(proposal), "verdict": verdict, "payload_sha256": payload_sha256},
        reason=reason,
    )
    return approval


def standing(proposal: Proposal) -> str:
    """WAITING, APPROVED, REJECTED, WITHDRAWN, EXPIRED or APPLIED."""
    if Application.objects.filter(proposal=proposal).exists():
        return "APPLIED"
    verdicts = list(proposal.approvals.select_related("approver"))
    if any(v.verdict == Approval.Verdict.REJECT for v in verdicts):
        return "REJECTED"
    if any(v.verdict == Approval.Verdict.WITHDRAW for v in verdicts):
        return "WITHDRAWN"
    if wall_now() >= proposal.expires_at:
        return "EXPIRED"
    return "WAITING" if still_needed(proposal) else "APPROVED"


def still_needed(proposal: Proposal) -> int:
    """How many more people must approve; the proposer's own person and second verdicts of a person never count."""
    given = proposal.approvals.filter(verdict=Approval.Verdict.APPROVE)
    people = set(given.values_list("approver__person_id", flat=True)) - {proposal.proposer.person_id}
    return max(proposal.approvals_required - len(people), 0)


def need_in_words(proposal: Proposal) -> str:
    """How many more people must approve, as pages and messages say it; "" for none."""
    number = still_needed(proposal)
    people = {1: "one more person", 2: "two more people"}.get(number, f"{number} more people")
    return f"It needs the approval of {people}." if number else ""


def approved(proposal: Proposal) -> bool:
    """True when it may be applied now."""
    return standing(proposal) == "APPROVED"


@transaction.atomic
def record_application(
    *, proposal: Proposal, applied_by: User | None, result: dict[str, Any], actor: Actor
) -> Application:
    """Record the one application, in the transaction that does the work. Raises RuleBroken unless it is approved."""
    if proposal.account_id is not None:
        lock_account(proposal.account_id)
    try:
        with transaction.atomic():
            application = Application.objects.create(
                at=now(proposal.account) if proposal.account is not None else wall_now(),
                proposal=proposal,
                applied_by=applied_by,
                result=result,
            )
    except DatabaseError as error:
        raise RuleBroken(f"{sentence(error)}. Nothing was applied.") from error
    verdict = AuditEvent.objects.filter(
        object_type=proposal._meta.label, object_id=str(proposal.pk), kind="proposal.approve"
    )
    audit.record(
        kind="proposal.applied",
        actor=actor,
        account=proposal.account,
        obj=proposal,
        before={"standing": "APPROVED"},
        after={"standing": "APPLIED", "result": result},
        cause=verdict.order_by("-id").first(),
    )
    return application
