"""Positions, trades, days and equity, projected from the facts.

What always holds: each function recomputes its row from fills, lots and entries alone, so calling it twice or late
changes nothing. Callers hold the account's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

from django.db.models import Count, Q, Sum
from django.db.models.functions import Coalesce

from trading.clock import trading_day
from trading.domain.books import own_profit
from trading.domain.broker import Side
from trading.domain.money import ZERO, round_to_step
from trading.domain.orders import Tag
from trading.domain.splits import Execution, TradeUnits, in_units_of_now
from trading.models import (
    Account,
    DayState,
    Decision,
    Entry,
    EquityPoint,
    Fill,
    Instrument,
    LotClose,
    OrderGroup,
    Position,
    Rate,
    Trade,
)
from trading.selectors import books

R_STEP = Decimal("0.000001")
PRICE_STEP = Decimal("0.000000000001")
CLOSE_REASONS = {Tag.STOP: "SL", Tag.TP1: "TP", Tag.TP2: "TP"}


def quote_rate(account: Account, instrument: Instrument, fill: Fill) -> Decimal | None:
    """What one unit of the instrument's quote currency was worth in the account's at the fill (a stored Rate).

    None when no rate is stored at or before it.
    """
    if instrument.quote == account.currency:
        return Decimal(1)
    # Each world has its own rates: another replay's bars say nothing about this one's.
    paper = account.mirror_of
    sources = [account.name, paper.name if paper is not None else account.name]
    rate = (
        Rate.objects.filter(base=instrument.quote, quote=account.currency, at__lte=fill.at, source__in=sources)
        .order_by("-at", "-id")
        .first()
    )
    return rate.value if rate is not None else None


def project_position(account: Account, instrument: Instrument) -> Position:
    """The position of an instrument, from its open lots; what no open trade holds is external."""
    lots = books.open_lots(account, instrument)
    quantity = sum((lot.quantity * lot.side for lot in lots), ZERO)
    total = sum((lot.quantity for lot in lots), ZERO)
    cost = sum((lot.quantity * lot.unit_cost for lot in lots), ZERO)
    ours = ZERO
    for trade in Trade.objects.filter(account=account, instrument=instrument, state=Trade.State.OPEN):
        ours += trade.open_quantity if trade.side == "BUY" else -trade.open_quantity
    position, _ = Position.objects.update_or_create(
        account=account,
        instrument=instrument,
        defaults={
            "quantity": quantity,
            "external_quantity": quantity - ours,
            "average_price": round_to_step(cost / total, PRICE_STEP) if total else None,
        },
    )
    return position


def fills_of(account: Account, decision: Decision) -> list[Fill]:
    """Every fill of a decision's own orders on an account, in the broker's order."""
    return list(
        Fill.objects.filter(account=account)
        .filter(Q(order__decision=decision) | Q(order__exit_intent__decision=decision))
        .select_related("order", "order__exit_intent", "broker_event")
        .order_by("broker_event__sequence", "id")
    )


def project_trade(account: Account, decision: Decision) -> Trade | None:
    """The round trip of a decision on an account, from its own fills; None before the entry fills."""
    fills = fills_of(account, decision)
    entries = [fill for fill in fills if fill.order is not None and fill.order.tag == Tag.ENTRY]
    exits = [fill for fill in fills if fill.order is not None and fill.order.tag != Tag.ENTRY]
    if not entries:
        return None
    signal = decision.signal
    external = _closed_by_others(account, decision)
    units = in_units_of_now(
        [Execution(fill.at, fill.quantity, fill.price) for fill in entries],
        [
            *(Execution(fill.at, fill.quantity, fill.price) for fill in exits),
            *(Execution(close.closed_at, close.quantity, close.unit_price) for close in external),
        ],
        books.splits(account, signal.instrument),
    )
    quantity = sum((part.quantity for part in units.opened), ZERO)
    entry_price = _average(units.opened)
    closed = sum((part.quantity for part in units.closed), ZERO)
    rate = quote_rate(account, signal.instrument, entries[0]) or ZERO
    stop = units.price(signal.stop)
    risk = abs(entry_price - stop) * quantity * signal.instrument.multiplier * rate
    fees = sum((fill.commission + fill.financing for fill in fills), ZERO)
    if signal.instrument.is_margin:  # the broker's own number
        made = sum((fill.realised for fill in fills), ZERO) + sum((_share(close) for close in external), ZERO)
    else:
        made = _by_prices(signal.instrument, Side(entries[0].side), units) + sum(
            (_share(close, of_price=False) for close in external), ZERO
        )
    pnl = made + fees
    ends = [*((fill.at, _close_reason(fill)) for fill in exits), *((close.closed_at, "EXTERNAL") for close in external)]
    ended_at, ended_by = max(ends, key=lambda end: end[0]) if ends else (None, "")
    flat = closed >= quantity
    stood = Trade.objects.filter(account=account, decision=decision).values_list("trading_day", flat=True).first()
    trade, _ = Trade.objects.update_or_create(
        account=account,
        decision=decision,
        defaults={
            "strategy": signal.strategy,
            "instrument": signal.instrument,
            "side": signal.side,
            "state": Trade.State.CLOSED if flat else Trade.State.OPEN,
            "quantity": quantity,
            "open_quantity": max(quantity - closed, ZERO),
            "entry_price": entry_price,
            "exit_price": _average(units.closed) if units.closed else None,
            "initial_stop": stop,
            "target": units.price(signal.target) if signal.target is not None else None,
            "risk_amount": round_to_step(risk, PRICE_STEP),
            "pnl": pnl,
            "fees": fees,
            "r": round_to_step(pnl / risk, R_STEP) if risk else ZERO,
            "opened_at": entries[0].at,
            "closed_at": ended_at if flat else None,
            "trading_day": trading_day(account, ended_at) if flat and ended_at is not None else None,
            "close_reason": ended_by if flat else "",
        },
    )
    groups = OrderGroup.objects.filter(account=account, decision=decision)
    if flat:
        groups.update(state=OrderGroup.State.CLOSED)
    else:  # one that is not safe stays so until something covers it
        groups.exclude(state=OrderGroup.State.UNSAFE).update(state=OrderGroup.State.OPEN)
    for day in {stood, trade.trading_day}:
        if day is not None:
            project_day(account, day)
    if trade.closed_at is not None:
        project_equity(account, trade.closed_at)
    return trade


def decisions_closed_by(fill: Fill) -> list[Decision]:
    """Decisions whose lots a fill without an order of ours closed: their trades ended by somebody else's hand."""
    closes = LotClose.objects.filter(fill=fill, fill__order=None)
    opened_by = closes.annotate(by=Coalesce("lot__origin__order__decision_id", "lot__fill__order__decision_id"))
    ids = [pk for pk in opened_by.values_list("by", flat=True) if pk is not None]
    return list(Decision.objects.filter(pk__in=ids).order_by("pk"))


def _closed_by_others(account: Account, decision: Decision) -> list[LotClose]:
    """What fills without an order of ours closed of a decision's lots; a split closes nothing."""
    opened = Q(lot__fill__order__decision=decision) | Q(lot__origin__order__decision=decision)
    return list(
        LotClose.objects.filter(opened, lot__account=account, fill__order=None)
        .exclude(entry__kind=Entry.Kind.SPLIT)
        .select_related("fill")
        .order_by("id")
    )


def _by_prices(instrument: Instrument, side: Side, units: TradeUnits) -> Decimal:
    """What the closes of a trade in a cash instrument realised, whose broker names no number.

    From the trade's own executions, whatever lots of other strategies the account closed first.
    """
    closed = sorted(units.closed, key=lambda part: part.at)
    profit = own_profit(
        side,
        [(part.quantity, part.price) for part in units.opened],
        [(part.quantity, part.price) for part in closed],
        multiplier=instrument.multiplier,
    )
    return round_to_step(profit, PRICE_STEP)


def _share(close: LotClose, *, of_price: bool = True) -> Decimal:
    """The part of somebody else's fill's money that belongs to the units it closed of ours."""
    fill = close.fill
    if fill is None:
        return ZERO
    closing = LotClose.objects.filter(fill=fill).aggregate(units=Sum("quantity"))["units"] or close.quantity
    realised = fill.realised * close.quantity / closing if of_price else ZERO
    own: Decimal = realised + (fill.commission + fill.financing) * close.quantity / fill.quantity
    return round(own, 12)


def project_day(account: Account, day: date) -> None:
    """A trading day, from the trades that closed on it; a day that no trade closed on has no row."""
    rows = Trade.objects.filter(account=account, trading_day=day, state=Trade.State.CLOSED)
    sums = rows.aggregate(trades=Count("id"), pnl=Sum("pnl"), r=Sum("r"))
    if sums["trades"]:
        DayState.objects.update_or_create(account=account, trading_day=day, defaults=sums)
    else:
        DayState.objects.filter(account=account, trading_day=day).delete()


def project_later_equity(account: Account, moment: datetime) -> None:
    """An entry that took effect at `moment` changes every point of the curve from there on."""
    for at in EquityPoint.objects.filter(account=account, at__gte=moment).values_list("at", flat=True):
        project_equity(account, at)


def project_equity(account: Account, moment: datetime) -> None:
    """The balance after everything that took effect up to a moment, as a point of the equity curve.

    The balance is trade-date cash. Shares count at what they cost, as margin positions count without their open
    profit: the curve shows what was made, and a purchase alone makes and loses nothing.
    """
    balance = books.cash_at(account, account.currency, moment)
    equity = balance + books.invested_at(account, account.currency, moment)
    EquityPoint.objects.update_or_create(account=account, at=moment, defaults={"balance": balance, "equity": equity})


def _average(parts: Sequence[Execution]) -> Decimal:
    total = sum((part.quantity for part in parts), ZERO)
    return round_to_step(sum((part.quantity * part.price for part in parts), ZERO) / total, PRICE_STEP)


def _close_reason(fill: Fill) -> str:
    order = fill.order
    if order is None:
        return "EXTERNAL"
    if order.exit_intent is not None:
        return str(order.exit_intent.exit_type)
    return CLOSE_REASONS.get(Tag(order.tag), str(order.tag))
