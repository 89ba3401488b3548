"""What is due: from rows and the account's own clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.lifecycle import State
from reconciliation.engine import due as due_module
from reconciliation.engine import overdue
from reconciliation.engine.due import due, reconcilable, run_if_due, slot_of
from reconciliation.engine.startup import block_entries_until_reconciled
from reconciliation.models import Run
from reconciliation.services import discrepancies
from reconciliation.tasks import tick
from tests.reconciliation.conftest import EURUSD, TEST, Desk, People
from trading.clock import store_broker_clock
from trading.models import Account, AuditEvent, Restriction
from trading.services import leases


@given(st.integers(0, 4_000_000_000), st.integers(1, 86400))
def test_a_slot_begins_at_or_before_its_moment_and_is_as_long_as_the_interval(seconds: int, interval: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    slot = slot_of(moment, interval)
    assert slot <= moment < slot + timedelta(seconds=interval)
    assert slot_of(slot, interval) == slot


def at(desk: Desk, text: str) -> None:
    """Set the account's clock, standing still."""
    store_broker_clock(account=desk.account, broker_at=datetime.fromisoformat(text), speed=Decimal(0))


def test_a_periodic_run_is_due_once_in_each_slot_of_the_accounts_clock(desk: Desk) -> None:
    at(desk, "2026-03-02T10:04:00+00:00")
    first = run_if_due(desk.account)
    assert first is not None and first.ok
    assert run_if_due(desk.account) is None
    at(desk, "2026-03-02T10:05:00+00:00")
    wanted = due(desk.account)
    assert wanted is not None and wanted.trigger == "PERIODIC"
    assert wanted.scheduled_for == datetime(2026, 3, 2, 10, 5, tzinfo=UTC)


def test_missed_slots_are_noticed_in_the_audit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_module, "OVERDUE_AFTER", timedelta(0))
    at(desk, "2026-03-02T10:00:00+00:00")
    run_if_due(desk.account)
    at(desk, "2026-03-02T10:20:00+00:00")
    run_if_due(desk.account)
    event = AuditEvent.objects.get(kind="reconciliation.overdue")
    assert event.after == {"missed": 3}


def test_a_fill_of_ours_makes_a_post_trade_run_due_until_a_complete_run_saw_it(desk: Desk, people: People) -> None:
    at(desk, "2026-03-02T10:00:00+00:00")
    run_if_due(desk.account)
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.reconcile()
    desk.reconcile()
    desk.resolve(desk.case(state="OPEN"), "book_fills", people)
    wanted = due(desk.account)
    assert wanted is not None and wanted.trigger == "POST_TRADE"
    result = run_if_due(desk.account)
    assert result is not None and result.ok
    assert due(desk.account) is None


def test_a_started_desk_runs_a_startup_reconciliation_that_lifts_the_block(desk: Desk) -> None:
    at(desk, "2026-03-02T10:00:00+00:00")
    assert block_entries_until_reconciled() == 1
    wanted = due(desk.account)
    assert wanted is not None and wanted.trigger == "STARTUP"
    assert tick()["due"] == 1
    assert Run.objects.get().trigger == "STARTUP"
    assert not Restriction.objects.filter(source="startup", lifted_at=None).exists()


def test_a_grave_difference_keeps_entries_blocked_after_the_start(desk: Desk) -> None:
    block_entries_until_reconciled()
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    desk.reconcile("STARTUP")
    assert Restriction.objects.filter(source="startup", lifted_at=None).count() == 1


def test_the_tick_applies_what_was_approved(desk: Desk, people: People) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.reconcile()
    desk.reconcile()
    desk.approve(desk.propose(desk.case(state="OPEN"), "book_fills", people.ada), people.bob)
    assert tick()["applied"] == 1


def test_runs_of_an_account_never_overlap(desk: Desk) -> None:
    key = f"reconcile:{desk.account.pk}"
    token = leases.acquire(key=key, holder="somebody else", seconds=30)
    assert token is not None
    assert desk.reconcile().status == "BUSY"
    leases.release(key=key, token=token)
    assert desk.reconcile().ok


def test_a_slot_is_run_once_even_when_asked_twice(desk: Desk) -> None:
    slot = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
    assert desk.reconcile("PERIODIC", scheduled_for=slot).ok
    assert desk.reconcile("PERIODIC", scheduled_for=slot).status == "SKIPPED"


def test_paper_books_inactive_accounts_and_replay_worlds_are_left_alone(desk: Desk) -> None:
    from trading.engine.accounts import paper_account

    paper_account(name="a paper book")
    assert [account.pk for account in reconcilable()] == [desk.account.pk]
    Account.objects.filter(pk=desk.account.pk).update(scope="a replay")
    assert reconcilable() == []


def test_a_start_beside_a_case_that_locks_its_instrument_blocks_nothing_else(desk: Desk) -> None:
    desk.reconcile()
    desk.external("trade", instrument="EUR_USD", quantity="1000", price="1.1")
    for _ in range(2):
        desk.reconcile()
    block_entries_until_reconciled()
    desk.reconcile("STARTUP")
    assert not Restriction.objects.filter(source="startup", lifted_at=None).exists()
    assert Restriction.objects.get(source="reconciliation", lifted_at=None).instrument is not None


def test_a_start_beside_something_grave_about_the_account_says_what_it_waits_for(desk: Desk) -> None:
    desk.reconcile()
    desk.external("silent_cash", currency="USD", amount="-37.5")
    for _ in range(2):
        desk.reconcile()
    block_entries_until_reconciled()
    for _ in range(2):
        desk.reconcile("STARTUP")
        (standing,) = Restriction.objects.filter(source="startup", lifted_at=None)
        assert standing.reason == "CASH_UNEXPLAINED USD stands: entries wait until it is resolved"
    desk.external("silent_cash", currency="USD", amount="37.5")
    desk.reconcile()
    assert not Restriction.objects.filter(source="startup", lifted_at=None).exists()


def due_after(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is due once a run may be tried again; the slot of the schedule is taken."""
    monkeypatch.setattr(due_module, "AGAIN_AFTER", timedelta(0))
    wanted = due(desk.account)
    return wanted.trigger if wanted is not None else ""


def test_a_start_waits_for_people_and_not_for_ever_more_runs(
    desk: Desk, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(desk, "2026-03-02T10:00:00+00:00")
    run_if_due(desk.account)
    desk.external("silent_cash", currency="USD", amount="-37.5")
    block_entries_until_reconciled()
    for _ in range(2):
        assert due_after(desk, monkeypatch) == "STARTUP", "what it found may be gone by itself"
        desk.reconcile("STARTUP")
    assert due_after(desk, monkeypatch) == "", "it is confirmed: another look says nothing new"
    desk.resolve(desk.case(state="OPEN"), "adjust", people)
    assert due_after(desk, monkeypatch) == "STARTUP", "what was carried out may lift the block"
    desk.reconcile("STARTUP")
    assert not Restriction.objects.filter(source="startup", lifted_at=None).exists()


def test_a_start_beside_a_block_that_stands_from_before_begins_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(desk, "2026-03-02T10:00:00+00:00")
    run_if_due(desk.account)
    desk.external("silent_cash", currency="USD", amount="-37.5")
    block_entries_until_reconciled()
    for _ in range(3):
        desk.reconcile("STARTUP")
    assert due_after(desk, monkeypatch) == ""
    for _ in range(2):
        block_entries_until_reconciled()
        (standing,) = Restriction.objects.filter(source="startup", lifted_at=None)
        assert "has just started" in standing.reason
    assert due_after(desk, monkeypatch) == "STARTUP"


def test_a_start_waits_for_no_case_that_only_a_statement_tells_of(desk: Desk) -> None:
    desk.reconcile()
    desk.external("silent_cash", currency="USD", amount="-37.5")
    for _ in range(2):
        desk.reconcile()
    case = desk.case(state="OPEN")
    case.key, case.fingerprint = "statement:USD", "f" * 64
    case.evidence = {**case.evidence, "evidence": {"statement": 1}}
    with transaction.atomic():
        discrepancies.move(case, State.PROPOSED, kind="PROPOSED", actor=TEST, proposal=None)
    desk.external("silent_cash", currency="USD", amount="37.5")
    block_entries_until_reconciled()
    desk.reconcile("STARTUP")
    assert not Restriction.objects.filter(source="startup", lifted_at=None).exists()


def test_missed_slots_are_noticed_beside_a_run_that_was_taken_up_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due_module, "OVERDUE_AFTER", timedelta(0))
    at(desk, "2026-03-02T10:00:00+00:00")
    run_if_due(desk.account)
    desk.reconcile("PERIODIC")
    at(desk, "2026-03-02T10:20:00+00:00")
    wanted = due(desk.account)
    assert wanted is not None and wanted.missed == 3


def test_what_is_due_is_found_without_reading_what_runs_have_found(desk: Desk) -> None:
    at(desk, "2026-03-02T10:00:00+00:00")
    run_if_due(desk.account)
    block_entries_until_reconciled()
    with CaptureQueriesContext(connection) as asked:
        due(desk.account)
        overdue.watch(desk.account)
    assert asked.captured_queries and not [query for query in asked.captured_queries if '"findings"' in query["sql"]]
