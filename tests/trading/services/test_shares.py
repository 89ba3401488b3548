"""Shares in the books: cash of the trade's day at once, settled once on its value date, profit from our own lots."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from tests.trading.services import making, shares
from tests.trading.services.making import TEST, cash_of, receive
from tests.trading.services.shares import TRADED_ON, bought, make_share_account, noon, put_clock
from trading.domain.money import plain
from trading.engine.settling import settle_all
from trading.models import (
    Account,
    AuditEvent,
    CashEvent,
    Entry,
    EquityPoint,
    Fill,
    Instrument,
    InstrumentAlias,
    RiskEvent,
    Trade,
)
from trading.selectors import books
from trading.services import booking
from trading.services.errors import RuleBroken
from trading.services.ledger import Draft, post
from trading.services.settlement import settle_due

pytestmark = pytest.mark.django_db
TUESDAY, WEDNESDAY = TRADED_ON + timedelta(days=1), TRADED_ON + timedelta(days=2)


@pytest.fixture
def account() -> Account:
    made = make_share_account()
    receive(made, cash_of(1, "TRANSFER", "10000"))
    return made


def in_words(account: Account) -> dict[str, str]:
    """Every balance in dollars that is not zero."""
    kinds = ("CASH", "UNSETTLED", "MARKET", "REALISED", "COMMISSION", "CAPITAL")
    all_of = {kind: books.balances(account, kind).get("USD", Decimal(0)) for kind in kinds}
    return {kind: plain(balance) for kind, balance in all_of.items() if balance}


def test_a_purchase_moves_cash_of_the_trade_date_against_a_payable(account: Account) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100", settles_on=TUESDAY, commission="-1"))
    assert in_words(account) == {
        "CASH": "10000", "UNSETTLED": "-1001", "MARKET": "1000", "COMMISSION": "1", "CAPITAL": "-10000",
    }  # fmt: skip
    held = books.cash(account)["USD"]
    assert [held.settled, held.unsettled, held.trade_date] == [10000, -1001, 8999]
    assert books.cash_balances(account) == {"USD": Decimal(8999)}
    fill, booked = Fill.objects.get(), Entry.objects.get(kind="FILL")
    assert (fill.settles_on, booked.value_date, booked.trading_day) == (TUESDAY, TUESDAY, TRADED_ON)


def test_a_sale_realises_what_the_oldest_lots_give_because_the_broker_gives_no_number(account: Account) -> None:
    first = shares.entry(account)
    receive(account, bought(2, first, "4", "100"), bought(3, first, "6", "110"))
    leave = making.make_exit(account, first, quantity="5")
    receive(account, bought(4, leave, "5", "120"))
    sale = Fill.objects.get(external_id="4")
    assert sale.realised == 4 * 20 + 1 * 10 and in_words(account)["REALISED"] == "-90"
    assert in_words(account)["MARKET"] == "550", "five of the second lot, at cost"
    assert books.cash_balances(account)["USD"] == 10000 - 400 - 660 + 600


def test_short_shares_bring_cash_and_cost_it_when_they_are_bought_back(account: Account) -> None:
    first = shares.entry(account, side="SELL", stop="105", target="80")
    receive(account, bought(2, first, "10", "100"))
    assert in_words(account)["MARKET"] == "-1000" and books.cash_balances(account)["USD"] == 11000
    receive(account, bought(3, making.make_exit(account, first, quantity="10"), "10", "90"))
    assert "MARKET" not in in_words(account) and Fill.objects.get(external_id="3").realised == 100
    assert books.cash_balances(account)["USD"] == 10100 and Trade.objects.get().pnl == 100


def test_the_value_date_is_the_next_weekday_when_the_broker_names_none(account: Account) -> None:
    first = shares.entry(account, quantity="20")
    friday = making.START + timedelta(days=4)
    late = bought(3, first, "10", "100")
    receive(account, bought(2, first, "10", "100"), replace(late, at=friday))
    due = list(Fill.objects.order_by("id").values_list("settles_on", flat=True))
    assert due == [TUESDAY, date(2026, 3, 9)], "the Monday after the Friday"


def test_nothing_settles_before_its_value_date_on_the_accounts_clock(account: Account) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100"))
    before = in_words(account)
    assert settle_due(account) == 0
    put_clock(account, making.START + timedelta(hours=20))  # Tuesday in London, still Monday in New York
    assert settle_due(account) == 0 and in_words(account) == before


def test_a_fill_settles_once_and_trade_date_cash_does_not_change_by_it(account: Account) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100", commission="-0.5"))
    put_clock(account, noon(WEDNESDAY))
    assert [settle_due(account), settle_due(account)] == [1, 0]
    held = books.cash(account)["USD"]
    assert [held.settled, held.unsettled] == [Decimal("8999.5"), 0] and books.outstanding(account) == []
    settled = Entry.objects.get(kind="SETTLEMENT")
    assert (settled.value_date, settled.trading_day, settled.fill_id) == (TUESDAY, TUESDAY, Fill.objects.get().pk)
    assert AuditEvent.objects.get(kind="fill.settled").after == {
        "entry": settled.pk, "amount": "-1000.5", "currency": "USD",
    }  # fmt: skip


def test_late_and_punctual_sweeps_leave_the_same_entries() -> None:
    told = []
    for name, days in (("punctual", (TUESDAY, WEDNESDAY)), ("late", (WEDNESDAY + timedelta(days=30),))):
        account = make_share_account(name)
        first = shares.entry(account, quantity="20")
        receive(account, bought(2, first, "10", "100"), bought(3, first, "10", "101", settles_on=WEDNESDAY))
        for day in days:
            put_clock(account, noon(day))
            settle_due(account)
        rows = Entry.objects.filter(account=account, kind="SETTLEMENT").order_by("id")
        told.append([(row.at, row.value_date, row.fill.external_id) for row in rows if row.fill])
    assert told[0] == told[1] and len(told[0]) == 2


def test_one_account_that_cannot_settle_keeps_no_other_waiting(account: Account) -> None:
    other = make_share_account("another")
    for each in (account, other):
        receive(each, bought(2, shares.entry(each), "10", "100"))
        put_clock(each, noon(WEDNESDAY))
    put_clock(account, datetime(1, 1, 1, tzinfo=UTC))  # no day begins before that in New York
    assert settle_all() == 1 and books.outstanding(other) == [] and books.outstanding(account) != []


def test_what_is_outstanding_is_told_by_value_date(account: Account) -> None:
    first = shares.entry(account, quantity="30")
    receive(
        account,
        bought(2, first, "10", "100"),
        bought(3, first, "10", "100"),
        bought(4, first, "10", "100", settles_on=WEDNESDAY),
    )
    told = [(row.settles_on, row.currency, row.amount, row.fills) for row in books.outstanding(account)]
    assert told == [(TUESDAY, "USD", Decimal(-2000), 2), (WEDNESDAY, "USD", Decimal(-1000), 1)]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"value_date": TRADED_ON}, "before, or not on, its value date"),
        ({"at": making.START}, "before, or not on, its value date"),
        ({"amount": Decimal(-999)}, "another amount than is outstanding"),
        ({"amount": Decimal(1000)}, "another amount than is outstanding"),
        ({"out_of": "SUSPENSE"}, "suspense account without an approval"),
        ({"fill": None}, "names nothing that happened"),
    ],
)
def test_the_door_refuses_any_other_settlement(account: Account, change: dict[str, object], match: str) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100"))
    wanted = {
        "value_date": TUESDAY, "at": noon(TUESDAY), "amount": Decimal(-1000), "out_of": "UNSETTLED",
        "fill": Fill.objects.get(), **change,
    }  # fmt: skip
    draft = Draft(
        account=account, key="a-test", kind="SETTLEMENT", at=wanted["at"], value_date=wanted["value_date"],  # type: ignore[arg-type]
        fill=wanted["fill"],  # type: ignore[arg-type]
    )  # fmt: skip
    draft.move(commodity="USD", amount=wanted["amount"], into="CASH", out_of=wanted["out_of"])  # type: ignore[arg-type]
    with pytest.raises(RuleBroken, match=match):
        post(draft)
    assert not Entry.objects.filter(kind="SETTLEMENT").exists()


def test_a_margin_fill_never_settles() -> None:
    account = making.make_account()
    receive(account, making.fill_of(1, making.make_entry(account), "1000", "1.1"))
    fill = Fill.objects.get()
    assert fill.settles_on is None and settle_due(account) == 0
    draft = Draft(account=account, key="k", kind="SETTLEMENT", at=noon(WEDNESDAY), value_date=TUESDAY, fill=fill)
    draft.move(commodity="USD", amount=Decimal(5), into="CASH", out_of="UNSETTLED")
    with pytest.raises(RuleBroken, match="not on, its value date"):
        post(draft)


def test_a_second_settlement_of_a_fill_is_refused_by_the_database(account: Account) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100"))
    put_clock(account, noon(WEDNESDAY))
    settle_due(account)
    draft = Draft(
        account=account, key="again", kind="SETTLEMENT", at=noon(WEDNESDAY), value_date=TUESDAY,
        fill=Fill.objects.get(),
    )  # fmt: skip
    draft.move(commodity="USD", amount=Decimal(-1000), into="CASH", out_of="UNSETTLED")
    with pytest.raises(RuleBroken, match="a_fill_settles_once|another amount"):
        post(draft)


def test_equity_is_cash_with_what_shares_cost_so_a_purchase_alone_loses_nothing(account: Account) -> None:
    first, second = shares.entry(account), shares.entry(account, 2)
    receive(account, bought(2, first, "10", "100"), bought(3, second, "10", "100"))
    receive(account, bought(4, making.make_exit(account, first, quantity="10"), "10", "103"))
    point = EquityPoint.objects.get(at=making.moment(4))
    assert (point.balance, point.equity) == (9030, 10030)


def test_each_strategy_has_the_profit_of_its_own_fills_whatever_lots_the_account_closed(account: Account) -> None:
    cheap, dear = shares.entry(account), shares.entry(account, 2)
    receive(account, bought(2, cheap, "10", "100"), bought(3, dear, "10", "110"))
    receive(account, bought(4, making.make_exit(account, dear, quantity="10"), "10", "120"))
    assert Fill.objects.get(external_id="4").realised == 200, "the account closed the oldest lot"
    assert [trade.pnl for trade in Trade.objects.order_by("id")] == [0, 100]
    receive(account, bought(5, making.make_exit(account, cheap, quantity="10"), "10", "130"))
    assert [trade.pnl for trade in Trade.objects.order_by("id")] == [300, 100]
    assert in_words(account)["REALISED"] == "-400"


def test_shares_that_are_not_paid_in_the_accounts_currency_stay_in_the_inbox(account: Account) -> None:
    InstrumentAlias.objects.create(
        instrument=Instrument.objects.get(symbol="INFY"), broker="ALPACA", symbol="INFY", valid_from=making.START
    )
    order = shares.entry(account, symbol="INFY")
    receive(account, bought(2, order, "10", "100"))
    assert not Fill.objects.exists() and books.cash_balances(account) == {"USD": Decimal(10000)}
    assert "INFY is paid in INR" in RiskEvent.objects.get(kind="EVENT_NOT_BOOKED").reason


def test_cash_about_an_instrument_without_a_name_of_ours_is_booked_all_the_same(account: Account) -> None:
    receive(account, cash_of(2, "DIVIDEND", "7.5", symbol="AAPL"), cash_of(3, "DIVIDEND", "-1.13", symbol="ZZZZ"))
    known, unknown = CashEvent.objects.filter(kind="DIVIDEND").order_by("id")
    assert (known.instrument and known.instrument.symbol, unknown.instrument) == ("AAPL", None)
    assert books.cash_balances(account) == {"USD": Decimal("10006.37")}
    assert books.balances(account, "DIVIDEND") == {"USD": Decimal("-6.37")}


def test_units_taken_over_or_gone_without_payment_move_no_cash(account: Account) -> None:
    booking.adopt_position(
        account=account, instrument=making.instrument("AAPL"), quantity=Decimal(10), price=Decimal(90),
        application=shares.approved(account), actor=TEST,
    )  # fmt: skip
    assert books.cash_balances(account) == {"USD": Decimal(10000)}
    assert (in_words(account)["CAPITAL"], in_words(account)["MARKET"]) == ("-10900", "900")
    assert Fill.objects.get().settles_on is None


def test_an_estimated_close_of_shares_is_a_sale_or_a_loss_without_payment(account: Account) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100"))
    close = {
        "account": account, "instrument": making.instrument("AAPL"), "quantity": Decimal(-10), "price": Decimal(110),
        "application": shares.approved(account), "actor": TEST,
    }  # fmt: skip
    with pytest.raises(RuleBroken, match="10 AAPL at 110 pay 1100 USD, not 1099"):
        booking.close_at_estimate(**close, realised=Decimal(1099))  # type: ignore[arg-type]
    booking.close_at_estimate(**close, realised=Decimal(1100))  # type: ignore[arg-type]
    assert books.cash_balances(account) == {"USD": Decimal(10100)} and books.positions(account) == {}
    assert in_words(account)["REALISED"] == "-100" and Trade.objects.get().pnl == 100


def test_the_application_login_cannot_settle_past_the_door(account: Account) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100"))
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE trading_fill SET settles_on = settles_on - 1")
