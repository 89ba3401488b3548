"""The gates: each lets through, each stops, each rejects what it cannot compute, and all are recorded."""

from dataclasses import fields, replace
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trading.domain.making import at
from trading.domain.broker import OrderType, Side
from trading.domain.gates import GATES, GateContext, TradingState, evaluate
from trading.domain.instruments import instrument
from trading.domain.session import RiskLimits
from trading.domain.windows import Window, trading_day

D = Decimal
LIMITS = RiskLimits(
    global_daily_stop_r=D(-5),
    max_open_positions=2,
    max_open_per_symbol=1,
    per_strategy_daily_trades=3,
    per_strategy_daily_stop_r=D(-2),
    per_strategy_daily_win_r=D(6),
)
GOOD = GateContext(
    strategy="orb",
    symbol="EURUSD",
    side=Side.BUY,
    order_type=OrderType.MARKET,
    entry=D("1.38000"),
    stop=D("1.37800"),
    target=D("1.38200"),
    bar_start=at("2014-05-01 07:05"),
    trading_state=TradingState.OPEN,
    windows=(Window(time(7, 5), time(10)),),
    drawdown_lock_enabled=True,
    drawdown_locked=False,
    drawdown_pct=D("1.5"),
    news_guard_enabled=False,
    news_events=None,
    indicators_ready=True,
    in_hole=False,
    price_at=at("2014-05-01 07:10"),
    now=at("2014-05-01 07:10"),
    price_age_limit=timedelta(seconds=60),
    entries_today_this_way=0,
    one_entry_per_symbol=False,
    bar_had_position=False,
    external_position=False,
    pending_order=False,
    limits=LIMITS,
    account_r_today=D("-4.9"),
    strategy_trades_today=2,
    strategy_r_today=D("-1.9"),
    day_pnl=D("-1999.99"),
    max_daily_loss_pct=D(2),
    trades_today=3,
    max_trades_per_day=4,
    spec=instrument("EURUSD"),
    last_price=D("1.380005"),
    previous_close=D("1.38010"),
    equity=D(100_000),
    per_trade_risk_pct=D("0.5"),
    weight=D(1),
    quote_to_account_rate=D(1),
    max_allocation=D("0.05"),
    max_risk_per_trade_pct=D("0.5"),
    daily_risk_pct=D(2),
    daily_risk_used_pct=D("1.5"),
    max_heat_pct=D(2),
    heat_pct=D("1.5"),
    max_symbol_risk_pct=D(1),
    symbol_risk_pct=D("0.5"),
    open_positions=1,
    open_on_symbol=0,
    available_cash=D(100_000),
)
# A share, paid in cash: 1 % at risk with a stop 5 dollars away would be 200 of them, worth 20,000.
SHARE = replace(
    GOOD,
    strategy="trend_pullback",
    symbol="SPY",
    spec=instrument("SPY"),
    entry=D("100.00"),
    stop=D("95.00"),
    target=D("110.00"),
    last_price=D("100.00"),
    previous_close=D("99.00"),
    per_trade_risk_pct=D(1),
    max_allocation=D("0.10"),
)


def failing(**changes: Any) -> dict[str, str]:
    """The gates that reject the good context with these changes, with their reasons."""
    verdict = evaluate(replace(GOOD, **changes))
    assert [gate.name for gate in verdict.gates] == list(GATES)
    return {gate.name: gate.reason for gate in verdict.gates if not gate.passed}


def test_a_good_signal_is_approved_with_its_size_risk_and_heat() -> None:
    verdict = evaluate(GOOD)
    assert verdict.approved
    assert verdict.reasons == ()
    assert (verdict.units, verdict.risk_amount, verdict.risk_pct) == (250_000, 500, D("0.5"))
    assert (verdict.heat_before, verdict.heat_after) == (D("1.5"), 2)
    numbers = {gate.name: gate.numbers for gate in verdict.gates}
    assert numbers["global_daily_stop"] == {"r_today": "-4.9", "limit_r": "-5"}
    assert numbers["size"]["units"] == "250000"
    assert numbers["portfolio_heat"] == {"before": "1.5", "after": "2", "cap": "2"}


@pytest.mark.parametrize(
    ("changes", "gate", "reason"),
    [
        (
            {"trading_state": TradingState.CLOSED, "halt_reasons": ("kill switch by ada",)},
            "trading_state",
            "kill switch",
        ),
        ({"trading_state": TradingState.REDUCE_ONLY}, "trading_state", "REDUCE_ONLY"),
        ({"bar_start": at("2014-05-01 07:00")}, "session_window", "outside the strategy's windows"),
        ({"bar_start": at("2014-05-01 10:00")}, "session_window", "outside the strategy's windows"),
        ({"bar_start": at("2014-05-03 08:00")}, "session_window", "weekend"),
        ({"drawdown_locked": True, "cooloff_until": at("2014-05-01 12:00")}, "drawdown_lock", "until 2014-05-01T12:00"),
        ({"news_guard_enabled": True, "news_events": ("USD payrolls 12:30",)}, "news", "USD payrolls"),
        ({"in_hole": True}, "data_quality", "bars are missing"),
        ({"indicators_ready": False}, "data_quality", "have not seen enough bars"),
        ({"now": at("2014-05-01 07:11") + timedelta(seconds=1)}, "data_quality", "too old"),
        ({"price_at": at("2014-05-01 07:15")}, "data_quality", "from the future"),
        ({"entries_today_this_way": 1}, "one_entry_per_day", "orb has entered EURUSD BUY today already"),
        ({"bar_had_position": True}, "bar_had_position", "during this bar"),
        ({"external_position": True}, "external_position", "not ours"),
        ({"pending_order": True}, "pending_order", "still pending"),
        ({"account_r_today": D(-5)}, "global_daily_stop", "daily stop is reached"),
        ({"strategy_trades_today": 3}, "strategy_day", "made its trades"),
        ({"strategy_r_today": D(-2)}, "strategy_day", "daily stop is reached"),
        ({"strategy_r_today": D(6)}, "strategy_day", "win is locked in"),
        ({"day_pnl": D(-2000)}, "daily_loss", "daily loss is reached"),
        ({"trades_today": 4}, "trades_today", "trades of the day"),
        ({"one_entry_per_symbol": True, "entries_today_this_way": 1}, "one_entry_per_day", "EURUSD was entered today"),
        ({"last_price": D("1.50")}, "price_sane", "too far from the last price"),
        ({"previous_close": D("0.98")}, "price_sane", "a split, or a bad number"),
        ({"previous_close": D("2.31")}, "price_sane", "a split, or a bad number"),
        ({"target": D("1.37900")}, "price_sane", "not in the order of the trade's direction"),
        ({"entry": D("1.380001")}, "price_sane", "not on the tick of 0.00001"),
        ({"spec": replace(instrument("EURUSD"), tick_size=D("0.0007"))}, "price_sane", "not on the tick of 0.0007"),
        (
            {"per_trade_risk_pct": D("0.51"), "heat_pct": D(0), "daily_risk_used_pct": D(0), "symbol_risk_pct": D(0)},
            "risk_per_trade",
            "risks more",
        ),
        ({"daily_risk_used_pct": D("1.51")}, "daily_risk_budget", "budget of the day is used"),
        ({"symbol_risk_pct": D("0.51")}, "symbol_risk", "the open risk on EURUSD would exceed its cap"),
        ({"heat_pct": D("1.51")}, "portfolio_heat", "exceed its cap"),
        ({"open_positions": 2}, "max_open_positions", "as many positions are open"),
        ({"open_on_symbol": 1}, "max_open_per_symbol", "on EURUSD"),
        ({"available_cash": D(0)}, "buying_power", "there is no cash"),
        ({"spec": replace(instrument("EURUSD"), freeze_quantity=D(999))}, "freeze_quantity", "takes less in one order"),
    ],
)
def test_each_gate_alone_stops_a_signal_and_says_why(changes: dict[str, Any], gate: str, reason: str) -> None:
    found = failing(**changes)
    assert list(found) == [gate]
    assert reason in found[gate]


def test_a_size_below_one_lot_is_rejected_and_what_depends_on_it_cannot_be_computed() -> None:
    found = failing(equity=D("0.1"))
    assert [name for name in found if name != "daily_loss"] == [
        "size",
        "risk_per_trade",
        "daily_risk_budget",
        "symbol_risk",
        "portfolio_heat",
    ]
    assert "the smallest order is 1" in found["size"]


UNKNOWN = [
    ("trading_state", "trading_state"),
    ("drawdown_locked", "drawdown_lock"),
    ("indicators_ready", "data_quality"),
    ("in_hole", "data_quality"),
    ("price_at", "data_quality"),
    ("entries_today_this_way", "one_entry_per_day"),
    ("bar_had_position", "bar_had_position"),
    ("external_position", "external_position"),
    ("pending_order", "pending_order"),
    ("account_r_today", "global_daily_stop"),
    ("strategy_trades_today", "strategy_day"),
    ("strategy_r_today", "strategy_day"),
    ("day_pnl", "daily_loss"),
    ("trades_today", "trades_today"),
    ("last_price", "price_sane"),
    ("previous_close", "price_sane"),
    ("equity", "size"),
    ("weight", "size"),
    ("quote_to_account_rate", "size"),
    ("daily_risk_used_pct", "daily_risk_budget"),
    ("heat_pct", "portfolio_heat"),
    ("symbol_risk_pct", "symbol_risk"),
    ("available_cash", "buying_power"),
    ("open_positions", "max_open_positions"),
    ("open_on_symbol", "max_open_per_symbol"),
]


@pytest.mark.parametrize(("field", "gate"), UNKNOWN)
def test_what_is_not_known_rejects_and_is_named(field: str, gate: str) -> None:
    verdict = evaluate(replace(GOOD, **{field: None}))
    assert not verdict.approved
    reason = {result.name: result.reason for result in verdict.gates}[gate]
    assert "not known" in reason or "cannot be computed" in reason


def test_a_share_is_cut_to_the_part_of_the_account_that_a_symbol_may_take() -> None:
    verdict = evaluate(SHARE)
    assert verdict.approved and (verdict.units, verdict.risk_amount, verdict.risk_pct) == (100, 500, D("0.5"))
    tight = evaluate(
        replace(
            SHARE,
            stop=D("40.00"),
            max_risk_per_trade_pct=D(1),
            symbol_risk_pct=D(0),
            heat_pct=D(0),
            daily_risk_used_pct=D(0),
        )
    )
    assert tight.units == 16, "the budget of 1,000 allows 16 with a stop 60 dollars away: less than the part"
    one = {gate.name: gate for gate in evaluate(replace(SHARE, max_allocation=D("0.0009"))).gates}["size"]
    assert not one.passed and "a position worth 90 allows 0.9 units, the smallest order is 1" in one.reason


@pytest.mark.parametrize("side", Side)
def test_a_share_costs_no_more_than_the_cash_there_is_whichever_way(side: Side) -> None:
    turned = SHARE
    if side is Side.SELL:
        turned = replace(SHARE, side=side, stop=D("105.00"), target=D("90.00"))
    assert evaluate(replace(turned, available_cash=D(10_000))).approved
    verdict = evaluate(replace(turned, available_cash=D("9999.99")))
    assert [gate.name for gate in verdict.gates if not gate.passed] == ["buying_power"]
    numbers = {gate.name: gate.numbers for gate in verdict.gates}["buying_power"]
    assert numbers == {"cost": "10000", "available": "9999.99"}


def test_the_bounds_of_the_us_preset_are_inclusive_where_money_is_still_left() -> None:
    assert failing(symbol_risk_pct=D("0.5"), trades_today=3, day_pnl=D("-1999.99")) == {}
    assert failing(previous_close=D("0.986"), last_price=D("1.3804")) == {}  # exactly 40 % above


def test_an_enabled_news_guard_without_a_calendar_rejects_and_a_disabled_one_does_not_ask() -> None:
    assert failing(news_guard_enabled=True) == {"news": "cannot compute: the news calendar is not known"}
    assert failing(news_guard_enabled=True, news_events=()) == {}
    assert failing(drawdown_lock_enabled=False, drawdown_locked=None) == {}


def test_every_field_that_may_be_unknown_is_tried_above() -> None:
    optional = {field.name for field in fields(GateContext) if "None" in str(field.type)}
    described_only = {"drawdown_pct", "cooloff_until", "news_events"}
    assert optional - described_only == {field for field, _ in UNKNOWN}


def test_all_gates_are_evaluated_and_recorded_also_after_one_has_failed() -> None:
    verdict = evaluate(replace(GOOD, trading_state=TradingState.CLOSED, open_positions=2, pending_order=True))
    assert len(verdict.gates) == len(GATES)
    assert [gate.name for gate in verdict.gates if not gate.passed] == [
        "trading_state",
        "pending_order",
        "max_open_positions",
    ]
    assert (verdict.units, verdict.risk_amount, verdict.risk_pct) == (0, 0, 0)
    assert verdict.heat_after == verdict.heat_before
    assert {gate.name: gate.numbers for gate in verdict.gates}["size"]["units"] == "250000"


strange = st.sampled_from([D("NaN"), D("sNaN"), D("Infinity"), D("-Infinity"), D(0), D(-1), D("1e300"), None])
decimal_fields = [field.name for field in fields(GateContext) if "Decimal" in str(field.type)]


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(decimal_fields), strange, min_size=1))
def test_no_number_however_strange_makes_a_gate_raise_or_approves_what_it_cannot_compute(
    values: dict[str, Any],
) -> None:
    verdict = evaluate(replace(GOOD, **values))
    assert [gate.name for gate in verdict.gates] == list(GATES)
    if verdict.approved:
        assert verdict.units > 0
        equity = values.get("equity", GOOD.equity)
        assert verdict.risk_amount <= values.get("max_risk_per_trade_pct", GOOD.max_risk_per_trade_pct) / 100 * equity
        needed = [value for name, value in values.items() if name != "drawdown_pct"]
        assert all(value is not None and value.is_finite() for value in needed)


@pytest.mark.parametrize("name", [name for name in decimal_fields if name != "drawdown_pct"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_finite_is_not_known_whichever_it_is(name: str, number: str) -> None:
    assert not evaluate(replace(GOOD, **{name: D(number)})).approved  # type: ignore[arg-type]


def test_trap_a_halt_of_one_day_is_over_on_the_next_because_the_day_comes_from_the_bar() -> None:
    r_of_day = {trading_day(at("2014-05-01 09:00")): D(-5)}

    def halted(bar_start: str) -> bool:
        moment = at(bar_start)
        r_today = r_of_day.get(trading_day(moment), D(0))
        return "global_daily_stop" in failing(bar_start=moment, now=moment, price_at=moment, account_r_today=r_today)

    assert halted("2014-05-01 09:05")
    assert not halted("2014-05-02 07:05")
