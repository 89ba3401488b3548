"""What a trade has come to, from the facts alone: fills, what others closed of it, splits, rates and marks.

What always holds: nothing is written here, so the same facts give the same figures whoever asks, in whatever order they
were learned; an execution whose entry was reversed did not happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Exists, Max, Min, OuterRef, QuerySet

from trading.clock import trading_day
from trading.domain.books import own_profit
from trading.domain.broker import Side
from trading.domain.money import STORED_STEP, ZERO, round_to_step
from trading.domain.orders import Tag
from trading.domain.splits import Execution, Split, TradeUnits, in_units_of_now
from trading.models import Account, Decision, Entry, Fill, Instrument, Mark, Order, Trade
from trading.selectors import books
from trading.selectors.lot_history import RESTATED, ClosedByOther, closed_by_others
from trading.selectors.rates import rate_at

R_STEP = Decimal("0.000001")
# What fills without an order of ours closed on one account, by the instrument's number: working it out takes long.
ClosedByOthers = dict[int, list[ClosedByOther]]
CLOSE_REASONS = {Tag.STOP: "SL", Tag.TP1: "TP", Tag.TP2: "TP"}
# Entries that say nothing about whether a fill happened.
_ABOUT_OTHER_THINGS = (Entry.Kind.SETTLEMENT, Entry.Kind.REVERSAL)


def extremes_of(decision: Decision) -> str:
    """The purpose of the marks that say how far a decision's trade went either way while it was open."""
    return f"EXTREME {decision.pk}"


def quote_rate(account: Account, instrument: Instrument, fill: Fill) -> Decimal | None:
    """What one unit of the instrument's quote currency was worth in the account's at the fill; None when unknown."""
    known = rate_at(account, instrument, fill)
    return known.value if known is not None else None


def standing(fills: QuerySet[Fill]) -> QuerySet[Fill]:
    """Those of the fills that are in the books: their entry, or one booked instead, was not reversed."""
    reversal = Entry.objects.filter(reverses=OuterRef("pk"))
    booked = Entry.objects.filter(~Exists(reversal), fill=OuterRef("pk")).exclude(kind__in=_ABOUT_OTHER_THINGS)
    booked = booked.exclude(idempotency_key__startswith=RESTATED)
    return fills.filter(Exists(booked))


def fills_of(account: Account, decision: Decision) -> list[Fill]:
    """Every fill of a decision's own orders on an account that stands, in the broker's order."""
    # The orders first, each way by its own index: one condition over both would read every fill of the account.
    entered = Order.objects.filter(account=account, decision=decision).values_list("pk", flat=True)
    left = Order.objects.filter(account=account, exit_intent__decision=decision).values_list("pk", flat=True)
    return list(
        standing(Fill.objects.filter(order__in=[*entered, *left], account=account))
        .select_related("order", "order__exit_intent", "broker_event")
        .order_by("broker_event__sequence", "id")
    )


def decisions_traded(account: Account) -> list[int]:
    """Every decision that has a trade on an account: one of its entry orders has filled. By number."""
    entered = standing(Fill.objects.filter(account=account, order__tag=Tag.ENTRY, order__decision__isnull=False))
    return list(entered.values_list("order__decision_id", flat=True).order_by("order__decision_id").distinct())


def decisions_touched_by(fill: Fill, *, restated: bool = False) -> list[Decision]:
    """Decisions of others' trades that a booked fill may have changed.

    Those whose units a fill without an order of ours closed; and, where it was told late and what others closed moves
    on to other units, all that traded the instrument.
    """
    if not restated:
        if fill.order_id is not None:
            return []
        closed = [close.opened_by for close in closed_by_others(fill.account, fill.instrument) if close.fill == fill]
        return list(Decision.objects.filter(orders__fills__in=closed).order_by("pk").distinct())
    if not Fill.objects.filter(account=fill.account, instrument=fill.instrument, order=None).exists():
        return []
    return list(
        Decision.objects.filter(trades__account=fill.account, trades__instrument=fill.instrument).order_by("pk")
    )


def figures(account: Account, decision: Decision, others: ClosedByOthers | None = None) -> dict[str, Any] | None:
    """Every column of a decision's trade on an account, from its own fills; None before the entry fills.

    Whoever asks for many trades hands in `others`, where what others closed is kept between the calls.
    """
    fills = fills_of(account, decision)
    entries = [fill for fill in fills if fill.order is not None and fill.order.tag == Tag.ENTRY]
    exits = [fill for fill in fills if fill.order is not None and fill.order.tag != Tag.ENTRY]
    if not entries:
        return None
    signal = decision.signal
    instrument, side = signal.instrument, Side(signal.side)
    external = _closed_by_others(account, decision, {} if others is None else others)
    units = in_units_of_now(
        [Execution(fill.at, fill.quantity, fill.price) for fill in entries],
        [
            *(Execution(fill.at, fill.quantity, fill.price) for fill in exits),
            *(Execution(close.at, close.quantity, close.price) for close in external),
        ],
        books.splits(account, instrument),
    )
    quantity = sum((part.quantity for part in units.opened), ZERO)
    entry_price = _average(units.opened)
    closed = sum((part.quantity for part in units.closed), ZERO)
    rate = quote_rate(account, instrument, entries[0]) or ZERO
    stop = units.price(signal.stop)
    risk = abs(entry_price - stop) * quantity * instrument.multiplier * rate
    fees = sum((fill.commission + fill.financing for fill in fills), ZERO)
    if instrument.is_margin:  # the broker's own number
        made = sum((fill.realised for fill in fills), ZERO) + sum((_share(close) for close in external), ZERO)
    else:
        made = _by_prices(instrument, Side(entries[0].side), units) + sum(
            (_share(close, of_price=False) for close in external), ZERO
        )
    pnl = made + fees
    ends = [*((fill.at, _close_reason(fill)) for fill in exits), *((close.at, "EXTERNAL") for close in external)]
    ended_at, ended_by = max(ends, key=lambda end: end[0]) if ends else (None, "")
    flat = closed >= quantity
    marked = _marked(account, decision, units.splits, ended_at if flat else None)
    mfe_r, mae_r = excursion(side, entry_price, stop, [*marked, *(part.price for part in units.closed)])
    return {
        "strategy": signal.strategy,
        "instrument_id": signal.instrument_id,
        "side": str(side),
        "state": str(Trade.State.CLOSED if flat else Trade.State.OPEN),
        "quantity": quantity,
        "open_quantity": max(quantity - closed, ZERO),
        "entry_price": entry_price,
        "exit_price": _average(units.closed) if units.closed else None,
        "initial_stop": stop,
        "target": units.price(signal.target) if signal.target is not None else None,
        "risk_amount": round_to_step(risk, STORED_STEP),
        "pnl": pnl,
        "fees": fees,
        "r": round_to_step(pnl / risk, R_STEP) if risk else ZERO,
        "mfe_r": mfe_r,
        "mae_r": mae_r,
        "opened_at": entries[0].at,
        "closed_at": ended_at if flat else None,
        "trading_day": trading_day(account, ended_at) if flat and ended_at is not None else None,
        "close_reason": ended_by if flat else "",
    }


def _closed_by_others(account: Account, decision: Decision, others: ClosedByOthers) -> list[ClosedByOther]:
    """What fills without an order of ours closed of the units that a decision's orders had opened."""
    instrument = decision.signal.instrument
    if instrument.pk not in others:
        others[instrument.pk] = closed_by_others(account, instrument)
    closes = others[instrument.pk]
    if not closes:
        return []
    own = set(Fill.objects.filter(account=account, order__decision=decision).values_list("pk", flat=True))
    return [close for close in closes if close.opened_by in own]


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
    return round_to_step(profit, STORED_STEP)


def _share(close: ClosedByOther, *, of_price: bool = True) -> Decimal:
    """The part of somebody else's fill's money that belongs to the units it closed of ours."""
    fill = close.fill
    realised = fill.realised * close.quantity / close.closing if of_price else ZERO
    own: Decimal = realised + (fill.commission + fill.financing) * close.quantity / fill.quantity
    return round(own, 12)


def excursion(
    side: Side, entry_price: Decimal, stop: Decimal, prices: Sequence[Decimal]
) -> tuple[Decimal | None, Decimal | None]:
    """How far a trade went for and against us (in R) when it saw these prices.

    Its marks and what it was left at. (None, None) without any; the entry itself is 0, so that the first is never
    below zero and the second never above.
    """
    distance = abs(entry_price - stop)
    if not prices or not distance:
        return None, None
    gains = [(price - entry_price) * side.sign / distance for price in prices]
    return round_to_step(max(ZERO, *gains), R_STEP), round_to_step(min(ZERO, *gains), R_STEP)


def _marked(account: Account, decision: Decision, splits: Sequence[Split], closed_at: datetime | None) -> list[Decimal]:
    """The highest and the lowest mark of each stretch between splits, in the units of now."""
    marks = Mark.objects.filter(account=account, instrument=decision.signal.instrument, purpose=extremes_of(decision))
    if closed_at is not None:
        marks = marks.filter(at__lte=closed_at)
    found = []
    for number in range(len(splits) + 1):
        within = marks
        if number:
            within = within.filter(at__gte=splits[number - 1].at)
        if number < len(splits):
            within = within.filter(at__lt=splits[number].at)
        ends = within.aggregate(lowest=Min("price"), highest=Max("price"))
        for price in ends.values():
            if price is not None:
                for split in splits[number:]:
                    price = split.price(price)
                found.append(price)
    return found


def _average(parts: Sequence[Execution]) -> Decimal:
    total = sum((part.quantity for part in parts), ZERO)
    return round_to_step(sum((part.quantity * part.price for part in parts), ZERO) / total, STORED_STEP)


def _close_reason(fill: Fill) -> str:
    order = fill.order
    if order is None:
        return "EXTERNAL"
    if order.exit_intent is not None:
        return str(order.exit_intent.exit_type)
    return CLOSE_REASONS.get(Tag(order.tag), str(order.tag))
