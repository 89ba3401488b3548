"""What trades come to: totals without rounding, and the cost drag of the worked example."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.broker import Side
from trading.domain.digest import ExitFill, Outcome, cost_drag, cumulative_r, single, tally, tally_by

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
ZERO = Decimal(0)
PIP = Decimal("0.0001")


def outcome(
    pnl: str = "1", r: str | None = "1", *, currency: str = "USD", symbol: str = "EURUSD", minutes: int = 0
) -> Outcome:
    known = Decimal(r) if r is not None else None
    return Outcome(symbol, "orb", currency, Decimal(pnl), known, None, NOON + timedelta(minutes=minutes))


MONEY = st.decimals(min_value=-(10**9), max_value=10**9, places=12)
OUTCOMES = st.lists(
    st.builds(
        Outcome,
        st.sampled_from(["EURUSD", "XAUUSD"]),
        st.sampled_from(["orb", "lsg"]),
        st.sampled_from(["USD", "INR"]),
        MONEY,
        st.none() | MONEY,
        st.none() | MONEY,
        st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 2), timezones=st.just(UTC)),  # noqa: DTZ001
    )
)


@given(OUTCOMES)
def test_groups_add_up_to_the_total_to_the_last_digit(outcomes: list[Outcome]) -> None:
    total = tally(outcomes)
    for key in (lambda one: one.symbol, lambda one: one.strategy):
        parts = [part for _, part in tally_by(outcomes, key)]
        assert sum(part.trades for part in parts) == total.trades == len(outcomes)
        assert sum(part.winners for part in parts) == total.winners
        assert sum((part.r for part in parts), ZERO) == total.r
        for currency, amount in total.pnl.items():
            assert sum((part.pnl.get(currency, ZERO) for part in parts), ZERO) == amount
    assert total.winners + total.losers <= total.trades


@given(OUTCOMES)
def test_the_order_of_trades_changes_nothing(outcomes: list[Outcome]) -> None:
    assert tally(outcomes) == tally(outcomes[::-1])


@given(OUTCOMES)
def test_the_line_ends_at_the_total_and_goes_forward(outcomes: list[Outcome]) -> None:
    line = cumulative_r(outcomes)
    assert [at for at, _ in line] == sorted({one.closed_at for one in outcomes})
    assert (line[-1][1] if line else ZERO) == tally(outcomes).r


def test_no_trades_have_no_averages() -> None:
    none = tally([])
    assert (none.trades, none.r, none.pnl) == (0, ZERO, {})
    assert none.win_rate is none.average_r is none.best_r is none.worst_r is none.average_drag is None


def test_a_day_by_example() -> None:
    day = tally([outcome("100", "1"), outcome("-50", "-0.5"), outcome("0", "0"), outcome("7", None)])
    assert (day.trades, day.winners, day.losers, day.win_rate) == (4, 2, 1, Decimal("50.0"))
    assert (day.r, day.average_r, day.best_r, day.worst_r) == (Decimal("0.5"), Decimal("0.166667"), 1, Decimal("-0.5"))
    assert (day.pnl, day.without_r) == ({"USD": Decimal(57)}, 1)


def test_currencies_are_never_added() -> None:
    both = tally([outcome("100"), outcome("100", currency="INR")])
    assert both.pnl == {"INR": Decimal(100), "USD": Decimal(100)} and single(both.pnl) is None
    assert single({"USD": Decimal(3)}) == 3 and single({}) == 0


def drag(side: Side, *exits: ExitFill, fees: str = "0") -> Decimal | None:
    """The worked example: a stop 10 pips from the mid at 1.1, costs of 1.3 pips a side, 100,000 units."""
    entry = Decimal("1.1") + side.sign * Decimal("1.3") * PIP
    stop = Decimal("1.1") - side.sign * 10 * PIP
    return cost_drag(
        side=side,
        intended=Decimal("1.1"),
        entry=entry,
        stop=stop,
        exits=exits,
        fees=Decimal(fees),
        risk_amount=abs(entry - stop) * 100_000,
    )


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("pips", [-10, 10])
def test_stop_and_target_cost_the_same(side: Side, pips: int) -> None:
    level = Decimal("1.1") + side.sign * pips * PIP
    price = level - side.sign * Decimal("1.3") * PIP
    exact = Decimal("0.230088")
    assert drag(side, ExitFill(Decimal(100_000), price, level)) == exact
    assert drag(side, ExitFill(Decimal(100_000), price, None)) == exact, "at the market it costs what the entry cost"
    assert drag(side) == exact
    halves = [ExitFill(Decimal(50_000), price, level), ExitFill(Decimal(50_000), price, None)]
    assert drag(side, *halves) == exact


def test_fees_are_costs_too() -> None:
    exit_fill = ExitFill(Decimal(100_000), Decimal("1.0985"), None)
    with_fees, without = drag(Side.BUY, exit_fill, fees="-11.3"), drag(Side.BUY, exit_fill)
    assert with_fees is not None and without is not None
    assert with_fees - without == Decimal("0.1")


def test_without_a_known_risk_there_is_no_drag() -> None:
    common = {"intended": Decimal("1.1"), "entry": Decimal("1.1"), "exits": (), "fees": ZERO}
    assert cost_drag(side=Side.BUY, stop=Decimal("1.0"), risk_amount=ZERO, **common) is None  # type: ignore[arg-type]
    assert cost_drag(side=Side.BUY, stop=Decimal("1.1"), risk_amount=Decimal(5), **common) is None  # type: ignore[arg-type]
