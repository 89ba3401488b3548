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
from reconciliation.services.preview import Draft, draft
from trading.admin import values
from trading.admin.pages import Panel, Raw, Table
from trading.domain.broker import Side
from trading.domain.money import ZERO, parse_decimal
from trading.models import Proposal, User
from trading.services.approvals import need_in_words, standing
from trading.services.errors import RuleBroken

TITLES = {
    Action.BOOK_FILLS: "Book the broker's fills",
    Action.BOOK_CASH: "Book the broker's cash movement",
    Action.ADOPT_POSITION: "Adopt the broker's position",
    Action.CLOSE_AT_ESTIMATE: "Close in the books at an estimate",
    Action.FLATTEN: "Flatten: close it at the broker",
    Action.ADJUST: "Adjust cash against suspense",
    Action.RESIZE_STOP: "Put our stop right at the broker",
    Action.ACCEPT: "Accept the difference as it is",
}
COLUMN_ORDER = (
    "entry", "tag", "instrument", "side", "quantity", "type", "price", "amount", "currency", "realised", "commission",
    "financing", "reduce_only", "id", "external_id", "order", "client_id", "reason", "event", "event_sha256",
)  # fmt: skip
NAMES = {"id", "external_id", "order", "client_id", "event"}  # digits that name something and are no number
WITH_PRICE = (Action.ADOPT_POSITION, Action.CLOSE_AT_ESTIMATE)
WITH_REALISED = (Action.CLOSE_AT_ESTIMATE,)
REASONS = (
    "Agrees with the broker's statement",
    "Traded by hand, confirmed by the trader",
    "Broker's support confirmed it",
)
VERDICT_REASONS = ("Checked against the broker's statement", "Not enough evidence yet")
MOVED = (
    "What would be posted now differs from what was proposed, so it cannot be applied any more: "
    "withdraw or reject it, and propose anew."
)


@dataclass(frozen=True)
class Work:
    """What a payload would do: sentences, debit and credit lines, orders, and what they change together."""

    sentences: tuple[str, ...]
    lines: Table
    orders: Table
    effects: list[tuple[str, str]]
    refused: str = ""
    afterwards: str = ""


@dataclass(frozen=True)
class Choice:
    """One action that may be proposed; `work` is None while it cannot be, and `sentences` say why."""

    action: str
    title: str
    is_suggested: bool
    sentences: tuple[str, ...]
    work: Work | None
    asks_price: bool = False
    asks_realised: bool = False


@dataclass(frozen=True)
class Live:
    """The proposal that waits, as one person sees it."""

    proposal: Proposal
    title: str
    who: str
    at: str
    expires: str
    standing: str
    work: Work
    exact: list[Panel]
    blocked: str
    is_own: bool
    shows_verdicts: bool
    may_withdraw: bool
    moved: str
    needs: str
    reasons: tuple[str, ...] = field(default=VERDICT_REASONS)


def title_of(action: str) -> str:
    """An action in words."""
    return TITLES.get(Action(action), action) if action in list(Action) else action


def work_of(case: Discrepancy, payload: dict[str, Any], sentences: tuple[str, ...]) -> Work:
    """What a payload would do, drawn up without doing it."""
    seen: Draft = draft(case, payload)
    rows = [
        (f"{line.entry} {line.kind}", line.ledger_account, line.debit, line.credit, line.commodity)
        for line in seen.lines
    ]
    return Work(
        sentences=sentences,
        lines=Table("Entries", ("Entry", "Ledger account", "Debit", "Credit", "Commodity"), rows, "It posts nothing."),
        orders=rows_table("Orders", [*payload.get("orders", []), *payload.get("stops", [])], "It sends no order."),
        effects=[(effect.what, values.signed_number(effect.change)) for effect in seen.effects],
        refused=seen.refused,
        afterwards=_afterwards(case, payload, seen),
    )


def _afterwards(case: Discrepancy, payload: dict[str, Any], seen: Draft) -> str:
    """What the payload's orders leave when they have filled, where the books' units are known."""
    orders = [order for order in payload.get("orders", []) if "side" in order and "quantity" in order]
    if not orders or case.instrument is None or case.books_value is None:
        return ""
    symbol = str(case.instrument)
    sent = sum((Side(order["side"]).sign * parse_decimal(order["quantity"]) for order in orders), ZERO)
    posted = sum((effect.change for effect in seen.effects if effect.what == symbol), ZERO)
    many = "orders have" if len(orders) > 1 else "order has"
    left = values.plain_number(case.books_value + posted + sent)
    return (
        f"And {values.signed_number(sent)} {symbol} when the {many} filled: {left} in the end, at the market's price."
    )


def rows_table(title: str, rows: list[dict[str, Any]], empty: str) -> Table:
    """Rows of one shape as a table: a column for each key that any row fills, what matters most first."""
    filled = {key for row in rows for key, value in row.items() if value not in (None, "")}
    keys = [*(key for key in COLUMN_ORDER if key in filled), *sorted(filled - set(COLUMN_ORDER))]
    names = [key.replace("_", " ").capitalize() for key in keys]
    return Table(title, names, [[_cell(key, row.get(key)) for key in keys] for row in rows], empty)


def _cell(key: str, value: Any) -> Any:
    if key.endswith("sha256") and value:
        return values.short_code(str(value))
    return values.short_code(str(value)) if key in NAMES and value is not None else values.typed(value)


def choices(case: Discrepancy) -> dict[str, Any]:
    """Context of the form: what may be proposed, and what each would do now."""
    offered = []
    for action in case.evidence.get("actions", []):
        suggested = action == case.evidence.get("suggestion")
        try:
            seen = payloads.preview(case, action)
        except RuleBroken as refusal:
            offered.append(Choice(action, title_of(action), suggested, (str(refusal),), None, action in WITH_PRICE))
            continue
        work = work_of(case, seen.payload, seen.sentences)
        with_price, with_realised = action in WITH_PRICE, action in WITH_REALISED
        offered.append(Choice(action, title_of(action), suggested, seen.sentences, work, with_price, with_realised))
    if not offered:
        return {"nothing_to_do": "Nothing can be proposed for this kind of difference: it ends when its cause does."}
    return {"choices": offered, "reasons": REASONS}


def live_proposal(case: Discrepancy, proposal: Proposal, user: User) -> Live:
    """What waits, and what this person may do about it."""
    payload = json.loads(proposal.payload)
    stands = standing(proposal)
    is_own = proposal.proposer.person_id == user.person_id
    waits = stands == "WAITING"
    blocked = f"{proposal.proposer.get_username()} proposed this; a second person must approve." if is_own else ""
    if not is_own and proposal.approvals.filter(approver__person=user.person_id).exists():
        blocked = f"You have decided on it already. {need_in_words(proposal)}"
    if not waits:
        blocked = {"APPROVED": "It is approved and is being applied."}.get(stands, f"It is {stands.lower()}.")
    return Live(
        proposal=proposal,
        title=title_of(payload.get("action", "")),
        who=proposal.proposer.get_username(),
        at=values.moment(proposal.at),
        expires=values.moment(proposal.expires_at),
        standing=stands,
        work=work_of(case, payload, payloads.sentences(case, payload)),
        exact=[rows_table("Entries, as proposed", payload["entries"], "None."), Raw("Payload, word for word", payload)],
        blocked=blocked,
        is_own=is_own,
        shows_verdicts=user.has_perm("trading.approve") or is_own,
        may_withdraw=is_own and waits and user.has_perm("trading.propose"),
        moved=MOVED if waits and has_moved(case, payload) else "",
        needs=need_in_words(proposal) if waits else "",
    )


def has_moved(case: Discrepancy, payload: dict[str, Any]) -> bool:
    """Whether the same action would do something else now."""
    try:
        return payloads.build(case, Action(payload["action"]), payload["parameters"]) != payload
    except RuleBroken:
        return True
