"""People hear of a case when it is confirmed, graver, changed, late and over, each once; of a flood of them once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from reconciliation.domain.compare import reconcile
from reconciliation.domain.findings import Finding, Findings
from reconciliation.domain.kinds import Confidence, Kind, Severity
from reconciliation.domain.lifecycle import State
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.snapshots import InstrumentRule, UnmappedTrade
from reconciliation.models import Discrepancy, DiscrepancyEvent, Run
from reconciliation.services import discrepancies, mass
from reconciliation.services.runs import Reading, record_failure, record_run
from tests.reconciliation.domain.sides import books, broker, held, position
from trading.clock import wall_now
from trading.domain.broker import Completeness
from trading.domain.orders import OrderState
from trading.models import Account, AccountClock, AuditEvent, Entry, Notification, Order, Proposal, Restriction
from trading.services import restrictions
from trading.services.audit import Actor
from trading.services.setup import ensure_account

pytestmark = pytest.mark.django_db
ENGINE = Actor.system("a test")
AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
POLICY = ReconciliationPolicy(confirm_runs=1)
Q = Discrepancy.State


@pytest.fixture
def account() -> Account:
    """An account whose broker's clock stands where the test puts it."""
    made = ensure_account(
        name="told",
        broker=Account.Broker.OANDA,
        environment=Account.Environment.SIMULATOR,
        external_id="told",
        currency="USD",
    )
    AccountClock.objects.create(account=made, wall_at=wall_now(), broker_at=AT, speed=0)
    return made


def later(account: Account, **span: float) -> None:
    """The account's clock goes on."""
    clock = AccountClock.objects.get(account=account)
    clock.broker_at += timedelta(**span)
    clock.save()
    account.refresh_from_db()


def a_finding(number: int = 1, severity: Severity = Severity.HIGH, value: int = 1) -> Finding:
    return Finding(
        kind=Kind.MISSING_FILL,
        key=f"fill:{number}",
        severity=severity,
        cause=f"fill {number} is not in our books",
        relies_on=Confidence.HISTORY,
        difference=Decimal(value),
    )


def look(
    account: Account, *found: Finding, complete: bool = True, policy: ReconciliationPolicy = POLICY
) -> list[tuple[str, str]]:
    """A run that finds this; what it tells people of: level and text."""
    whole = Completeness.COMPLETE if complete else Completeness.PARTIAL
    parts = frozenset(Confidence) if complete else frozenset()
    notes = () if complete else ("page 2 was lost",)
    findings = Findings(found, (), whole, notes, 0, 0, 0, parts)
    return record(account, findings, policy)


def record(account: Account, findings: Findings, policy: ReconciliationPolicy = POLICY) -> list[tuple[str, str]]:
    """A run that came to these findings, stored; what it tells people of."""
    before = set(Notification.objects.values_list("pk", flat=True))
    record_run(
        account=account, trigger=Run.Trigger.MANUAL, scheduled_for=None, started_at=wall_now(), read_at=wall_now(),
        broker=broker(), books=books(), findings=findings, policy=policy, mark="", reading=Reading(1, "9"),
        actor=ENGINE,
    )  # fmt: skip
    return told(before)


def told(before: set[int]) -> list[tuple[str, str]]:
    new = Notification.objects.exclude(pk__in=before).order_by("pk")
    return [(row.level, row.text.removeprefix("told: ")) for row in new]


def test_a_confirmed_case_is_told_once_however_often_it_is_seen(account: Account) -> None:
    careful = replace(POLICY, confirm_runs=2, race_window_seconds=600)
    assert look(account, a_finding(), policy=careful) == [], "a suspicion may be gone with the next run"
    assert look(account, a_finding(), policy=careful) == [
        ("WARNING", "MISSING_FILL fill:1. fill 1 is not in our books")
    ]
    assert look(account, a_finding(), policy=careful) == []
    assert look(account, a_finding(), complete=False, policy=careful) == []


def test_cases_of_little_weight_wait_for_the_digest_until_they_become_graver(account: Account) -> None:
    assert look(account, a_finding(severity=Severity.MEDIUM)) == []
    assert look(account, a_finding(severity=Severity.HIGH)) == [
        ("WARNING", "MISSING_FILL fill:1 is graver than before (HIGH). fill 1 is not in our books")
    ]
    assert look(account, a_finding(severity=Severity.HIGH)) == []
    [(level, _)] = look(account, a_finding(severity=Severity.CRITICAL))
    assert level == "CRITICAL"
    assert look(account, a_finding(severity=Severity.HIGH)) == [], "less grave is no news"
    assert look(account, a_finding(severity=Severity.CRITICAL)) == [], "the same was told before"


def test_a_new_version_of_the_matter_is_told_again(account: Account) -> None:
    look(account, a_finding())
    [(_, text)] = look(account, a_finding(value=2))
    assert text.startswith("MISSING_FILL fill:1 has changed: decide on it anew.")
    assert look(account, a_finding(value=2)) == []


def test_a_resolution_that_did_not_cure_is_told(account: Account) -> None:
    look(account, a_finding())
    Discrepancy.objects.update(state=Q.APPLIED)
    [(_, text)] = look(account, a_finding())
    assert "still there after its resolution" in text


def test_the_end_of_what_was_told_is_told_with_how_it_ended_and_how_long_it_stood(account: Account) -> None:
    look(account, a_finding(1), a_finding(2, Severity.LOW))
    later(account, hours=3, minutes=12)
    assert look(account) == [
        (
            "INFO",
            "over: MISSING_FILL fill:1 is gone by itself after 3 h 12 min. The difference is gone by itself.",
        )
    ]
    assert look(account) == []
    [(_, again)] = look(account, a_finding(1), policy=replace(POLICY, race_window_seconds=0)) or [("", "")]
    assert again == "", "what returns is a suspicion first"
    [(_, confirmed)] = look(account, a_finding(1))
    assert confirmed.startswith("MISSING_FILL fill:1.")
    [(_, over)] = look(account)
    assert over.startswith("over:"), "the second time ends, too"


def test_the_end_of_a_case_that_became_less_grave_is_told_to_those_who_heard_of_it(account: Account) -> None:
    look(account, a_finding())
    assert look(account, a_finding(severity=Severity.MEDIUM, value=2)) == []
    [(_, over)] = look(account)
    assert over.startswith("over: MISSING_FILL fill:1")


def test_a_case_that_waits_too_long_for_a_decision_is_told_once_whatever_the_runs_come_to(account: Account) -> None:
    look(account, a_finding(1, Severity.CRITICAL), a_finding(2, Severity.HIGH), a_finding(3, Severity.MEDIUM))
    later(account, minutes=14)
    everything = (a_finding(1, Severity.CRITICAL), a_finding(2, Severity.HIGH), a_finding(3, Severity.MEDIUM))
    assert look(account, *everything) == []
    later(account, minutes=2)
    before = set(Notification.objects.values_list("pk", flat=True))
    record_failure(
        account=account, trigger=Run.Trigger.MANUAL, scheduled_for=None, started_at=wall_now(), error="no answer",
        policy=POLICY, reading=Reading(1, "9"), actor=ENGINE,
    )  # fmt: skip
    [(level, text)] = told(before)
    assert level == "CRITICAL" and "fill:1 is open since 2026-03-02 10:00 and not decided" in text
    assert "should be within 15 min" in text
    assert look(account, *everything) == []
    later(account, hours=4)
    [(_, text)] = look(account, *everything)
    assert "fill:2 is open since" in text and "within 4 h" in text
    later(account, days=2)
    assert look(account, *everything) == []


def test_a_decided_case_is_not_late(account: Account) -> None:
    look(account, a_finding())
    Discrepancy.objects.update(state=Q.APPROVED)
    later(account, hours=5)
    assert look(account, a_finding()) == []


def test_more_news_than_the_cap_is_one_message(account: Account) -> None:
    many = [a_finding(number, value=number) for number in range(1, 12)]
    assert len(look(account, *many[:10])) == 10
    look(account)
    [(level, text)] = look(account, *(replace(each, key=f"{each.key}b") for each in many))
    assert level == "WARNING" and text.startswith("11 differences are confirmed")
    assert "11 MISSING_FILL. The gravest: HIGH MISSING_FILL fill:11b (+11);" in text and "and 1 more" in text
    [(level, text)] = look(account)
    assert level == "INFO" and text.startswith("11 differences ended") and "11 gone by itself" in text


def test_many_late_cases_are_one_message(account: Account) -> None:
    many = [a_finding(number) for number in range(12)]
    look(account, *many)
    later(account, hours=4, minutes=1)
    [(_, text)] = look(account, *many)
    assert text.startswith("12 differences wait for a decision longer than they should: 12 MISSING_FILL")
    assert look(account, *many) == []


def test_a_case_that_is_late_when_it_becomes_graver_is_told_as_late(account: Account) -> None:
    look(account, a_finding(severity=Severity.MEDIUM))
    later(account, hours=5)
    assert look(account, a_finding(severity=Severity.MEDIUM)) == []
    graver, late = look(account, a_finding(severity=Severity.HIGH))
    assert "is graver than before (HIGH)" in graver[1] and "is open since 2026-03-02 10:00" in late[1]
    assert look(account, a_finding(severity=Severity.HIGH)) == []


def test_late_cases_are_told_whatever_the_runs_before_and_anew_in_a_graver_severity(account: Account) -> None:
    look(account, a_finding())
    Discrepancy.objects.update(state=Q.APPROVED)
    later(account, hours=5)
    assert look(account, a_finding()) == [], "two people have decided"
    Discrepancy.objects.update(state=Q.OPEN)
    [(_, text)] = look(account, a_finding())
    assert "should be within 4 h" in text, "it was late before it came back"
    told_now = look(account, a_finding(severity=Severity.CRITICAL))
    assert [level for level, _ in told_now] == ["CRITICAL", "CRITICAL"] and "within 15 min" in told_now[1][1]
    assert look(account, a_finding(severity=Severity.CRITICAL)) == []


def test_one_more_late_case_after_many_is_told_by_name(account: Account) -> None:
    many = [a_finding(number) for number in range(12)]
    look(account, *many)
    later(account, hours=1)
    look(account, *many, a_finding(20))
    later(account, hours=3, minutes=1)
    [(_, text)] = look(account, *many, a_finding(20))
    assert text.startswith("12 differences wait")
    later(account, hours=1)
    [(_, text)] = look(account, *many, a_finding(20))
    assert text.startswith("MISSING_FILL fill:20 is open since")
    assert look(account, *many, a_finding(20)) == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [("NOT_APPLIED", "was approved and could not be carried out"), ("EXPIRED", "could not be carried out")],
)
def test_an_approved_resolution_that_was_not_carried_out_is_told_once(account: Account, kind: str, said: str) -> None:
    both = a_finding(1, Severity.LOW), a_finding(2, Severity.LOW)
    look(account, *both)
    for number, states in ((1, (State.PROPOSED, State.APPROVED)), (2, (State.PROPOSED,))):
        case = Discrepancy.objects.get(key=f"fill:{number}")
        with transaction.atomic():
            for state in states:
                discrepancies.move(case, state, kind=state, actor=ENGINE, proposal=None, reason="as two people say")
            discrepancies.move(case, State.OPEN, kind=kind, actor=ENGINE, proposal=None, reason="Nothing was posted.")
    [(level, text)] = look(account, *both)
    assert level == "WARNING" and text.startswith("MISSING_FILL fill:1") and said in text
    assert text.endswith("Nothing was posted.")
    assert look(account, *both) == []


def test_the_end_of_a_case_that_was_told_only_while_it_was_graver_is_told(account: Account) -> None:
    look(account, a_finding(severity=Severity.MEDIUM))
    assert len(look(account, a_finding(severity=Severity.HIGH))) == 1
    assert look(account, a_finding(severity=Severity.MEDIUM)) == []
    [(_, over)] = look(account)
    assert over.startswith("over: MISSING_FILL fill:1")


def standing(account: Account) -> Restriction | None:
    return Restriction.objects.filter(account=account, source=mass.SOURCE, lifted_at=None).first()


def test_a_mass_of_differences_pauses_entries_until_a_complete_run_finds_fewer(account: Account) -> None:
    few = replace(POLICY, mass_difference_at=5, alert_cap=2)
    many = [a_finding(number) for number in range(5)]
    look(account, *many[:4], policy=few)
    assert standing(account) is None
    named, (level, text) = look(account, *many, policy=few)
    assert named[1].startswith("MISSING_FILL fill:4."), "few enough to be told by name as well"
    assert level == "CRITICAL" and text.startswith("5 differences with the broker in run")
    found = standing(account)
    assert found is not None and found.level == restrictions.REDUCE_ONLY and found.instrument is None
    assert restrictions.trading_state(account)[0] == restrictions.REDUCE_ONLY
    assert look(account, *many, policy=few) == [] and standing(account) == found
    look(account, many[0], complete=False, policy=few)
    assert standing(account) == found, "an answer in part says nothing of what is gone"
    [(level, text)] = [each for each in look(account, *many[:2], policy=few) if each[1].startswith("over: run")]
    assert level == "INFO" and "2 still stand" in text and standing(account) is None
    [(level, _)] = look(account, *many, policy=few)
    assert level == "CRITICAL" and standing(account) not in (None, found), "it begins anew, and is told anew"


def test_a_few_new_cases_are_told_by_name_even_during_a_mass(account: Account) -> None:
    few = replace(POLICY, mass_difference_at=5, alert_cap=2)
    many = [a_finding(number) for number in range(5)]
    look(account, *many, policy=few)
    [(level, text)] = look(account, *many, a_finding(9, Severity.CRITICAL), policy=few)
    assert level == "CRITICAL" and text.startswith("MISSING_FILL fill:9.")


def test_many_new_cases_during_a_mass_are_one_message_and_those_of_its_beginning_none(account: Account) -> None:
    few = replace(POLICY, mass_difference_at=5, alert_cap=2, confirm_runs=2, race_window_seconds=600)
    many = [a_finding(number) for number in range(5)]
    assert [level for level, _ in look(account, *many, policy=few)] == ["CRITICAL"], "the mass begins"
    new = [a_finding(number, Severity.CRITICAL) for number in range(10, 14)]
    assert look(account, *many, *new, policy=few) == [], "the first five are confirmed: told with the mass"
    [(level, text)] = look(account, *many, *new, policy=few)
    assert level == "CRITICAL" and text.startswith("4 differences are confirmed") and "4 MISSING_FILL" in text
    assert look(account, *many, *new, policy=few) == []


def test_what_two_people_accepted_is_no_mass(account: Account) -> None:
    few = replace(POLICY, mass_difference_at=2)
    accepted = [a_finding(1), a_finding(2)]
    careful = replace(few, mass_difference_at=100)
    look(account, *accepted, policy=careful)
    Discrepancy.objects.update(state=Q.CLOSED)
    look(account, policy=few)
    assert standing(account) is None


def unmapped(number: int) -> UnmappedTrade:
    since = AT - timedelta(minutes=5)
    return UnmappedTrade(number, 40 + number, f"axfl-{number}", "EURUSD", OrderState.PLANNED, since)


def test_more_unmapped_trades_than_the_policy_allows_are_told(account: Account) -> None:
    few, many = (tuple(unmapped(number) for number in range(count)) for count in (3, 4))
    assert record(account, reconcile(broker(), books(unmapped=few), POLICY)) == [], "three wait for the digest"
    said = record(account, reconcile(broker(), books(unmapped=many), POLICY))
    assert len(said) == 4 and all("It is one of 4." in text for _, text in said)
    assert sum("is graver than before (HIGH)" in text for _, text in said) == 3, "those that were known rise"
    assert record(account, reconcile(broker(), books(unmapped=many), POLICY)) == []


@pytest.fixture(scope="module")
def renamed() -> Findings:
    """What a comparison makes of a broker that shows 2,500 instruments under new names from one day to the next.

    Made before a test's transaction begins: one that waits for so long is ended by the database.
    """
    names = {f"S{n}": Decimal(n) for n in range(1, 2_501)}
    rules = {name: InstrumentRule(name, name, Decimal(1), Decimal("0.01")) for name in names}
    theirs = broker(*(position(f"{name}_NEW", str(units)) for name, units in names.items()))
    ours = books(*(held(name, str(units)) for name, units in names.items()), instruments=rules)
    return reconcile(theirs, ours, POLICY)


@pytest.mark.fault("F-109", broker="every")
def test_five_thousand_differences_are_one_message_a_pause_and_their_cases_and_nothing_is_booked(
    account: Account, renamed: Findings
) -> None:
    policy = replace(POLICY, confirm_runs=2, race_window_seconds=600)
    assert len(renamed.findings) == 5_000
    with CaptureQueriesContext(connection) as seen:
        said = [*record(account, renamed, policy), *record(account, renamed, policy)]
    assert len(seen) < 300, "no statement for each case"
    [(level, text)] = said
    assert level == "CRITICAL" and text.startswith("5,000 differences with the broker in run")
    assert "2,500 PHANTOM_POSITION, 2,500 UNMAPPED_INSTRUMENT. The gravest: HIGH PHANTOM_POSITION S2500 (-2500)" in text
    assert "S2491 (-2491)" in text and "S2490 " not in text and "and 4,990 more" in text, "the largest ten"
    assert Discrepancy.objects.filter(account=account, state=Q.OPEN).count() == 5_000
    assert DiscrepancyEvent.objects.count() == AuditEvent.objects.filter(kind__startswith="discrepancy.").count()
    assert standing(account) is not None
    assert not Entry.objects.exists() and not Order.objects.exists() and not Proposal.objects.exists()
    later(account, minutes=10)
    [(level, text)] = look(account, policy=policy)
    assert level == "INFO" and "found 0 differences, fewer than 100; entries go on after 10 min" in text
    assert "5,000 confirmed cases ended with it; none is left open" in text
    assert standing(account) is None and not Discrepancy.objects.exclude(state=Q.CLEARED).exists()
