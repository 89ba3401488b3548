"""Projections: trades, days and equity follow the fills, also when those come late."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.trading.services.histories import left_behind
from tests.trading.services.making import (
    START,
    cash_of,
    fill_of,
    instrument,
    make_account,
    make_entry,
    make_exit,
    moment,
    receive,
)
from trading.domain.broker import BrokerEvent
from trading.models import Account, DayState, EquityPoint, Order, Position, Trade
from trading.selectors import books, risk
from trading.services.setup import ensure_account

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account()


def later(event: BrokerEvent, **how: float) -> BrokerEvent:
    """The same event, later on the broker's clock."""
    return replace(event, at=event.at + timedelta(**how))


def opened(account: Account, number: int = 1, quantity: str = "1000") -> Order:
    """An entry that filled at 1.1 with its stop at 1.09: 10 USD of risk for 1000 units."""
    entry = make_entry(account, number, quantity=quantity, stop="1.09", target="1.12")
    receive(account, fill_of(number * 10, entry, quantity, "1.1"))
    return entry


def newest(account: Account) -> tuple[datetime, Decimal]:
    """The moment and the equity of the newest point of the curve."""
    point = EquityPoint.objects.filter(account=account).latest("at")
    return point.at, point.equity


def test_r_is_what_the_fills_made_of_the_risk_at_the_entry(account: Account) -> None:
    entry = opened(account)
    leave = make_exit(account, entry, quantity="1000")
    receive(account, fill_of(11, leave, "400", "1.12", realised="8", commission="-0.5"))
    trade = Trade.objects.get()
    assert (trade.state, trade.open_quantity, trade.pnl, trade.r) == ("OPEN", 600, Decimal("7.5"), Decimal("0.75"))
    receive(account, fill_of(12, leave, "600", "1.07", realised="-18", financing="-0.25"))
    trade.refresh_from_db()
    assert (trade.state, trade.open_quantity, trade.pnl, trade.r) == (
        "CLOSED", 0, Decimal("-10.75"), Decimal("-1.075"),
    )  # fmt: skip
    assert (trade.exit_price, trade.close_reason, trade.closed_at) == (Decimal("1.09"), "TIME", moment(12))


def test_a_day_is_what_closed_on_it_and_partial_profit_waits_for_its_close(account: Account) -> None:
    one, two = opened(account, 1), opened(account, 2)
    first, second = make_exit(account, one, quantity="1000"), make_exit(account, two, quantity="1000")
    receive(
        account, fill_of(31, first, "1000", "1.12", realised="20"), fill_of(32, second, "500", "1.12", realised="9")
    )
    day = DayState.objects.get()
    assert (day.trading_day, day.trades, day.pnl, day.r) == (START.date(), 1, Decimal(20), Decimal(2))
    receive(account, fill_of(33, second, "500", "1.12", realised="11"))
    day.refresh_from_db()
    assert (day.trades, day.pnl, day.r) == (2, Decimal(40), Decimal(4))


def test_a_day_begins_at_midnight_in_the_accounts_time_zone() -> None:
    account = ensure_account(
        name="sydney", broker="OANDA", environment="PRACTICE", external_id="1", currency="USD",
        time_zone="Australia/Sydney",
    )  # fmt: skip
    leave = make_exit(account, opened(account), quantity="1000")
    receive(account, later(fill_of(31, leave, "1000", "1.12", realised="20"), hours=6))
    assert DayState.objects.get().trading_day == START.date() + timedelta(days=1)


def test_a_late_exit_moves_the_close_to_its_own_day_and_the_day_before_gives_it_up(account: Account) -> None:
    leave = make_exit(account, opened(account), quantity="1000")
    receive(account, fill_of(31, leave, "1000", "1.12", realised="20"))
    assert DayState.objects.get().trading_day == START.date()
    receive(account, later(fill_of(32, leave, "5", "1.12", realised="1"), days=1))
    (day,) = DayState.objects.all()
    assert (day.trading_day, day.trades, day.pnl) == (START.date() + timedelta(days=1), 1, Decimal(21))


def test_a_late_entry_opens_the_trade_again_and_takes_it_out_of_the_day(account: Account) -> None:
    entry = make_entry(account, quantity="2000", stop="1.09", target="1.12")
    receive(account, fill_of(10, entry, "1000", "1.1"))
    leave = make_exit(account, entry, quantity="1000")
    receive(account, fill_of(31, leave, "1000", "1.12", realised="20"))
    receive(account, fill_of(32, entry, "1000", "1.1"))
    trade = Trade.objects.get()
    assert (trade.state, trade.open_quantity, trade.closed_at, trade.trading_day) == ("OPEN", 1000, None, None)
    assert not DayState.objects.exists() and risk.realised_r(account, day=START.date(), until=moment(99)) == 0


def test_equity_is_the_balance_at_each_movement_of_cash_and_each_close(account: Account) -> None:
    receive(account, cash_of(1, "TRANSFER", "1000"))
    entry = opened(account)
    leave = make_exit(account, entry, quantity="1000")
    receive(account, cash_of(20, "FINANCING", "-3"), fill_of(31, leave, "1000", "1.12", realised="20"))
    points = list(EquityPoint.objects.order_by("at").values_list("at", "balance", "equity"))
    assert points == [(moment(1), 1000, 1000), (moment(20), 997, 997), (moment(31), 1017, 1017)]
    assert risk.peak_equity(account, until=moment(31)) == 1017 and risk.peak_equity(account, until=moment(30)) == 1000


@pytest.mark.parametrize("kind", ["FINANCING", "DIVIDEND", "FEE"])
def test_cash_shows_in_equity_at_once_not_when_the_next_trade_closes(account: Account, kind: str) -> None:
    receive(account, cash_of(1, "TRANSFER", "1000"), cash_of(2, kind, "-7.5"))
    assert newest(account) == (moment(2), Decimal("992.5"))


def test_cash_that_is_told_of_late_corrects_the_curve_from_its_moment_on(account: Account) -> None:
    receive(account, cash_of(1, "TRANSFER", "1000"))
    leave = make_exit(account, opened(account), quantity="1000")
    receive(account, fill_of(31, leave, "1000", "1.12", realised="20"))
    receive(account, replace(cash_of(40, "FEE", "-7"), at=moment(5)))
    assert list(EquityPoint.objects.order_by("at").values_list("balance", flat=True)) == [1000, 993, 1013]


def test_a_close_that_was_none_takes_its_point_with_it(account: Account) -> None:
    receive(account, cash_of(1, "TRANSFER", "1000"))
    leave = make_exit(account, opened(account), quantity="1000")
    receive(account, fill_of(31, leave, "1000", "1.12", realised="20"))
    receive(account, fill_of(32, leave, "5", "1.12", realised="1"))
    points = [(moment(1), 1000), (moment(32), 1021)]
    assert list(EquityPoint.objects.order_by("at").values_list("at", "balance")) == points, "it closed later"
    entry = make_entry(account, 2, quantity="2000", stop="1.09", target="1.12")
    receive(account, fill_of(40, entry, "1000", "1.1"))
    receive(account, fill_of(41, make_exit(account, entry, quantity="1000"), "1000", "1.12", realised="7"))
    receive(account, fill_of(42, entry, "1000", "1.1"))
    assert list(EquityPoint.objects.order_by("at").values_list("at", "balance")) == points, "it is open again"


def test_a_part_of_a_trade_shows_when_the_trade_closes(account: Account) -> None:
    receive(account, cash_of(1, "TRANSFER", "1000"))
    leave = make_exit(account, opened(account), quantity="1000")
    receive(account, fill_of(31, leave, "400", "1.12", realised="8"))
    assert newest(account) == (moment(1), 1000)
    receive(account, fill_of(32, leave, "600", "1.12", realised="12"))
    assert newest(account) == (moment(32), 1020)


def test_what_no_trade_of_ours_holds_is_external(account: Account) -> None:
    one, two = opened(account, 1), make_entry(account, 2, side="SELL", quantity="300", stop="1.2", target="1.0")
    receive(account, fill_of(40, two, "300", "1.1"))
    position = Position.objects.get(account=account, instrument=instrument())
    assert (position.quantity, position.external_quantity) == (700, 0), "two strategies of ours that net"
    assert books.positions(account)["EURUSD"].external_quantity == 0
    leave = make_exit(account, one, quantity="1000")
    receive(account, fill_of(41, leave, "1000", "1.1"))
    position.refresh_from_db()
    assert (position.quantity, position.external_quantity) == (-300, 0)


def test_numbers_for_the_gates_are_of_the_day_and_up_to_the_moment(account: Account) -> None:
    one = opened(account, 1)
    leave = make_exit(account, one, quantity="1000")
    receive(account, fill_of(31, leave, "1000", "1.12", realised="20"))
    two = opened(account, 4)
    known = risk.numbers(
        account, strategy="orb", instrument=instrument(), side="BUY", day=START.date(), until=moment(999)
    )
    assert (known.account_r, known.strategy_r, known.strategy_trades) == (2, 2, 2)
    assert (known.open_positions, known.open_on_symbol, known.open_risk) == (1, 1, Decimal(10))
    assert known.entries_this_way == 2 and known.external is False and two.decision is not None
    before = risk.numbers(
        account, strategy="orb", instrument=instrument(), side="BUY", day=START.date(), until=moment(30)
    )
    assert before.account_r == 0
    other = risk.numbers(
        account, strategy="other", instrument=instrument("XAUUSD"), side="SELL",
        day=START.date() + timedelta(days=1), until=moment(999),
    )  # fmt: skip
    assert (other.entries_this_way, other.strategy_trades, other.account_r, other.open_on_symbol) == (0, 0, 0, 0)


def test_receiving_everything_again_changes_no_projection(account: Account) -> None:
    entry = make_entry(account, quantity="1000", stop="1.09", target="1.12")
    events = [cash_of(1, "TRANSFER", "1000"), fill_of(2, entry, "1000", "1.1")]
    receive(account, *events)
    leave = make_exit(account, entry, quantity="1000")
    events.append(fill_of(3, leave, "1000", "1.12", realised="20"))
    receive(account, *events)
    before = left_behind(account)
    receive(account, *events)
    assert left_behind(account) == before
