"""Sizes, and R."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.instruments import BUILT_IN, instrument
from trading.domain.money import plain
from trading.domain.sizing import Size, position_size, r_multiple

EQUITY, HALF_PERCENT, ONE = Decimal(100_000), Decimal("0.5"), Decimal(1)


def size(symbol: str, entry: str, stop: str, rate: str | None = "1", risk_pct: Decimal = HALF_PERCENT) -> Size:
    return position_size(
        EQUITY,
        risk_pct,
        ONE,
        Decimal(entry),
        Decimal(stop),
        instrument(symbol),
        None if rate is None else Decimal(rate),
    )


def test_worked_500_dollars_of_risk_and_20_pips_make_250_000_euros() -> None:
    assert size("EURUSD", "1.38000", "1.37800") == Size(Decimal(250_000), Decimal(500), "")


def test_worked_500_dollars_of_risk_and_a_stop_of_5_dollars_make_100_ounces_of_gold() -> None:
    assert size("XAUUSD", "1300", "1295").units == 100


def test_trap_gold_is_not_sized_tenfold_because_of_its_pip() -> None:
    ounces = size("XAUUSD", "1300.0", "1298.0").units
    assert ounces == 250
    assert ounces * 2 == 500


def test_trap_a_yen_pair_is_sized_with_the_yen_s_value_and_not_with_ten_dollars_a_pip() -> None:
    assert size("USDJPY", "100.00", "99.80", "0.01") == Size(Decimal(250_000), Decimal(500), "")
    assert size("USDJPY", "150.00", "149.80", "0.00666667").units == 374_999


def test_a_size_in_the_quote_currency_of_another_pair_uses_its_rate() -> None:
    assert size("EURGBP", "0.85000", "0.84800", "1.25").units == 200_000


def test_trap_no_lot_is_no_trade_and_never_at_least_one() -> None:
    spec = replace(instrument("XAUUSD"), lot_size=Decimal(100))
    result = position_size(EQUITY, HALF_PERCENT, ONE, Decimal(1300), Decimal("1294"), spec, ONE)
    assert result.units == 0
    assert "allows 83.333333 units, the smallest order is 100" in result.reason


def test_trap_a_smallest_order_never_lifts_the_size_above_the_risk() -> None:
    spec = replace(instrument("EURUSD"), min_units=Decimal(300_000))
    result = position_size(EQUITY, HALF_PERCENT, ONE, Decimal("1.38"), Decimal("1.378"), spec, ONE)
    assert result.units == 0
    assert "the smallest order is 300000" in result.reason


def test_a_size_is_cut_to_the_largest_order_and_says_so() -> None:
    spec = replace(instrument("EURUSD"), max_units=Decimal(100_000))
    result = position_size(EQUITY, HALF_PERCENT, ONE, Decimal("1.38"), Decimal("1.378"), spec, ONE)
    assert result == Size(Decimal(100_000), Decimal(200), "cut to the largest order of 100000")


@pytest.mark.parametrize(
    ("entry", "stop", "rate", "reason"),
    [
        ("1.38", "1.38", "1", "the stop lies on the entry"),
        ("1.38", "1.37", None, "there is no rate from USD"),
        ("1.38", "1.37", "0", "the rate from USD is 0"),
        ("NaN", "1.37", "1", "not finite"),
        ("1.38", "1.37", "Infinity", "not finite"),
    ],
)
def test_what_cannot_be_computed_is_no_size_with_a_reason(entry: str, stop: str, rate: str | None, reason: str) -> None:
    result = size("EURUSD", entry, stop, rate)
    assert (result.units, result.risk_amount) == (0, 0)
    assert reason in result.reason


def test_without_equity_there_is_no_size() -> None:
    result = position_size(Decimal(-5), HALF_PERCENT, ONE, Decimal("1.38"), Decimal("1.37"), instrument("EURUSD"), ONE)
    assert result.units == 0
    assert "the risk budget is -0.025" in result.reason


@given(
    st.sampled_from(sorted(BUILT_IN)),
    st.decimals(min_value=1, max_value=10**7, places=2),
    st.decimals(min_value=Decimal("0.01"), max_value=5, places=2),
    st.decimals(min_value=0, max_value=1, places=2),
    st.decimals(min_value=Decimal("0.0001"), max_value=5, places=5),
    st.decimals(min_value=Decimal("0.001"), max_value=200, places=6),
    st.sampled_from(["1", "75", "1000"]),
)
def test_a_size_never_risks_more_than_its_budget_and_one_lot_more_would(
    symbol: str, equity: Decimal, risk: Decimal, weight: Decimal, distance: Decimal, rate: Decimal, lot: str
) -> None:
    spec = replace(instrument(symbol), lot_size=Decimal(lot), max_units=Decimal(10) ** 15)
    result = position_size(equity, risk, weight, Decimal(10), Decimal(10) - distance, spec, rate)
    budget = equity * risk / 100 * weight
    assert result.units % spec.lot_size == 0
    assert result.units * distance * rate <= budget
    assert (result.units + spec.lot_size) * distance * rate > budget
    assert (result.units == 0) == bool(result.reason)


def test_r_is_measured_against_the_entry_after_costs_and_the_first_stop() -> None:
    made = r_multiple(Decimal(250), Decimal("1.38013"), Decimal("1.37900"), Decimal(100_000), ONE)
    assert made == (Decimal(250) / Decimal(113)).quantize(Decimal("1e-12"))


def test_r_of_a_yen_pair_converts_the_risk_as_well() -> None:
    assert r_multiple(Decimal(-500), Decimal(100), Decimal("99.8"), Decimal(250_000), Decimal("0.01")) == -1


@pytest.mark.parametrize(("entry", "quantity"), [("1.38", "1000"), ("1.39", "0")])
def test_r_without_risk_is_refused(entry: str, quantity: str) -> None:
    with pytest.raises(ValueError, match="R is not defined"):
        r_multiple(Decimal(1), Decimal(entry), Decimal("1.38"), Decimal(quantity), ONE)


@given(
    st.decimals(min_value=1, max_value=10**6, places=2),
    st.decimals(min_value=1, max_value=5000, places=2),
    st.decimals(min_value=Decimal("0.01"), max_value=1, places=2),
    st.decimals(min_value=Decimal("0.01"), max_value=10**5, places=2),
)
def test_what_is_paid_for_is_worth_no_more_than_it_may_be_and_whole_shares(
    equity: Decimal, entry: Decimal, share: Decimal, most: Decimal
) -> None:
    spec, stop = instrument("AAPL"), entry - entry * share / 2
    free = position_size(equity, ONE, ONE, entry, stop, spec, ONE)
    cut = position_size(equity, ONE, ONE, entry, stop, spec, ONE, max_value=most)
    assert cut.units == min(free.units, most // entry) and cut.units % 1 == 0
    assert cut.units * entry <= most
    if cut.units == 0:
        assert cut.reason
    elif cut.units < free.units:
        assert cut.reason == f"cut to a position worth {plain(most)}"


def test_the_value_of_a_position_is_converted_as_its_risk_is() -> None:
    spec = instrument("INFY")
    size_in_dollars = position_size(
        Decimal(100_000), ONE, ONE, Decimal(800), Decimal(760), spec, Decimal("0.0125"), max_value=Decimal(1000)
    )
    assert size_in_dollars.units == 100
