"""What people are told of cases, and when: at once or in the digest, anew, that it is late, and that it is over.

What always holds here: how soon is a table by severity; a case is told when it is confirmed, when it has become graver,
when what there is to decide has changed and when its resolution has not cured it, and of nothing else that a run says
of it; many cases are one text, which counts them all and names the largest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from reconciliation.domain.kinds import Severity
from reconciliation.domain.lifecycle import State, Step, StepKind
from trading.domain.money import ZERO, plain


class Urgency(StrEnum):
    """How soon people hear of a confirmed case."""

    AT_ONCE = "AT_ONCE"
    DIGEST = "DIGEST"


URGENCY: Mapping[Severity, Urgency] = MappingProxyType(
    {
        Severity.CRITICAL: Urgency.AT_ONCE,
        Severity.HIGH: Urgency.AT_ONCE,
        Severity.MEDIUM: Urgency.DIGEST,
        Severity.LOW: Urgency.DIGEST,
    }
)
AT_ONCE = tuple(severity for severity, urgency in URGENCY.items() if urgency is Urgency.AT_ONCE)
CONFIRMED = frozenset({State.OPEN, State.PROPOSED, State.APPROVED, State.APPLIED})
_RANK = {severity: rank for rank, severity in enumerate(Severity)}  # declared from the least to the gravest


class News(StrEnum):
    """Why people are told of a case, in the words of the message."""

    CONFIRMED = "confirmed"
    GRAVER = "graver than before"
    CHANGED = "changed"
    NOT_CURED = "still there after its resolution"


@dataclass(frozen=True, slots=True)
class Stood:
    """A case before a run."""

    state: State
    severity: Severity


@dataclass(frozen=True, slots=True)
class Told:
    """What a message says of one case. `difference` is broker − books, in units of whatever it is about."""

    kind: str
    key: str
    severity: Severity
    difference: Decimal | None


def is_urgent(severity: Severity) -> bool:
    """Whether people hear of a confirmed case of that severity at once."""
    return URGENCY[severity] is Urgency.AT_ONCE


def news_of(step: Step, stood: Stood | None) -> News | None:
    """Why people are told of a run's step at once; None when they are not. `stood` is the case before it."""
    if step.finding is None or step.to_state not in CONFIRMED or not is_urgent(step.finding.severity):
        return None
    if step.kind is StepKind.OPENED:
        return News.CONFIRMED
    if step.kind is StepKind.NOT_CURED:
        return News.NOT_CURED
    if step.new_version:
        return News.CHANGED
    risen = stood is not None and _RANK[step.finding.severity] > _RANK[stood.severity]
    return News.GRAVER if risen else None


def ends(step: Step, stood: Stood | None) -> bool:
    """Whether a run's step ends a case that was confirmed."""
    return stood is not None and stood.state in CONFIRMED and step.to_state in (State.CLOSED, State.CLEARED)


def was_found(step: Step) -> bool:
    """Whether the run has found the difference, and nobody has accepted it."""
    return step.kind is not StepKind.ACCEPTED and (step.finding is not None or step.kind is StepKind.SEEN_AGAIN)


def gravest(severities: Sequence[Severity]) -> Severity:
    """The gravest of them."""
    return max(severities, key=lambda severity: _RANK[severity])


def counted(cases: Sequence[Told]) -> str:
    """How many of each kind, the most frequent first."""
    kinds = Counter(case.kind for case in cases)
    return ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items(), key=lambda each: (-each[1], each)))


def named(cases: Sequence[Told], most: int) -> str:
    """The gravest of them by name, of equal ones those with the largest difference, and how many there are beside."""
    ranked = sorted(cases, key=lambda case: (-_RANK[case.severity], -abs(case.difference or ZERO), case.kind, case.key))
    lines = [
        f"{case.severity} {case.kind} {case.key}" + (f" ({_signed(case.difference)})" if case.difference else "")
        for case in ranked[:most]
    ]
    more = len(ranked) - len(lines)
    return "; ".join(lines) + (f"; and {more:,} more" if more else "")


def _signed(number: Decimal) -> str:
    return f"+{plain(number)}" if number > 0 else plain(number)


def lasted(span: timedelta) -> str:
    """How long something stood, in its two largest units: `3 h 12 min`."""
    minutes = max(int(span.total_seconds()), 0) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return " ".join(parts[:2]) or "less than a minute"
