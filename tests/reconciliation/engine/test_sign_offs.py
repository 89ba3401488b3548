"""Signing off a day, end to end: prepared, reviewed, closed; and what comes late for a day that is closed."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from reconciliation.models import SignOff
from reconciliation.services import sign_offs
from tests.reconciliation.conftest import TEST, People
from tests.reconciliation.engine.share_desk import AAPL, ShareDesk, verified
from trading.clock import now, trading_day
from trading.domain.broker import BrokerEvent, CashData, EventKind
from trading.engine.settling import settle_all
from trading.models import Account, ClosedDay, Entry, Fill, Proposal, RiskEvent
from trading.selectors import books
from trading.services import inbox
from trading.services.errors import RuleBroken
from trading.services.setup import ensure_account


@pytest.fixture
def desk(share_desk: ShareDesk) -> ShareDesk:
    """The account of shares."""
    return share_desk


def prepared(desk: ShareDesk, people: People, day: date, *accepted: int) -> Proposal:
    return sign_offs.prepare(
        account=desk.account, day=day, accepted=accepted, reason="agrees with the statement", preparer=people.ada,
        actor=TEST,
    )  # fmt: skip


def reviewed(proposal: Proposal, people: People) -> SignOff:
    sign_offs.review(
        proposal_id=proposal.pk, reviewer=people.bob, verdict="APPROVE", payload_sha256=proposal.payload_sha256,
        reason="checked", actor=TEST,
    )  # fmt: skip
    return sign_offs.apply(proposal_id=proposal.pk, actor=TEST, applied_by=people.bob)


def test_a_day_is_closed_by_two_people_on_a_run_from_after_its_end(desk: ShareDesk, people: People) -> None:
    desk.reconcile()
    day = trading_day(desk.account)
    with pytest.raises(RuleBroken, match="it can be signed off after that"):
        prepared(desk, people, day)
    desk.wait_days(1)
    with pytest.raises(RuleBroken, match="no complete reconciliation"):
        prepared(desk, people, day)
    run = desk.reconcile().run_id
    proposal = prepared(desk, people, day)
    with pytest.raises(RuleBroken, match="review that one first"):
        prepared(desk, people, day)
    with pytest.raises(RuleBroken, match="whoever proposed cannot approve"):
        sign_offs.review(
            proposal_id=proposal.pk, reviewer=people.adas_other_user, verdict="APPROVE",
            payload_sha256=proposal.payload_sha256, actor=TEST,
        )  # fmt: skip
    desk.reconcile()
    signed = reviewed(proposal, people)
    assert sign_offs.apply(proposal_id=proposal.pk, actor=TEST) == signed and signed.run_id == run
    assert ClosedDay.objects.get().application == signed.application
    with pytest.raises(RuleBroken, match="signed off already"):
        prepared(desk, people, day)
    verified()


def test_payments_that_are_due_and_cases_that_nobody_accepted_keep_a_day_open(desk: ShareDesk, people: People) -> None:
    desk.reconcile()
    desk.external("trade", instrument=AAPL, quantity="10", price="100")
    desk.resolve(desk.opened(), "book_fills", people)
    due = Fill.objects.get().settles_on
    assert due is not None
    desk.external("silent_cash", currency="USD", amount="7")
    desk.wait_days(5)
    desk.reconcile()
    with pytest.raises(RuleBroken, match="1 payment.s. due by"):
        prepared(desk, people, due)
    assert settle_all() == 1
    with pytest.raises(RuleBroken, match="was booked after run"):
        prepared(desk, people, due)
    desk.reconcile()
    case = desk.case(kind="CASH_UNEXPLAINED")
    with pytest.raises(RuleBroken, match="were not accepted: CASH_UNEXPLAINED USD"):
        prepared(desk, people, due)
    proposal = prepared(desk, people, due, case.pk)
    desk.external("silent_cash", currency="USD", amount="1")
    desk.reconcile()
    with pytest.raises(RuleBroken, match="is new or has changed"):
        reviewed(proposal, people)
    assert not SignOff.objects.exists() and not ClosedDay.objects.exists()


def test_what_comes_late_for_a_closed_day_waits_for_two_people_and_keeps_its_date(
    desk: ShareDesk, people: People
) -> None:
    desk.reconcile()
    day, late = trading_day(desk.account), now(desk.account)
    desk.wait_days(1)
    desk.reconcile()
    reviewed(prepared(desk, people, day), people)
    desk.external("silent_cash", currency="USD", amount="3")
    cash = CashData("late", EventKind.DIVIDEND, "USD", Decimal(3), AAPL)
    event = BrokerEvent("late", 10**18, late, EventKind.DIVIDEND, {"id": "late"}, cash=(cash,))
    assert inbox.receive(account=desk.account, events=[event]).held
    told = RiskEvent.objects.get(kind="EVENT_NOT_BOOKED")
    assert f"It happened on {day}" in told.reason and "was signed off" in told.reason
    case = desk.opened()
    assert (case.kind, case.difference) == ("DIVIDEND_NOT_BOOKED", 3)
    desk.resolve(case, "book_cash", people)
    entry = Entry.objects.get(kind="DIVIDEND")
    assert (entry.trading_day, entry.at) == (day, late) and entry.application is not None
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == () and desk.agrees()
    verified()


def test_a_bust_on_a_closed_day_is_booked_under_the_approval_it_needs_anyway(desk: ShareDesk, people: People) -> None:
    desk.reconcile()
    done = desk.external("trade", instrument=AAPL, quantity="10", price="100")
    desk.resolve(desk.opened(), "book_fills", people)
    day = trading_day(desk.account)
    desk.wait_days(1)
    desk.reconcile()
    reviewed(prepared(desk, people, day), people)
    desk.external("bust", fill_id=done["fill_id"])
    desk.resolve(desk.opened(), "book_fills", people)
    assert Entry.objects.get(kind="REVERSAL").trading_day == day and books.positions(desk.account) == {}
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == () and desk.agrees()
    verified()


def test_a_payment_that_comes_late_for_closed_days_is_dated_the_first_open_one(desk: ShareDesk, people: People) -> None:
    desk.reconcile()
    desk.external("trade", instrument=AAPL, quantity="10", price="100")
    desk.reconcile()
    traded = trading_day(desk.account)
    desk.wait_days(8)
    desk.reconcile()
    case = desk.opened()
    for number in range(7):
        reviewed(prepared(desk, people, traded + timedelta(days=number), case.pk), people)
    desk.resolve(case, "book_fills", people)
    assert settle_all() == 1
    paid = Entry.objects.get(kind="SETTLEMENT")
    assert paid.value_date == Fill.objects.get().settles_on and paid.trading_day == traded + timedelta(days=7)
    assert settle_all() == 0
    verified()


def test_a_paper_book_has_no_sign_off(people: People) -> None:
    paper = ensure_account(
        name="paper", broker=Account.Broker.PAPER, environment=Account.Environment.IN_PROCESS, external_id="p",
        currency="USD",
    )  # fmt: skip
    assert "paper book" in sign_offs.evidence(paper, date(2026, 3, 2)).refused and not sign_offs.days_to_sign_off(paper)
