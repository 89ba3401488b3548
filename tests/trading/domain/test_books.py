"""Lots, first in, first out."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.books import LotClosing, OpenLot, apply_fill, average_price, net_quantity, pooled_price
from trading.domain.broker import Side

D = Decimal
fills = st.lists(
    st.tuples(
        st.sampled_from(Side),
        st.decimals(min_value=D("0.5"), max_value=1000, places=1),
        st.decimals(min_value=D("0.5"), max_value=2, places=5),
    ),
    max_size=25,
)


def long_lots() -> tuple[OpenLot, ...]:
    lots, _ = apply_fill((), Side.BUY, D(100), D("1.10"), lot_id="a")
    lots, _ = apply_fill(lots, Side.BUY, D(50), D("1.20"), lot_id="b")
    return lots


def test_fills_of_the_same_side_open_lots() -> None:
    lots = long_lots()
    assert [lot.lot_id for lot in lots] == ["a", "b"]
    assert net_quantity(lots) == 150
    assert average_price(lots) == D(170) / D(150)
    assert average_price(()) is None


def test_a_fill_against_them_closes_the_oldest_first() -> None:
    lots, closings = apply_fill(long_lots(), Side.SELL, D(120), D("1.30"))
    assert lots == (OpenLot("b", Side.BUY, D(30), D("1.20")),)
    assert closings == (
        LotClosing("a", D(100), D("1.10"), D("1.30"), D("20.00")),
        LotClosing("b", D(20), D("1.20"), D("1.30"), D("2.00")),
    )


def test_a_flip_closes_everything_and_then_opens_the_rest() -> None:
    lots, closings = apply_fill(long_lots(), Side.SELL, D(200), D("1.00"), lot_id="c")
    assert lots == (OpenLot("c", Side.SELL, D(50), D("1.00")),)
    assert sum(closing.pnl_quote for closing in closings) == D(-20)
    assert net_quantity(lots) == -50


def test_a_short_lot_earns_when_the_price_falls() -> None:
    lots, _ = apply_fill((), Side.SELL, D(10), D(100))
    lots, closings = apply_fill(lots, Side.BUY, D(10), D(90), multiplier=D(75))
    assert lots == ()
    assert closings[0].pnl_quote == 7500


@pytest.mark.parametrize("quantity", ["0", "-1", "NaN"])
def test_a_quantity_that_is_not_above_zero_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="above zero"):
        apply_fill((), Side.BUY, D(quantity), D(1))


def test_lots_of_both_sides_are_refused() -> None:
    both = (OpenLot("a", Side.BUY, D(1), D(1)), OpenLot("b", Side.SELL, D(1), D(1)))
    with pytest.raises(ValueError, match="both sides"):
        apply_fill(both, Side.BUY, D(1), D(1))


@given(fills)
def test_open_lots_equal_the_signed_sum_of_fills_and_no_profit_is_lost(
    history: list[tuple[Side, Decimal, Decimal]],
) -> None:
    lots: tuple[OpenLot, ...] = ()
    profit = paid = D(0)
    for index, (side, quantity, price) in enumerate(history):
        opened_before = {lot.lot_id for lot in lots}
        lots, closings = apply_fill(lots, side, quantity, price, lot_id=str(index))
        assert {closing.lot_id for closing in closings} <= opened_before
        profit += sum((closing.pnl_quote for closing in closings), D(0))
        paid += side.sign * quantity * price
        assert len({lot.side for lot in lots}) <= 1
        assert all(lot.quantity > 0 for lot in lots)
    assert net_quantity(lots) == sum((side.sign * quantity for side, quantity, _ in history), D(0))
    # Money in equals money out: what the fills paid is what the open lots cost less what the closings earned.
    assert paid == sum((lot.side.sign * lot.quantity * lot.price for lot in lots), D(0)) - profit


def test_averaged_cost_moves_with_additions_and_stays_on_reductions() -> None:
    bought = [(Side.BUY, D(10), D(100)), (Side.BUY, D(10), D(110))]
    assert pooled_price(bought) == 105
    assert pooled_price([*bought, (Side.SELL, D(15), D(500))]) == 105
    assert pooled_price([*bought, (Side.SELL, D(25), D(120))]) == 120, "beyond flat it begins anew"
    assert pooled_price([*bought, (Side.SELL, D(20), D(120))]) is None
    assert pooled_price([]) is None


@given(fills)
def test_averaged_and_matched_cost_are_one_until_something_is_closed(
    script: list[tuple[Side, Decimal, Decimal]],
) -> None:
    lots: tuple[OpenLot, ...] = ()
    done: list[tuple[Side, Decimal, Decimal]] = []
    for side, quantity, price in script:
        lots, closings = apply_fill(lots, side, quantity, price)
        done.append((side, quantity, price))
        pooled, matched = pooled_price(done), average_price(lots)
        assert (pooled is None) == (matched is None)
        if closings and matched is not None:
            return
        assert pooled is None or matched is None or abs(pooled - matched) < D("1e-20")
