"""Who hears of which case when: a table by severity, and what of a run's word is news."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind, Severity
from reconciliation.domain.lifecycle import State, Step, StepKind
from reconciliation.domain.telling import URGENCY, News, Stood, Told, counted, ends, lasted, named, news_of, was_found

FINDING = Finding(
    kind=Kind.MISSING_FILL, key="fill:1", severity=Severity.HIGH, cause="why", relies_on=Confidence.HISTORY
)
OPENED = Step("f", StepKind.OPENED, State.OPEN, FINDING, counts=True)
AGAIN = Step("f", StepKind.SEEN_AGAIN, State.OPEN, FINDING, counts=True)
CHANGED = Step("f", StepKind.CHANGED, State.OPEN, FINDING, new_version=True, counts=True)


def of(severity: Severity, step: Step) -> Step:
    return replace(step, finding=replace(FINDING, severity=severity))


def test_every_severity_says_how_soon_people_hear_of_it() -> None:
    assert {str(severity): str(urgency) for severity, urgency in URGENCY.items()} == {
        "CRITICAL": "AT_ONCE",
        "HIGH": "AT_ONCE",
        "MEDIUM": "DIGEST",
        "LOW": "DIGEST",
    }


@pytest.mark.parametrize("severity", list(Severity))
def test_a_case_is_told_when_it_is_confirmed_and_grave(severity: Severity) -> None:
    grave = severity in (Severity.HIGH, Severity.CRITICAL)
    suspected = Stood(State.SUSPECTED, severity)
    assert news_of(of(severity, OPENED), suspected) is (News.CONFIRMED if grave else None)
    assert news_of(of(severity, CHANGED), Stood(State.OPEN, severity)) is (News.CHANGED if grave else None)


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        (Severity.HIGH, Severity.HIGH, None),
        (Severity.CRITICAL, Severity.HIGH, None),
        (Severity.LOW, Severity.MEDIUM, None),
        (Severity.MEDIUM, Severity.HIGH, News.GRAVER),
        (Severity.HIGH, Severity.CRITICAL, News.GRAVER),
    ],
)
def test_what_is_seen_again_is_told_only_when_it_has_become_graver(
    before: Severity, after: Severity, news: News | None
) -> None:
    assert news_of(of(after, AGAIN), Stood(State.PROPOSED, before)) is news


def test_a_suspicion_and_a_partial_look_tell_nothing() -> None:
    suspicion = Step("f", StepKind.SEEN, State.SUSPECTED, of(Severity.CRITICAL, AGAIN).finding, counts=True)
    assert news_of(suspicion, None) is None
    changed = Step("f", StepKind.SEEN_AGAIN, State.SUSPECTED, FINDING, new_version=True, counts=True)
    assert news_of(changed, Stood(State.SUSPECTED, Severity.MEDIUM)) is None
    assert news_of(Step("f", StepKind.SEEN_AGAIN, State.OPEN, None), Stood(State.OPEN, Severity.LOW)) is None
    assert news_of(replace(CHANGED, kind=StepKind.NOT_CURED), Stood(State.APPLIED, Severity.HIGH)) is News.NOT_CURED


def test_only_what_was_confirmed_ends() -> None:
    cleared = Step("f", StepKind.CLEARED, State.CLEARED, None, new_version=True)
    assert ends(cleared, Stood(State.OPEN, Severity.HIGH))
    assert not ends(cleared, Stood(State.SUSPECTED, Severity.HIGH)) and not ends(cleared, None)
    over_already = Step("f", StepKind.ACCEPTANCE_ENDED, State.CLOSED, None)
    assert not ends(over_already, Stood(State.CLOSED, Severity.HIGH))


def test_what_people_accepted_counts_for_no_mass() -> None:
    assert was_found(OPENED) and was_found(Step("f", StepKind.SEEN_AGAIN, State.OPEN, None))
    assert not was_found(Step("f", StepKind.ACCEPTED, State.CLOSED, FINDING))
    assert not was_found(Step("f", StepKind.CLEARED, State.CLEARED, None))


def test_many_cases_are_counted_by_kind_and_the_gravest_and_largest_are_named() -> None:
    cases = [Told("COST_BASIS", f"c{n}", Severity.LOW, Decimal(1000)) for n in range(3)]
    cases += [Told("MISSING_FILL", f"f{n}", Severity.HIGH, Decimal(-n) if n else None) for n in range(1200)]
    cases += [Told("SIDE_MISMATCH", "EURUSD", Severity.CRITICAL, Decimal(1))]
    assert counted(cases) == "1,200 MISSING_FILL, 3 COST_BASIS, 1 SIDE_MISMATCH"
    assert named(cases, 3) == (
        "CRITICAL SIDE_MISMATCH EURUSD (+1); HIGH MISSING_FILL f1199 (-1199); HIGH MISSING_FILL f1198 (-1198); "
        "and 1,201 more"
    )
    assert named(cases[:1], 3) == "LOW COST_BASIS c0 (+1000)"


def test_a_span_has_its_two_largest_units() -> None:
    assert lasted(timedelta(hours=3, minutes=12, seconds=50)) == "3 h 12 min"
    assert lasted(timedelta(days=2, hours=1, minutes=5)) == "2 d 1 h"
    assert lasted(timedelta(seconds=59)) == "less than a minute"
    assert lasted(-timedelta(seconds=1)) == "less than a minute"
