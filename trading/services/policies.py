"""Changing the policy of an account: one person proposes the whole new policy, another approves, and it stands.

What always holds: a policy is a config version that never changes, so a change is another version and the account
points to it; it happens in the transaction of the approval, under an application that names both versions; a proposal
is bound to the policy that stood when it was made, and is refused when another stands by then; a setting out of its
bounds is refused by name before anything is proposed; what loosens the limit above which two people must approve needs
two approvals itself.
"""

from __future__ import annotations

import json

from django.db import transaction

from trading.domain.policy import AccountPolicy, load_policy
from trading.domain.policy_words import changes
from trading.domain.settings_text import BadSettings
from trading.locks import lock_account
from trading.models import Account, Approval, ConfigVersion, Proposal, User
from trading.selectors.policies import policy_of, read_policy

from . import approvals, audit
from .audit import Actor
from .errors import RuleBroken
from .setup import ensure_version

KIND = "POLICY"
SUBJECT = "trading.Account"
TO_LOOSEN = 2
"""So many approvals it takes to let more be decided by one."""


@transaction.atomic
def propose(*, account: Account, text: str, reason: str, proposer: User, actor: Actor) -> Proposal:
    """Propose the policy that YAML `text` writes, in the place of the account's.

    Raises RuleBroken for a setting that cannot be (each is named), a policy that changes nothing, or when another
    proposal about the account's policy waits.
    """
    lock_account(account.pk)
    _may(proposer, "trading.propose", "propose a policy")
    standing = _locked(account)
    waiting = waiting_proposal(account)
    if waiting is not None:
        raise RuleBroken(f"Proposal {waiting.pk} changes the policy of {account.name} already: decide on that one.")
    wanted = _read(text)
    before = policy_of(standing)
    told = changes(before, wanted)
    if not told:
        raise RuleBroken(f"This is the policy that {account.name} stands under: nothing was proposed.")
    return approvals.propose(
        kind=KIND,
        account=account,
        subject_type=SUBJECT,
        subject_id=account.pk,
        subject_version=standing.policy_id,
        payload={
            "action": "change the policy",
            "account": account.name,
            "from": standing.policy.sha256,
            "to": wanted.sha256,
            "changes": [{"setting": each.setting.path, "from": each.before, "to": each.after} for each in told],
            "policy": json.loads(wanted.canonical),
            **({"approvals": TO_LOOSEN} if _loosens(before, wanted) else {}),
        },
        approvals_required=TO_LOOSEN if _loosens(before, wanted) else 1,
        reason=reason,
        proposer=proposer,
        actor=actor,
    )


@transaction.atomic
def decide(
    *, proposal_id: int, person: User, verdict: str, payload_sha256: str, reason: str = "", actor: Actor
) -> Approval:
    """Approve, reject or withdraw; the approval that completes it puts the policy in force in the same transaction.

    Raises RuleBroken when four eyes refuse it, or when another policy stands than the proposal was made for.
    """
    proposal = _proposal(proposal_id)
    account = proposal.account
    assert account is not None  # a policy is an account's
    lock_account(account.pk)
    standing = _locked(account)
    right = "trading.propose" if verdict == Approval.Verdict.WITHDRAW else "trading.approve"
    if proposal.proposer.person_id != person.person_id:  # the proposer's own person is refused by four eyes
        _may(person, right, "decide on a policy")
    if verdict != Approval.Verdict.APPROVE and len(reason.strip()) < 5:
        raise RuleBroken("Say why, in at least five characters: whoever proposes next reads it.")
    if verdict == Approval.Verdict.APPROVE and standing.policy_id != proposal.subject_version:
        raise RuleBroken(
            f"{account.name} stands under another policy now than when proposal {proposal.pk} was made, so what "
            "you saw is not what would change. Nothing was changed. Reject it, and propose anew."
        )
    approval = approvals.decide(
        proposal=proposal,
        approver=person,
        verdict=verdict,
        payload_sha256=payload_sha256,
        subject_version=proposal.subject_version,
        reason=reason,
        actor=actor,
    )
    if approvals.approved(proposal):
        _put_in_force(proposal, standing, person, actor)
    return approval


def waiting_proposal(account: Account) -> Proposal | None:
    """The proposal to change the account's policy that still may be decided on."""
    made = Proposal.objects.filter(kind=KIND, subject_type=SUBJECT, subject_id=account.pk)
    recent = made.select_related("proposer", "account").order_by("-id")[:20]
    return next((each for each in recent if approvals.standing(each) in ("WAITING", "APPROVED")), None)


def proposed(proposal: Proposal) -> AccountPolicy:
    """The policy that a proposal would put in force."""
    return read_policy(json.dumps(json.loads(proposal.payload)["policy"]))


def _put_in_force(proposal: Proposal, account: Account, person: User, actor: Actor) -> None:
    """`account` is locked, and stands under the policy that the proposal was made for."""
    wanted, before = proposed(proposal), account.policy
    if wanted.sha256 != json.loads(proposal.payload)["to"]:
        raise RuleBroken(
            f"Proposal {proposal.pk} was made before policies got further settings, so it does not say what would "
            "stand now. Nothing was changed. Reject it, and propose anew."
        )
    application = approvals.record_application(
        proposal=proposal,
        applied_by=person,
        result={"action": "change the policy", "from": before.sha256, "to": wanted.sha256},
        actor=actor,
    )
    account.policy = ensure_version(kind=ConfigVersion.Kind.POLICY, name=wanted.name[:80], body=wanted.canonical)
    account.save(update_fields=["policy"])
    audit.record(
        kind="account.changed",
        actor=actor,
        account=account,
        obj=account,
        before={"policy": str(before)},
        after={"policy": str(account.policy)},
        reason=f"proposal {application.proposal_id}: {proposal.reason}",
    )


def _loosens(before: AccountPolicy, wanted: AccountPolicy) -> bool:
    """Whether less would need two approvals: else one approval could do away with the second one."""
    limit = wanted.materiality
    return before.materiality > 0 and (limit == 0 or limit > before.materiality)


def _read(text: str) -> AccountPolicy:
    try:
        wanted = load_policy(text)
        if read_policy(wanted.canonical) != wanted:
            raise BadSettings("policy.name: must not be a number")
    except BadSettings as error:
        raise RuleBroken(f"This policy cannot be: {error}. Nothing was proposed; mend it and propose again.") from error
    return wanted


def _locked(account: Account) -> Account:
    rows = Account.objects.select_for_update(no_key=True, of=("self",)).select_related("policy")
    return rows.get(pk=account.pk)


def _proposal(proposal_id: int) -> Proposal:
    proposal = Proposal.objects.select_related("account", "proposer").get(pk=proposal_id)
    if proposal.kind != KIND:
        raise RuleBroken(f"Proposal {proposal.pk} is not about a policy; decide on it on its own page.")
    return proposal


def _may(user: User, permission: str, what: str) -> None:
    if not user.is_active or not user.has_perm(permission):
        raise RuleBroken(f"{user.get_username()} may not {what}: the right {permission} is missing.")
