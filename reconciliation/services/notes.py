"""What people do with a case beside deciding it: take it, give it on, label it, comment on it, relate it, reopen it.

What always holds: each verb is one transaction under the account's lock and leaves one step of the case and one audit
event; no step here changes the state of a case but `reopen`, which makes a suspicion of it again, so that runs and not
people say whether the difference is there; owner and labels are those of the last step that names them. Whoever may
neither propose nor approve may do nothing here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db import transaction
from django.db.models import Max

from reconciliation.domain.lifecycle import ENDED, State
from reconciliation.models import Discrepancy, DiscrepancyEvent
from trading.clock import now
from trading.locks import lock_account
from trading.models import User
from trading.services import audit
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

from . import discrepancies

ASSIGNED, LABELLED, COMMENTED, RELATED = "ASSIGNED", "LABELLED", "COMMENTED", "RELATED"
REOPENED = "REOPENED_BY_PERSON"
STEPS = frozenset({ASSIGNED, LABELLED, COMMENTED, RELATED, REOPENED})
"""The kinds of step that are taken here."""
NOBODY = "nobody"
SHORTEST_REASON, LONGEST_COMMENT = 5, 2_000
MOST_LABELS, LONGEST_LABEL = 10, 30


def may_work_on(user: User) -> bool:
    """Whether somebody may own cases and write on them: who may propose or approve."""
    return user.is_active and (user.has_perm("trading.propose") or user.has_perm("trading.approve"))


@transaction.atomic
def take(*, discrepancy_id: int, person: User, actor: Actor) -> Discrepancy:
    """Make a case that is nobody's one's own. Raises RuleBroken where it is somebody's, also where it is one's own."""
    row = _locked(discrepancy_id, person)
    if row.owner is not None:
        whose = "yours already" if row.owner_id == person.pk else f"{row.owner.get_username()}'s"
        raise RuleBroken(
            f"It is {whose}; nothing was changed. A case of somebody else's is given on, with a reason, on its page."
        )
    return _assign(row, person, actor, "")


@transaction.atomic
def give(*, discrepancy_id: int, to: User, reason: str, person: User, actor: Actor) -> Discrepancy:
    """Make a case somebody's, whosever it was. Raises RuleBroken without a reason or for who may not work on cases."""
    row = _locked(discrepancy_id, person)
    if not may_work_on(to):
        raise RuleBroken(
            f"{to.get_username()} may neither propose nor approve, so the case would wait for nobody. Nothing was "
            "changed; give it to somebody who may."
        )
    if row.owner_id == to.pk:
        raise RuleBroken(f"It is {to.get_username()}'s already; nothing was changed.")
    return _assign(row, to, actor, _reason(reason, "Say why you give it: whoever gets it reads that first."))


@transaction.atomic
def release(*, discrepancy_id: int, reason: str, person: User, actor: Actor) -> Discrepancy:
    """Make a case nobody's. Raises RuleBroken where it is, or without a reason where it is somebody else's."""
    row = _locked(discrepancy_id, person)
    if row.owner_id is None:
        raise RuleBroken("It is nobody's already; nothing was changed.")
    if row.owner_id != person.pk:
        reason = _reason(reason, "It is somebody else's: say why you release it.")
    return _assign(row, None, actor, _plain(reason)[:500])


@transaction.atomic
def label(
    *, discrepancy_id: int, add: Collection[str] = (), remove: Collection[str] = (), person: User, actor: Actor
) -> Discrepancy:
    """Put labels on a case and take others off. Raises RuleBroken for a bad label, too many, or no change at all."""
    row = _locked(discrepancy_id, person)
    before: list[str] = list(row.labels)
    wanted = (set(before) | labels_of(add)) - labels_of(remove)
    if len(wanted) > MOST_LABELS:
        raise RuleBroken(f"A case has at most {MOST_LABELS} labels; nothing was changed. Take one off first.")
    after = sorted(wanted)
    if after == sorted(before):
        raise RuleBroken("These are its labels already, so nothing was changed.")
    row.labels = after
    row.save(update_fields=["labels"])
    _step(row, LABELLED, actor, {"labels": after}, before={"labels": before}, after={"labels": after})
    return row


@transaction.atomic
def comment(*, discrepancy_id: int, text: str, person: User, actor: Actor) -> Discrepancy:
    """Write something on a case, for whoever reads it next. Raises RuleBroken for nothing and for too much."""
    row = _locked(discrepancy_id, person)
    text = _plain(text)
    if not text:
        raise RuleBroken("The comment is empty; nothing was written.")
    if len(text) > LONGEST_COMMENT:
        raise RuleBroken(
            f"The comment has {len(text)} characters, of at most {LONGEST_COMMENT}; nothing was written. Shorten it, "
            "or write two."
        )
    _step(row, COMMENTED, actor, {"comment": text}, reason=text)
    return row


@transaction.atomic
def relate(*, discrepancy_id: int, other_id: int, reason: str, person: User, actor: Actor) -> Discrepancy:
    """Say that two cases belong together, of whichever accounts. Raises RuleBroken where that is said already."""
    row = _locked(discrepancy_id, person)
    if not Discrepancy.objects.filter(pk=other_id).exists():
        raise RuleBroken(f"There is no case {other_id}; nothing was changed.")
    if other_id == row.pk:
        raise RuleBroken("That is this case itself; nothing was changed.")
    reason = _reason(reason, "Say what the two have to do with each other.")
    said = DiscrepancyEvent.objects.filter(kind=RELATED)
    if (
        said.filter(discrepancy=row, details__related=other_id).exists()
        or said.filter(discrepancy_id=other_id, details__related=row.pk).exists()
    ):
        raise RuleBroken(f"It is related to case {other_id} already; nothing was changed.")
    _step(row, RELATED, actor, {"related": other_id}, after={"related": other_id}, reason=reason)
    return row


@transaction.atomic
def reopen(*, discrepancy_id: int, reason: str, person: User, actor: Actor) -> Discrepancy:
    """Make a suspicion of an ended case: complete runs confirm it, or clear it where books and broker agree.

    What was accepted is no longer accepted. Raises RuleBroken without a reason or where the case has not ended.
    """
    row = _locked(discrepancy_id, person)
    if State(row.state) not in ENDED:
        raise RuleBroken(f"It is {row.state.lower()}, so it has not ended; nothing was changed.")
    reason = _reason(reason, "Say what makes you doubt that it is resolved.")
    row.version += 1
    row.times_reopened += 1
    row.times_seen = 0
    row.first_seen_at = now(row.account)
    row.opened_at = row.closed_at = None
    discrepancies.move(row, State.SUSPECTED, kind=REOPENED, actor=actor, proposal=None, reason=reason)
    return row


def labels_of(words: Iterable[str]) -> set[str]:
    """Labels as they are kept: small letters, single spaces. Raises RuleBroken for one that is none."""
    found = {" ".join(word.split()).casefold() for word in words} - {""}
    for one in found:
        if len(one) > LONGEST_LABEL or not all(letter.isalnum() or letter in " -_" for letter in one):
            raise RuleBroken(
                f"{one[:LONGEST_LABEL]!r} is no label: letters, digits, blanks and hyphens, at most {LONGEST_LABEL} "
                "of them. Nothing was changed."
            )
    return found


def _assign(row: Discrepancy, owner: User | None, actor: Actor, reason: str) -> Discrepancy:
    before = row.owner.get_username() if row.owner is not None else NOBODY
    after = owner.get_username() if owner is not None else NOBODY
    row.owner = owner
    row.save(update_fields=["owner"])
    details = {"owner": owner.pk if owner is not None else None, "owner_name": after}
    _step(row, ASSIGNED, actor, details, before={"owner": before}, after={"owner": after}, reason=reason)
    return row


def _step(
    row: Discrepancy,
    kind: str,
    actor: Actor,
    details: dict[str, Any],
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
) -> None:
    """A step that leaves the state as it is, with its audit event."""
    last = DiscrepancyEvent.objects.filter(discrepancy=row).aggregate(last=Max("sequence"))["last"] or 0
    at, state = now(row.account), str(row.state)
    discrepancies.event_of(
        row, kind, state, sequence=last + 1, at=at, actor=actor, reason=reason, details=details
    ).save()
    audit.record(
        kind=f"discrepancy.{kind.lower()}", actor=actor, account=row.account, obj=row, before=before, after=after,
        reason=reason, at=at,
    )  # fmt: skip


def _locked(discrepancy_id: int, person: User) -> Discrepancy:
    account_id = Discrepancy.objects.values_list("account_id", flat=True).filter(pk=discrepancy_id).first()
    if account_id is None:
        raise RuleBroken(f"There is no case {discrepancy_id}; nothing was changed.")
    if not may_work_on(person):
        raise RuleBroken(
            f"{person.get_username()} may not work on cases: the right to propose or to approve is missing."
        )
    lock_account(account_id)
    return discrepancies.locked(discrepancy_id)


def _reason(text: str, wanted: str) -> str:
    text = _plain(text)
    if len(text) < SHORTEST_REASON:
        raise RuleBroken(f"{wanted} At least five characters; nothing was changed.")
    return text[:500]


def _plain(text: str) -> str:
    """The text without what no page shows and no database keeps."""
    kept = (letter for letter in text.replace("\r\n", "\n") if letter.isprintable() or letter == "\n")
    return "".join(kept).strip()
