"""What needs a person: one list, the gravest and oldest first, each with one click to the page where it is decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q
from django.urls import reverse

from reconciliation.admin import titles
from reconciliation.models import Discrepancy
from reconciliation.selectors.discrepancies import age
from trading.clock import wall_now
from trading.models import Order, OrderGroup, TaskAttempt, User

from .desk_facts import AccountLine

LIMIT = 8
STATE = Discrepancy.State
WAITING = [STATE.OPEN, STATE.PROPOSED]
WORKING = [STATE.APPROVED, STATE.APPLIED]
RANK = {"CRITICAL": 0, "HIGH": 1, "MEDIUM": 2, "LOW": 3}


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that waits for a person: how grave, what, since how long, and the page to go to."""

    severity: str
    what: str
    about: str
    account: str
    age: timedelta
    verb: str
    url: str
    is_mine: bool = False


@dataclass(frozen=True, slots=True)
class Cases:
    """Discrepancies by number: for a person, being carried out, suspected, for this person's approval, their own."""

    open: int
    working: int
    suspected: int
    oldest: timedelta | None
    for_me: int
    own: int
    others: int


def needs(lines: list[AccountLine], user: User) -> tuple[list[Need], int]:
    """What needs a person, and how many rows were left out."""
    times = {line.account.pk: line.at for line in lines}
    found = [*_cases(times, user), *_unknown(times), *_unsafe(times), *_dead()]
    found.sort(key=lambda need: (not need.is_mine, RANK[need.severity], -need.age.total_seconds()))
    return found[:LIMIT], max(len(found) - LIMIT, 0)


def cases(lines: list[AccountLine], user: User) -> Cases:
    """The cards' numbers."""
    times = {line.account.pk: line.at for line in lines}
    rows = Discrepancy.objects.filter(state__in=Discrepancy.LIVE, account__in=times).order_by()
    counted = list(rows.values("account_id", "state").annotate(number=Count("id"), first=Min("first_seen_at")))
    ages = [times[row["account_id"]] - row["first"] for row in counted if row["state"] in WAITING]
    numbers = {state: sum(row["number"] for row in counted if row["state"] == state) for state in STATE}
    mine = Q(proposal__proposer__person=user.person_id)
    own = rows.filter(mine, state=STATE.PROPOSED).count() if numbers[STATE.PROPOSED] else 0
    others = numbers[STATE.PROPOSED] - own
    return Cases(
        open=sum(numbers[state] for state in WAITING),
        working=sum(numbers[state] for state in WORKING),
        suspected=numbers[STATE.SUSPECTED],
        oldest=max(ages) if ages else None,
        for_me=others if user.has_perm("trading.approve") else 0,
        own=own,
        others=others,
    )


def case_url(case_id: int) -> str:
    """The page of a discrepancy."""
    return reverse("admin:reconciliation_discrepancy_change", args=[case_id])


def _cases(times: dict[int, datetime], user: User) -> list[Need]:
    """The gravest and oldest of those that wait for a proposal or a verdict; the queue has all."""
    waiting = Discrepancy.objects.filter(state__in=WAITING, account__in=times)
    rows = waiting.select_related("account", "instrument", "proposal__proposer")
    found: list[Discrepancy] = []
    for severity in RANK:
        if len(found) <= LIMIT:
            found += list(rows.filter(severity=severity).order_by("first_seen_at")[: LIMIT + 1])
    return [_case(row, times[row.account_id], user) for row in found]


def _case(row: Discrepancy, at: datetime, user: User) -> Need:
    verb, is_mine = "Look at it", False
    if row.state == STATE.OPEN and user.has_perm("trading.propose"):
        verb, is_mine = "Propose", True
    elif row.state == STATE.PROPOSED and row.proposal is not None:
        own = row.proposal.proposer.person_id == user.person_id
        if user.has_perm("trading.approve") and not own:
            verb, is_mine = "Decide", True
        else:
            verb = "Waits for approval"
    return Need(
        str(row.severity),
        titles.kind_of(row),
        titles.about(row),
        row.account.name,
        age(row, at),
        verb,
        case_url(row.pk),
        is_mine,
    )


def _unknown(times: dict[int, datetime]) -> list[Need]:
    rows = Order.objects.filter(state="UNKNOWN", account__in=times).select_related("account", "instrument")
    return [
        Need(
            "HIGH",
            "Order with unknown fate",
            f"{row.side} {row.quantity.normalize():,f} {row.instrument}",
            row.account.name,
            times[row.account_id] - row.at,
            "See the evidence",
            reverse("admin:trading_order_change", args=[row.pk]),
        )
        for row in rows.order_by("at")[: LIMIT + 1]
    ]


def _unsafe(times: dict[int, datetime]) -> list[Need]:
    rows = OrderGroup.objects.filter(state=OrderGroup.State.UNSAFE, account__in=times)
    groups = rows.select_related("account", "decision__signal__instrument").order_by("decision__at")[: LIMIT + 1]
    return [
        Need(
            "CRITICAL",
            "Position without a safe stop",
            f"{group.decision.signal.side} {group.decision.signal.instrument}",
            group.account.name,
            times[group.account_id] - group.decision.at,
            "See the orders",
            reverse("admin:trading_decision_change", args=[group.decision_id]),
        )
        for group in groups
    ]


def _dead() -> list[Need]:
    rows = TaskAttempt.objects.filter(dead_at__isnull=False).order_by("dead_at")[: LIMIT + 1]
    wall = wall_now()
    return [
        Need(
            "HIGH",
            "Work that was given up",
            row.last_error or row.key,
            row.key,
            wall - row.dead_at,
            "See the error",
            reverse("admin:trading_taskattempt_change", args=[row.pk]),
        )
        for row in rows
        if row.dead_at is not None
    ]
