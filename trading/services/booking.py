"""Booking: what the broker says happened becomes a fill or a cash movement and its entry, once.

What always holds: cash moves by the broker's own numbers, never by ours; a margin instrument moves contracts and
keeps its cost on the lots; a cash instrument moves what was paid at once, against a receivable or payable with its
value date, and realises what its lots give, because its broker gives no number; the same external id books once;
whatever is not the broker's word about an order of ours carries the application of an approved proposal. Callers hold
the account's lock.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from trading.clock import now, trading_day
from trading.domain.broker import CashData, EventKind, FillData, Side
from trading.domain.money import ZERO, plain
from trading.domain.settlement import payment, usual_value_date
from trading.models import (
    Account,
    Application,
    BrokerEvent,
    CashEvent,
    Decision,
    Entry,
    Fill,
    Instrument,
    LedgerAccount,
    Order,
    RiskEvent,
)
from trading.selectors.instruments import UnmappedInstrument, instrument_for

from . import audit, moves, projections
from .audit import Actor
from .errors import RuleBroken
from .ledger import Draft, contract, currency, post
from .lots import Matched, match
from .market import store_rate

Kind = LedgerAccount.Kind
CASH_SIDE = {
    EventKind.TRANSFER: (Kind.CAPITAL, Entry.Kind.TRANSFER),
    EventKind.FINANCING: (Kind.FINANCING, Entry.Kind.FINANCING),
    EventKind.DIVIDEND: (Kind.DIVIDEND, Entry.Kind.DIVIDEND),
    EventKind.FEE: (Kind.FEE, Entry.Kind.FEE),
}


def book_fill(
    *,
    account: Account,
    event: BrokerEvent,
    fill: FillData,
    order: Order | None,
    application: Application | None = None,
    actor: Actor,
) -> Fill:
    """Book one execution: of our order, or an external one under an application. A second call changes nothing."""
    booked = Fill.objects.filter(account=account, external_id=fill.external_id).first()
    if booked is not None:
        return booked
    instrument = instrument_for(account, fill.instrument)
    _refuse_foreign_payment(account, instrument)
    matched = match(account, instrument, fill.side, fill.quantity, fill.price)
    due = fill.settles_on or usual_value_date(trading_day(account, event.at))
    row = Fill.objects.create(
        at=event.at,
        account=account,
        external_id=fill.external_id,
        order=order,
        broker_event=event,
        application=application,
        instrument=instrument,
        side=fill.side,
        quantity=fill.quantity,
        price=fill.price,
        realised=fill.realised if instrument.is_margin else matched.profit,
        financing=fill.financing,
        commission=fill.commission,
        reason=fill.reason[:60],
        settles_on=None if instrument.is_margin else due,
    )
    kind = Entry.Kind.FILL if order is not None else Entry.Kind.EXTERNAL_FILL
    _post_fill(row, matched, kind=kind, actor=actor)
    return row


def adopt_position(
    *,
    account: Account,
    instrument: Instrument,
    quantity: Decimal,
    price: Decimal,
    application: Application,
    actor: Actor,
) -> Fill:
    """Take units of the broker's into the books as external, at `price`; `quantity` is the signed difference.

    No cash moves: shares that are taken over so count as brought in, at what they are said to have cost.
    """
    return _approved_fill(account, instrument, quantity, price, ZERO, application, Entry.Kind.ADOPTION, actor)


def close_at_estimate(
    *,
    account: Account,
    instrument: Instrument,
    quantity: Decimal,
    price: Decimal,
    realised: Decimal,
    application: Application,
    actor: Actor,
) -> Fill:
    """Close in the books what the broker no longer has, at an approved estimate.

    `quantity` is the signed difference that makes the books equal the broker; `realised` is what cash moves by. Of a
    cash instrument that is the whole payment, or zero when the units left without any: they count as taken out then.
    Raises RuleBroken for another amount than quantity and price give.
    """
    return _approved_fill(account, instrument, quantity, price, realised, application, Entry.Kind.ESTIMATE, actor)


def book_cash(
    *, account: Account, event: BrokerEvent, cash: CashData, application: Application | None = None, actor: Actor
) -> CashEvent:
    """Book one movement of cash that the broker typed. A second call changes nothing."""
    booked = CashEvent.objects.filter(account=account, external_id=cash.external_id).first()
    if booked is not None:
        return booked
    row = CashEvent.objects.create(
        at=event.at,
        account=account,
        external_id=cash.external_id,
        broker_event=event,
        application=application,
        kind=cash.kind,
        currency=cash.currency,
        amount=cash.amount,
        instrument=_known(account, cash.instrument),
    )
    other, kind = CASH_SIDE[EventKind(cash.kind)]
    _post_cash(row, other=other, kind=kind, application=application, actor=actor)
    return row


def _known(account: Account, symbol: str) -> Instrument | None:
    """The instrument that cash is about; money that moved is booked whether or not it has a name of ours."""
    try:
        return instrument_for(account, symbol) if symbol else None
    except UnmappedInstrument:
        return None


def adjust_cash(
    *, account: Account, currency: str, amount: Decimal, application: Application, reason: str, actor: Actor
) -> CashEvent:
    """Move cash by an approved adjustment against the suspense account, when the broker gives no event for it."""
    row = CashEvent.objects.create(
        at=now(account),
        account=account,
        external_id=f"adjustment:{application.pk}:{currency}",
        application=application,
        kind="ADJUSTMENT",
        currency=currency,
        amount=amount,
    )
    _post_cash(row, other=Kind.SUSPENSE, kind=Entry.Kind.ADJUSTMENT, application=application, actor=actor, memo=reason)
    return row


def _approved_fill(
    account: Account,
    instrument: Instrument,
    quantity: Decimal,
    price: Decimal,
    realised: Decimal,
    application: Application,
    kind: str,
    actor: Actor,
) -> Fill:
    external_id = f"application:{application.pk}:{instrument.symbol}"
    booked = Fill.objects.filter(account=account, external_id=external_id).first()
    if booked is not None:
        return booked
    at, side = now(account), Side.BUY if quantity > 0 else Side.SELL
    matched = match(account, instrument, side, abs(quantity), price)
    due = None
    if not instrument.is_margin:
        _refuse_foreign_payment(account, instrument)
        paid = payment(side, abs(quantity), price, multiplier=instrument.multiplier)
        if realised not in (ZERO, paid):
            raise RuleBroken(
                f"{plain(abs(quantity))} {instrument.symbol} at {plain(price)} pay {plain(paid)} {instrument.quote}, "
                f"not {plain(realised)}: say that amount, or 0 when no cash moved. Nothing was booked."
            )
        due = trading_day(account, at) if realised else None
    row = Fill.objects.create(
        at=at,
        account=account,
        external_id=external_id,
        application=application,
        instrument=instrument,
        side=side,
        quantity=abs(quantity),
        price=price,
        realised=realised if instrument.is_margin else matched.profit,
        reason=str(kind),
        is_estimate=kind == Entry.Kind.ESTIMATE,
        settles_on=due,
    )
    _post_fill(row, matched, kind=kind, actor=actor)
    return row


def _refuse_foreign_payment(account: Account, instrument: Instrument) -> None:
    if not instrument.is_margin and instrument.quote != account.currency:
        raise RuleBroken(
            f"{instrument.symbol} is paid in {instrument.quote} and {account.name} is kept in {account.currency}: what "
            "it cost cannot be booked without a conversion that its broker does not report. Nothing was booked."
        )


def _post_fill(fill: Fill, matched: Matched, *, kind: str, actor: Actor) -> None:
    account, instrument = fill.account, fill.instrument
    contract(instrument)
    currency(account.currency)
    draft = Draft(
        account=account,
        key=f"fill:{account.pk}:{fill.external_id}",
        kind=kind,
        at=fill.at,
        fill=fill,
        application=fill.application,
        memo=str(fill),
        value_date=fill.settles_on,
        lots=list(matched.lots),
        lot_closes=list(matched.closes),
    )
    for moved in moves.of_fill(fill):
        draft.move(commodity=moved.commodity, amount=moved.amount, into=moved.into, out_of=moved.out_of)
    entry = post(draft)
    own = _decision_of(fill)
    if own is not None:
        _know_rate(fill)
        projections.project_trade(account, own)
    elif fill.order is None:
        for decision in projections.decisions_closed_by(fill):
            projections.project_trade(account, decision)
    projections.project_position(account, instrument)
    if own is None or fill.application is not None:  # a strategy's own fill shows when its trade closes
        projections.project_equity(account, fill.at)
    projections.project_later_equity(account, fill.at)
    audit.record(
        kind="fill.booked",
        actor=actor,
        account=account,
        obj=fill,
        after={"entry": entry.pk, "realised": plain(fill.realised), "external_id": fill.external_id},
        at=fill.at,
    )


def _decision_of(fill: Fill) -> Decision | None:
    """The decision whose trade a fill belongs to; None of an external, approved or emergency one."""
    if fill.order is None:
        return None
    intent = fill.order.exit_intent
    return fill.order.decision or (intent.decision if intent is not None else None)


def _know_rate(fill: Fill) -> None:
    """A trade's risk needs a rate: the fill's own price gives it when the instrument's base is the account's currency.

    Without any the fill is booked all the same, since it happened; its trade has no R, and a RiskEvent says so.
    """
    account, instrument = fill.account, fill.instrument
    if projections.quote_rate(account, instrument, fill) is not None:
        return
    if instrument.base == account.currency:
        value = round(1 / fill.price, 12)
        store_rate(base=instrument.quote, quote=account.currency, value=value, at=fill.at, source=account.name)
        return
    RiskEvent.objects.create(
        account=account,
        at=fill.at,
        kind="RATE_MISSING",
        reason=f"no rate {instrument.quote}→{account.currency} is known, so the trade of this fill has no R",
        numbers={"fill": fill.external_id},
    )


def _post_cash(
    row: CashEvent, *, other: str, kind: str, application: Application | None, actor: Actor, memo: str = ""
) -> None:
    account: Account = row.account
    at: datetime = row.at
    currency(row.currency)
    draft = Draft(
        account=account,
        key=f"cash:{account.pk}:{row.external_id}",
        kind=kind,
        at=at,
        cash_event=row,
        application=application,
        memo=memo or str(row),
    )
    for moved in moves.of_cash(row.currency, row.amount, other):
        draft.move(commodity=moved.commodity, amount=moved.amount, into=moved.into, out_of=moved.out_of)
    if draft.transfers:
        post(draft)
    projections.project_equity(account, at)
    projections.project_later_equity(account, at)
    audit.record(
        kind="cash.booked",
        actor=actor,
        account=account,
        obj=row,
        after={"kind": row.kind, "amount": plain(row.amount), "currency": row.currency},
        reason=memo,
        at=at,
    )
