"""Reconciliation end to end: a real simulator, a real database, two people."""

from __future__ import annotations

import pytest

from reconciliation.domain.compare import reconcile
from reconciliation.engine.applications import sweep
from reconciliation.models import Discrepancy, Run, Snapshot
from tests.reconciliation.conftest import EURUSD, Desk, People
from trading.models import Account, AuditEvent, Entry, Restriction
from trading.selectors import books
from trading.services.setup import ensure_policy


def opened(desk: Desk) -> Discrepancy:
    """The one case, once two complete runs have confirmed it."""
    desk.reconcile()
    desk.reconcile()
    return desk.case(state="OPEN")


def test_an_untouched_account_reconciles_without_a_finding_and_with_a_proof_of_zero(desk: Desk) -> None:
    result = desk.reconcile()
    assert result.ok and result.findings is not None
    assert result.findings.findings == ()
    assert books.cash_balances(desk.account)["USD"] == 100000
    run = Run.objects.get(pk=result.run_id)
    assert run.proof["USD"]["unexplained"] == "0"
    assert run.broker_snapshot is not None and run.books_snapshot is not None


def test_an_external_trade_is_one_case_that_opens_after_two_runs(desk: Desk) -> None:
    desk.reconcile()
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.reconcile()
    case = desk.case()
    assert (case.kind, case.state, case.key) == ("EXTERNAL_POSITION", "SUSPECTED", "EURUSD")
    desk.reconcile()
    case.refresh_from_db()
    assert (case.state, case.times_seen, case.difference) == ("OPEN", 2, 1000)
    assert case.cause.startswith("1 fill of EUR_USD BUY 1000 at 1.1 is in the broker's history and not in our books")
    assert Restriction.objects.filter(instrument__symbol="EURUSD", lifted_at=None).count() == 1


def test_booking_the_fills_makes_books_and_broker_equal_and_a_later_run_closes_the_case(
    desk: Desk, people: People
) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    case = opened(desk)
    desk.resolve(case, "book_fills", people)
    case.refresh_from_db()
    assert case.state == "APPLIED"
    assert desk.agrees()
    assert Entry.objects.filter(kind="EXTERNAL_FILL", application__proposal=case.proposal).count() == 1
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "CLOSED" and case.closed_at is not None
    assert not Restriction.objects.filter(lifted_at=None, source="reconciliation").exists()
    told = list(case.events.order_by("sequence").values_list("kind", flat=True))
    assert told == ["SEEN", "OPENED", "PROPOSED", "APPROVED", "APPLIED", "CLOSED"]
    audited = set(AuditEvent.objects.filter(object_type="reconciliation.Discrepancy").values_list("kind", flat=True))
    assert {"discrepancy.proposed", "discrepancy.approved", "discrepancy.applied", "discrepancy.closed"} <= audited


def test_an_external_round_trip_with_a_loss_is_one_case_that_explains_the_cash(desk: Desk, people: People) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.external("trade", instrument=EURUSD, quantity="-1000", price="1.09")
    case = opened(desk)
    assert case.kind == "MISSING_FILL" and Discrepancy.objects.count() == 1
    assert case.evidence["explains"]["USD"].startswith("-10")
    desk.resolve(case, "book_fills", people)
    assert desk.agrees()


@pytest.mark.parametrize("policy", ["fx", "demo"])
def test_flattening_books_the_fills_closes_at_the_broker_and_counts_as_flattened(
    desk: Desk, people: People, policy: str
) -> None:
    from trading.engine.sender import send_order
    from trading.models import Order

    Account.objects.filter(pk=desk.account.pk).update(policy=ensure_policy(policy))
    desk.account.refresh_from_db()
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.resolve(opened(desk), "flatten", people)
    order = Order.objects.get(tag="FLATTEN")
    assert (order.state, order.side, order.reduce_only) == ("PLANNED", "SELL", True)
    assert desk.reconcile().observed.closed == 0  # type: ignore[union-attr]
    send_order(order_id=order.pk, broker=desk.broker)
    order.refresh_from_db()
    assert order.state == "FILLED"
    result = desk.reconcile()
    assert result.observed is not None and result.observed.flattened == 1
    assert desk.case().state == "CLOSED"
    assert desk.simulator.truth()["positions"] == [] and desk.agrees()


def test_a_position_without_any_history_is_adopted_at_the_brokers_price(desk: Desk, people: People) -> None:
    desk.reconcile()
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    case = opened(desk)
    assert case.kind == "EXTERNAL_POSITION" and "book_fills" not in case.evidence["actions"]
    desk.resolve(case, "adopt_position", people)
    assert desk.agrees()
    desk.reconcile()
    assert desk.case().state == "CLOSED"


@pytest.mark.scenario("S-33")
def test_a_position_that_vanished_without_history_is_closed_at_an_estimate(desk: Desk, people: People) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.resolve(opened(desk), "book_fills", people)
    desk.reconcile()
    desk.external("silent_position", instrument=EURUSD, quantity="-1000")
    desk.reconcile()
    desk.reconcile()
    case = desk.case()
    assert (case.kind, case.state, case.times_reopened) == ("PHANTOM_POSITION", "OPEN", 1)
    desk.resolve(case, "close_at_estimate", people)
    assert desk.agrees()
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "CLOSED"


@pytest.mark.scenario("S-51")
def test_cash_that_moves_in_silence_is_unexplained_and_may_be_adjusted_by_two_people(
    desk: Desk, people: People
) -> None:
    desk.external("silent_cash", currency="USD", amount="-12.34")
    case = opened(desk)
    assert case.kind == "CASH_UNEXPLAINED" and str(case.difference.normalize()) == "-12.34"
    desk.resolve(case, "adjust", people)
    assert desk.agrees()


def test_an_accepted_difference_stays_explained_until_it_changes(desk: Desk, people: People) -> None:
    desk.external("silent_cash", currency="USD", amount="5.00")
    case = opened(desk)
    desk.resolve(case, "accept", people)
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "CLOSED"
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "CLOSED" and case.times_reopened == 0
    desk.external("silent_cash", currency="USD", amount="1.00")
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "SUSPECTED" and case.times_reopened == 1 and case.difference == 6


def test_financing_is_booked_by_the_policy_and_no_case_is_made(desk: Desk) -> None:
    desk.reconcile()
    desk.external("financing", currency="USD", amount="-1.23")
    result = desk.reconcile()
    assert result.ok and Discrepancy.objects.count() == 0
    assert desk.agrees()


def test_a_stopped_broker_ends_in_a_failed_run_and_nothing_vanishes(desk: Desk) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    before = opened(desk).version
    desk.simulator.stop()
    result = desk.reconcile()
    assert (result.status, result.findings) == ("FAILED", None) and result.error
    run = Run.objects.get(pk=result.run_id)
    assert (run.findings, run.broker_snapshot) == ([], None)
    case = desk.case()
    assert (case.state, case.kind, case.version) == ("OPEN", "EXTERNAL_POSITION", before)


@pytest.mark.scenario("S-82")
def test_a_report_only_run_tells_the_difference_and_writes_nothing(desk: Desk) -> None:
    desk.reconcile()
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    counts = [model.objects.count() for model in (Run, Snapshot, Discrepancy, AuditEvent, Entry)]
    result = desk.reconcile(report_only=True)
    assert result.ok and result.run_id is None and result.findings is not None
    assert [finding.kind for finding in result.findings.findings] == ["EXTERNAL_POSITION"]
    assert [model.objects.count() for model in (Run, Snapshot, Discrepancy, AuditEvent, Entry)] == counts


@pytest.mark.fault("F-108", broker="every")
def test_a_difference_that_disappears_clears_itself_and_comes_back_as_the_same_case(desk: Desk) -> None:
    desk.external("silent_cash", currency="USD", amount="7")
    case = opened(desk)
    desk.external("silent_cash", currency="USD", amount="-7")
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "CLEARED"
    desk.external("silent_cash", currency="USD", amount="7")
    desk.reconcile()
    case.refresh_from_db()
    assert (case.state, case.times_reopened, case.times_seen) == ("SUSPECTED", 1, 1)


@pytest.mark.scenario("S-75")
def test_an_approval_is_not_applied_when_the_difference_has_changed_since(desk: Desk, people: People) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    case = opened(desk)
    proposal = desk.propose(case, "book_fills", people.ada)
    desk.approve(proposal, people.bob)
    desk.external("trade", instrument=EURUSD, quantity="500", price="1.2")
    desk.reconcile()
    assert sweep(desk.account) == 0
    case.refresh_from_db()
    assert case.state == "OPEN" and case.version > proposal.subject_version
    assert not Entry.objects.filter(kind="EXTERNAL_FILL").exists()


def test_a_run_that_read_the_books_before_a_resolution_says_nothing_about_it(
    desk: Desk, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    case = opened(desk)
    desk.approve(desk.propose(case, "book_fills", people.ada), people.bob)

    def meanwhile(*sides: object) -> object:
        assert sweep(desk.account) == 1
        return reconcile(*sides)  # type: ignore[arg-type]

    monkeypatch.setattr("reconciliation.engine.run.reconcile", meanwhile)
    assert desk.reconcile().ok
    case.refresh_from_db()
    assert case.state == "APPLIED"
    monkeypatch.undo()
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "CLOSED"


def test_a_run_that_was_overtaken_by_another_writes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trading.services.leases.renew", lambda **_: False)
    assert desk.reconcile().status == "BUSY"
    assert not Run.objects.exists()


@pytest.mark.parametrize("trigger", ["STARTUP", "PERIODIC"])
def test_a_failed_start_blocks_entries_until_a_complete_run(
    desk: Desk, trigger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trading.services.restrictions import trading_state

    monkeypatch.setattr("reconciliation.engine.run.PATIENT_SECONDS", 0.01)
    desk.simulator.post(
        "/faults", {"broker": "oanda", "route": "*", "action": "status", "times": 50, "args": {"status": 503}}
    )
    assert desk.reconcile(trigger).status == "FAILED"
    assert trading_state(desk.account)[0] == ("REDUCE_ONLY" if trigger == "STARTUP" else "OPEN")
    desk.simulator.delete("/faults")
    assert desk.reconcile().ok
    assert trading_state(desk.account)[0] == "OPEN"
