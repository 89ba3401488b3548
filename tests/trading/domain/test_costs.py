"""What trading costs, and pips."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.broker import Side
from trading.domain.costs import CostModel
from trading.domain.instruments import BUILT_IN, UnknownInstrument, instrument
from trading.domain.sizing import r_multiple

EURUSD = CostModel(instrument("EURUSD"), Decimal("0.6"))


@pytest.mark.parametrize(
    ("symbol", "distance", "pips"),
    [("EURUSD", "0.0010", "10"), ("USDJPY", "0.10", "10"), ("GBPJPY", "1", "100"), ("XAUUSD", "1", "10")],
)
def test_trap_a_pip_is_the_instrument_s_own_and_never_a_ten_thousandth_of_a_yen_pair(
    symbol: str, distance: str, pips: str
) -> None:
    assert instrument(symbol).pips(Decimal(distance)) == Decimal(pips)


def test_an_unknown_symbol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownInstrument, match="'EURUSDX' is not a known symbol; known are AAPL, AUDUSD"):
        instrument("EURUSDX")


def test_a_side_costs_half_the_spread_and_one_pip_when_the_market_is_quiet() -> None:
    assert EURUSD.fill_price(Side.BUY, Decimal("1.38000"), Decimal("0.0005")) == Decimal("1.38013")
    assert EURUSD.fill_price(Side.SELL, Decimal("1.38000"), Decimal("0.0005")) == Decimal("1.37987")


def test_slippage_is_a_thousandth_of_the_true_range_when_that_is_more_than_a_pip() -> None:
    gold = CostModel(instrument("XAUUSD"), Decimal("2.5"))
    assert gold.fill_price(Side.BUY, Decimal(1300), Decimal(500)) == Decimal("1300.625")
    assert gold.fill_price(Side.BUY, Decimal(1300), Decimal(50)) == Decimal("1300.225")
    assert gold.fill_price(Side.BUY, Decimal(1300), None) == Decimal("1300.225")


def test_a_yen_pair_pays_yen_pips() -> None:
    yen = CostModel(instrument("USDJPY"), Decimal(1))
    assert yen.fill_price(Side.SELL, Decimal("100.000"), None) == Decimal("99.985")


def test_worked_a_stop_loses_1_115_r_and_a_target_wins_0_655_r_so_63_percent_break_even() -> None:
    mid, pip = Decimal("1.38000"), Decimal("0.0001")
    stop, target, units = mid - 10 * pip, mid + 10 * pip, Decimal(1000)
    entry = EURUSD.fill_price(Side.BUY, mid, None)

    def r_at(exit_mid: Decimal) -> Decimal:
        pnl = (EURUSD.fill_price(Side.SELL, exit_mid, None) - entry) * units
        return r_multiple(pnl, entry, stop, units, Decimal(1))

    loss, win = r_at(stop), r_at(target)
    assert round(loss, 3) == Decimal("-1.115")
    assert round(win, 3) == Decimal("0.655")
    assert round(-loss / (win - loss), 2) == Decimal("0.63")


@given(
    st.sampled_from(sorted(BUILT_IN)),
    st.decimals(min_value=Decimal("0.5"), max_value=2000, places=6),
    st.decimals(min_value=0, max_value=50, places=2),
    st.none() | st.decimals(min_value=0, max_value=100, places=8),
    st.sampled_from(Side),
)
def test_every_fill_is_worse_than_the_mid_by_at_least_the_cost_and_on_the_price_step(
    symbol: str, mid: Decimal, spread: Decimal, atr: Decimal | None, side: Side
) -> None:
    model = CostModel(instrument(symbol), spread)
    price = model.fill_price(side, mid, atr)
    step = instrument(symbol).tick_size
    assert price > 0
    assert price % step == 0
    if price > step:
        assert model.cost_per_side(atr) <= (price - mid) * side.sign < model.cost_per_side(atr) + step


def test_commission_is_per_million_units_in_account_currency() -> None:
    model = CostModel(instrument("EURUSD"), Decimal("0.6"), Decimal(50))
    assert model.commission(Decimal(250_000)) == Decimal("12.5")
    assert EURUSD.commission(Decimal(250_000)) == 0


def test_costs_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be below zero"):
        CostModel(instrument("EURUSD"), Decimal("-0.1"))
