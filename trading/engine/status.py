"""The LIVE-PORT block: where an engine stands, from its books and the facts.

What always holds: today's and total figures are read from the trades that the ledger's fills projected, as of the
engine's time, so that a second replay prints what the first printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum

from trading.clock import day_bounds, trading_day
from trading.domain.money import ZERO
from trading.domain.session import in_any_window
from trading.models import Account, Decision, Order, Trade
from trading.selectors import risk
from trading.services.restrictions import OPEN, trading_state

from .portfolio import Portfolio

R_PLACES = Decimal("0.0001")


@dataclass(slots=True)
class RunInfo:
    """What a block says about the run itself."""

    mode: str
    source: str
    mirror: str = "none"
    since: datetime | None = None
    connected: bool = True
    errors: int = 0
    broker_errors: int = 0
    notes: list[str] = field(default_factory=list)


def live_port(engine: Portfolio, info: RunInfo, *, total: bool = False) -> dict[str, Any]:
    """The block's payload; with `total` also the figures of the whole run."""
    account, session, now = engine.account, engine.session, engine.now
    moment = now or account.opened_at
    # A bar that ends at midnight belongs to the day that it ends, and so does what its engine calls today.
    seen = [state.last.start for state in engine.states.values() if state.last is not None]
    day = trading_day(account, max(seen, default=moment))
    starts, ends = day_bounds(account, day)
    # What the next bar does at its open bears the same time as this one's end; a second run knows it already.
    before = moment - timedelta(microseconds=1)
    portfolio = session.portfolio
    equity = engine.equity()
    today = _figures(account, since=starts, until=moment if moment < ends else before)
    peak = max(risk.peak_equity(account, until=before) or equity, equity)
    drawdown = risk.drawdown_pct(account, equity=equity, until=before) or ZERO
    state, _ = trading_state(account, at=moment)
    halted = state != OPEN or today["r"] <= portfolio.risk.global_daily_stop_r
    spreads = {symbol: session.spread_pips(symbol) for symbol in engine.symbols}
    per_strategy = {item.name: session.daily_risk_pct(item.name) for item in session.strategies}
    payload: dict[str, Any] = {
        "ok": True,
        "mode": info.mode,
        "source": info.source,
        "interval": portfolio.interval,
        "since": info.since,
        "now": now,
        "symbols": list(engine.symbols),
        "positions": _positions(engine),
        "today": {"r_total": today["r"], "pnl_total": today["pnl"], "by_strategy": today["by_strategy"]},
        "risk": {"halted": halted, "global_daily_stop_r": portfolio.risk.global_daily_stop_r},
        "costs": {
            "spread_pips": portfolio.spread_pips if portfolio.spread_pips is not None else max(spreads.values()),
            "spreads": spreads,
            "slippage_model": "max(1 pip, ATR14/1000) a side",
        },
        "ws": {"connected": info.connected if info.mode == "ws" else False, "errors": info.errors},
        "engines": _engines(engine, moment, spreads),
        "broker": {"mirror": info.mirror, "connected": bool(engine.mirrors), "errors": info.broker_errors},
        "journal": {"enabled": True, **_journal(engine)},
        "budgets": {
            "equity": equity,
            "daily_r_total": portfolio.budget.daily_risk_pct / portfolio.budget.per_trade_risk_pct,
            "per_strategy": per_strategy,
            "per_trade_r": portfolio.budget.per_trade_risk_pct,
            "daily_r_used": {name: _risk_used(account, name, day, moment) for name in per_strategy},
        },
        "weights": dict(engine.weights),
        "dd_lock": {
            "enabled": portfolio.dd_lock.enabled,
            "active": portfolio.dd_lock.enabled and drawdown >= portfolio.dd_lock.trailing_pct,
            "dd_pct": drawdown,
            "peak_equity": peak,
            "threshold_pct": portfolio.dd_lock.trailing_pct,
            "cooloff_until": None,
        },
        "news_guard": {"enabled": portfolio.news_guard.enabled, "blocked_entries": 0, "active_windows": []},
        "data": {"bars": engine.counters.bars, "holes": engine.counters.holes, "skipped": engine.counters.skipped},
    }
    if info.notes:
        payload["notes"] = info.notes
    if total:
        payload["total"] = _figures(account, since=None, until=moment)
    return payload


def _figures(account: Account, *, since: datetime | None, until: datetime) -> dict[str, Any]:
    rows = Trade.objects.filter(account=account, state=Trade.State.CLOSED, closed_at__lte=until)
    if since is not None:
        rows = rows.filter(closed_at__gte=since)
    grouped = rows.values("strategy").annotate(r=Sum("r"), pnl=Sum("pnl"), trades=Count("id")).order_by("strategy")
    by_strategy = [{"name": g["strategy"], "r": g["r"], "trades": g["trades"], "pnl": g["pnl"]} for g in grouped]
    return {
        "r": sum((g["r"] for g in by_strategy), ZERO),
        "pnl": sum((g["pnl"] for g in by_strategy), ZERO),
        "trades": sum(g["trades"] for g in by_strategy),
        "by_strategy": by_strategy,
    }


def _positions(engine: Portfolio) -> list[dict[str, Any]]:
    rows = []
    for entry in engine.paper.book.open_entries:
        decision = engine.decisions[entry.client_id]
        mark, stop = engine.states[entry.instrument].mark or entry.price, decision.signal.stop
        distance = abs(entry.price - stop)
        profit = (mark - entry.price) * entry.side.sign
        rows.append(
            {
                "symbol": entry.instrument,
                "strategy": decision.signal.strategy,
                "side": entry.side.value,
                "entry": entry.price,
                "sl": entry.stop_loss.price if entry.stop_loss else None,
                "tp": entry.take_profit.price if entry.take_profit else None,
                "r": (profit / distance).quantize(R_PLACES) if distance else ZERO,
            }
        )
    return rows


def _engines(engine: Portfolio, moment: datetime, spreads: dict[str, Decimal]) -> list[dict[str, Any]]:
    return [
        {
            "symbol": symbol,
            "strategy": name,
            "windows": [f"{w.start:%H:%M}-{w.ends_at} {w.tz}" for w in engine.windows[name]],
            "active": in_any_window(engine.windows[name], moment),
            "spread_pips": spreads[symbol],
            "counters": dict(sorted(strategy.counters.items())),
        }
        for (name, symbol), strategy in sorted(engine.strategies.items())
    ]


def _journal(engine: Portfolio) -> dict[str, int]:
    """Open decisions whose mirror order is linked to a broker order, and those not yet."""
    if not engine.mirrors:
        return {"mapped": 0, "unmapped": 0}
    entries = Order.objects.filter(account__in=list(engine.mirrors), tag="ENTRY").exclude(
        state__in=["CANCELLED", "REJECTED", "EXPIRED"]
    )
    open_ones = entries.filter(
        Q(decision__trades__state="OPEN") | Q(state__in=["PLANNED", "SENDING", "UNKNOWN"])
    ).distinct()
    mapped = open_ones.exclude(broker_order_id="").count()
    return {"mapped": mapped, "unmapped": open_ones.count() - mapped}


def _risk_used(account: Account, strategy: str, day: Any, until: datetime) -> Decimal:
    used: Decimal | None = Decision.objects.filter(
        account=account, verdict="APPROVED", trading_day=day, signal__strategy=strategy, at__lte=until
    ).aggregate(total=Sum("risk_pct"))["total"]
    return used or ZERO
