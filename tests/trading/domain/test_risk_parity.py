"""Weights by inverse volatility."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from trading.domain.risk_parity import DailyVolatility, shares

D = Decimal
FLOOR, CAP = D("0.15"), D("0.60")
volatilities = st.dictionaries(
    st.sampled_from(["EURUSD", "GBPUSD", "XAUUSD", "USDJPY"]),
    st.none() | st.decimals(min_value=D("0.1"), max_value=100, places=2),
    min_size=1,
)


def test_a_symbol_that_moves_twice_as_much_gets_half_the_share() -> None:
    assert shares({"A": D(10), "B": D(20), "C": D(20)}, floor=FLOOR, cap=CAP) == {
        "A": D("0.5"),
        "B": D("0.25"),
        "C": D("0.25"),
    }


def test_a_share_is_held_inside_its_bounds_before_all_are_brought_to_one_again() -> None:
    weights = shares({"A": D(1), "B": D(100)}, floor=FLOOR, cap=CAP)
    assert weights == {"A": D("0.8"), "B": D("0.2")}


def test_without_any_history_all_are_equal_and_a_symbol_without_one_never_blocks() -> None:
    assert shares({"A": None, "B": None}, floor=FLOOR, cap=CAP) == {"A": D("0.5"), "B": D("0.5")}
    assert shares({"A": D(10), "B": D(10), "C": None}, floor=FLOOR, cap=CAP)["C"] == D("0.333333")
    assert shares({}, floor=FLOOR, cap=CAP) == {}


@given(volatilities)
def test_shares_add_up_to_one_and_a_calmer_symbol_never_gets_less(volatility: dict[str, Decimal | None]) -> None:
    weights = shares(volatility, floor=FLOOR, cap=CAP)
    assert weights.keys() == volatility.keys()
    assert abs(sum(weights.values()) - 1) <= D("0.000001") * len(weights)
    known = {name: value for name, value in volatility.items() if value is not None}
    for one, calm in known.items():
        for other, wild in known.items():
            assert calm > wild or weights[one] >= weights[other]


def test_volatility_is_the_mean_of_the_finished_days_inside_the_lookback() -> None:
    volatility = DailyVolatility(2)
    assert volatility.mean is None
    for day in ([D(1), D(3)], [D(4)], [], [D(8)]):
        for value in day:
            volatility.add(value)
        volatility.end_day()
    assert volatility.mean == 6
    volatility.add(D(100))
    assert volatility.mean == 6
