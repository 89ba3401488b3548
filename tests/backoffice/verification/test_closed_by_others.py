"""`verify` on trades that somebody else's hand closed in part or whole: the rows are right, so nothing is found."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from backoffice.verification import Result, check
from tests.trading.services import making, shares
from trading.models import Account, BrokerEvent, Order, Trade
from trading.services import booking
from trading.services.event_facts import fills_in

from .conftest import BY_ID

pytestmark = pytest.mark.django_db


def verified(number: str) -> Result:
    """One invariant, on what the test has made."""
    with connection.cursor() as cursor:
        return check(cursor, BY_ID[number])


def closed_by_hand(account: Account, first: Order, quantity: str, price: str, **money: str) -> None:
    """The broker tells of somebody's sale, and people approve that it is booked."""
    told = making.fill_of(9, None, quantity, price, side="SELL", symbol=shares.broker_name(first), **money)  # type: ignore[arg-type]
    making.receive(account, told)
    event = BrokerEvent.objects.get(external_id="9")
    with transaction.atomic():
        booking.book_fill(
            account=account, event=event, fill=fills_in(event)[0], order=None,
            application=shares.approved(account), actor=making.TEST,
        )  # fmt: skip


@pytest.mark.parametrize("quantity", ["400", "1000"])
def test_a_margin_trade_closed_by_hand_has_its_share_of_the_brokers_number(quantity: str) -> None:
    account = making.make_account()
    first = making.make_entry(account, quantity="1000")
    making.receive(account, making.fill_of(1, first, "1000", "1.1", commission="-0.7"))
    closed_by_hand(account, first, quantity, "1.12", realised="33.33", commission="-1.01", financing="0.07")
    assert Trade.objects.get().state == ("CLOSED" if quantity == "1000" else "OPEN")
    assert not verified("I-24").rows
    Trade.objects.update(pnl=Trade.objects.get().pnl + 1)
    assert verified("I-24").count == 1


@pytest.mark.parametrize("quantity", ["4", "10"])
def test_a_trade_in_shares_closed_by_hand_has_the_profit_of_its_prices(quantity: str) -> None:
    account = shares.make_share_account()
    first, second = shares.entry(account), shares.entry(account, 2)
    making.receive(account, shares.bought(1, first, "10", "100"), shares.bought(2, second, "10", "110"))
    closed_by_hand(account, first, quantity, "120", commission="-0.4")
    for number in ("I-24", "C-01", "C-02", "C-04", "P-03", "I-22", "P-01"):
        assert not verified(number).rows, number
    Trade.objects.filter(decision=first.decision).update(fees=1)
    assert verified("I-24").count == 1
