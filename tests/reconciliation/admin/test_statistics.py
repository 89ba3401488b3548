"""Cases in numbers: counted from facts, to the second and to the run; and the page with its pictures and its tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from reconciliation.models import Discrepancy, DiscrepancyEvent, Run
from reconciliation.selectors.statistics import Spread, statistics
from tests.reconciliation.admin.test_queue import copy_of
from tests.trading.admin.world import World
from trading.models import BrokerEvent

SignIn = Callable[[str], Client]
PAGE = "admin:reconciliation_discrepancy_statistics"
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def lived(case: Discrepancy, number: int, *steps: tuple[str, str, str, datetime]) -> Discrepancy:
    """A case with these steps: kind, from, to, when."""
    made = copy_of(case, number, state=steps[-1][2])
    for place, (kind, before, after, at) in enumerate(steps, start=1):
        DiscrepancyEvent.objects.create(
            discrepancy=made, sequence=place, kind=kind, from_state=before, to_state=after, at=at
        )
    return made


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_times_to_resolve_run_from_the_confirmation_to_each_end_and_leave_out_what_never_opened(
    case: Discrepancy,
) -> None:
    opened = ("OPENED", "SUSPECTED", "OPEN", NOON)
    for number, took in enumerate((60, 120, 600), start=1):
        lived(case, number, opened, ("CLOSED", "APPLIED", "CLOSED", NOON + seconds(took)))
    lived(case, 4, ("SEEN", "", "SUSPECTED", NOON), ("CLEARED", "SUSPECTED", "CLEARED", NOON + seconds(5)))
    twice = lived(
        case, 5, opened, ("CLEARED", "OPEN", "CLEARED", NOON + seconds(300)),
        ("COMMENTED", "CLEARED", "CLEARED", NOON + DAY), ("REOPENED", "CLEARED", "SUSPECTED", NOON + DAY),
        ("OPENED", "SUSPECTED", "OPEN", NOON + DAY), ("CLOSED", "OPEN", "CLOSED", NOON + DAY + seconds(10)),
    )  # fmt: skip
    seen = statistics(until=NOON + 2 * DAY, days=3)
    by_day = {day.day: day for day in seen.days}
    assert list(by_day) == [(NOON + place * DAY).date() for place in range(3)]
    first, second = by_day[NOON.date()], by_day[(NOON + DAY).date()]
    assert (first.seen, first.opened, first.ended) == (5, 4, 5)
    assert first.resolve == Spread(4, 210.0, pytest.approx(510.0), 600.0)  # type: ignore[arg-type]
    assert (second.opened, second.ended, second.resolve) == (1, 1, Spread(1, 10.0, 10.0, 10.0))
    assert seen.resolve is not None and (seen.resolve.number, seen.resolve.median) == (5, 120.0)
    assert statistics(until=NOON + 40 * DAY, days=7).resolve is None
    assert statistics(until=NOON - seconds(1), days=3).resolve is None
    stands = dict(seen.by_kind)[case.kind]
    assert (stands["CLOSED"], stands["CLEARED"], stands["OPEN"]) == (4, 1, 1) and twice.kind == case.kind


def test_times_to_detect_run_from_the_brokers_event_in_seconds_and_in_complete_runs(
    case: Discrepancy, world: World
) -> None:
    event = BrokerEvent.objects.filter(account=world.account).earliest("at")

    def run(after: float, status: str = "COMPLETE", trigger: str = "PERIODIC") -> Run:
        at = event.at + seconds(after)
        return Run.objects.create(
            at=at, account=world.account, trigger=trigger, started_at=at, status=status, completeness=status
        )

    run(-10)
    run(20, status="INCOMPLETE")
    run(25, trigger="STATEMENT")
    soon, later = run(30), run(90)
    evidence = {**case.evidence, "events": [event.pk]}
    for number, (first, what) in enumerate(((soon, evidence), (later, evidence), (later, {**evidence, "events": []}))):
        lived_at = copy_of(case, number, first_run=first, evidence=what)
        DiscrepancyEvent.objects.create(
            discrepancy=lived_at, sequence=1, kind="SEEN", to_state="SUSPECTED", at=first.at, run=first
        )
    seen = statistics(until=event.at + DAY, days=2, account=world.account)
    assert seen.detect == Spread(2, 60.0, pytest.approx(84.0), 90.0)  # type: ignore[arg-type]
    assert seen.detect_runs == Spread(2, 1.5, pytest.approx(1.9), 2.0)  # type: ignore[arg-type]
    assert seen.begin_unknown == 1


def test_the_page_draws_what_its_tables_say(case: Discrepancy, signed_in: SignIn, world: World) -> None:
    client = signed_in("charlie")
    address = reverse(PAGE)
    page = client.get(address).content.decode()
    assert 'role="img" aria-label="Cases a day: ' in page and "By kind and state" in page
    assert "No confirmed case ended in these 30 days." in page
    now = case.last_seen_at
    lived(case, 1, ("OPENED", "SUSPECTED", "OPEN", now - seconds(125)), ("CLEARED", "OPEN", "CLEARED", now))
    page = client.get(address + f"?account={world.account.pk}&days=7").content.decode()
    assert "Time to resolve: median and p90 of each day" in page
    assert "2 m 5 s" in page and "No confirmed case ended" not in page
    assert "style=" not in page.split('id="content-main"')[1], "the content security policy allows none"
    assert client.get(address + "?account=x&days=99999").status_code == 200
    assert Client().get(address).status_code == 302


def test_without_a_case_the_page_says_what_it_would_show(world: World, signed_in: SignIn) -> None:
    page = signed_in("charlie").get(reverse(PAGE)).content.decode()
    assert "books and broker agreed, or no run was made" in page and "nobody knows when it began" in page
    assert page.count("No case yet.") == 3
