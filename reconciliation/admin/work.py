"""Working on a case without deciding it: the forms of its page, what they post to, and the cases that belong to it.

What always holds: each form is a POST that calls one verb of `services/notes.py`, which refuses in sentences; what is
shown as related says who or what relates it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.http import HttpRequest

from reconciliation.admin.queue_filters import labels_in_use
from reconciliation.models import Discrepancy, DiscrepancyEvent
from reconciliation.selectors.discrepancies import same_orders
from reconciliation.services import notes
from trading.models import User
from trading.services.audit import Actor
from trading.services.errors import RuleBroken

from .titles import title_of_case

MOST = 12


@dataclass(frozen=True)
class Related:
    """Another case that this one belongs to: why, and how it stands."""

    case: Discrepancy
    says: str
    whys: list[str] = field(default_factory=list)

    @property
    def called(self) -> str:
        """The case as pages call it."""
        return title_of_case(self.case)


def words_of(request: HttpRequest, name: str) -> list[str]:
    """The labels of a field, which are set apart by commas."""
    return request.POST.get(name, "").split(",")


def work(request: HttpRequest, case: Discrepancy) -> str:
    """Do what the pressed button says, and say how it went."""
    user = request.user
    assert isinstance(user, User)  # whoever has a permission is one of ours
    verb, actor = request.POST.get("verb", ""), Actor.of(user, via="admin")
    common: dict[str, Any] = {"discrepancy_id": case.pk, "person": user, "actor": actor}
    reason = request.POST.get("reason", "")
    match verb:
        case "take":
            notes.take(**common)
            return "It is your case now."
        case "give":
            to = _chosen_person(request)
            notes.give(to=to, reason=reason, **common)
            return f"It is {to.get_username()}'s case now."
        case "release":
            notes.release(reason=reason, **common)
            return "It is nobody's case now."
        case "label":
            row = notes.label(add=words_of(request, "add"), remove=words_of(request, "remove"), **common)
            return f"Its labels are now: {', '.join(row.labels) or 'none'}."
        case "comment":
            notes.comment(text=request.POST.get("text", ""), **common)
            return "Written down."
        case "relate":
            other = request.POST.get("other", "").strip().removeprefix("#")
            if not (other.isascii() and other.isdigit() and len(other) < 19):
                raise RuleBroken("Name the other case by its number; nothing was changed.")
            notes.relate(other_id=int(other), reason=reason, **common)
            return f"Related to case {other}."
        case "reopen":
            notes.reopen(reason=reason, **common)
            return "Reopened as a suspicion. The next complete runs confirm it, or clear it."
    raise RuleBroken("No button was pressed that this page knows. Nothing was changed.")


def _chosen_person(request: HttpRequest) -> User:
    key = request.POST.get("to", "")
    found = User.objects.filter(pk=int(key)).first() if key.isascii() and key.isdigit() and len(key) < 19 else None
    if found is None:
        raise RuleBroken("Choose who gets the case; nothing was changed.")
    return found


def forms(request: HttpRequest, case: Discrepancy) -> dict[str, Any]:
    """Context of the forms: nothing for whoever may only look."""
    user = request.user
    assert isinstance(user, User)  # the admin's views are behind its login
    if not notes.may_work_on(user):
        return {"related": related(case)}
    active = User.objects.filter(is_active=True).exclude(pk=case.owner_id or 0).order_by("username")
    return {
        "related": related(case),
        "may_work": True,
        "is_mine": case.owner_id == user.pk,
        "to_give": [one for one in active if notes.may_work_on(one)],
        "known_labels": [word for word in labels_in_use() if word not in case.labels],
        "has_ended": case.state in (Discrepancy.State.CLOSED, Discrepancy.State.CLEARED),
    }


def related(case: Discrepancy) -> list[Related]:
    """Cases that belong to this one, those that people related first: then of its orders, then of its instrument."""
    whys: dict[int, list[str]] = {}
    said = DiscrepancyEvent.objects.filter(kind=notes.RELATED).select_related("actor")
    for event in said.filter(Q(discrepancy=case) | Q(details__related=case.pk)).order_by("-id"):
        other = event.details["related"] if event.discrepancy_id == case.pk else event.discrepancy_id
        who = event.actor.get_username() if event.actor is not None else "somebody"
        whys.setdefault(int(other), []).append(f"{who}: “{event.reason}”")
    of_account = Discrepancy.objects.filter(account=case.account).exclude(pk=case.pk).order_by("-last_seen_at")
    for pk in of_account.filter(same_orders(case)).values_list("pk", flat=True)[:MOST]:
        whys.setdefault(pk, []).append("the same order")
    about = Q(instrument=case.instrument) if case.instrument_id else Q(key=case.key)
    for pk in of_account.filter(about).values_list("pk", flat=True)[:MOST]:
        whys.setdefault(pk, []).append(f"the same {'instrument' if case.instrument_id else 'key'}")
    rows = Discrepancy.objects.select_related("account", "proposal", "instrument").in_bulk(list(whys))
    return [Related(rows[pk], _stands(rows[pk]), why) for pk, why in whys.items() if pk in rows]


def _stands(row: Discrepancy) -> str:
    action = str(row.proposal.kind).rpartition(".")[2].replace("_", " ") if row.proposal is not None else ""
    return f"{row.state.lower()}{f' by {action}' if action else ''}"
