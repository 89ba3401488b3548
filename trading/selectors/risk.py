"""The numbers that the gates look at, from the facts, as of a moment on the account's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db.models import Max, Sum

from trading.domain.money import HUNDRED, ZERO
from trading.models import Account, Decision, EquityPoint, Instrument, Order, Position, Trade


@dataclass(frozen=True, slots=True)
class RiskNumbers:
    """Today's figures of an account and one strategy; money in account currency, R realised."""

    entries_this_way: int
    account_r: Decimal | None
    strategy_trades: int
    strategy_r: Decimal | None
    strategy_risk_used_pct: Decimal
    open_risk: Decimal | None
    open_positions: int
    open_on_symbol: int
    external: bool


def numbers(
    account: Account, *, strategy: str, instrument: Instrument, side: str, day: date, until: datetime
) -> RiskNumbers:
    """The figures of the trading day `day` up to `until`. An entry that is still pending counts as open."""
    approved = Decision.objects.filter(
        account=account, verdict=Decision.Verdict.APPROVED, trading_day=day, signal__strategy=strategy
    )
    open_trades = list(Trade.objects.filter(account=account, state=Trade.State.OPEN).select_related("instrument"))
    held = {trade.decision_id for trade in open_trades}
    pending = [
        order
        for order in Order.objects.filter(
            account=account,
            tag="ENTRY",
            state__in=["PLANNED", "SENDING", "WORKING", "PARTIAL", "CANCELLING", "UNKNOWN"],
        ).select_related("decision")
        if order.decision_id not in held
    ]
    risk: Decimal | None = None
    if all(trade.risk_amount > 0 for trade in open_trades):  # without a rate a trade's risk is not known
        risk = sum((t.risk_amount * t.open_quantity / t.quantity for t in open_trades), ZERO)
        risk += sum((order.decision.risk_amount for order in pending if order.decision is not None), ZERO)
    return RiskNumbers(
        entries_this_way=approved.filter(signal__instrument=instrument, signal__side=side).count(),
        account_r=_known_r(account, day=day, until=until),
        strategy_trades=approved.count(),
        strategy_r=_known_r(account, day=day, until=until, strategy=strategy),
        strategy_risk_used_pct=approved.aggregate(total=Sum("risk_pct"))["total"] or ZERO,
        open_risk=risk,
        open_positions=len(open_trades) + len(pending),
        open_on_symbol=sum(1 for t in open_trades if t.instrument_id == instrument.pk)
        + sum(1 for order in pending if order.instrument_id == instrument.pk),
        external=external_quantity(account, instrument) != ZERO,
    )


def _known_r(account: Account, *, day: date, until: datetime, strategy: str = "") -> Decimal | None:
    """Realised R of the day; None when a trade of it has none for want of a rate."""
    rows = Trade.objects.filter(account=account, state=Trade.State.CLOSED, trading_day=day, closed_at__lte=until)
    if rows.filter(risk_amount=0, **({"strategy": strategy} if strategy else {})).exists():
        return None
    return realised_r(account, day=day, until=until, strategy=strategy)


def realised_r(account: Account, *, day: date, until: datetime, strategy: str = "") -> Decimal:
    """Realised R of the trades that closed on that trading day, up to a moment."""
    rows = Trade.objects.filter(account=account, state=Trade.State.CLOSED, trading_day=day, closed_at__lte=until)
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
