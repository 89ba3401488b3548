"""The risk gates: whether a signal may become an order, each gate recorded with its numbers.

What always holds here: all gates are evaluated, in one order, also after one has failed; a gate whose input is not
known (None) rejects and says what is missing, it never raises and never guesses; nothing here can block an exit,
because exits do not come here. The caller builds the context under the account's lock, so that two signals cannot
pass into the same room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from trading.domain.bars import JUMP
from trading.domain.gate_context import GateContext, GateResult, TradingState, Verdict
from trading.domain.money import HUNDRED, ONE, STORED_STEP, ZERO, plain
from trading.domain.sizing import Size, position_size
from trading.domain.windows import in_any_window


@dataclass(frozen=True, slots=True)
class _Sized:
    """The context's size and its share of equity in percent (None: it could not be computed)."""

    size: Size
    risk_pct: Decimal | None


# Whatever a number that is missing or strange can raise: the gate fails closed instead.
_CANNOT_COMPUTE = (ArithmeticError, AttributeError, TypeError, ValueError)
_Outcome = tuple[bool, str, dict[str, object]]
_Gate = Callable[[GateContext, _Sized], _Outcome]


def evaluate(context: GateContext) -> Verdict:
    """All gates, in order, and the size. Never raises for what the context says."""
    context = _finite_only(context)
    sized = _sized(context)
    results = tuple(_run(name, gate, context, sized) for name, gate in GATES.items())
    approved = all(result.passed for result in results)
    heat_after = None
    if context.heat_pct is not None:
        heat_after = context.heat_pct + (sized.risk_pct if approved and sized.risk_pct is not None else ZERO)
    return Verdict(
        approved=approved,
        gates=results,
        units=sized.size.units if approved else ZERO,
        risk_amount=sized.size.risk_amount if approved else ZERO,
        risk_pct=sized.risk_pct if approved and sized.risk_pct is not None else ZERO,
        heat_before=context.heat_pct,
        heat_after=heat_after,
    )


def _finite_only(context: GateContext) -> GateContext:
    """A number that is not finite is not known: an infinite limit would let everything through."""
    strange: dict[str, Any] = {}
    for field in fields(context):
        value = getattr(context, field.name)
        if isinstance(value, Decimal) and not value.is_finite():
            strange[field.name] = None
    return replace(context, **strange) if strange else context


def _run(name: str, gate: _Gate, context: GateContext, sized: _Sized) -> GateResult:
    try:
        passed, reason, numbers = gate(context, sized)
    except _CANNOT_COMPUTE as error:
        passed, reason, numbers = False, f"cannot compute: {type(error).__name__}: {error}", {}
    return GateResult(name, passed, reason, {key: _text(value) for key, value in numbers.items()})


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


def _sized(context: GateContext) -> _Sized:
    if context.equity is None or context.weight is None:
        missing = "equity" if context.equity is None else "weight"
        return _Sized(Size(ZERO, ZERO, f"the {missing} is not known"), None)
    try:
        most = context.equity * context.max_allocation
        size = position_size(
            context.equity,
            context.per_trade_risk_pct,
            context.weight,
            context.entry,
            context.stop,
            context.spec,
            context.quote_to_account_rate,
            max_value=None if context.spec.margin else most,
        )
        if size.units == 0:
            return _Sized(size, None)
        return _Sized(size, (size.risk_amount / context.equity * HUNDRED).quantize(STORED_STEP))
    except _CANNOT_COMPUTE:
        return _Sized(Size(ZERO, ZERO, "the size cannot be computed"), None)


def _unknown(what: str, **numbers: object) -> _Outcome:
    return False, f"cannot compute: {what} is not known", dict(numbers)


def _check(passed: bool, reason: str, **numbers: object) -> _Outcome:
    return passed, "" if passed else reason, dict(numbers)


def _trading_state(context: GateContext, _: _Sized) -> _Outcome:
    if context.trading_state is None:
        return _unknown("the trading state")
    why = "; ".join(context.halt_reasons) or "no reason recorded"
    passed = context.trading_state is TradingState.OPEN
    return _check(passed, f"the account is {context.trading_state.value}: {why}", state=context.trading_state.value)


def _session_window(context: GateContext, _: _Sized) -> _Outcome:
    if not context.is_trading(context.bar_start):
        return _check(False, "the bar lies in the weekend", bar_start=context.bar_start)
    inside = in_any_window(context.windows, context.bar_start)
    return _check(inside, "the bar starts outside the strategy's windows", bar_start=context.bar_start)


def _drawdown_lock(context: GateContext, _: _Sized) -> _Outcome:
    if not context.drawdown_lock_enabled:
        return _check(True, "", enabled=False)
    if context.drawdown_locked is None:
        return _unknown("the drawdown from the peak of equity")
    until = context.cooloff_until
    reason = "entries are locked after a drawdown" + (f" until {until.isoformat()}" if until else "")
    return _check(not context.drawdown_locked, reason, enabled=True, drawdown_pct=context.drawdown_pct)


def _news(context: GateContext, _: _Sized) -> _Outcome:
    if not context.news_guard_enabled:
        return _check(True, "", enabled=False)
    if context.news_events is None:
        return _unknown("the news calendar", enabled=True)
    events = ", ".join(context.news_events)
    return _check(not context.news_events, f"news: {events}", enabled=True, events=len(context.news_events))


def _data_quality(context: GateContext, _: _Sized) -> _Outcome:
    if context.in_hole is None or context.indicators_ready is None:
        return _unknown("the state of the market data")
    if context.price_at is None:
        return _unknown("the time of the last price")
    age, limit = context.now - context.price_at, context.price_age_limit
    numbers: dict[str, object] = {"price_age_s": int(age.total_seconds()), "limit_s": int(limit.total_seconds())}
    if context.in_hole:
        return False, "bars are missing, and the indicators are not filled again", numbers
    if not context.indicators_ready:
        return False, "the indicators have not seen enough bars", numbers
    if age < timedelta(0):
        return False, "the last price is from the future", numbers
    return _check(age <= limit, "the last price is too old", **numbers)


def _one_per_day(context: GateContext, _: _Sized) -> _Outcome:
    if context.entries_today_this_way is None:
        return _unknown("the number of today's entries")
    count = context.entries_today_this_way
    reason = f"{context.strategy} has entered {context.symbol} {context.side.value} today already"
    if context.one_entry_per_symbol:
        reason = f"{context.symbol} was entered today already"
    return _check(count == 0, reason, entries_today=count)


def _bar_had_position(context: GateContext, _: _Sized) -> _Outcome:
    if context.bar_had_position is None:
        return _unknown("whether this bar had a position")
    return _check(not context.bar_had_position, "a position was open during this bar")


def _external_position(context: GateContext, _: _Sized) -> _Outcome:
    if context.external_position is None:
        return _unknown("whether somebody else holds a position on the symbol")
    return _check(not context.external_position, f"a position on {context.symbol} is not ours; it is never added to")


def _position_features(context: GateContext, _: _Sized) -> _Outcome:
    return _check(not context.position_fault, f"{context.strategy} is wrong of its position: {context.position_fault}")


def _pending_order(context: GateContext, _: _Sized) -> _Outcome:
    if context.pending_order is None:
        return _unknown("whether an order is pending on the symbol")
    return _check(not context.pending_order, f"an order on {context.symbol} is still pending")


def _global_daily_stop(context: GateContext, _: _Sized) -> _Outcome:
    limit, r_today = context.limits.global_daily_stop_r, context.account_r_today
    if r_today is None:
        return _unknown("the account's R of today", limit_r=limit)
    return _check(r_today > limit, "the account's daily stop is reached", r_today=r_today, limit_r=limit)


def _strategy_day(context: GateContext, _: _Sized) -> _Outcome:
    limits, trades, r_today = context.limits, context.strategy_trades_today, context.strategy_r_today
    if trades is None or r_today is None:
        return _unknown("the strategy's trades and R of today")
    numbers: dict[str, object] = {
        "trades": trades,
        "max_trades": limits.per_strategy_daily_trades,
        "r_today": r_today,
        "stop_r": limits.per_strategy_daily_stop_r,
        "win_r": limits.per_strategy_daily_win_r,
    }
    if trades >= limits.per_strategy_daily_trades:
        return False, "the strategy has made its trades of the day", numbers
    if r_today <= limits.per_strategy_daily_stop_r:
        return False, "the strategy's daily stop is reached", numbers
    if r_today >= limits.per_strategy_daily_win_r:
        return False, "the strategy's daily win is locked in", numbers
    return True, "", numbers


def _daily_loss(context: GateContext, _: _Sized) -> _Outcome:
    if context.day_pnl is None or context.equity is None:
        return _unknown("the profit of today" if context.day_pnl is None else "equity")
    limit = context.equity * context.max_daily_loss_pct / HUNDRED
    cap = context.max_daily_loss_pct
    return _check(context.day_pnl > -limit, "the daily loss is reached", pnl=context.day_pnl, limit=-limit, cap_pct=cap)


def _trades_today(context: GateContext, _: _Sized) -> _Outcome:
    if context.trades_today is None:
        return _unknown("the number of today's trades")
    count, limit = context.trades_today, context.max_trades_per_day
    return _check(count < limit, "the account has made its trades of the day", trades=count, limit=limit)


def _price_sane(context: GateContext, _: _Sized) -> _Outcome:
    entry, stop, target, last = context.entry, context.stop, context.target, context.last_price
    before = context.previous_close
    if last is None or before is None:
        return _unknown("the last price" if last is None else "the close before")
    numbers: dict[str, object] = {"entry": entry, "stop": stop, "target": target, "last_price": last}
    numbers["previous_close"] = before
    prices = (entry, stop, target, last)
    if not all(price > 0 for price in prices):
        return False, "a price is not above zero", numbers
    sign = context.side.sign
    if (entry - stop) * sign <= 0 or (target - entry) * sign <= 0:
        return False, "stop, entry and target are not in the order of the trade's direction", numbers
    if any(price % context.spec.tick_size for price in (entry, stop, target)):
        return False, f"a price is not on the tick of {plain(context.spec.tick_size)}", numbers
    if abs(last - before) > JUMP * before:
        return False, "the price is too far from the close before: a split, or a bad number", numbers
    return _check(abs(entry - last) <= PRICE_COLLAR * last, "the entry is too far from the last price", **numbers)


def _size(context: GateContext, sized: _Sized) -> _Outcome:
    size = sized.size
    return _check(
        size.units >= max(context.spec.lot_size, context.spec.min_units),
        size.reason,
        units=size.units,
        risk_amount=size.risk_amount,
        equity=context.equity,
        risk_pct=context.per_trade_risk_pct,
        weight=context.weight,
        rate=context.quote_to_account_rate,
    )


def _risk_per_trade(context: GateContext, sized: _Sized) -> _Outcome:
    if sized.risk_pct is None:
        return _unknown("the risk of this trade")
    cap = context.max_risk_per_trade_pct
    return _check(sized.risk_pct <= cap, "the trade risks more than one may", risk_pct=sized.risk_pct, cap_pct=cap)


def _daily_risk_budget(context: GateContext, sized: _Sized) -> _Outcome:
    if sized.risk_pct is None or context.daily_risk_used_pct is None:
        return _unknown("the risk of this trade" if sized.risk_pct is None else "the risk used today")
    after, cap = context.daily_risk_used_pct + sized.risk_pct, context.daily_risk_pct
    return _check(
        after <= cap, "the strategy's risk budget of the day is used", used_pct=context.daily_risk_used_pct, cap_pct=cap
    )


def _symbol_risk(context: GateContext, sized: _Sized) -> _Outcome:
    if sized.risk_pct is None or context.symbol_risk_pct is None:
        return _unknown("the risk of this trade" if sized.risk_pct is None else f"the open risk on {context.symbol}")
    after, cap = context.symbol_risk_pct + sized.risk_pct, context.max_symbol_risk_pct
    return _check(after <= cap, f"the open risk on {context.symbol} would exceed its cap", after=after, cap=cap)


def _portfolio_heat(context: GateContext, sized: _Sized) -> _Outcome:
    if sized.risk_pct is None or context.heat_pct is None:
        return _unknown("the risk of this trade" if sized.risk_pct is None else "the risk of the open positions")
    after, cap = context.heat_pct + sized.risk_pct, context.max_heat_pct
    return _check(
        after <= cap, "all open risk together would exceed its cap", before=context.heat_pct, after=after, cap=cap
    )


def _max_open_positions(context: GateContext, _: _Sized) -> _Outcome:
    if context.open_positions is None:
        return _unknown("the number of open positions")
    count, limit = context.open_positions, context.limits.max_open_positions
    return _check(count < limit, "as many positions are open as may be", open=count, limit=limit)


def _max_open_per_symbol(context: GateContext, _: _Sized) -> _Outcome:
    if context.open_on_symbol is None:
        return _unknown("the number of open positions on the symbol")
    count, limit = context.open_on_symbol, context.limits.max_open_per_symbol
    return _check(count < limit, f"as many positions on {context.symbol} are open as may be", open=count, limit=limit)


def _buying_power(context: GateContext, sized: _Sized) -> _Outcome:
    """A position on margin needs an account that is not empty, one that is paid for the whole of its price.

    A share that is sold short needs as much, because it must be bought back.
    """
    cash, rate = context.available_cash, context.quote_to_account_rate
    if cash is None or rate is None:
        return _unknown("the cash" if cash is None else "the rate into the account's currency")
    if context.spec.margin:
        return _check(cash > 0, "there is no cash", available=cash)
    cost = sized.size.units * context.entry * context.spec.multiplier * rate
    return _check(0 < cost <= cash, "it costs more than there is", cost=cost, available=cash)


def _freeze_quantity(context: GateContext, sized: _Sized) -> _Outcome:
    units, freeze = sized.size.units, context.spec.freeze_quantity
    if freeze is None:
        return _check(True, "", units=units, freeze="none")
    return _check(units <= freeze, "the exchange takes less in one order", units=units, freeze=freeze)


PRICE_COLLAR = ONE / 20
POSITION_FEATURES = "position_features"
GATES: Mapping[str, _Gate] = {
    "trading_state": _trading_state,
    "session_window": _session_window,
    "drawdown_lock": _drawdown_lock,
    "news": _news,
    "data_quality": _data_quality,
    "one_entry_per_day": _one_per_day,
    "bar_had_position": _bar_had_position,
    "external_position": _external_position,
    POSITION_FEATURES: _position_features,
    "pending_order": _pending_order,
    "global_daily_stop": _global_daily_stop,
    "strategy_day": _strategy_day,
    "daily_loss": _daily_loss,
    "trades_today": _trades_today,
    "price_sane": _price_sane,
    "size": _size,
    "risk_per_trade": _risk_per_trade,
    "daily_risk_budget": _daily_risk_budget,
    "symbol_risk": _symbol_risk,
    "portfolio_heat": _portfolio_heat,
    "max_open_positions": _max_open_positions,
    "max_open_per_symbol": _max_open_per_symbol,
    "buying_power": _buying_power,
    "freeze_quantity": _freeze_quantity,
}

__all__ = [
    "GATES",
    "POSITION_FEATURES",
    "PRICE_COLLAR",
    "GateContext",
    "GateResult",
    "TradingState",
    "Verdict",
    "evaluate",
]
