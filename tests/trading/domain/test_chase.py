"""Where a limit entry rests that the market has left behind."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.broker import Side
from trading.domain.chase import furthest, next_price

TICKS = st.sampled_from([Decimal("0.05"), Decimal("0.01"), Decimal("0.00001")])


@pytest.mark.parametrize(
    ("side", "resting", "market", "to"),
    [
        ("BUY", "100.00", "100.20", "100.20"),
        ("BUY", "100.00", "100.23", "100.20"),
        ("BUY", "100.00", "109.00", "100.25"),
        ("BUY", "100.25", "109.00", None),
        ("BUY", "100.20", "100.10", None),
        ("BUY", "100.00", "100.04", None),
        ("SELL", "100.00", "99.80", "99.80"),
        ("SELL", "100.00", "99.82", "99.85"),
        ("SELL", "100.00", "90.00", "99.75"),
        ("SELL", "99.75", "90.00", None),
        ("SELL", "99.80", "99.90", None),
        ("BUY", "100.00", "0", None),
        ("SELL", "100.00", "NaN", None),
    ],
)
def test_it_follows_the_market_to_the_last_tick_that_was_decided(
    side: str, resting: str, market: str, to: str | None
) -> None:
    moved = next_price(
        Side(side), decided=Decimal(100), resting=Decimal(resting), market=Decimal(market), tick=Decimal("0.05"),
        most_ticks=5,
    )  # fmt: skip
    assert moved == (None if to is None else Decimal(to))


@given(
    side=st.sampled_from(Side),
    tick=TICKS,
    decided=st.integers(1000, 10_000_000),
    rested=st.integers(0, 20),
    most=st.integers(0, 20),
    market=st.decimals("0.00001", "1000000", allow_nan=False, allow_infinity=False),
)
def test_wherever_the_market_is_it_stays_on_the_tick_between_its_price_and_the_worst_that_was_measured(
    side: Side, tick: Decimal, decided: int, rested: int, most: int, market: Decimal
) -> None:
    began = decided * tick
    resting = began + side.sign * min(rested, most) * tick
    to = next_price(side, decided=began, resting=resting, market=market, tick=tick, most_ticks=most)
    if to is not None:
        assert to % tick == 0
        assert (to - resting) * side.sign > 0, "towards the market"
        assert (furthest(side, began, tick=tick, most_ticks=most) - to) * side.sign >= 0, "no further than decided"
        assert (market - to) * side.sign >= 0, "never worse than what the other side asks"
