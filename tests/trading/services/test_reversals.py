"""Reversals that people ask for: shown, proposed, approved by somebody else, applied once, with all that follows."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from backoffice.verification import INVARIANTS, check
from tests.trading.services import making, shares
from tests.trading.services.making import TEST, cash_of, fill_of, make_account, make_entry, make_exit, receive
from tests.trading.services.shares import bought, make_share_account
from trading.models import (
    Account,
    Application,
    AuditEvent,
    DayState,
    Entry,
    EquityPoint,
    Fill,
    Order,
    Person,
    Position,
    Proposal,
    RiskEvent,
    Trade,
    User,
)
from trading.selectors import books
from trading.services import reversals
from trading.services.errors import RuleBroken
from trading.services.settlement import settle_due
from trading.services.splits import book_split

pytestmark = pytest.mark.django_db
D = Decimal


def user(name: str, group: str) -> User:
    made = User.objects.create_user(name, person=Person.objects.create(name=name))
    made.groups.add(Group.objects.get(name=group))
    return made


@pytest.fixture
def ada() -> User:
    return user("ada", "operator")


@pytest.fixture
def bob() -> User:
    return user("bob", "approver")


@pytest.fixture
def account() -> Account:
    made = make_share_account()
    receive(made, cash_of(1, "TRANSFER", "10000"))
    return made


def approved(entry: Entry, ada: User, bob: User) -> Proposal:
    proposal = reversals.propose(entry_id=entry.pk, reason="it was booked twice", proposer=ada, actor=TEST)
    reversals.decide(
        proposal_id=proposal.pk, person=bob, verdict="APPROVE", payload_sha256=proposal.payload_sha256, actor=TEST
    )
    return proposal


def reverse(entry: Entry, ada: User, bob: User) -> Application:
    return reversals.apply(proposal_id=approved(entry, ada, bob).pk, actor=TEST, applied_by=bob)


HOLD = {
    "C-01", "C-02", "C-03", "C-04", "I-05", "I-06", "I-07", "I-10", "I-16b", "I-20", "I-22", "I-24", "I-25", "I-27",
    "I-33", "I-40", "I-41", "P-01", "P-02", "P-03", "R-06", "R-07",
}  # fmt: skip


def books_hold(*but: str) -> None:
    """Every invariant about books, orders and trades."""
    with connection.cursor() as cursor:
        for invariant in INVARIANTS:
            if invariant.id in HOLD - set(but):
                result = check(cursor, invariant)
                assert result.ok, (invariant.id, result.rows)


@pytest.mark.fault("F-107", broker="every")
def test_a_deposit_is_taken_back_once_and_the_curve_is_as_if_it_had_not_been(
    account: Account, ada: User, bob: User
) -> None:
    receive(account, cash_of(2, "TRANSFER", "500"))
    entry = Entry.objects.latest("id")
    seen = reversals.preview(entry.pk)
    assert [(b.ledger_account.kind, b.before, b.after) for b in seen.balances] == [
        ("CASH", 10500, 10000), ("CAPITAL", -10500, -10000),
    ]  # fmt: skip
    assert "broker's history still has it" in seen.warnings[0]
    proposal = approved(entry, ada, bob)
    first = reversals.apply(proposal_id=proposal.pk, actor=TEST, applied_by=bob)
    assert reversals.apply(proposal_id=proposal.pk, actor=TEST) == first
    reversal = entry.reversals.get()
    assert (reversal.application, reversal.at, reversal.trading_day) == (first, entry.at, entry.trading_day)
    assert books.cash_balances(account) == {"USD": 10000}
    assert [point.balance for point in EquityPoint.objects.order_by("at")] == [10000, 10000]
    assert AuditEvent.objects.filter(kind="entry.reversed", reason="it was booked twice").count() == 1
    for again, told in ((entry, "was reversed already"), (reversal, "is a reversal itself")):
        with pytest.raises(RuleBroken, match=told):
            reversals.propose(entry_id=again.pk, reason="once more", proposer=ada, actor=TEST)
    books_hold()


def test_whoever_proposed_cannot_approve_and_nobody_else_without_the_right(account: Account, ada: User) -> None:
    entry = Entry.objects.get()
    proposal = reversals.propose(entry_id=entry.pk, reason="a mistake", proposer=ada, actor=TEST)
    seen = {"proposal_id": proposal.pk, "verdict": "APPROVE", "payload_sha256": proposal.payload_sha256, "actor": TEST}
    with pytest.raises(RuleBroken, match="whoever proposed cannot approve"):
        reversals.decide(person=ada, **seen)
    with pytest.raises(RuleBroken, match="may not decide"):
        reversals.decide(person=user("charlie", "viewer"), **seen)
    with pytest.raises(RuleBroken, match="only an approved one"):
        reversals.apply(proposal_id=proposal.pk, actor=TEST)
    with pytest.raises(RuleBroken, match="waits already"):
        reversals.propose(entry_id=entry.pk, reason="a mistake", proposer=ada, actor=TEST)
    with pytest.raises(RuleBroken, match="may not propose"):
        reversals.propose(entry_id=entry.pk, reason="a mistake", proposer=user("vera", "viewer"), actor=TEST)
    assert not Application.objects.exists() and Entry.objects.count() == 1


def test_a_purchase_that_was_paid_goes_back_with_its_payment(account: Account, ada: User, bob: User) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100", settles_on=date(2026, 3, 3)))
    fill = Fill.objects.get()
    shares.put_clock(account, shares.noon(date(2026, 3, 4)))
    assert settle_due(account) == 1 and books.cash(account)["USD"].settled == 9000
    settlement = Entry.objects.get(kind="SETTLEMENT")
    with pytest.raises(RuleBroken, match="follows from a fill: reverse entry"):
        reversals.propose(entry_id=settlement.pk, reason="not paid", proposer=ada, actor=TEST)
    reverse(fill.entries.get(kind="FILL"), ada, bob)
    assert settlement.reversals.exists() and books.cash(account)["USD"] == books.Cash(D(10000), D(0))
    assert books.outstanding(account) == [] and settle_due(account) == 0
    assert books.positions(account) == {} and Position.objects.get().quantity == 0
    assert not Trade.objects.exists()
    order = Order.objects.get(tag="ENTRY")
    assert (order.state, order.filled_quantity, order.average_price) == ("FILLED", 0, None)
    books_hold()


def test_a_purchase_that_waits_for_its_payment_is_not_paid_any_more(account: Account, ada: User, bob: User) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100", settles_on=date(2026, 3, 3)))
    reverse(Fill.objects.get().entries.get(), ada, bob)
    shares.put_clock(account, shares.noon(date(2026, 3, 9)))
    assert books.outstanding(account) == [] and settle_due(account) == 0
    assert books.cash(account)["USD"] == books.Cash(D(10000), D(0))


def test_an_exit_that_is_taken_back_opens_the_trade_again_and_its_day_forgets_it(
    account: Account, ada: User, bob: User
) -> None:
    entry = shares.entry(account)
    receive(account, bought(2, entry, "10", "100"), bought(3, make_exit(account, entry, quantity="10"), "10", "110"))
    assert DayState.objects.get().pnl == 100 and Trade.objects.get().state == "CLOSED"
    reverse(Fill.objects.get(side="SELL").entries.get(), ada, bob)
    trade = Trade.objects.get()
    assert (trade.state, trade.open_quantity, trade.pnl) == ("OPEN", 10, 0) and not DayState.objects.exists()
    assert books.positions(account)["AAPL"].quantity == 10
    assert books.balances(account, "REALISED")["USD"] == 0
    books_hold()


def test_the_first_of_two_purchases_goes_and_the_sale_closes_the_other_one(
    account: Account, ada: User, bob: User
) -> None:
    first, second = shares.entry(account, 1), shares.entry(account, 2)
    receive(account, bought(2, first, "10", "100"), bought(3, second, "10", "104"))
    receive(account, bought(4, make_exit(account, first, quantity="10"), "10", "110"))
    assert books.balances(account, "REALISED")["USD"] == -100
    seen = reversals.preview(Fill.objects.get(price=100).entries.get().pk)
    assert any("another profit" in warning for warning in seen.warnings)
    reverse(seen.entry, ada, bob)
    assert books.balances(account, "REALISED")["USD"] == -60 and books.positions(account) == {}
    assert books.balances(account, "MARKET")["USD"] == 0
    books_hold("I-16b", "P-01", "I-24")  # an exit stands whose entry was taken back: nobody was asked by the broker


def test_a_margin_fill_moves_back_what_its_broker_realised(ada: User, bob: User) -> None:
    account = make_account()
    receive(account, cash_of(1, "TRANSFER", "1000"))
    order = make_entry(account, quantity="1000")
    receive(account, fill_of(2, order, "1000", "1.1", commission="-1"))
    receive(account, fill_of(3, make_exit(account, order, quantity="1000"), "1000", "1.2", realised="100"))
    reverse(Fill.objects.get(side="SELL").entries.get(), ada, bob)
    assert books.cash_balances(account) == {"USD": 999} and books.positions(account)["EURUSD"].quantity == 1000
    books_hold()


def test_resting_stops_of_a_trade_that_never_was_are_told_of(ada: User, bob: User) -> None:
    account = make_account()
    order = make_entry(account, quantity="1000", legs=True)
    receive(account, fill_of(2, order, "1000", "1.1"))
    making.bring_to(Order.objects.get(tag="STOP"), "WORKING")
    reverse(Fill.objects.get().entries.get(), ada, bob)
    told = RiskEvent.objects.get(kind="ORDERS_WITHOUT_TRADE")
    assert Order.objects.get(tag="STOP").client_order_id in told.reason
    assert Order.objects.get(tag="STOP").parent_group.state == "UNSAFE"


def test_what_people_took_back_is_booked_again_only_by_people(account: Account, ada: User, bob: User) -> None:
    event = cash_of(2, "FEE", "-3")
    receive(account, event)
    reverse(Entry.objects.latest("id"), ada, bob)
    receive(account, event)
    assert books.cash_balances(account) == {"USD": 10000} and Entry.objects.filter(kind="FEE").count() == 1


def test_a_reversal_that_would_post_otherwise_by_now_is_not_applied(account: Account, ada: User, bob: User) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100", settles_on=date(2026, 3, 3)))
    proposal = approved(Fill.objects.get().entries.get(), ada, bob)
    shares.put_clock(account, shares.noon(date(2026, 3, 4)))
    assert settle_due(account) == 1
    with pytest.raises(RuleBroken, match="has changed since it was proposed"):
        reversals.apply(proposal_id=proposal.pk, actor=TEST)
    assert not Entry.objects.filter(kind="REVERSAL").exists()


def test_a_rejected_reversal_needs_a_reason_and_frees_the_entry(account: Account, ada: User, bob: User) -> None:
    entry = Entry.objects.get()
    proposal = reversals.propose(entry_id=entry.pk, reason="a mistake", proposer=ada, actor=TEST)
    seen = {"proposal_id": proposal.pk, "payload_sha256": proposal.payload_sha256, "actor": TEST}
    with pytest.raises(RuleBroken, match="Say why"):
        reversals.decide(person=bob, verdict="REJECT", **seen)
    reversals.decide(person=bob, verdict="REJECT", reason="the deposit is real", **seen)
    assert reversals.waiting_proposal(entry) is None
    with pytest.raises(RuleBroken, match="only an approved one"):
        reversals.apply(proposal_id=proposal.pk, actor=TEST)
    assert timedelta(0) < proposal.expires_at - proposal.recorded_at


def test_a_paper_book_and_half_a_split_are_not_taken_back(account: Account, ada: User) -> None:
    receive(account, bought(2, shares.entry(account), "10", "400"))
    book_split(
        account=account, instrument=making.instrument("AAPL"), before=D(10), after=D(40),
        application=shares.approved(account), actor=TEST,
    )  # fmt: skip
    for entry, told in (
        (Entry.objects.filter(kind="SPLIT").latest("id"), "one half of a split"),
        (Entry.objects.get(kind="FILL"), "from before the units"),
    ):
        assert told in reversals.preview(entry.pk).refused
        with pytest.raises(RuleBroken, match=told):
            reversals.propose(entry_id=entry.pk, reason="a mistake", proposer=ada, actor=TEST)
    Account.objects.filter(pk=account.pk).update(broker=Account.Broker.PAPER)
    assert "is a paper book" in reversals.preview(Entry.objects.get(kind="TRANSFER").pk).refused
