"""What the broker says otherwise now than our books hold: what it took back, or corrected, after it was booked.

What always holds: nothing is written here; an event counts only where its words changed after it was stored; once the
books hold what the broker says now, there is nothing left to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from trading.domain.broker import CashData, EventKind, FillData, Side
from trading.domain.money import ZERO
from trading.models import Account, BrokerEvent, CashEvent, Fill
from trading.selectors.inbox import reversed_cash, reversed_fills
from trading.selectors.instruments import UnmappedInstrument, broker_symbol, instrument_for

from .event_facts import Reading, cash_of, fills_of, said_last
from .versions import base_id

_Row = TypeVar("_Row", Fill, CashEvent)


@dataclass(frozen=True, slots=True)
class EventChange:
    """An event whose words changed, with what the books hold of it wrongly, and what the broker says in its place.

    `is_read` says that its words of now were read; `touched` that it moves anything otherwise than it did at first.
    """

    row: BrokerEvent
    reading: Reading
    undone: tuple[Fill, ...] = ()
    instead: tuple[FillData, ...] = ()
    cash_undone: tuple[CashEvent, ...] = ()
    cash_instead: tuple[CashData, ...] = ()
    is_read: bool = False
    touched: bool = False

    @property
    def settled(self) -> bool:
        """True when it moves something otherwise than at first, and the books hold what the broker says now."""
        return self.is_read and self.touched and not (self.undone or self.cash_undone)


def changes(account: Account) -> list[EventChange]:
    """Every event of the account whose words changed after it was stored, in the broker's order."""
    said = said_last(account)
    rows = BrokerEvent.objects.filter(account=account, external_id__in=said).order_by("sequence", "id")
    gone = (set(reversed_fills(account)), set(reversed_cash(account))) if said else (set(), set())
    return [_change(row, said[row.external_id], *gone) for row in rows]


def change_of(row: BrokerEvent) -> EventChange | None:
    """What an event says otherwise now; None when its words never changed."""
    reading = said_last(row.account, [row.external_id]).get(row.external_id)
    if reading is None:
        return None
    return _change(row, reading, set(reversed_fills(row.account)), set(reversed_cash(row.account)))


def as_said(fill: Fill) -> FillData:
    """A booked fill in the words in which a broker says it: a broker of cash instruments names no realised profit."""
    try:
        symbol = broker_symbol(fill.account, fill.instrument)
    except UnmappedInstrument:
        symbol = fill.instrument.symbol
    order = fill.order
    return FillData(
        external_id=base_id(fill.external_id),
        broker_order_id=order.broker_order_id if order is not None else "",
        client_id=order.client_order_id if order is not None else "",
        instrument=symbol,
        side=Side(fill.side),
        quantity=fill.quantity,
        price=fill.price,
        realised=fill.realised if fill.instrument.is_margin else ZERO,
        financing=fill.financing,
        commission=fill.commission,
        reason=fill.reason,
        settles_on=fill.settles_on,
    )


def cash_as_said(row: CashEvent) -> CashData:
    """A booked movement of cash in the broker's words."""
    return CashData(
        external_id=base_id(row.external_id),
        kind=EventKind(row.kind),
        currency=row.currency,
        amount=row.amount,
        counter_currency=row.counter_currency,
        counter_amount=row.counter_amount,
    )


def _change(row: BrokerEvent, reading: Reading, gone_fills: set[int], gone_cash: set[int]) -> EventChange:
    if reading.facts is None:
        return EventChange(row, reading)
    fills = {fill.external_id: fill for fill in fills_of(reading.facts)}
    cash = {moved.external_id: moved for moved in cash_of(reading.facts)}
    booked = Fill.objects.filter(broker_event=row).select_related("account", "instrument", "order").order_by("id")
    paid = CashEvent.objects.filter(broker_event=row).select_related("account", "instrument").order_by("id")
    undone = [each for each in _in_force(booked, gone_fills) if not _same_fill(each, fills.get(_base(each)))]
    cash_undone = [each for each in _in_force(paid, gone_cash) if not _same_cash(each, cash.get(_base(each)))]
    return EventChange(
        row=row,
        reading=reading,
        undone=tuple(undone),
        instead=tuple(fills[_base(each)] for each in undone if _base(each) in fills),
        cash_undone=tuple(cash_undone),
        cash_instead=tuple(cash[_base(each)] for each in cash_undone if _base(each) in cash),
        is_read=True,
        touched=(fills_of(row.facts), cash_of(row.facts)) != (list(fills.values()), list(cash.values())),
    )


def _base(row: Fill | CashEvent) -> str:
    return base_id(row.external_id)


def _in_force(rows: Iterable[_Row], gone: set[int]) -> list[_Row]:
    return [row for row in rows if row.pk not in gone]


def _same_fill(booked: Fill, says: FillData | None) -> bool:
    if says is None:
        return False
    try:
        if instrument_for(booked.account, says.instrument) != booked.instrument:
            return False
    except UnmappedInstrument:
        return False
    held = as_said(booked)
    numbers = [(f.side, f.quantity, f.price, f.realised, f.financing, f.commission) for f in (held, says)]
    return numbers[0] == numbers[1] and says.settles_on in (None, held.settles_on)


def _same_cash(booked: CashEvent, says: CashData | None) -> bool:
    return says is not None and replace(says, instrument="") == cash_as_said(booked)
