"""Booking what people approved: external fills, adoptions, estimates and adjustments, each once."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from tests.trading.services.making import (
    TEST,
    cash_of,
    fill_of,
    instrument,
    make_account,
    make_entry,
    moment,
    receive,
)
from trading.models import Account, Application, AuditEvent, BrokerEvent, CashEvent, Entry, Fill, Trade, User
from trading.selectors import books
from trading.selectors.inbox import unposted
from trading.services import approvals, booking
from trading.services.event_facts import cash_in, fills_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def application(account: Account) -> Application:
    """Ada proposed, bob approved."""
    ada, bob = User.objects.create_user("ada"), User.objects.create_user("bob")
    proposal = approvals.propose(
        kind="test", account=account, subject_type="a test", subject_id=1, subject_version=1, payload={},
        reason="because of a test", proposer=ada, actor=TEST,
    )  # fmt: skip
    approvals.decide(
        proposal=proposal, approver=bob, verdict="APPROVE", payload_sha256=proposal.payload_sha256,
        subject_version=1, actor=TEST,
    )  # fmt: skip
    return approvals.record_application(proposal=proposal, applied_by=bob, result={}, actor=TEST)


def test_an_external_fill_is_booked_under_an_application_and_only_then(
    account: Account, application: Application
) -> None:
    receive(account, fill_of(1, None, "700", "1.2", realised="3"))
    event = BrokerEvent.objects.get()
    (fill,) = fills_in(event)
    with pytest.raises(DatabaseError, match="needs_an_approval"), transaction.atomic():
        booking.book_fill(account=account, event=event, fill=fill, order=None, actor=TEST)
    for _ in range(2):
        row = booking.book_fill(
            account=account, event=event, fill=fill, order=None, application=application, actor=TEST
        )
    assert Fill.objects.get() == row and Entry.objects.get().kind == "EXTERNAL_FILL"
    assert books.positions(account)["EURUSD"].external_quantity == 700 and unposted(account) == []
    assert books.cash_balances(account) == {"USD": Decimal(3)}


def test_facts_of_an_event_come_back_as_they_went_in(account: Account) -> None:
    order = make_entry(account)
    told = fill_of(1, order, "0.5", "1.23456", realised="-0.00001", financing="1", commission="-2")
    receive(account, told, cash_of(2, "FEE", "-0.1", symbol="EUR_USD"))
    fill, cash = BrokerEvent.objects.order_by("sequence")
    assert tuple(fills_in(fill)) == told.fills and fills_in(cash) == []
    assert cash_in(cash)[0].amount == Decimal("-0.1") and cash_in(cash)[0].instrument == "EUR_USD"


def test_an_adopted_position_is_external_and_opens_lots_without_cash(
    account: Account, application: Application
) -> None:
    for _ in range(2):
        booking.adopt_position(
            account=account, instrument=instrument(), quantity=Decimal(-250), price=Decimal("1.2"),
            application=application, actor=TEST,
        )  # fmt: skip
    held = books.positions(account)["EURUSD"]
    assert (held.quantity, held.average_price, held.external_quantity) == (-250, Decimal("1.2"), -250)
    assert Entry.objects.get().kind == "ADOPTION" and books.cash_balances(account).get("USD", 0) == 0


def test_an_estimate_closes_lots_and_says_that_it_is_one(account: Account, application: Application) -> None:
    entry = make_entry(account, quantity="1000", stop="1.09", target="1.12")
    receive(account, fill_of(1, entry, "1000", "1.1"))
    for _ in range(2):
        row = booking.close_at_estimate(
            account=account, instrument=instrument(), quantity=Decimal(-1000), price=Decimal("1.12"),
            realised=Decimal(20), application=application, actor=TEST,
        )  # fmt: skip
    assert row.is_estimate and (row.side, row.quantity) == ("SELL", 1000)
    assert books.positions(account) == {} and books.cash_balances(account) == {"USD": Decimal(20)}
    trade = Trade.objects.get()
    assert (trade.state, trade.pnl, trade.r, trade.close_reason) == ("CLOSED", Decimal(20), Decimal(2), "EXTERNAL")


def test_an_adjustment_goes_through_suspense_under_its_application(account: Account, application: Application) -> None:
    booking.adjust_cash(
        account=account, currency="USD", amount=Decimal("-1.5"), application=application, reason="a rebate", actor=TEST
    )
    assert books.cash_balances(account) == {"USD": Decimal("-1.5")}
    assert books.balances(account, "SUSPENSE") == {"USD": Decimal("1.5")}
    assert Entry.objects.get().kind == "ADJUSTMENT" and CashEvent.objects.get().application == application
    assert AuditEvent.objects.filter(kind="cash.booked", reason="a rebate").exists()


def test_cash_without_an_event_or_an_application_is_refused(account: Account) -> None:
    with pytest.raises(DatabaseError, match="needs_an_approval"), transaction.atomic():
        CashEvent.objects.create(
            at=moment(1), account=account, external_id="x", kind="FEE", currency="USD", amount=Decimal(1)
        )
