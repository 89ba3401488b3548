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

from django.db import transaction

from trading.clock import now, trading_day
from trading.domain.broker import CashData, EventKind, FillData, Side
from trading.domain.money import ZERO, plain
from trading.domain.settlement import payment, usual_value_date
from trading.failpoints import failpoint
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
from trading.selectors.inbox import reversed_cash, reversed_fills
from trading.selectors.instruments import UnmappedInstrument, instrument_for

from . import audit, memos, moves, projections
from .audit import Actor
from .errors import RuleBroken
from .ledger import Draft, contract, currency, post, post_many
from .lots import Matched, match, restating
from .versions import (
    cash_versions,
    entry_of,
    fill_versions,
    named,
    refuse_again,
    refuse_half_a_conversion,
    tell_replaced,
)

Kind = LedgerAccount.Kind
CASH_SIDE = {
    EventKind.TRANSFER: (Kind.CAPITAL, Entry.Kind.TRANSFER),
    EventKind.FINANCING: (Kind.FINANCING, Entry.Kind.FINANCING),
    EventKind.DIVIDEND: (Kind.DIVIDEND, Entry.Kind.DIVIDEND),
    EventKind.FEE: (Kind.FEE, Entry.Kind.FEE),
    EventKind.TAX: (Kind.TAX, Entry.Kind.TAX),
    EventKind.CONVERSION: (Kind.TRADING, Entry.Kind.CONVERSION),
}


@transaction.atomic
def book_fill(
    *,
    account: Account,
    event: BrokerEvent,
    fill: FillData,
    order: Order | None,
    application: Application | None = None,
    actor: Actor,
) -> Fill:
    """Book one execution: of our order, or an external one under an application. A second call changes nothing.

    Where it was booked before and taken back, an approved booking takes the place of the last one.
    """
    earlier = fill_versions(account, event, fill.external_id)
    if earlier and earlier[-1].pk not in reversed_fills(account):
        return earlier[-1]
    if application is None:
        refuse_again(account, event, str(earlier[-1]) if earlier else "")
    instrument = instrument_for(account, fill.instrument)
    _refuse_foreign_payment(account, instrument)
    matched = match(
        account, instrument, fill.side, fill.quantity, fill.price, sequence=event.sequence,
        replaces=earlier[-1] if earlier else None,
    )  # fmt: skip
    due = fill.settles_on or usual_value_date(trading_day(account, event.at))
    row = Fill.objects.create(
        at=event.at,
        account=account,
        external_id=named(fill.external_id, len(earlier)),
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
    kind = kind_of_fill(fill, is_ours=order is not None)
    _post_fill(row, matched, kind=kind, actor=actor, replaces=entry_of(earlier[-1]) if earlier else None)
    return row


def kind_of_fill(fill: FillData, *, is_ours: bool) -> Entry.Kind:
    """The kind of entry that an execution of the broker's becomes."""
    if is_ours:
        return Entry.Kind.FILL
    return Entry.Kind.MARGIN_CLOSEOUT if fill.margin_closeout else Entry.Kind.EXTERNAL_FILL


@transaction.atomic
def adopt_position(
    *,
    account: Account,
    instrument: Instrument,
    quantity: Decimal,
    price: Decimal,
    application: Application,
    actor: Actor,
    estimated: bool = False,
) -> Fill:
    """Take units of the broker's into the books as external, at `price`; `quantity` is the signed difference.

    No cash moves: shares that are taken over so count as brought in, at what they are said to have cost; `estimated`
    where their broker does not say that.
    """
    kind = Entry.Kind.ADOPTION
    return _approved_fill(account, instrument, quantity, price, ZERO, application, kind, actor, estimated=estimated)


@transaction.atomic
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


@transaction.atomic
def book_cash(
    *, account: Account, event: BrokerEvent, cash: CashData, application: Application | None = None, actor: Actor
) -> CashEvent:
    """Book one movement of cash that the broker typed. A second call changes nothing; see `book_fill`."""
    earlier = cash_versions(account, event, cash.external_id)
    if earlier and earlier[-1].pk not in reversed_cash(account):
        return earlier[-1]
    refuse_half_a_conversion(account, cash)
    if application is None:
        refuse_again(account, event, str(earlier[-1]) if earlier else "")
    row = CashEvent.objects.create(
        at=event.at,
        account=account,
        external_id=named(cash.external_id, len(earlier)),
        broker_event=event,
        application=application,
        kind=cash.kind,
        currency=cash.currency,
        amount=cash.amount,
        counter_currency=cash.counter_currency,
        counter_amount=cash.counter_amount,
        instrument=_known(account, cash.instrument),
    )
    other, kind = CASH_SIDE[EventKind(cash.kind)]
    replaces = entry_of(earlier[-1]) if earlier else None
    _post_cash(row, other=other, kind=kind, application=application, actor=actor, replaces=replaces)
    return row


def _known(account: Account, symbol: str) -> Instrument | None:
    """The instrument that cash is about; money that moved is booked whether or not it has a name of ours."""
    try:
        return instrument_for(account, symbol) if symbol else None
    except UnmappedInstrument:
        return None


@transaction.atomic
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
    *,
    estimated: bool = False,
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
        is_estimate=estimated or kind == Entry.Kind.ESTIMATE,
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


def _post_fill(fill: Fill, matched: Matched, *, kind: str, actor: Actor, replaces: Entry | None = None) -> None:
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
        replaces=replaces,
        memo=memos.of_fill(fill, kind),
        value_date=fill.settles_on,
        lots=list(matched.lots),
        lot_closes=list(matched.closes),
    )
    own_part = None if instrument.is_margin else matched.realised
    for moved in moves.of_fill(fill, realised=own_part, rounding=matched.rounding):
        draft.move(commodity=moved.commodity, amount=moved.amount, into=moved.into, out_of=moved.out_of)
    restated = restating(fill, matched)
    entry = post_many([draft, *restated])[0]
    failpoint("entry_written")
    tell_replaced(entry, actor)
    own = decision_of(fill)
    if own is not None:
        _know_rate(fill)
    touched = projections.decisions_touched_by(fill, restated=matched.restated)
    concerned = dict.fromkeys([*([own] if own is not None else []), *touched])
    projections.project_trades(account, concerned, since=min([fill.at, *(other.at for other in restated)]))
    projections.project_position(account, instrument)
    audit.record(
        kind="fill.booked",
        actor=actor,
        account=account,
        obj=fill,
        after={
            "entry": entry.pk,
            "realised": plain(fill.realised),
            "external_id": fill.external_id,
            **({"restated": len(restated)} if matched.restated else {}),
        },
        at=fill.at,
    )


def decision_of(fill: Fill) -> Decision | None:
    """The decision whose trade a fill belongs to; None of an external, approved or emergency one."""
    if fill.order is None:
        return None
    intent = fill.order.exit_intent
    return fill.order.decision or (intent.decision if intent is not None else None)


def _know_rate(fill: Fill) -> None:
    """A trade's risk needs a rate.

    Without any the fill is booked all the same, since it happened; its trade has no R, and a RiskEvent says so.
    """
    account, instrument = fill.account, fill.instrument
    if projections.quote_rate(account, instrument, fill) is not None:
        return
    RiskEvent.objects.create(
        account=account,
        at=fill.at,
        kind="RATE_MISSING",
        reason=f"no rate {instrument.quote}→{account.currency} is known, so the trade of this fill has no R",
        numbers={"fill": fill.external_id},
    )


def _post_cash(
    row: CashEvent,
    *,
    other: str,
    kind: str,
    application: Application | None,
    actor: Actor,
    memo: str = "",
    replaces: Entry | None = None,
) -> None:
    account: Account = row.account
    at: datetime = row.at
    for code in filter(None, (row.currency, row.counter_currency)):
        currency(code)
    draft = Draft(
        account=account,
        key=f"cash:{account.pk}:{row.external_id}",
        kind=kind,
        at=at,
        cash_event=row,
        application=application,
        replaces=replaces,
        memo=memo or memos.of_cash(row),
    )
    for moved in moves.of_cash(
        row.currency,
        row.amount,
        other,
        counter_currency=row.counter_currency,
        counter_amount=row.counter_amount,
    ):
        draft.move(commodity=moved.commodity, amount=moved.amount, into=moved.into, out_of=moved.out_of)
    if draft.transfers:
        tell_replaced(post(draft), actor)
    projections.project_equity(account, at)
    audit.record(
        kind="cash.booked",
        actor=actor,
        account=account,
        obj=row,
        after={"kind": row.kind, "amount": plain(row.amount), "currency": row.currency},
        reason=memo,
        at=at,
    )
