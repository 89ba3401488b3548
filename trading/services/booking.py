"""Booking: what the broker says happened becomes a fill or a cash movement and its entry, once.

What always holds: cash moves by the broker's own numbers, never by ours; a margin instrument moves contracts and
keeps its cost on the lots; the same external id books once; whatever is not the broker's word about an order of ours
carries the application of an approved proposal. Callers hold the account's lock.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from trading.clock import now
from trading.domain.books import OpenLot, apply_fill
from trading.domain.broker import CashData, EventKind, FillData, Side
from trading.domain.money import ZERO, plain
from trading.models import (
    Account,
    Application,
    BrokerEvent,
    CashEvent,
    Entry,
    Fill,
    Instrument,
    LedgerAccount,
    Order,
    RiskEvent,
)
from trading.selectors import books
from trading.selectors.instruments import instrument_for

from . import audit, projections
from .audit import Actor
from .ledger import Draft, contract, currency, post
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
        realised=fill.realised,
        financing=fill.financing,
        commission=fill.commission,
        reason=fill.reason[:60],
    )
    kind = Entry.Kind.FILL if order is not None else Entry.Kind.EXTERNAL_FILL
    _post_fill(row, kind=kind, actor=actor)
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
    """Take units of the broker's into the books as external, at `price`; `quantity` is the signed difference."""
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

    `quantity` is the signed difference that makes the books equal the broker; `realised` is what cash moves by.
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
        instrument=instrument_for(account, cash.instrument) if cash.instrument else None,
    )
    other, kind = CASH_SIDE[EventKind(cash.kind)]
    _post_cash(row, other=other, kind=kind, application=application, actor=actor)
    return row


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
    row = Fill.objects.create(
        at=now(account),
        account=account,
        external_id=external_id,
        application=application,
        instrument=instrument,
        side=Side.BUY if quantity > 0 else Side.SELL,
        quantity=abs(quantity),
        price=price,
        realised=realised,
        reason=str(kind),
        is_estimate=kind == Entry.Kind.ESTIMATE,
    )
    _post_fill(row, kind=kind, actor=actor)
    return row


def _post_fill(fill: Fill, *, kind: str, actor: Actor) -> None:
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
    )
    signed = fill.quantity if fill.side == Side.BUY else -fill.quantity
    draft.move(commodity=instrument.symbol, amount=signed, into=Kind.POSITION, out_of=Kind.MARKET)
    draft.move(commodity=account.currency, amount=fill.realised, into=Kind.CASH, out_of=Kind.REALISED)
    draft.move(commodity=account.currency, amount=fill.financing, into=Kind.CASH, out_of=Kind.FINANCING)
    draft.move(commodity=account.currency, amount=fill.commission, into=Kind.CASH, out_of=Kind.COMMISSION)
    _match_lots(draft, fill)
    entry = post(draft)
    if fill.order is not None:
        decision = fill.order.decision or (fill.order.exit_intent.decision if fill.order.exit_intent else None)
        if decision is not None:
            _know_rate(fill)
            projections.project_trade(account, decision)
    else:
        for decision in projections.decisions_closed_by(fill):
            projections.project_trade(account, decision)
    projections.project_position(account, instrument)
    projections.project_later_equity(account, fill.at)
    audit.record(
        kind="fill.booked",
        actor=actor,
        account=account,
        obj=fill,
        after={"entry": entry.pk, "realised": plain(fill.realised), "external_id": fill.external_id},
        at=fill.at,
    )


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


def _match_lots(draft: Draft, fill: Fill) -> None:
    """First in, first out over the account's own open lots: closes first, what is left opens a lot."""
    standing = books.open_lots(draft.account, fill.instrument)
    lots = [
        OpenLot(str(lot.lot_id), Side.BUY if lot.side > 0 else Side.SELL, lot.quantity, lot.unit_cost)
        for lot in standing
    ]
    after, closings = apply_fill(
        lots, Side(fill.side), fill.quantity, fill.price, multiplier=fill.instrument.multiplier
    )
    for closing in closings:
        draft.lot_closes.append(
            {
                "lot_id": closing.lot_id,
                "quantity": plain(closing.quantity),
                "unit_price": plain(closing.close_price),
                "profit_quote": plain(round(closing.pnl_quote, 12)),
            }
        )
    for lot in after:
        if lot.lot_id == "new":
            draft.lots.append(
                {
                    "instrument_id": str(fill.instrument_id),
                    "side": str(lot.side.sign),
                    "quantity": plain(lot.quantity),
                    "unit_cost": plain(lot.price),
                }
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
    draft.move(commodity=row.currency, amount=row.amount, into=Kind.CASH, out_of=other)
    if draft.transfers:
        post(draft)
    if kind == Entry.Kind.TRANSFER:
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
