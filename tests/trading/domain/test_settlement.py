"""Payments of cash instruments: their sign, their exactness, their value date, and what they add up to."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.books import OpenLot, apply_fill, own_profit
from trading.domain.broker import Side
from trading.domain.settlement import payment, usual_value_date

D = Decimal


@pytest.mark.parametrize(
    ("traded_on", "settles_on"),
    [
        ("2026-03-02", "2026-03-03"),
        ("2026-03-05", "2026-03-06"),
        ("2026-03-06", "2026-03-09"),
        ("2026-03-07", "2026-03-09"),
        ("2026-03-08", "2026-03-09"),
        ("2026-12-31", "2027-01-01"),
    ],
)
def test_the_usual_value_date_is_the_next_weekday(traded_on: str, settles_on: str) -> None:
    assert usual_value_date(date.fromisoformat(traded_on)) == date.fromisoformat(settles_on)


def test_a_purchase_pays_and_a_sale_brings() -> None:
    assert payment(Side.BUY, D(10), D("100.25")) == D("-1002.5")
    assert payment(Side.SELL, D(10), D("100.25")) == D("1002.5")
    assert payment(Side.SELL, D(2), D(3), multiplier=D(50)) == 300


def test_a_payment_has_no_more_decimals_than_the_books_store() -> None:
    assert payment(Side.BUY, D("0.123456789"), D("100.1234")) == D("-12.360913467763")


fills = st.lists(
    st.tuples(
        st.sampled_from(Side), st.integers(1, 500).map(D), st.integers(1, 50_000).map(lambda cents: D(cents) / 100)
    ),
    max_size=30,
)


@given(fills)
def test_payments_are_what_the_lots_cost_less_what_was_realised(script: list[tuple[Side, Decimal, Decimal]]) -> None:
    lots: tuple[OpenLot, ...] = ()
    cash = realised = D(0)
    for side, quantity, price in script:
        lots, closings = apply_fill(lots, side, quantity, price)
        cash += payment(side, quantity, price)
        realised += sum((closing.pnl_quote for closing in closings), D(0))
    cost = sum((lot.quantity * lot.price * lot.side.sign for lot in lots), D(0))
    assert cash + cost == realised


parts = st.lists(st.tuples(st.integers(1, 50).map(D), st.integers(1, 900).map(D)), min_size=1, max_size=6)


@given(st.sampled_from(Side), parts, parts)
def test_a_trades_own_profit_is_what_its_fills_paid_once_it_is_flat(
    side: Side, opened: list[tuple[Decimal, Decimal]], closed: list[tuple[Decimal, Decimal]]
) -> None:
    entered, left = (sum((quantity for quantity, _ in some), D(0)) for some in (opened, closed))
    profit = own_profit(side, opened, closed)
    if entered == left:
        paid = sum((payment(side, quantity, price) for quantity, price in opened), D(0))
        paid += sum((payment(side.opposite, quantity, price) for quantity, price in closed), D(0))
        assert profit == paid
    twice = [(quantity / 2, price) for quantity, price in opened for _ in range(2)]
    assert own_profit(side, twice, closed) == profit, "an execution in two parts is the same trade"


def test_what_is_closed_beyond_the_trade_realises_nothing() -> None:
    assert own_profit(Side.BUY, [(D(10), D(100))], [(D(15), D(110)), (D(5), D(500))]) == 100
    assert own_profit(Side.SELL, [(D(10), D(100))], []) == 0
