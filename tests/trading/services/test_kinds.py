"""Every kind of money movement has its place in the books: taxes, conversions, changes of symbol, close-outs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from backoffice.verification import INVARIANTS, check
from tests.trading.services import making, shares
from tests.trading.services.making import TEST, cash_of, fill_of, instrument, make_account, receive
from tests.trading.services.shares import bought, make_share_account
from trading.domain.broker import BrokerEvent as PortEvent
from trading.domain.broker import CashData, EventKind
from trading.models import Account, BrokerEvent, CashEvent, Entry, EquityPoint, Fill, OrderGroup, RiskEvent, Trade
from trading.selectors import books
from trading.selectors.inbox import unposted
from trading.services import booking, memos, moves
from trading.services.event_facts import cash_in, facts_of, fills_in
from trading.services.symbol_changes import book_symbol_change

pytestmark = pytest.mark.django_db
D = Decimal
HOLD = {"C-01", "C-02", "C-04", "I-05", "I-06", "I-10", "I-20", "I-22", "I-24", "I-25", "I-27", "I-33", "P-01", "P-03"}


def books_hold() -> None:
    """Every invariant about books and trades."""
    with connection.cursor() as cursor:
        for invariant in INVARIANTS:
            if invariant.id in HOLD:
                result = check(cursor, invariant)
                assert result.ok, (invariant.id, result.rows)


def conversion(
    number: int, amount: str, currency: str, counter: str, counter_currency: str, kind: str = "CONVERSION"
) -> PortEvent:
    """The broker tells of one currency paid for another."""
    event = cash_of(number, "FEE", amount, currency=currency)
    cash = CashData(
        str(number), EventKind(kind), currency, D(amount), counter_currency=counter_currency, counter_amount=D(counter)
    )
    return replace(event, kind=EventKind(kind), cash=(cash,), raw={**event.raw, "counter": counter})


@pytest.mark.parametrize(
    ("kind", "amount", "entry", "place", "memo"),
    [
        ("TRANSFER", "500", "TRANSFER", "CAPITAL", "deposit of 500 USD"),
        ("TRANSFER", "-20.5", "TRANSFER", "CAPITAL", "withdrawal of 20.5 USD"),
        ("FINANCING", "-3.4", "FINANCING", "FINANCING", "interest or financing paid of 3.4 USD"),
        ("FINANCING", "1", "FINANCING", "FINANCING", "interest or financing received of 1 USD"),
        ("DIVIDEND", "7.5", "DIVIDEND", "DIVIDEND", "dividend of 7.5 USD"),
        ("FEE", "-0.02", "FEE", "FEE", "fee of 0.02 USD"),
        ("TAX", "-1.13", "TAX", "TAX", "tax withheld of 1.13 USD"),
        ("TAX", "1.13", "TAX", "TAX", "tax given back of 1.13 USD"),
    ],
)
def test_each_typed_movement_has_its_kind_its_place_and_its_words(
    kind: str, amount: str, entry: str, place: str, memo: str
) -> None:
    account = make_account()
    receive(account, cash_of(1, kind, amount))
    row = Entry.objects.get()
    assert (row.kind, row.memo) == (entry, memo)
    assert books.balances(account, place)["USD"] == -D(amount) and books.cash_balances(account)["USD"] == D(amount)
    books_hold()


@pytest.mark.parametrize(
    ("given_up", "currency", "got", "counter"),
    [("-1000", "USD", "924.17", "EUR"), ("-0.000000000001", "USD", "149.5", "JPY"), ("-5000000", "JPY", "0.1", "BTC")],
)
def test_a_conversion_is_two_transfers_through_trading_accounts_of_one_entry(
    given_up: str, currency: str, got: str, counter: str
) -> None:
    account = make_account()
    receive(account, conversion(1, given_up, currency, got, counter))
    entry = Entry.objects.get()
    assert (entry.kind, entry.transfers.count()) == ("CONVERSION", 2)
    assert books.balances(account, "CASH") == {currency: D(given_up), counter: D(got)}
    assert books.balances(account, "TRADING") == {currency: -D(given_up), counter: -D(got)}
    assert entry.memo.startswith("conversion of") and entry.memo.endswith(f"into {got} {counter}")
    books_hold()


def test_what_was_converted_counts_at_what_it_cost(db: None) -> None:
    account = make_account()
    receive(account, cash_of(1, "TRANSFER", "10000"), conversion(2, "924.17", "EUR", "-1000", "USD"))
    point = EquityPoint.objects.latest("at")
    assert (point.balance, point.equity) == (9000, 10000)
    books_hold()


@pytest.mark.parametrize(
    ("amount", "counter", "counter_currency", "kind"),
    [("-5", "-4", "EUR", "CONVERSION"), ("-5", "4", "USD", "CONVERSION"), ("-5", "0", "EUR", "CONVERSION"),
     ("-5", "4", "EUR", "FEE")],
)  # fmt: skip
def test_half_a_conversion_is_held_and_books_nothing(
    amount: str, counter: str, counter_currency: str, kind: str
) -> None:
    account = make_account()
    assert receive(account, conversion(1, amount, "USD", counter, counter_currency, kind)).held
    assert not CashEvent.objects.exists() and "no conversion that can be booked" in RiskEvent.objects.get().reason
    assert len(unposted(account)) == 1


def test_both_sides_of_a_conversion_come_back_from_the_inbox_as_they_went_in(db: None) -> None:
    account = make_account()
    event = conversion(1, "-1000", "USD", "924.17", "EUR")
    receive(account, event)
    row = BrokerEvent.objects.get()
    assert tuple(cash_in(row)) == event.cash and row.facts == facts_of(event)


@given(st.decimals("0.000000000001", "1000000", places=12), st.decimals("0.000000000001", "1000000", places=12))
def test_a_conversion_moves_each_currency_by_exactly_its_amount(given_up: Decimal, got: Decimal) -> None:
    made = moves.of_cash("USD", -given_up, "TRADING", counter_currency="BTC", counter_amount=got)
    assert [(m.commodity, m.amount, m.into, m.out_of) for m in made] == [
        ("USD", -given_up, "CASH", "TRADING"), ("BTC", got, "CASH", "TRADING"),
    ]  # fmt: skip


def test_a_margin_closeout_is_an_approved_entry_of_its_own_kind(db: None) -> None:
    account = make_account()
    event = fill_of(1, None, "1000", "1.1", side="SELL", realised="-7")
    receive(account, replace(event, fills=(replace(event.fills[0], margin_closeout=True),)))
    row = BrokerEvent.objects.get()
    fill = booking.book_fill(
        account=account, event=row, fill=fills_in(row)[0], order=None, application=shares.approved(account), actor=TEST
    )
    assert fill.entries.get().kind == "MARGIN_CLOSEOUT" and memos.of_fill(fill, "MARGIN_CLOSEOUT").startswith("the bro")
    books_hold()


def test_our_trade_in_a_share_that_changes_its_name_ends_at_cost_and_says_so(db: None) -> None:
    account = make_share_account()
    receive(account, cash_of(1, "TRANSFER", "10000"))
    receive(account, bought(2, shares.entry(account), "10", "100"))
    shares.put_clock(account, making.moment(100))
    application = shares.approved(account)
    common = {"account": account, "application": application, "quantity": D(10), "actor": TEST}
    made = book_symbol_change(instrument=instrument("AAPL"), into=instrument("MSFT"), **common)
    assert made == book_symbol_change(instrument=instrument("AAPL"), into=instrument("MSFT"), **common)
    trade = Trade.objects.get()
    assert (trade.state, trade.pnl, trade.close_reason) == ("CLOSED", 0, "EXTERNAL")
    assert OrderGroup.objects.get().state == "CLOSED"
    assert "no strategy, stop or exit of ours guards them" in RiskEvent.objects.get().reason
    held = books.positions(account)
    assert list(held) == ["MSFT"] and held["MSFT"].external_quantity == 10
    receive(account, bought(300, None, "10", "110", symbol="MSFT", side="SELL"))
    event = BrokerEvent.objects.get(external_id="300")
    booking.book_fill(
        account=account, event=event, fill=fills_in(event)[0], order=None, application=application, actor=TEST
    )
    assert books.positions(account) == {} and books.balances(account, "REALISED")["USD"] == -100
    assert Trade.objects.get().pnl == 0 and Fill.objects.count() == 4
    books_hold()


def test_an_account_knows_its_own_conversions_only(db: None) -> None:
    first, second = make_account(), make_account("other")
    receive(first, conversion(1, "-1000", "USD", "924.17", "EUR"))
    assert isinstance(second, Account) and books.cash_balances(second) == {}
