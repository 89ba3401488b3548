"""Excursions: how far a trade went for us and against us while it was open, kept as marks.

What always holds: a mark is a price at which the trade could have been left, so it lies on the side that leaves it
(the bid of a long trade, the ask of a short one); each is beyond all that were kept before, so few are; the trade's
row says what its marks say as soon as they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Max, Min

from trading.domain.broker import Side
from trading.domain.money import ZERO
from trading.locks import lock_account
from trading.models import Account, Decision, Mark, Trade

from .trades import excursion, extremes_of


def marked_range(account: Account, decision: Decision) -> tuple[Decimal | None, Decimal | None]:
    """The lowest and the highest mark of a decision's trade on an account; None before the first."""
    marks = Mark.objects.filter(
        account=account, instrument=decision.signal.instrument_id, purpose=extremes_of(decision)
    ).aggregate(lowest=Min("price"), highest=Max("price"))
    return marks["lowest"], marks["highest"]


@transaction.atomic
def keep_extremes(
    *, account: Account, decision: Decision, prices: Sequence[Decimal], at: datetime, source: str
) -> None:
    """Keep new extremes of a trade, in its units of now, and say them on its row; nothing once it has ended before."""
    lock_account(account.pk)
    trade = Trade.objects.filter(account=account, decision=decision).first()
    if trade is None or (trade.closed_at is not None and trade.closed_at < at):
        return
    mfe_r, mae_r = excursion(Side(trade.side), trade.entry_price, trade.initial_stop, prices)
    if mfe_r is not None and mae_r is not None:
        # What `trades.figures` finds in all marks: the furthest of those before and these.
        further = {"mfe_r": max(mfe_r, trade.mfe_r or ZERO), "mae_r": min(mae_r, trade.mae_r or ZERO)}
        Trade.objects.filter(pk=trade.pk).update(**further)
    Mark.objects.bulk_create(
        Mark(
            account=account,
            instrument_id=decision.signal.instrument_id,
            at=at,
            price=price,
            source=source,
            purpose=extremes_of(decision),
        )
        for price in prices
    )
