"""The numbers that the gates look at, from the facts, as of a moment on the account's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db.models import Max, QuerySet, Sum

from trading.domain.money import HUNDRED, ZERO
from trading.models import Account, Decision, EquityPoint, Instrument, Order, Position, Trade


@dataclass(frozen=True, slots=True)
class RiskNumbers:
    """Today's figures of an account and one strategy; money in account currency, R realised."""

    entries_this_way: int
    entries_on_symbol: int
    trades_today: int
    realised_today: Decimal
    account_r: Decimal | None
    strategy_trades: int
    strategy_r: Decimal | None
    strategy_risk_used_pct: Decimal
    open_risk: Decimal | None
    open_risk_on_symbol: Decimal | None
    reserved_cash: Decimal
    open_positions: int
    open_on_symbol: int
    external: bool


def numbers(
    account: Account, *, strategy: str, instrument: Instrument, side: str, day: date, until: datetime
) -> RiskNumbers:
    """The figures of the trading day `day` up to `until`. An entry that is still pending counts as open."""
    approved = list(
        Decision.objects.filter(account=account, verdict=Decision.Verdict.APPROVED, trading_day=day)
        .select_related("signal")
        .only("risk_pct", "signal__strategy", "signal__side", "signal__instrument")
    )
    own = [decision for decision in approved if decision.signal.strategy == strategy]
    this_symbol = [decision for decision in approved if decision.signal.instrument_id == instrument.pk]
    closed = list(_closed(account, day=day, until=until).only("strategy", "risk_amount", "pnl", "r"))
    open_trades = list(Trade.objects.filter(account=account, state=Trade.State.OPEN).select_related("instrument"))
    held = {trade.decision_id for trade in open_trades}
    pending = [
        order
        for order in Order.objects.filter(
            account=account,
            tag="ENTRY",
            state__in=["PLANNED", "SENDING", "WORKING", "PARTIAL", "CANCELLING", "UNKNOWN"],
        ).select_related("decision__signal", "instrument")
        if order.decision_id not in held
    ]
    on_symbol = [trade for trade in open_trades if trade.instrument_id == instrument.pk]
    pending_on_symbol = [order for order in pending if order.instrument_id == instrument.pk]
    return RiskNumbers(
        entries_this_way=sum(1 for decision in this_symbol if decision in own and decision.signal.side == side),
        entries_on_symbol=len(this_symbol),
        trades_today=len(approved),
        realised_today=sum((trade.pnl for trade in closed), ZERO),
        account_r=_known_r(closed),
        strategy_trades=len(own),
        strategy_r=_known_r([trade for trade in closed if trade.strategy == strategy]),
        strategy_risk_used_pct=sum((decision.risk_pct for decision in own), ZERO),
        open_risk=_open_risk(open_trades, pending),
        open_risk_on_symbol=_open_risk(on_symbol, pending_on_symbol),
        reserved_cash=sum((_price_of(order) for order in pending if not order.instrument.is_margin), ZERO),
        open_positions=len(open_trades) + len(pending),
        open_on_symbol=len(on_symbol) + len(pending_on_symbol),
        external=external_quantity(account, instrument) != ZERO,
    )


def _open_risk(trades: list[Trade], pending: list[Order]) -> Decimal | None:
    """What is at risk, in account currency; None when a trade's risk is not known, for want of a rate."""
    if not all(trade.risk_amount > 0 for trade in trades):
        return None
    risk = sum((trade.risk_amount * trade.open_quantity / trade.quantity for trade in trades), ZERO)
    return risk + sum((order.decision.risk_amount for order in pending if order.decision is not None), ZERO)


def _price_of(order: Order) -> Decimal:
    """What a pending entry will have to pay, in its quote currency, which is the account's for what is paid for."""
    entry = order.decision.signal.entry if order.decision is not None else order.price or ZERO
    price: Decimal = order.quantity * entry * order.instrument.multiplier
    return price


def _closed(account: Account, *, day: date, until: datetime) -> QuerySet[Trade]:
    """The trades that closed on that trading day, up to a moment."""
    return Trade.objects.filter(account=account, state=Trade.State.CLOSED, trading_day=day, closed_at__lte=until)


def _known_r(closed: list[Trade]) -> Decimal | None:
    """Realised R of trades; None when one of them has none for want of a rate."""
    if any(trade.risk_amount == 0 for trade in closed):
        return None
    return sum((trade.r for trade in closed), ZERO)


def realised_r(account: Account, *, day: date, until: datetime, strategy: str = "") -> Decimal:
    """Realised R of the trades that closed on that trading day, up to a moment."""
    rows = _closed(account, day=day, until=until)
    if strategy:
        rows = rows.filter(strategy=strategy)
    return rows.aggregate(total=Sum("r"))["total"] or ZERO


def external_quantity(account: Account, instrument: Instrument) -> Decimal:
    """Signed units on the instrument that no trade of ours holds."""
    row = Position.objects.filter(account=account, instrument=instrument).first()
    return row.external_quantity if row is not None else ZERO


def peak_equity(account: Account, *, until: datetime) -> Decimal | None:
    """The highest equity point up to a moment."""
    peak: Decimal | None = EquityPoint.objects.filter(account=account, at__lte=until).aggregate(peak=Max("equity"))[
        "peak"
    ]
    return peak


def drawdown_pct(account: Account, *, equity: Decimal | None, until: datetime) -> Decimal | None:
    """How far equity is below its peak, in percent; None when equity is not known."""
    if equity is None:
        return None
    peak = max(peak_equity(account, until=until) or equity, equity)
    return ((peak - equity) / peak * HUNDRED).quantize(Decimal("0.000001")) if peak > 0 else HUNDRED
