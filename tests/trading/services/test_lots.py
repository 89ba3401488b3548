"""Lots of an account in the books: average cost, fills told late, fills taken back, rounding, realised profit."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from backoffice.verification import INVARIANTS, check
from tests.trading.services import making, shares
from tests.trading.services.making import TEST, fill_of, instrument, make_entry, make_exit, moment, receive
from tests.trading.services.shares import bought, make_share_account
from trading.domain.lots import LotMethod
from trading.models import Account, AuditEvent, BrokerEvent, Entry, Fill, Lot, Trade
from trading.selectors import books
from trading.selectors.books_digest import books_told
from trading.selectors.realised import realised_by_day, realised_by_instrument, realised_fills
from trading.services import booking, lots
from trading.services.errors import RuleBroken
from trading.services.event_facts import fills_in
from trading.services.lots import choose_method
from trading.services.market import store_rate

pytestmark = pytest.mark.django_db
D = Decimal
HOLD = {
    "C-01", "C-02", "C-04", "I-05", "I-06", "I-10", "I-20", "I-22", "I-24", "I-25", "P-01", "P-03", "R-06",
}  # fmt: skip


def verified(**wrong: bool) -> None:
    """Every invariant about books and lots holds, but for those named."""
    with connection.cursor() as cursor:
        for invariant in INVARIANTS:
            if invariant.id in HOLD:
                result = check(cursor, invariant)
                assert result.ok is not wrong.get(invariant.id.replace("-", ""), False), (invariant.id, result.rows)


def at_average(account: Account) -> Account:
    return choose_method(account=account, method=LotMethod.AVERAGE, actor=TEST)


def standing(account: Account, symbol: str = "AAPL") -> list[tuple[Decimal, Decimal, Any]]:
    """Open lots: signed units, cost per unit, when their units were opened."""
    rows = books.open_lots(account, instrument(symbol))
    return [(row.side * row.quantity, row.unit_cost, row.opened_at) for row in rows]


def told(account: Account, kind: str) -> Decimal:
    return books.balances(account, kind).get("USD", D(0)).normalize()


def test_at_average_an_addition_merges_and_a_close_gives_the_average() -> None:
    account = at_average(make_share_account())
    first = shares.entry(account, quantity="30")
    receive(account, bought(1, first, "10", "100"), bought(2, first, "20", "130"))
    assert standing(account) == [(30, 120, moment(1))], "one pool, since its first units"
    assert Fill.objects.get(external_id="2").realised == 0 and told(account, "MARKET") == 3600
    receive(account, bought(3, make_exit(account, first, quantity="12"), "12", "125"))
    assert standing(account) == [(18, 120, moment(1))] and Fill.objects.get(external_id="3").realised == 60
    assert told(account, "MARKET") == 2160
    verified()


def test_at_average_a_flip_begins_a_pool_on_the_other_side() -> None:
    account = at_average(make_share_account())
    first = shares.entry(account, quantity="10")
    receive(account, bought(1, first, "5", "100"), bought(2, first, "5", "110"))
    receive(account, bought(3, make_exit(account, first, quantity="25"), "25", "120"))
    assert standing(account) == [(-15, 120, moment(3))] and told(account, "REALISED") == -150
    verified()


def test_the_method_is_chosen_before_the_first_lot_and_never_after() -> None:
    account = at_average(make_share_account())
    assert AuditEvent.objects.get(kind="account.changed").after == {"lot_method": "AVERAGE"}
    assert at_average(account).lot_method == "AVERAGE", "the same again changes nothing"
    receive(account, bought(1, shares.entry(account), "10", "100"))
    with pytest.raises(RuleBroken, match="use another account"):
        choose_method(account=account, method="FIFO", actor=TEST)
    account.refresh_from_db()
    assert account.lot_method == "AVERAGE"
    with pytest.raises(ValueError, match="LIFO"):
        choose_method(account=account, method="LIFO", actor=TEST)


def test_a_command_says_and_chooses_the_method_and_ends_with_1_when_it_cannot() -> None:
    account = make_share_account()

    def said(*arguments: str) -> tuple[str, int]:
        out = StringIO()
        try:
            call_command("lot_method", *arguments, stdout=out)
        except SystemExit as ended:
            return out.getvalue(), int(str(ended.code))
        return out.getvalue(), 0

    assert said(account.name) == ("alpaca-main counts its lots FIFO.\n", 0)
    assert said(account.name, "AVERAGE") == ("alpaca-main counts its lots AVERAGE.\n", 0)
    receive(account, bought(1, shares.entry(account), "10", "100"))
    told_why, code = said(account.name, "FIFO")
    assert "counts its lots AVERAGE and has lots" in told_why and code == 1
    assert said("nobody", "FIFO")[1] == 1 and "alpaca-main" in said("nobody")[0]


def test_a_fill_told_late_leaves_the_lots_and_profits_of_the_brokers_order() -> None:
    account, other = make_share_account(), make_share_account("another")
    for one, order in ((account, (2, 3, 1)), (other, (1, 2, 3))):
        entry = shares.entry(one, quantity="15")
        leave = make_exit(one, entry, quantity="10")
        events = {
            1: bought(1, entry, "5", "90"), 2: bought(2, entry, "10", "100"), 3: bought(3, leave, "10", "110"),
        }  # fmt: skip
        for number in order:
            receive(one, events[number])
    assert standing(account) == standing(other) == [(5, 100, moment(2))]
    assert books_told(account) == books_told(other)
    assert [row.realised for row in Fill.objects.filter(account=account).order_by("id")] == [0, 100, 50]
    assert [row.realised for row in Fill.objects.filter(account=other).order_by("id")] == [0, 0, 150]
    restated = Entry.objects.get(idempotency_key__startswith="restated:")
    assert (restated.fill.external_id, restated.at) == ("3", moment(3)), "on the fill that it changed, when that was"
    for one in (account, other):
        said = {row.fill.external_id: row.booked for row in realised_fills(one)}
        assert said == {"3": 150}, "the ledger says of each fill what the right order gives"
        assert books.balance_at(one, "MARKET", "USD", moment(2)) == 1450
        assert books.balance_at(one, "REALISED", "USD", moment(2)) == 0
    verified()


def test_a_late_fill_of_a_margin_instrument_moves_lots_and_nothing_else() -> None:
    account = making.make_account()
    entry = make_entry(account, quantity="3000")
    leave = make_exit(account, entry, quantity="1000")
    receive(account, fill_of(2, entry, "2000", "1.2"), fill_of(3, leave, "1000", "1.3", realised="77"))
    receive(account, fill_of(1, entry, "1000", "1.1"))
    assert standing(account, "EURUSD") == [(2000, D("1.2"), moment(2))], "the first thousand was closed"
    assert not Entry.objects.filter(idempotency_key__startswith="restated:").exists()
    (row,) = realised_fills(account)
    assert (row.ours, row.booked, row.difference, row.closed) == (200, 77, -123, 1000), "the broker's number is booked"
    verified()


def test_a_late_fill_gives_what_others_closed_to_the_trade_that_it_really_ended() -> None:
    account = making.make_account()
    application = shares.approved(account)
    first, second = make_entry(account, 1, quantity="1000"), make_entry(account, 2, quantity="1000")
    receive(account, fill_of(2, second, "1000", "1.2"), fill_of(3, None, "1000", "1.3", side="SELL"))
    event = BrokerEvent.objects.get(external_id="3")
    booking.book_fill(
        account=account, event=event, fill=fills_in(event)[0], order=None, application=application, actor=TEST
    )
    assert Trade.objects.get().close_reason == "EXTERNAL"
    receive(account, fill_of(1, first, "1000", "1.1"))
    states = dict(Trade.objects.values_list("decision__signal__bar_start", "state"))
    assert [states[start] for start in sorted(states)] == ["CLOSED", "OPEN"]
    verified()


def test_a_late_exit_takes_a_trade_back_from_others_who_closed_nothing_of_it_after_all() -> None:
    account = making.make_account()
    application = shares.approved(account)
    entry = make_entry(account, quantity="1000")
    leave = make_exit(account, entry, quantity="1000")
    receive(account, fill_of(1, entry, "1000", "1.2"), fill_of(3, None, "1000", "1.3", side="SELL"))
    event = BrokerEvent.objects.get(external_id="3")
    booking.book_fill(
        account=account, event=event, fill=fills_in(event)[0], order=None, application=application, actor=TEST
    )
    assert Trade.objects.get().close_reason == "EXTERNAL"
    receive(account, fill_of(2, leave, "1000", "1.25", realised="50"))
    trade = Trade.objects.get()
    assert (trade.close_reason, trade.exit_price, trade.pnl) == ("TIME", D("1.25"), 50)
    assert standing(account, "EURUSD") == [(-1000, D("1.3"), moment(3))]
    verified()


def test_what_people_decided_stands_before_what_the_broker_tells_late() -> None:
    account = make_share_account()
    entry = shares.entry(account, quantity="20")
    receive(account, bought(5, entry, "10", "100"))
    shares.put_clock(account, moment(6))
    booking.adopt_position(
        account=account, instrument=instrument("AAPL"), quantity=D(10), price=D(110),
        application=shares.approved(account), actor=TEST,
    )  # fmt: skip
    receive(account, bought(3, entry, "10", "90"))
    assert [(units, cost) for units, cost, _ in standing(account)] == [(10, 100), (10, 110), (10, 90)]
    verified()


def test_rounding_has_an_account_and_a_flat_share_stands_at_nothing() -> None:
    account = at_average(make_share_account())
    entry = shares.entry(account, quantity="2")
    receive(
        account,
        bought(1, entry, "0.333333333333", "33.333333333333"),
        bought(2, entry, "0.000000000007", "151.237"),
        bought(3, entry, "0.1", "14.142857142857"),
    )
    assert told(account, "ROUNDING") != 0
    held = sum((units * cost for units, cost, _ in standing(account)), D(0))
    assert told(account, "MARKET") == round(held, 12), "to the last digit"
    leave = make_exit(account, entry, quantity="0.433333333340")
    receive(account, bought(4, leave, "0.2", "33.123456789012"), bought(5, leave, "0.233333333340", "17.000000000001"))
    assert standing(account) == [] and told(account, "MARKET") == 0
    cash = books.cash_balances(account)["USD"]
    assert cash == -told(account, "REALISED") - told(account, "ROUNDING"), "profit and rounding are all the cash"
    verified()


def test_without_a_fill_the_lots_are_as_if_it_had_never_been() -> None:
    account = make_share_account()
    entry = shares.entry(account, quantity="20")
    receive(account, bought(1, entry, "10", "100"), bought(2, entry, "10", "110"))
    receive(account, bought(3, make_exit(account, entry, quantity="5"), "5", "120"))
    before = standing(account)
    undone = lots.match_without(account, instrument("AAPL"), Fill.objects.get(external_id="1"))
    assert [(row["quantity"], row["unit_cost"]) for row in undone.lots] == [("5", "110")]
    assert [(row["quantity"], row["unit_price"], row["profit_quote"]) for row in undone.closes] == [
        ("5", "100", "0"), ("10", "110", "0"),
    ]  # fmt: skip
    assert [(change.realised, change.rounding) for change in undone.later] == [(-50, 0)]
    opened = lots.match_without(account, instrument("AAPL"), Fill.objects.get(external_id="3"))
    assert [row["quantity"] for row in opened.lots] == ["10", "10"], "what it closed is open again"
    assert opened.later == () and standing(account) == before, "nothing is written"


def test_what_is_not_in_an_instruments_history_cannot_be_taken_out_of_it() -> None:
    account = make_share_account()
    entry = shares.entry(account, quantity="20")
    receive(account, bought(1, entry, "10", "100"), bought(2, entry, "10", "110"))
    with pytest.raises(RuleBroken, match="taken back already"):
        lots.match_without(account, instrument("MSFT"), Fill.objects.get(external_id="1"))
    assert Lot.objects.count() == 2
    verified()


def test_realised_profit_is_told_in_both_currencies_with_the_rate_and_its_source() -> None:
    account = making.make_account()
    store_rate(base="JPY", quote="USD", value=D("0.0066"), at=moment(0), source=account.name)
    entry = make_entry(account, symbol="USDJPY", quantity="1000", entry="150", stop="149", target="151")
    leave = make_exit(account, entry, quantity="1000")
    receive(account, fill_of(1, entry, "1000", "150"), fill_of(2, leave, "400", "151.5", realised="3.9"))
    receive(account, fill_of(3, leave, "600", "151", realised="3.97"))
    rows = realised_fills(account)
    assert [(row.fill.external_id, row.closed, row.ours, row.quote) for row in rows] == [
        ("2", 400, 600, "JPY"), ("3", 600, 600, "JPY"),
    ]  # fmt: skip
    assert [(row.base, row.booked, row.difference) for row in rows] == [
        (D("3.96"), D("3.9"), D("-0.06")), (D("3.96"), D("3.97"), D("0.01")),
    ]  # fmt: skip
    assert rows[0].rate_source == f"{account.name}, 2026-03-02 08:00:00 UTC" and rows[0].currency == "USD"
    (whole,) = realised_by_instrument(account)
    assert (whole.ours, whole.base, whole.booked, whole.difference) == (1200, D("7.92"), D("7.87"), D("-0.05"))
    assert realised_by_day(account) == realised_by_instrument(account, day=making.START.date())


def test_without_a_rate_no_number_in_the_accounts_currency_is_made_up() -> None:
    account = making.make_account()
    entry = make_entry(account, symbol="GBPJPY", quantity="10", entry="150", stop="149", target="151")
    leave = make_exit(account, entry, quantity="10")
    receive(account, fill_of(1, entry, "10", "150"), fill_of(2, leave, "10", "151", realised="0.07"))
    (row,) = realised_fills(account)
    assert (row.ours, row.base, row.rate, row.difference, row.booked) == (10, None, None, None, D("0.07"))
    assert realised_by_instrument(account)[0].base is None
