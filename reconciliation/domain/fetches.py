"""What cannot be read of the broker, run after run, as a difference of its own.

What always holds here: one failed look is no difference, only so many of them in a row as the policy gives a run tries;
nothing is said about positions, orders or money, except that nobody knows them; a part is named only when the broker
did answer meanwhile and left that part out, otherwise it is the answer that is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciliation.domain.actions import actions_for
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.severity import severity_of

PARTS = (Confidence.POSITIONS, Confidence.ORDERS, Confidence.CASH)
LONGEST_ERROR = 300


@dataclass(frozen=True, slots=True)
class Unread:
    """A part that the last `runs` runs in a row could not read; `Confidence.ANSWER` when nothing of any came.

    `since` is the first of them, on the account's clock; `error` is what the last of them ended with. `answered`: at
    least one of them read another part.
    """

    part: Confidence
    runs: int
    since: datetime
    error: str
    answered: bool


def read_parts(complete_parts: Collection[str]) -> frozenset[Confidence]:
    """What a run has read, from the complete parts of its answer: an answer of which no part is complete is none."""
    read = frozenset(part for part in PARTS if part in complete_parts)
    return read | {Confidence.ANSWER} if read else read


def compare_fetches(unread: Iterable[Unread], *, at: datetime, policy: ReconciliationPolicy) -> tuple[Finding, ...]:
    """The differences at a moment of the account's clock."""
    return tuple(
        _finding(each, at)
        for each in unread
        if each.runs >= max(policy.max_retries, 1) and (each.part is Confidence.ANSWER or each.answered)
    )


def _finding(unread: Unread, at: datetime) -> Finding:
    actions, suggestion = actions_for(Kind.FETCH_FAILED)
    error = " ".join(unread.error.split())[:LONGEST_ERROR].rstrip(". ")
    return Finding(
        kind=Kind.FETCH_FAILED,
        key=str(unread.part),
        severity=severity_of(Kind.FETCH_FAILED, age=max(at - unread.since, timedelta(0))),
        cause=f"{_what(unread)} The last run ended with: {error}. {_meaning(unread.part)}",
        relies_on=Confidence.ANSWER,
        evidence={"since": unread.since, "runs": unread.runs, "error": error},
        actions=actions,
        suggestion=suggestion,
    )


def _what(unread: Unread) -> str:
    since = f"since {unread.since:%Y-%m-%d %H:%M:%S} UTC, in {unread.runs} runs in a row"
    if unread.part is Confidence.ANSWER:
        return f"The broker has given no usable answer {since}."
    return f"The broker's {unread.part} could not be read completely {since}."


def _meaning(part: Confidence) -> str:
    if part is Confidence.ANSWER:
        return (
            "Positions, orders and cash stand in our books as they were then; nobody knows whether they still stand so "
            "at the broker. Nothing was booked, closed or cancelled because of this, and what rests at the broker goes "
            "on resting there. See whether the broker is up and takes our key; if this lasts, look at the account on "
            "the broker's own pages. The case ends with the first run that gets an answer."
        )
    return (
        f"What our books say of the {part} is unproven since then; no difference in them is opened or called gone, and "
        f"nothing was changed because of it. Compare the {part} with the broker's own pages if this lasts. The case "
        f"ends with the first run that reads them."
    )
