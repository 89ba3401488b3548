"""The live proposal with the buttons of one person, and the actions that may be proposed, each with what it would do.

What always holds: what is shown of a proposal is its payload and nothing else; a button that the service would refuse
for the proposer's own person is disabled and says why.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from reconciliation.domain.kinds import Action
from reconciliation.models import Discrepancy
from reconciliation.services import payloads
from trading.admin import values
from trading.admin.pages import Panel, Raw, Table
from trading.models import Proposal, User
from trading.services.approvals import standing
from trading.services.errors import RuleBroken

TITLES = {
    Action.BOOK_FILLS: "Book the broker's fills",
    Action.BOOK_CASH: "Book the broker's cash movement",
    Action.ADOPT_POSITION: "Adopt the broker's position",
    Action.CLOSE_AT_ESTIMATE: "Close in the books at an estimate",
    Action.FLATTEN: "Flatten: close it at the broker",
    Action.ADJUST: "Adjust cash against suspense",
    Action.ACCEPT: "Accept the difference as it is",
}
COLUMN_ORDER = (
    "entry", "tag", "instrument", "side", "quantity", "type", "price", "amount", "currency", "realised", "commission",
    "financing", "reduce_only", "id", "external_id", "order", "client_id", "reason", "event", "event_sha256",
)  # fmt: skip
NAMES = {"id", "external_id", "order", "client_id", "event"}  # digits that name something and are no number
WITH_PRICE = (Action.ADOPT_POSITION, Action.CLOSE_AT_ESTIMATE)
MOVED = (
    "What would be posted now differs from what was proposed, so it cannot be applied any more: "
    "withdraw or reject it, and propose anew."
)


@dataclass(frozen=True)
class Choice:
    """One action that may be proposed."""

    action: str
    title: str
    is_suggested: bool
    sentences: tuple[str, ...]
    panels: list[Panel] = field(default_factory=list)


@dataclass(frozen=True)
class Live:
    """The proposal that waits, as one person sees it."""

    proposal: Proposal
    title: str
    who: str
    at: str
    expires: str
    standing: str
    panels: list[Panel]
    blocked: str
    shows_verdicts: bool
    may_withdraw: bool
    moved: str


def title_of(action: str) -> str:
    """An action in words."""
    return TITLES.get(Action(action), action) if action in list(Action) else action


def work_panels(payload: dict[str, Any]) -> list[Panel]:
    """The entries it would post and the orders it would place, exactly."""
    return [
        rows_table("Entries it posts", payload.get("entries", []), "It posts nothing."),
        rows_table("Orders it places", payload.get("orders", []), "It places no order."),
    ]


def rows_table(title: str, rows: list[dict[str, Any]], empty: str) -> Table:
    """Rows of one shape as a table: a column for each key that any row fills, what matters most first."""
    filled = {key for row in rows for key, value in row.items() if value not in (None, "")}
    keys = [*(key for key in COLUMN_ORDER if key in filled), *sorted(filled - set(COLUMN_ORDER))]
    names = [key.replace("_", " ").capitalize() for key in keys]
    return Table(title, names, [[_cell(key, row.get(key)) for key in keys] for row in rows], empty)


def _cell(key: str, value: Any) -> Any:
    if key.endswith("sha256") and value:
        return values.code(f"{value[:12]}…")
    return str(value) if key in NAMES and value is not None else values.typed(value)


def choices(case: Discrepancy) -> dict[str, Any]:
    """Context of the form: what may be proposed, and what each would do now."""
    offered = []
    for action in case.evidence.get("actions", []):
        try:
            seen = payloads.preview(case, action)
            told, panels = seen.sentences, work_panels(seen.payload)
        except RuleBroken as refusal:
            told, panels = (str(refusal),), []
        offered.append(Choice(action, title_of(action), action == case.evidence.get("suggestion"), told, panels))
    if not offered:
        return {"nothing_to_do": "Nothing can be proposed for this kind of difference: it ends when its cause does."}
    priced = [choice.title for choice in offered if choice.action in WITH_PRICE]
    return {
        "choices": offered,
        "asks_price": " or ".join(f"“{title}”" for title in priced),
        "asks_realised": any(choice.action == Action.CLOSE_AT_ESTIMATE for choice in offered),
    }


def live_proposal(case: Discrepancy, proposal: Proposal, user: User) -> Live:
    """What waits, and what this person may do about it."""
    payload = json.loads(proposal.payload)
    stands = standing(proposal)
    is_own = proposal.proposer.person_id == user.person_id
    waits = stands == "WAITING"
    blocked = f"{proposal.proposer.get_username()} proposed this; a second person must approve." if is_own else ""
    if not waits:
        blocked = {"APPROVED": "It is approved and is being applied."}.get(stands, f"It is {stands.lower()}.")
    return Live(
        proposal=proposal,
        title=title_of(payload.get("action", "")),
        who=proposal.proposer.get_username(),
        at=values.moment(proposal.recorded_at),
        expires=values.moment(proposal.expires_at),
        standing=stands,
        panels=[*work_panels(payload), Raw("Payload, word for word", payload)],
        blocked=blocked,
        shows_verdicts=user.has_perm("trading.approve"),
        may_withdraw=is_own and waits and user.has_perm("trading.propose"),
        moved=MOVED if waits and has_moved(case, payload) else "",
    )


def has_moved(case: Discrepancy, payload: dict[str, Any]) -> bool:
    """Whether the same action would do something else now."""
    try:
        return payloads.build(case, Action(payload["action"]), payload["parameters"]) != payload
    except RuleBroken:
        return True
