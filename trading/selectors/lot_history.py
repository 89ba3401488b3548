"""What happened to an account's units of one instrument, from the facts, in the order in which it was booked.

What always holds here: entries decide what is booked, reversed and replaced; a split, a change of symbol and their
reversals begin anew from the lots that they left, because units of before are no units of after.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db import connection

from trading.domain.books import OpenLot, apply_fill
from trading.domain.broker import Side
from trading.domain.lots import Execution, in_order
from trading.domain.money import STORED_STEP, ZERO, round_to_step
from trading.models import Account, Fill, Instrument

# Entries that begin anew. What a restatement moves for another fill's sake books nothing by itself.
ANEW = "('SPLIT', 'SYMBOL_CHANGE')"
RESTATED = "restated:"
_BOOKED = f"""
    SELECT e.id, e.kind, f.id, f.side, f.quantity, f.price, b.sequence, o.fill_id,
           EXISTS (SELECT 1 FROM trading_entry r WHERE r.reverses_id = e.id)
    FROM trading_fill f JOIN trading_entry e ON e.fill_id = f.id
    LEFT JOIN trading_brokerevent b ON b.id = f.broker_event_id
    LEFT JOIN trading_entry o ON o.id = e.replaces_id
    WHERE f.account_id = %s AND f.instrument_id = %s AND e.kind NOT IN ('SETTLEMENT', 'REVERSAL')
      AND e.idempotency_key NOT LIKE '{RESTATED}%%' AND e.id > %s ORDER BY e.id
"""
_ANEW = f"""
    SELECT DISTINCT greatest(e.id, r.id)
    FROM trading_fill f JOIN trading_entry e ON e.fill_id = f.id AND e.kind IN {ANEW}
    LEFT JOIN trading_entry r ON r.reverses_id = e.id
    WHERE f.account_id = %s AND f.instrument_id = %s ORDER BY 1
"""
_LAST_ANEW = f"SELECT coalesce(max(a.greatest), 0) FROM ({_ANEW}) a"
_LOTS_AFTER = """
    SELECT l.id, l.side, l.quantity - coalesce(sum(c.quantity), 0), l.unit_cost, coalesce(l.origin_id, l.fill_id)
    FROM trading_lot l LEFT JOIN trading_lotclose c ON c.lot_id = l.id AND c.entry_id <= %s
    WHERE l.account_id = %s AND l.instrument_id = %s AND l.entry_id <= %s
    GROUP BY l.id HAVING l.quantity > coalesce(sum(c.quantity), 0) ORDER BY l.id
"""
# The events after it first: they are few, while the fills of an instrument become many.
_LATER = """
    WITH later AS MATERIALIZED (SELECT b.id FROM trading_brokerevent b WHERE b.account_id = %s AND b.sequence > %s)
    SELECT EXISTS (SELECT 1 FROM later l JOIN trading_fill f ON f.broker_event_id = l.id WHERE f.instrument_id = %s)
"""


@dataclass(frozen=True, slots=True)
class LotHistory:
    """The lots that stood when it last began anew, and what was booked since, in the order of booking."""

    lots: tuple[OpenLot, ...]
    booked: tuple[Execution, ...]


@dataclass(frozen=True, slots=True)
class ClosedByOther:
    """Units that `opened_by` had opened and a fill without an order of ours closed; `closing` is all that it closed."""

    fill: Fill
    opened_by: int
    quantity: Decimal
    closing: Decimal

    @property
    def price(self) -> Decimal:
        """What a unit was closed at."""
        price: Decimal = self.fill.price
        return price

    @property
    def at(self) -> datetime:
        """When it was closed."""
        at: datetime = self.fill.at
        return at


def something_came_later(account: Account, instrument: Instrument, sequence: int) -> bool:
    """Whether a fill of the instrument was booked that the broker's order puts after that sequence."""
    with connection.cursor() as cursor:
        cursor.execute(_LATER, [account.pk, sequence, instrument.pk])
        return bool(cursor.fetchone()[0])


def history(account: Account, instrument: Instrument) -> LotHistory:
    """What was booked since the instrument's units last began anew."""
    key = [account.pk, instrument.pk]
    with connection.cursor() as cursor:
        cursor.execute(_LAST_ANEW, key)
        since = cursor.fetchone()[0]
        lots = _lots_after(account, instrument, since) if since else ()
        cursor.execute(_BOOKED, [*key, since])
        return LotHistory(tuple(_renamed(lots)), tuple(_execution(*row[2:]) for row in cursor.fetchall()))


def stretches(account: Account, instrument: Instrument) -> list[LotHistory]:
    """All that was booked of an instrument, cut where its units began anew, the earliest first."""
    key = [account.pk, instrument.pk]
    with connection.cursor() as cursor:
        cursor.execute(_BOOKED, [*key, 0])
        rows = cursor.fetchall()
        cursor.execute(_ANEW, key)
        cuts = [0, *(row[0] for row in cursor.fetchall())]
    found = []
    for cut, following in zip(cuts, [*cuts[1:], 2**62], strict=True):
        lots = _lots_after(account, instrument, cut) if cut else ()
        booked = [row for row in rows if cut < row[0] < following]
        found.append(LotHistory(tuple(_renamed(lots)), tuple(_execution(*row[2:]) for row in booked)))
    return found


def standing(account: Account, instrument: Instrument) -> tuple[OpenLot, ...]:
    """The open lots as the books have them, the units opened first first. `lot_id` is the row's number.

    The order of rows is that of the units: whatever changes it closes every lot and opens them in the right order.
    """
    return _lots_after(account, instrument, 2**62)


def closed_by_others(account: Account, instrument: Instrument) -> list[ClosedByOther]:
    """What fills without an order of ours closed, by the broker's order: first in, first out by units.

    So it is at average cost, too: cost is pooled, and units are still somebody's. In the units of the time.
    """
    others = {str(fill.pk): fill for fill in Fill.objects.filter(account=account, instrument=instrument, order=None)}
    if not others:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_BOOKED, [account.pk, instrument.pk, 0])
        rows = cursor.fetchall()
    anew = {str(row[2]): (row[0], row[1]) for row in rows if row[1] in ("SPLIT", "SYMBOL_CHANGE")}
    lots: tuple[OpenLot, ...] = ()
    waiting: tuple[OpenLot, ...] = ()
    found: list[ClosedByOther] = []
    for each in in_order(_execution(*row[2:]) for row in rows):
        if each.fill in anew:
            entry, kind = anew[each.fill]
            if lots and lots[0].side is not each.side:  # the first of the pair closes everything
                if kind == "SYMBOL_CHANGE":  # what goes on under another name is no strategy's any more
                    found += [
                        ClosedByOther(others[each.fill], int(lot.lot_id), lot.quantity, each.quantity) for lot in lots
                    ]
                waiting, lots = lots, ()
            elif kind == "SPLIT":
                lots = _scaled(waiting, each.quantity)
            else:
                lots = tuple(
                    OpenLot(each.fill, lot.side, lot.quantity, lot.price)
                    for lot in _lots_after(account, instrument, entry)
                )
            continue
        lots, closings = apply_fill(lots, each.side, each.quantity, each.price, lot_id=each.fill)
        if each.fill in others:
            closing = sum((part.quantity for part in closings), ZERO)
            found += [ClosedByOther(others[each.fill], int(part.lot_id), part.quantity, closing) for part in closings]
    return found


def _renamed(lots: Iterable[OpenLot]) -> Iterable[OpenLot]:
    """Lots under names that are no fill's number."""
    return (replace(lot, lot_id=f"lot {lot.lot_id}") for lot in lots)


def _scaled(lots: tuple[OpenLot, ...], after: Decimal) -> tuple[OpenLot, ...]:
    """Units of after a split, as splits are booked: each rounded, the last one takes what that leaves."""
    before, left, made = sum((lot.quantity for lot in lots), ZERO), after, []
    for lot in lots:
        quantity = left if lot is lots[-1] else round_to_step(lot.quantity * after / before, STORED_STEP)
        left -= quantity
        made.append(OpenLot(lot.lot_id, lot.side, quantity, lot.price))
    return tuple(made)


def _lots_after(account: Account, instrument: Instrument, entry: int) -> tuple[OpenLot, ...]:
    with connection.cursor() as cursor:
        cursor.execute(_LOTS_AFTER, [entry, account.pk, instrument.pk, entry])
        return tuple(
            OpenLot(str(row), Side.BUY if side > 0 else Side.SELL, quantity, cost, str(origin))
            for row, side, quantity, cost, origin in cursor.fetchall()
        )


def _execution(
    fill: int, side: str, quantity: Decimal, price: Decimal, sequence: int | None, replaces: int | None, undone: bool
) -> Execution:
    return Execution(
        fill=f"{fill}",
        side=Side(side),
        quantity=quantity,
        price=price,
        sequence=sequence,
        replaces=str(replaces or ""),
        counts=not undone,
    )
