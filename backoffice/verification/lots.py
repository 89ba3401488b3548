"""Lots against the fills that made them: order, cost and profit, walked through again as the broker had them.

What always holds here: a breach names the instrument or the fill; fills of before a split or change of symbol are not
walked again, because the lots that it left are where the walk begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from trading.domain.books import OpenLot
from trading.domain.lots import LotMethod, Walk, cost_held, in_order, walk
from trading.domain.money import ZERO, plain
from trading.models import Account, Instrument
from trading.selectors import lot_history

from .registry import Offence

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_TRADED = "SELECT DISTINCT account_id, instrument_id FROM trading_fill ORDER BY 1, 2"
# What all entries of each fill of a cash instrument realised, and lost in rounding.
_POSTED = """
    SELECT e.fill_id, -sum(p.amount) FILTER (WHERE l.kind = 'REALISED') AS realised,
           sum(p.amount) FILTER (WHERE l.kind = 'ROUNDING') AS rounding
    FROM trading_entry e JOIN ledger_posting p ON p.entry_id = e.id
    JOIN trading_ledgeraccount l ON l.id = p.ledger_account_id AND l.kind IN ('REALISED', 'ROUNDING')
    JOIN trading_fill f ON f.id = e.fill_id JOIN trading_instrument i ON i.id = f.instrument_id AND NOT i.is_margin
    GROUP BY 1
"""
_AT_COST = """
    SELECT l.account_id, l.commodity_id, sum(p.amount)
    FROM trading_ledgeraccount l JOIN ledger_posting p ON p.ledger_account_id = l.id
    JOIN trading_commodity c ON c.code = l.commodity_id AND c.kind = 'CURRENCY'
    WHERE l.kind = 'MARKET' GROUP BY 1, 2
"""


def _traded(cursor: CursorWrapper) -> Iterator[tuple[Account, Instrument, Walk, tuple[OpenLot, ...]]]:
    cursor.execute(_TRADED)
    traded = cursor.fetchall()
    accounts = Account.objects.in_bulk([account for account, _ in traded])
    instruments = Instrument.objects.in_bulk([instrument for _, instrument in traded])
    for account_id, instrument_id in traded:
        account, instrument = accounts[account_id], instruments[instrument_id]
        past = lot_history.history(account, instrument)
        walked = walk(
            LotMethod(account.lot_method), in_order(past.booked), lots=past.lots, multiplier=instrument.multiplier
        )
        yield account, instrument, walked, lot_history.standing(account, instrument)


def lots_out_of_order(cursor: CursorWrapper) -> Iterator[Offence]:
    """Instruments whose open lots are not those of the broker's order: side, units, cost, origin, and their order."""
    for account, instrument, walked, standing in _traded(cursor):
        if _seen(walked.lots) != _seen(standing):
            yield Offence(
                account.pk,
                "instrument",
                instrument.symbol,
                f"has open lots {_told(standing)}; its fills in the broker's order leave {_told(walked.lots)}",
            )


def shares_at_cost(cursor: CursorWrapper) -> Iterator[Offence]:
    """Fills of cash instruments that realised something else than the broker's order gives; cost that no lot has."""
    cursor.execute(_POSTED)
    posted = {fill: (realised or ZERO, rounding or ZERO) for fill, realised, rounding in cursor.fetchall()}
    cost: dict[tuple[int, str], Decimal] = {}
    for account, instrument, walked, standing in _traded(cursor):
        if instrument.is_margin:
            continue
        for step in walked.steps:
            realised, rounding = posted.get(int(step.fill), (ZERO, ZERO))
            if (realised, rounding) != (step.realised, step.rounding):
                yield Offence(
                    account.pk,
                    "fill",
                    step.fill,
                    f"realised {plain(realised)} in the books and rounded {plain(rounding)}; by the broker's order its "
                    f"lots give {plain(step.realised)} and {plain(step.rounding)}",
                )
        key = account.pk, instrument.quote
        cost[key] = cost.get(key, ZERO) + cost_held(standing, multiplier=instrument.multiplier)
    cursor.execute(_AT_COST)
    held = {(account_id, currency): amount for account_id, currency, amount in cursor.fetchall()}
    for key in {*cost, *held}:
        if held.get(key, ZERO) != cost.get(key, ZERO):
            yield Offence(
                key[0],
                "currency",
                key[1],
                f"shares stand at {plain(held.get(key, ZERO))}; their open lots cost {plain(cost.get(key, ZERO))}",
            )


def _seen(lots: tuple[OpenLot, ...]) -> list[tuple[str, Decimal, Decimal, str]]:
    return [(str(lot.side), lot.quantity, lot.price, lot.origin) for lot in lots]


def _told(lots: tuple[OpenLot, ...]) -> str:
    return ", ".join(f"{lot.side} {plain(lot.quantity)} at {plain(lot.price)}" for lot in lots) or "nothing"
