"""Decide: a strategy's intent becomes a Signal, a Decision with every gate's numbers, and, if approved, its orders.

What always holds: gates and the room they reserve are evaluated under the account's lock, so that two signals cannot
take the same room; the same bar gives the same signal and decision once; the mirrors' orders are planned in the same
transaction as the decision, each with gates of its own, and a mirror's refusal is recorded, never silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from trading import context
from trading.clock import trading_day
from trading.domain import position_features
from trading.domain.broker import OrderType, Side
from trading.domain.canonical import canonical_json, sha256_hex
from trading.domain.chase import furthest
from trading.domain.gates import POSITION_FEATURES, GateContext, TradingState, Verdict, evaluate
from trading.domain.ids import signal_key
from trading.domain.money import HUNDRED, ZERO, floor_to_step, plain
from trading.domain.orders import Tag
from trading.domain.policy import AccountPolicy
from trading.domain.session import SessionConfig, window_end_after
from trading.failpoints import failpoint
from trading.locks import lock_account
from trading.models import (
    Account,
    AuditEvent,
    ConfigVersion,
    Decision,
    Instrument,
    OrderGroup,
    RiskEvent,
    Signal,
    Trade,
)
from trading.selectors import risk
from trading.selectors.instruments import spec_of
from trading.selectors.orders import has_pending_order
from trading.selectors.policies import standing_policy
from trading.strategies.base import SignalIntent

from . import audit
from .audit import Actor
from .orders import Leg, plan_bracket
from .restrictions import OPEN, trading_state

ACTOR = Actor.system("portfolio")


@dataclass(frozen=True, slots=True)
class MarketView:
    """What the engine knows at the signal that the database does not. None means not known, and rejects."""

    now: datetime
    last_price: Decimal | None
    price_at: datetime | None
    in_hole: bool | None
    indicators_ready: bool | None
    bar_had_position: bool | None
    equity: Decimal | None
    weight: Decimal | None
    quote_rate: Decimal | None
    previous_close: Decimal | None
    open_pnl: Decimal | None
    cash: Decimal | None


@transaction.atomic
def decide(
    *,
    account: Account,
    session: SessionConfig,
    version: ConfigVersion,
    intent: SignalIntent,
    market: MarketView,
    mirrors: Sequence[Account] = (),
) -> Decision:
    """The decision on a signal; one that was made before is returned as it stands."""
    for locked in sorted({account.pk, *(mirror.pk for mirror in mirrors)}):
        lock_account(locked)
    instrument = Instrument.objects.get(symbol=intent.symbol)
    standing = Decision.objects.filter(
        signal__account=account,
        signal__strategy=intent.strategy,
        signal__instrument=instrument,
        signal__bar_start=intent.bar_start,
    ).first()
    policy = standing_policy(account)
    until = _until(policy, session, intent)
    if standing is not None:
        # A paper run that is mirrored now for the first time: the mirror gets what it would have got.
        _plan_missing(mirrors, standing, until)
        return standing
    verdict = evaluate(_context(account, policy, session, intent, instrument, market))
    signal = Signal.objects.create(
        at=intent.bar_end,
        account=account,
        config_version=version,
        strategy=intent.strategy,
        instrument=instrument,
        bar_start=intent.bar_start,
        side=intent.side,
        order_type=intent.order_type,
        entry=intent.entry,
        stop=intent.stop,
        target=intent.target,
        features=intent.features,
        feature_scores=intent.feature_scores,
        score=intent.score,
        confidence=intent.confidence,
        reason=intent.reason[:200],
    )
    decision, event = _record(account, version, intent, signal, verdict)
    _tell_a_wrong_view(decision, verdict)
    failpoint("decided")
    if verdict.approved:
        with context.part(cause=event.pk):
            _plan(account, decision, verdict.units, until)
            for mirror in sorted(mirrors, key=lambda row: row.pk):
                _plan_mirror(mirror, decision, until)
    return decision


def _until(policy: AccountPolicy, session: SessionConfig, intent: SignalIntent) -> datetime | None:
    """When the entry ends that has not filled: with its strategy's window, a resting one also after its time-out."""
    windows = next(item.windows for item in session.strategies if item.name == intent.strategy)
    until = window_end_after(windows, intent.bar_start)
    if intent.order_type is OrderType.MARKET:  # the signal of the window's last bar comes with its end
        return until + policy.price_age_limit if until is not None else None
    if policy.entry_timeout is None:
        return until
    timed_out = intent.bar_end + policy.entry_timeout
    return timed_out if until is None else min(until, timed_out)


def _context(
    account: Account,
    policy: AccountPolicy,
    session: SessionConfig,
    intent: SignalIntent,
    instrument: Instrument,
    market: MarketView,
) -> GateContext:
    day = trading_day(account, intent.bar_start)
    portfolio = session.portfolio
    state, reasons = trading_state(account, intent.strategy, instrument, at=market.now)
    numbers = risk.numbers(
        account, strategy=intent.strategy, instrument=instrument, side=intent.side, day=day, until=market.now
    )
    drawdown = risk.drawdown_pct(account, equity=market.equity, until=market.now)
    return GateContext(
        strategy=intent.strategy,
        symbol=intent.symbol,
        side=intent.side,
        order_type=intent.order_type,
        entry=_worst_entry(intent, policy, instrument),
        stop=intent.stop,
        target=intent.target,
        bar_start=intent.bar_start,
        trading_state=TradingState(state),
        halt_reasons=tuple(reasons),
        windows=next(item.windows for item in session.strategies if item.name == intent.strategy),
        drawdown_lock_enabled=portfolio.dd_lock.enabled,
        drawdown_locked=None if drawdown is None else drawdown >= portfolio.dd_lock.trailing_pct,
        drawdown_pct=drawdown,
        is_trading=session.is_trading,
        cooloff_until=None,
        news_guard_enabled=portfolio.news_guard.enabled,
        news_events=None,
        indicators_ready=market.indicators_ready,
        in_hole=market.in_hole,
        price_at=market.price_at,
        now=market.now,
        price_age_limit=policy.price_age_limit,
        entries_today_this_way=(
            numbers.entries_on_symbol if policy.one_entry_per_symbol_a_day else numbers.entries_this_way
        ),
        one_entry_per_symbol=policy.one_entry_per_symbol_a_day,
        bar_had_position=market.bar_had_position,
        external_position=numbers.external,
        pending_order=has_pending_order(account, instrument),
        limits=portfolio.risk,
        account_r_today=numbers.account_r,
        strategy_trades_today=numbers.strategy_trades,
        strategy_r_today=numbers.strategy_r,
        day_pnl=None if market.open_pnl is None else numbers.realised_today + market.open_pnl,
        max_daily_loss_pct=policy.max_daily_loss_pct,
        trades_today=numbers.trades_today,
        max_trades_per_day=policy.max_trades_per_day,
        spec=spec_of(instrument),
        last_price=market.last_price,
        previous_close=market.previous_close,
        equity=market.equity,
        per_trade_risk_pct=portfolio.budget.per_trade_risk_pct * policy.risk_factor(intent.confidence),
        weight=market.weight,
        quote_to_account_rate=market.quote_rate,
        max_allocation=policy.max_allocation_per_symbol_pct,
        max_risk_per_trade_pct=policy.max_risk_per_trade_pct,
        daily_risk_pct=session.daily_risk_pct(intent.strategy),
        daily_risk_used_pct=numbers.strategy_risk_used_pct,
        max_heat_pct=policy.max_portfolio_heat_pct,
        heat_pct=_share_of(numbers.open_risk, market.equity),
        max_symbol_risk_pct=policy.max_symbol_risk_pct,
        symbol_risk_pct=_share_of(numbers.open_risk_on_symbol, market.equity),
        open_positions=numbers.open_positions,
        open_on_symbol=numbers.open_on_symbol,
        available_cash=None if market.cash is None else market.cash - numbers.reserved_cash,
        position_fault=_position_fault(account, intent, instrument, market),
    )


def _position_fault(account: Account, intent: SignalIntent, instrument: Instrument, market: MarketView) -> str:
    """Why what the strategy says of its position is not what the books hold at the last price; "" where it is."""
    if not position_features.said(intent.features):
        return ""
    held = Trade.objects.filter(
        account=account, strategy=intent.strategy, instrument=instrument, state=Trade.State.OPEN
    ).first()
    side, entry = (Side(held.side), held.entry_price) if held is not None else (None, None)
    view = position_features.BooksView(side, entry, market.last_price, instrument.pip_size)
    return position_features.fault(intent.features, view)


def _tell_a_wrong_view(decision: Decision, verdict: Verdict) -> None:
    """A strategy that is wrong of its own position is a matter for people, not one refusal among others."""
    for gate in verdict.gates:
        if gate.name == POSITION_FEATURES and not gate.passed:
            RiskEvent.objects.create(
                account=decision.account,
                decision=decision,
                at=decision.at,
                kind="POSITION_VIEW",
                reason=gate.reason[:300],
                numbers=position_features.said(decision.signal.features),
            )


def _worst_entry(intent: SignalIntent, policy: AccountPolicy, instrument: Instrument) -> Decimal:
    """The entry that is measured: a limit order counts at the price to which it may be moved after the market."""
    if intent.order_type is not OrderType.LIMIT:
        return intent.entry
    return furthest(intent.side, intent.entry, tick=instrument.tick_size, most_ticks=policy.chase_ticks)


def _share_of(risk_amount: Decimal | None, equity: Decimal | None) -> Decimal | None:
    """In percent."""
    if risk_amount is None or not equity:
        return None
    return (risk_amount / equity * HUNDRED).quantize(Decimal("0.000001"))


def _record(
    account: Account, version: ConfigVersion, intent: SignalIntent, signal: Signal, verdict: Verdict
) -> tuple[Decision, AuditEvent]:
    """The decision, and the audit event that tells of it."""
    key = signal_key(
        account=account.name,
        strategy=intent.strategy,
        symbol=intent.symbol,
        side=intent.side,
        bar_start=intent.bar_start,
    )
    decision = Decision.objects.create(
        at=intent.bar_end,
        signal=signal,
        account=account,
        config_version=version,
        client_plan_id=sha256_hex(canonical_json(["plan", key]))[:32],
        verdict=Decision.Verdict.APPROVED if verdict.approved else Decision.Verdict.REJECTED,
        reason="; ".join(verdict.reasons)[:300],
        gates=[asdict(gate) for gate in verdict.gates],
        risk_pct=verdict.risk_pct,
        risk_amount=verdict.risk_amount,
        position_size=verdict.units,
        portfolio_heat_before=verdict.heat_before or ZERO,
        portfolio_heat_after=verdict.heat_after or ZERO,
        trading_day=trading_day(account, intent.bar_start),
    )
    event = audit.record(
        kind="decision.made",
        actor=ACTOR,
        account=account,
        obj=decision,
        after={"verdict": decision.verdict, "units": plain(verdict.units)},
        reason=decision.reason,
        at=intent.bar_end,
    )
    return decision, event


def _plan(account: Account, decision: Decision, units: Decimal, until: datetime | None) -> None:
    """The entry and the legs that ride on it. Callers hold the account's lock, and nothing was planned before."""
    signal = decision.signal
    closing = "SELL" if signal.side == "BUY" else "BUY"
    legs = [(Tag.STOP, "STOP", signal.stop), (Tag.TP1, "LIMIT", signal.target)]
    plan_bracket(
        account=account,
        intent=decision,
        instrument=signal.instrument,
        leg=Leg(
            Tag.ENTRY,
            signal.side,
            units,
            signal.order_type,
            price=None if signal.order_type == "MARKET" else signal.entry,
            stop_loss=signal.stop,
            take_profit=signal.target,
            good_till=until,
        ),
        riding=[
            Leg(tag, closing, units, kind, price=price, reduce_only=True)
            for tag, kind, price in legs
            if price is not None
        ],
        at=signal.at,
        group=OrderGroup.objects.create(account=account, decision=decision),
        actor=ACTOR,
    )


def _plan_missing(mirrors: Sequence[Account], decision: Decision, until: datetime | None) -> None:
    """The orders of mirrors that this decision has neither planned nor refused."""
    if decision.verdict != Decision.Verdict.APPROVED:
        return
    for mirror in sorted(mirrors, key=lambda row: row.pk):
        planned = OrderGroup.objects.filter(account=mirror, decision=decision).exists()
        refused = RiskEvent.objects.filter(account=mirror, decision=decision, kind="MIRROR_REFUSED").exists()
        if not planned and not refused:
            _plan_mirror(mirror, decision, until)


def _plan_mirror(mirror: Account, decision: Decision, until: datetime | None) -> None:
    """The same decision on a mirror account: scaled, floored to lots, with the account's own gates."""
    signal, units = decision.signal, decision.position_size
    state, reasons = trading_state(mirror, signal.strategy, signal.instrument)
    quantity = floor_to_step(units * mirror.mirror_scale, signal.instrument.lot_size)
    refusal = ""
    if state != OPEN:
        refusal = f"{mirror.name} is {state}: {'; '.join(reasons)}"
    elif quantity < signal.instrument.min_units:
        refusal = f"{plain(units)} units × {plain(mirror.mirror_scale)} are less than one lot"
    elif signal.instrument.freeze_quantity is not None and quantity > signal.instrument.freeze_quantity:
        refusal = f"{plain(quantity)} units are more than the exchange takes in one order"
    elif risk.external_quantity(mirror, signal.instrument) != ZERO:
        refusal = f"{mirror.name} holds {signal.instrument.symbol} that is not ours"
    if refusal:
        RiskEvent.objects.create(
            account=mirror,
            decision=decision,
            at=signal.at,
            kind="MIRROR_REFUSED",
            reason=refusal[:300],
            numbers={"units": plain(units), "scale": plain(mirror.mirror_scale)},
        )
        return
    _plan(mirror, decision, quantity, until)
