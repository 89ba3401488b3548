"""Instruments as their broker defines them today: the tick of their prices, and the most that one order may have.

What always holds: only what the broker itself says is taken over; where it says nothing, what was known stands. Each
change is in the trail.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from trading.domain.broker import BrokerInstrument
from trading.models import Account, Instrument, InstrumentAlias

from . import audit
from .audit import Actor

ACTOR = Actor.system("instruments")


@transaction.atomic
def take_over(*, account: Account, told: Iterable[BrokerInstrument]) -> int:
    """Give our instruments the ticks and freeze quantities that the account's broker tells; returns how many changed.

    Raises ValueError for a number that cannot be stored exactly; nothing is changed then.
    """
    named = InstrumentAlias.objects.filter(broker=account.broker, valid_until=None).order_by("instrument_id")
    ours = dict(named.values_list("symbol", "instrument_id"))
    known = {ours[each.symbol]: each for each in told if each.symbol in ours}
    rows = Instrument.objects.select_for_update(no_key=True).filter(pk__in=known).order_by("pk")
    return sum(_take_over(row, known[row.pk]) for row in rows)


def _take_over(row: Instrument, told: BrokerInstrument) -> bool:
    standing = {"tick_size": row.tick_size, "freeze_quantity": row.freeze_quantity}
    row.tick_size = told.tick_size
    row.freeze_quantity = told.freeze_quantity if told.freeze_quantity is not None else row.freeze_quantity
    wanted = {"tick_size": row.tick_size, "freeze_quantity": row.freeze_quantity}
    before, after = audit.changes(standing, wanted)
    if not after:
        return False
    row.save(update_fields=["tick_size", "freeze_quantity"])
    audit.record(kind="instrument.changed", actor=ACTOR, obj=row, before=before, after=after)
    return True
