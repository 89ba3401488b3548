"""The sign-off of a trading day: one person prepares it on the evidence of a run, another reviews it, the day closes.

What always holds: the evidence is a complete run from after the day's end and after everything that was booked of the
day; its proof holds; nothing that is due by then is left unsettled; every case that is alive is named in the proposal,
so that whoever prepares accepts it and whoever reviews sees it. All of that is looked at again when it is applied;
sign-off and closed day are written in one transaction. Paper books are not reconciled and have no sign-off.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import transaction

from reconciliation.models import Discrepancy, Run, SignOff
from reconciliation.selectors.discrepancies import live
from trading.clock import day_bounds, now, trading_day
from trading.domain.money import plain
from trading.locks import lock_account
from trading.models import Account, Application, Approval, Entry, Proposal, User
from trading.selectors import books
from trading.services import approvals, audit, periods
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

KIND = "SIGN_OFF"
SUBJECT = "trading.Account"
VERSION = 1
"""What a proposal is about is in its payload; the account itself has no version."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a day can be signed off on: a run, and the cases to accept. `refused` says why it cannot be now."""

    account: Account
    day: date
    run: Run | None
    cases: tuple[Discrepancy, ...] = ()
    entries: int = 0
    refused: str = ""


def evidence(account: Account, day: date, *, run: Run | None = None) -> Evidence:
    """What there is to sign the day off on, as it stands now, by the last run or the one given; nothing is written."""
    run = run or _last_run(account, day)
    cases = tuple(live(account).select_related("instrument").order_by("pk"))
    entries = Entry.objects.filter(account=account, trading_day=day)
    found = Evidence(account, day, run, cases, entries.count())
    return Evidence(account, day, run, cases, found.entries, _why_not(found))


def days_to_sign_off(account: Account, *, most: int = 14) -> list[date]:
    """The days with entries, from the last ones back, that have ended and are not closed yet; the oldest first."""
    if account.is_paper_book:
        return []
    ended = Entry.objects.filter(account=account, trading_day__lt=trading_day(account))
    closed = account.closed_days.values("trading_day")
    days = ended.exclude(trading_day__in=closed).order_by("-trading_day").values_list("trading_day", flat=True)
    return sorted(days.distinct()[:most])


@transaction.atomic
def prepare(
    *, account: Account, day: date, accepted: Sequence[int], reason: str, preparer: User, actor: Actor
) -> Proposal:
    """Propose to sign a day off. `accepted` are the live cases that the preparer saw and accepts, by number.

    Raises RuleBroken when the evidence does not allow it, a live case is not accepted, or a proposal waits already.
    """
    lock_account(account.pk)
    _may(preparer, "trading.propose", "prepare a sign-off")
    waiting = waiting_proposal(account, day)
    if waiting is not None:
        raise RuleBroken(f"Proposal {waiting.pk} signs {day} off already: review that one first.")
    seen = evidence(account, day)
    payload = _payload(seen)
    unseen = [case for case in seen.cases if case.pk not in accepted]
    if unseen:
        named = ", ".join(f"{case} (case {case.pk})" for case in unseen)
        raise RuleBroken(
            f"{len(unseen)} open difference(s) of {account.name} were not accepted: {named}. Resolve them, or accept "
            "each of them knowingly; nothing was proposed."
        )
    return approvals.propose(
        kind=KIND,
        account=account,
        subject_type=SUBJECT,
        subject_id=account.pk,
        subject_version=VERSION,
        payload=payload,
        reason=reason,
        proposer=preparer,
        actor=actor,
    )


@transaction.atomic
def review(
    *, proposal_id: int, reviewer: User, verdict: str, payload_sha256: str, reason: str = "", actor: Actor
) -> Approval:
    """Approve, reject or withdraw what was prepared. Raises RuleBroken when four eyes refuse it."""
    proposal = _proposal(proposal_id)
    right = "trading.propose" if verdict == Approval.Verdict.WITHDRAW else "trading.approve"
    if proposal.proposer.person_id != reviewer.person_id:
        _may(reviewer, right, "review a sign-off")
    if verdict != Approval.Verdict.APPROVE and len(reason.strip()) < 5:
        raise RuleBroken("Say why, in at least five characters: whoever prepares it next reads it.")
    return approvals.decide(
        proposal=proposal,
        approver=reviewer,
        verdict=verdict,
        payload_sha256=payload_sha256,
        subject_version=VERSION,
        reason=reason,
        actor=actor,
    )


@transaction.atomic
def apply(*, proposal_id: int, actor: Actor, applied_by: User | None = None) -> SignOff:
    """Sign the day off and close it, in one transaction. A second call finds the first.

    Raises RuleBroken when the proposal is not approved, or the evidence is not what was prepared any more.
    """
    proposal = _proposal(proposal_id)
    account = proposal.account
    assert account is not None  # a sign-off is of an account
    lock_account(account.pk)
    standing = SignOff.objects.filter(application__proposal=proposal).first()
    if standing is not None:
        return standing
    if not approvals.approved(proposal):
        raise RuleBroken(
            f"Proposal {proposal.pk} is {approvals.standing(proposal)}: only an approved one signs a day off. Nothing "
            "was changed."
        )
    payload = json.loads(proposal.payload)
    day = date.fromisoformat(payload["day"])
    seen = evidence(account, day, run=Run.objects.get(pk=payload["run"]))
    _must_be_as_prepared(seen, payload)
    application = approvals.record_application(
        proposal=proposal,
        applied_by=applied_by,
        result={"action": payload["action"], "day": payload["day"]},
        actor=actor,
    )
    periods.close_day(account=account, day=day, application=application, actor=actor)
    return _signed(account, day, seen, application, actor)


def waiting_proposal(account: Account, day: date) -> Proposal | None:
    """The proposal that signs the day off and still may be reviewed or carried out."""
    made = Proposal.objects.filter(kind=KIND, subject_type=SUBJECT, subject_id=account.pk).select_related("proposer")
    return next(
        (
            each
            for each in made.order_by("-id")[:50]
            if json.loads(each.payload)["day"] == day.isoformat()
            and approvals.standing(each) in ("WAITING", "APPROVED")
        ),
        None,
    )


def _must_be_as_prepared(seen: Evidence, payload: dict[str, Any]) -> None:
    """Cases may have ended since, and further runs come; nothing else may have changed."""
    accepted = {(each["case"], each["version"]) for each in payload["accepted"]}
    new = [case for case in seen.cases if (case.pk, case.version) not in accepted]
    changed = seen.refused or ", ".join(f"{case} (case {case.pk}) is new or has changed" for case in new)
    if seen.entries != payload["booked"]:
        changed = f"{seen.entries} entries are dated {seen.day}, and {payload['booked']} were"
    if changed:
        raise RuleBroken(
            f"The evidence for {seen.day} of {seen.account.name} is not what was prepared any more: {changed}. Nothing "
            "was changed; reject the proposal, look again, and prepare it anew."
        )


def _signed(account: Account, day: date, seen: Evidence, application: Application, actor: Actor) -> SignOff:
    assert seen.run is not None  # what is not refused has one
    row = SignOff.objects.create(
        at=now(account), account=account, trading_day=day, run=seen.run, application=application
    )
    audit.record(
        kind="run.signed_off",
        actor=actor,
        account=account,
        obj=seen.run,
        after={"day": day.isoformat(), "run": seen.run.pk, "standing": "REVIEWED"},
        reason=application.proposal.reason,
    )
    return row


def _last_run(account: Account, day: date) -> Run | None:
    """The last complete run that began after the day's end on the account's clock."""
    end = day_bounds(account, day)[1]
    runs = Run.objects.filter(account=account, status=Run.Status.COMPLETE, at__gte=end)
    return runs.exclude(trigger=Run.Trigger.STATEMENT).order_by("-id").first()


def _why_not(seen: Evidence) -> str:
    account, day, run = seen.account, seen.day, seen.run
    if account.is_paper_book:
        return f"{account.name} is a paper book: nothing is reconciled there, so there is nothing to sign off."
    if day < trading_day(account, account.opened_at):
        return f"{account.name} was opened on {trading_day(account, account.opened_at)}: {day} is before that."
    end = day_bounds(account, day)[1]
    if now(account) < end:
        return f"{day} of {account.name} ends at {end:%Y-%m-%d %H:%M} UTC: it can be signed off after that."
    if periods.is_closed(account, day):
        return f"{day} of {account.name} was signed off already."
    if run is None:
        return f"There is no complete reconciliation of {account.name} from after {day}: run one first."
    late = (
        Entry.objects.filter(account=account, trading_day=day, recorded_at__gt=run.recorded_at).order_by("id").first()
    )
    if late is not None:
        return f"Entry {late.pk} of {day} was booked after run {run.pk}: reconcile again, so that the run has seen it."
    broken = [name for name, line in sorted(run.proof.items()) if not line.get("holds")]
    if broken:
        return f"The proof of run {run.pk} does not hold for {', '.join(broken)}: broker and books differ unexplained."
    due = books.due_fills(account, day)
    if due:
        owed = ", ".join(f"{plain(amount)} {currency}" for _, currency, amount in due[:3])
        return f"{len(due)} payment(s) due by {day} are not settled yet ({owed}): settle them first."
    return ""


def _payload(seen: Evidence) -> dict[str, Any]:
    if seen.refused or seen.run is None:
        raise RuleBroken(f"{seen.refused} Nothing was changed.")
    return {
        "action": "sign_off",
        "account": seen.account.name,
        "day": seen.day,
        "run": seen.run.pk,
        "run_sha256": seen.run.sha256,
        "proof": seen.run.proof,
        "booked": seen.entries,
        "accepted": [
            {"case": case.pk, "kind": case.kind, "key": case.key, "state": case.state, "version": case.version}
            for case in seen.cases
        ],
        "entries": [],
    }


def _proposal(proposal_id: int) -> Proposal:
    proposal = Proposal.objects.select_related("account", "proposer").get(pk=proposal_id)
    if proposal.kind != KIND or proposal.subject_type != SUBJECT:
        raise RuleBroken(f"Proposal {proposal.pk} is no sign-off; decide on it on its own page.")
    return proposal


def _may(user: User, permission: str, what: str) -> None:
    if not user.is_active or not user.has_perm(permission):
        raise RuleBroken(f"{user.get_username()} may not {what}: the right {permission} is missing.")
