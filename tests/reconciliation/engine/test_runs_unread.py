"""What cannot be read of a broker, run after run: one case for people, and no other case moves by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from backoffice.verification import INVARIANTS, check
from reconciliation.domain.fetches import PARTS, Unread, compare_fetches, read_parts
from reconciliation.domain.kinds import Confidence, Severity
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.models import Discrepancy, Run
from tests.reconciliation.conftest import EURUSD, Desk
from tests.reconciliation.scenarios.showing import shows
from trading.clock import now, store_broker_clock
from trading.domain.broker import BrokerSnapshot, Completeness, Part
from trading.models import AuditEvent

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
POLICY = ReconciliationPolicy()
ENOUGH = POLICY.max_retries


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed look does not wait for its next try."""
    monkeypatch.setattr("reconciliation.engine.run.HASTY_SECONDS", 0.0)


def unread(part: Confidence = Confidence.CASH, runs: int = ENOUGH, **more: Any) -> Unread:
    """A part that was not read."""
    made = Unread(part, runs, AT - timedelta(minutes=10), "no answer within 3 s.", answered=True)
    return replace(made, **more)


def without(name: str) -> Any:
    """What makes a snapshot of which one part could not be read."""
    missing = Part(Completeness.FAILED, "no answer")

    def changed(shown: BrokerSnapshot) -> BrokerSnapshot:
        return replace(shown, **{f"{name}_part": missing, name: {} if name == "cash" else ()})

    return changed


def broken() -> list[str]:
    """What of the invariants about runs and cases does not hold."""
    with connection.cursor() as cursor:
        found = [check(cursor, each) for each in INVARIANTS if each.id in ("I-31", "I-32", "I-38", "P-05", "R-11")]
    return [offence.problem for result in found for offence in result.rows]


def fault(desk: Desk, **more: Any) -> None:
    """The broker answers nothing usable from now on."""
    body = {"broker": "oanda", "route": "*", "action": "status", "times": 1000, "args": {"status": 503}}
    desk.simulator.post("/faults", {**body, **more})


@given(st.integers(1, 9), st.integers(1, 9))
def test_one_failed_look_is_no_difference_and_the_policys_number_in_a_row_is_one(runs: int, tries: int) -> None:
    found = compare_fetches([unread(runs=runs)], at=AT, policy=replace(POLICY, max_retries=tries))
    assert [finding.key for finding in found] == (["cash"] if runs >= tries else [])


@pytest.mark.parametrize(
    ("age", "severity"),
    [
        (timedelta(minutes=1), Severity.MEDIUM),
        (timedelta(hours=1), Severity.HIGH),
        (timedelta(days=1), Severity.CRITICAL),
    ],
)
def test_it_gets_graver_with_its_age_and_stays_the_same_matter(age: timedelta, severity: Severity) -> None:
    (young,) = compare_fetches([unread()], at=AT, policy=POLICY)
    (found,) = compare_fetches([unread(since=AT - age, runs=400, error="another")], at=AT, policy=POLICY)
    assert found.severity is severity and found.substance == young.substance
    assert found.actions == () and found.suggestion is None, "there is nothing to decide on"


def test_the_cause_says_since_when_why_what_it_means_and_what_to_do() -> None:
    part, answer = compare_fetches([unread(), unread(Confidence.ANSWER)], at=AT, policy=POLICY)
    for found in (part, answer):
        assert "since 2026-03-02 09:50:00 UTC, in 3 runs in a row" in found.cause
        assert "ended with: no answer within 3 s. " in found.cause and "ends with the first run" in found.cause
    assert "cash" in part.cause and "what rests at the broker goes on resting" in answer.cause


def test_a_part_is_named_only_where_the_broker_did_answer() -> None:
    silent = [unread(part, answered=False) for part in (Confidence.ANSWER, *PARTS)]
    assert [finding.key for finding in compare_fetches(silent, at=AT, policy=POLICY)] == ["answer"]
    assert read_parts([]) == read_parts(["history"]) == frozenset()
    assert read_parts(["cash", "history"]) == {Confidence.CASH, Confidence.ANSWER}


def test_a_silent_broker_becomes_a_case_that_the_first_answer_clears(desk: Desk) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    for _ in range(2):
        assert desk.reconcile().ok
    position = desk.case(kind="EXTERNAL_POSITION")
    fault(desk)
    for number in range(1, ENOUGH + 1):
        assert desk.reconcile().status == "FAILED"
        assert Discrepancy.objects.filter(kind="FETCH_FAILED").exists() == (number == ENOUGH)
    case = desk.case(kind="FETCH_FAILED")
    first = Run.objects.filter(status="FAILED").earliest("id")
    assert (case.key, case.state, case.severity, case.evidence["actions"]) == ("answer", "OPEN", "MEDIUM", [])
    assert f"{first.at:%Y-%m-%d %H:%M:%S}" in case.cause and "503" in case.cause
    assert Run.objects.latest("id").findings == [] and Run.objects.latest("id").counts == {"complete_parts": ["answer"]}
    store_broker_clock(account=desk.account, broker_at=now(desk.account) + timedelta(hours=2), speed=Decimal(1))
    desk.reconcile()
    case.refresh_from_db()
    assert (case.severity, case.version, case.times_seen) == ("HIGH", 1, 2)
    position.refresh_from_db()
    assert (position.state, position.version) == ("OPEN", 1), "nothing is concluded from silence"
    assert broken() == []
    desk.simulator.delete("/faults")
    assert desk.reconcile().ok
    case.refresh_from_db()
    assert case.state == "CLEARED" and list(case.events.values_list("kind", flat=True)) == ["OPENED", "CLEARED"]
    assert (
        AuditEvent.objects.filter(kind__in=["discrepancy.opened", "discrepancy.cleared"], object_id=case.pk).count()
        == 2
    )
    assert broken() == []
    fault(desk)
    for _ in range(ENOUGH):
        desk.reconcile()
    case.refresh_from_db()
    assert (case.state, case.times_reopened) == ("SUSPECTED", 1), "the same case comes back"
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "OPEN" and broken() == []


def test_a_part_that_is_left_out_has_its_own_case_which_only_its_return_clears(desk: Desk) -> None:
    real = shows(desk, without("cash"))
    for _ in range(ENOUGH):
        assert desk.reconcile().status == "INCOMPLETE"
    case = desk.case()
    assert (case.kind, case.key, case.state) == ("FETCH_FAILED", "cash", "OPEN")
    desk.broker = real
    shows(desk, without("orders"))
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "CLEARED", "the cash was read, and that is all that it is about"
    desk.broker = real
    shows(desk, without("cash"))
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "CLEARED", "one look is no difference"
    assert broken() == []


def test_silence_does_not_clear_the_case_of_a_part_and_counts_for_it(desk: Desk) -> None:
    shows(desk, without("positions"))
    for _ in range(ENOUGH):
        desk.reconcile()
    fault(desk)
    for _ in range(ENOUGH):
        assert desk.reconcile().status == "FAILED"
    assert {row.key: row.state for row in Discrepancy.objects.all()} == {"positions": "OPEN", "answer": "OPEN"}
    desk.simulator.delete("/faults")
    assert desk.reconcile().status == "INCOMPLETE"
    assert {row.key: row.state for row in Discrepancy.objects.all()} == {"positions": "OPEN", "answer": "CLEARED"}
    assert desk.case(key="positions").times_seen == 2 * ENOUGH + 1 - (ENOUGH - 1)
    assert broken() == []
