"""Booking what people approved: external fills, adoptions, estimates and adjustments, each once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from tests.trading.services import shares
from tests.trading.services.making import (
    TEST,
    bring_to,
    cash_of,
    fill_of,
    instrument,
    make_account,
    make_entry,
    moment,
    receive,
)
from trading.domain.broker import BrokerEvent as Told
from trading.domain.broker import Side
from trading.domain.orders import Tag
from trading.models import (
    Account,
    Application,
    AuditEvent,
    BrokerEvent,
    CashEvent,
    Entry,
    EquityPoint,
    Fill,
    Order,
    Trade,
    User,
)
from trading.selectors import books, risk
from trading.selectors.inbox import unposted
from trading.services import approvals, booking, orders, projections
from trading.services.errors import RuleBroken
from trading.services.event_facts import cash_in, fills_in
from trading.services.settlement import settle_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def application(account: Account) -> Application:
    """Ada proposed, bob approved: any kind of entry, or one of two adjustments."""
    adjustments = [{"entry": "ADJUSTMENT", "currency": "USD", "amount": amount} for amount in ("-1.5", "-37.5")]
    anything = [{"entry": str(kind)} for kind in Entry.NEEDS_APPROVAL if kind != "ADJUSTMENT"]
    ada, bob = User.objects.create_user("ada"), User.objects.create_user("bob")
    proposal = approvals.propose(
        kind="test", account=account, subject_type="a test", subject_id=1, subject_version=1,
        payload={"entries": [*anything, *adjustments]}, reason="because of a test", proposer=ada, actor=TEST,
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


@pytest.mark.parametrize(("currency", "amount"), [("USD", "-1.6"), ("EUR", "-1.5")])
def test_an_adjustment_that_nobody_approved_is_refused_whatever_else_was(
    account: Account, application: Application, currency: str, amount: str
) -> None:
    with pytest.raises(RuleBroken, match="cites an approval that is not for it"), transaction.atomic():
        booking.adjust_cash(
            account=account, currency=currency, amount=Decimal(amount), application=application, reason="x", actor=TEST
        )
    assert not Entry.objects.exists() and not CashEvent.objects.exists()


def test_cash_without_an_event_or_an_application_is_refused(account: Account) -> None:
    with pytest.raises(DatabaseError, match="needs_an_approval"), transaction.atomic():
        CashEvent.objects.create(
            at=moment(1), account=account, external_id="x", kind="FEE", currency="USD", amount=Decimal(1)
        )


def newest_equity(account: Account) -> Decimal:
    """What people and the drawdown lock are shown."""
    return EquityPoint.objects.filter(account=account).latest("at").equity


def book_approved(account: Account, application: Application, told: Told, order: Order | None = None) -> Fill:
    """The broker tells of a fill; people approve that it is booked."""
    receive(account, told)
    event = BrokerEvent.objects.get(external_id=told.external_id)
    return booking.book_fill(
        account=account, event=event, fill=fills_in(event)[0], order=order, application=application, actor=TEST
    )


def test_an_adjustment_shows_in_equity_at_once(account: Account, application: Application) -> None:
    receive(account, cash_of(1, "TRANSFER", "1000"))
    booking.adjust_cash(
        account=account, currency="USD", amount=Decimal("-37.5"), application=application, reason="lost", actor=TEST
    )
    assert newest_equity(account) == Decimal("962.5")


def test_adopted_shares_show_in_equity_at_what_they_cost() -> None:
    account = shares.make_share_account()
    receive(account, cash_of(1, "TRANSFER", "10000"))
    shares.put_clock(account, moment(60))
    booking.adopt_position(
        account=account, instrument=instrument("AAPL"), quantity=Decimal(25), price=Decimal("414.17"),
        application=shares.approved(account), actor=TEST,
    )  # fmt: skip
    point = EquityPoint.objects.filter(account=account).latest("at")
    assert (point.at, point.balance, point.equity) == (moment(60), 10000, Decimal("20354.25"))


def test_an_external_fill_shows_in_equity_and_corrects_what_came_after_it(
    account: Account, application: Application
) -> None:
    """Approved late: points of afterwards, the newest and the peak among them, are right too."""
    receive(account, cash_of(1, "TRANSFER", "1000"), cash_of(50, "FINANCING", "5"))
    book_approved(account, application, replace(fill_of(60, None, "700", realised="-14.61"), at=moment(20)))
    points = EquityPoint.objects.order_by("at").values_list("at", "equity")
    assert list(points) == [(moment(1), 1000), (moment(20), Decimal("985.39")), (moment(50), Decimal("990.39"))]
    assert risk.peak_equity(account, until=moment(99)) == 1000


def test_the_fill_of_an_approved_order_shows_in_equity_at_once(account: Account, application: Application) -> None:
    receive(account, cash_of(1, "TRANSFER", "1000"))
    with transaction.atomic():
        order = orders.plan_order(
            account=account, intent=application, tag=Tag.FLATTEN, instrument=instrument(), side=Side.SELL,
            quantity=Decimal(700), type="MARKET", at=moment(2), reduce_only=True, actor=TEST,
        )  # fmt: skip
    bring_to(order, "SENDING")
    receive(account, fill_of(3, order, "700", realised="-14.61"))
    assert Fill.objects.get().order == order and newest_equity(account) == Decimal("985.39")


def test_an_approved_fill_of_a_strategys_order_shows_in_equity_at_once(
    account: Account, application: Application
) -> None:
    receive(account, cash_of(1, "TRANSFER", "1000"))
    order = make_entry(account)
    book_approved(account, application, fill_of(9, None, "1000", commission="-2.5"), order)
    assert newest_equity(account) == Decimal("997.5")


def test_settlement_moves_no_equity() -> None:
    account = shares.make_share_account()
    receive(account, cash_of(1, "TRANSFER", "10000"))
    book_approved(account, shares.approved(account), shares.bought(2, None, "10", "100", commission="-1"))
    before = list(EquityPoint.objects.order_by("at").values_list("at", "balance", "equity"))
    assert before[-1] == (moment(2), 8999, 9999)
    shares.put_clock(account, moment(2) + timedelta(days=3))
    assert settle_due(account) == 1
    projections.project_equity(account, moment(0))
    assert list(EquityPoint.objects.order_by("at").values_list("at", "balance", "equity")) == before
    assert books.cash_at(account, "USD", moment(2) + timedelta(days=3)) == 8999
