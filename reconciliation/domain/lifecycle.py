"""The life of a case from run to run, as a pure function of what stands and what a run has found.

What always holds here:
- a run opens, clears, closes or reopens a case only when the parts of the broker's answer that the case relies on are
  complete, whatever became of the others; without them it at most raises a suspicion;
- a suspicion opens after the policy's number of such runs, or once it is older than the race window;
- a resolution that was carried out is closed only by a later such run that no longer finds the difference (or,
  for an accepted one, still finds exactly the accepted difference), never by the resolution itself;
- a change of what there is to decide raises the version, so that no approval of the old matter can be applied;
- the same case comes back under the same fingerprint, and the count says how often.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence
from reconciliation.domain.policy import ReconciliationPolicy


class State(StrEnum):
    """Where a case stands."""

    SUSPECTED = "SUSPECTED"
    OPEN = "OPEN"
    PROPOSED = "PROPOSED"
    APPROVED = "APPROVED"
    APPLIED = "APPLIED"
    CLOSED = "CLOSED"
    CLEARED = "CLEARED"


ENDED = frozenset({State.CLOSED, State.CLEARED})
UNDER_DECISION = frozenset({State.PROPOSED, State.APPROVED})
EVERY_PART = frozenset(Confidence)


class StepKind(StrEnum):
    """Why a case moved."""

    SEEN = "SEEN"
    SEEN_AGAIN = "SEEN_AGAIN"
    OPENED = "OPENED"
    CHANGED = "CHANGED"
    CLEARED = "CLEARED"
    REOPENED = "REOPENED"
    CLOSED = "CLOSED"
    ACCEPTED = "ACCEPTED"
    ACCEPTANCE_ENDED = "ACCEPTANCE_ENDED"
    NOT_CURED = "NOT_CURED"
    NOT_FLATTENED = "NOT_FLATTENED"


QUIET = frozenset({StepKind.SEEN_AGAIN})
"""Steps that change no state and leave no event of their own: the run keeps the finding."""


@dataclass(frozen=True, slots=True)
class Case:
    """What stands of a case before a run.

    `accepted_substance` is what two people accepted ("" if nothing). `just_applied`: its resolution was carried out
    after the run had read the books, so the run says nothing about it. `order_pending` and `order_failed` are about
    the closing order of a flatten. `relies_on` are the parts of the answer that its last finding rested on.
    """

    state: State
    substance: str
    times_seen: int
    first_seen_at: datetime
    accepted_substance: str = ""
    just_applied: bool = False
    order_pending: bool = False
    order_failed: bool = False
    relies_on: frozenset[Confidence] = EVERY_PART


@dataclass(frozen=True, slots=True)
class Step:
    """One case's step in one run. `new_version` says that what there is to decide has changed."""

    fingerprint: str
    kind: StepKind
    to_state: State
    finding: Finding | None
    new_version: bool = False
    counts: bool = False
    reason: str = ""


def plan(
    *,
    standing: Mapping[str, Case],
    found: Mapping[str, Finding],
    complete: bool,
    at: datetime,
    policy: ReconciliationPolicy,
    parts: Collection[Confidence] = (),
) -> tuple[Step, ...]:
    """The steps of a run, sorted by fingerprint. `at` is the run's time on the account's clock.

    `parts` are those of the answer that are complete where the whole is not.
    """
    known = EVERY_PART if complete else frozenset(parts)
    steps: list[Step] = []
    for fingerprint in sorted(set(standing) | set(found)):
        case, finding = standing.get(fingerprint), found.get(fingerprint)
        if case is not None and case.just_applied:
            continue
        needed = (case.relies_on if case is not None else frozenset()) | ({finding.relies_on} if finding else set())
        if finding is not None:
            step = _seen(fingerprint, case, finding, complete=needed <= known, at=at, policy=policy)
        elif case is not None and needed <= known:
            step = _gone(fingerprint, case)
        else:
            step = None
        if step is not None:
            steps.append(step)
    return tuple(steps)


def _seen(
    fingerprint: str,
    case: Case | None,
    finding: Finding,
    *,
    complete: bool,
    at: datetime,
    policy: ReconciliationPolicy,
) -> Step | None:
    if case is None:
        opens = complete and policy.confirm_runs <= 1
        kind, state = (StepKind.OPENED, State.OPEN) if opens else (StepKind.SEEN, State.SUSPECTED)
        return Step(fingerprint, kind, state, finding, counts=complete)
    if not complete:
        quiet = case.state not in ENDED
        return Step(fingerprint, StepKind.SEEN_AGAIN, case.state, None) if quiet else None
    changed = finding.substance != case.substance
    if case.state is State.SUSPECTED:
        old_enough = at - case.first_seen_at >= timedelta(seconds=policy.race_window_seconds)
        if case.times_seen + 1 >= policy.confirm_runs or old_enough:
            return Step(fingerprint, StepKind.OPENED, State.OPEN, finding, new_version=changed, counts=True)
        return Step(fingerprint, StepKind.SEEN_AGAIN, State.SUSPECTED, finding, new_version=changed, counts=True)
    if case.state is State.APPLIED:
        return _seen_after_resolution(fingerprint, case, finding)
    if case.state in ENDED:
        if case.state is State.CLOSED and case.accepted_substance == finding.substance:
            return None
        return Step(fingerprint, StepKind.REOPENED, State.SUSPECTED, finding, new_version=True, counts=True)
    if changed:
        back = " The proposal no longer fits." if case.state in UNDER_DECISION else ""
        reason = f"The difference has changed.{back}"
        return Step(fingerprint, StepKind.CHANGED, State.OPEN, finding, new_version=True, counts=True, reason=reason)
    return Step(fingerprint, StepKind.SEEN_AGAIN, case.state, finding, counts=True)


def _seen_after_resolution(fingerprint: str, case: Case, finding: Finding) -> Step:
    if case.accepted_substance and case.accepted_substance == finding.substance:
        return Step(fingerprint, StepKind.ACCEPTED, State.CLOSED, finding, counts=True, reason="accepted as it is")
    if case.order_pending:
        return Step(fingerprint, StepKind.SEEN_AGAIN, State.APPLIED, finding, counts=True)
    reason = "The resolution was carried out, and the difference is still there."
    return Step(fingerprint, StepKind.NOT_CURED, State.OPEN, finding, new_version=True, counts=True, reason=reason)


def _gone(fingerprint: str, case: Case) -> Step | None:
    if case.state is State.APPLIED:
        if case.order_pending:
            return None
        if case.order_failed:
            reason = (
                "Books and broker agree, but the closing order did not fill: the position is still held, now as an "
                "external position in our books."
            )
            return Step(fingerprint, StepKind.NOT_FLATTENED, State.CLOSED, None, new_version=True, reason=reason)
        return Step(fingerprint, StepKind.CLOSED, State.CLOSED, None, reason="a later run no longer finds it")
    if case.state is State.CLOSED and case.accepted_substance:
        return Step(fingerprint, StepKind.ACCEPTANCE_ENDED, State.CLOSED, None, reason="what was accepted is gone")
    if case.state in ENDED:
        return None
    reason = "The difference is gone by itself."
    return Step(fingerprint, StepKind.CLEARED, State.CLEARED, None, new_version=True, reason=reason)
