"""Decisions of an account whose exits filled for more than their entry, as far as the account still holds that.

What always holds: nothing is written; only instruments of which the account holds units that are no strategy's are
looked at, so that an account in order costs one question.
"""

from __future__ import annotations

from decimal import Decimal

from django.db.models import Q, Sum
from django.db.models.functions import Coalesce

from reconciliation.domain.snapshots import OverClosed
from trading.domain.broker import Side
from trading.domain.money import ZERO
from trading.domain.orders import Tag
from trading.models import Account, Entry, Order, Position


def over_closed(account: Account) -> list[OverClosed]:
    """The newest decisions first, until what the account holds the other way is explained."""
    found: list[OverClosed] = []
    strange = Position.objects.filter(account=account).exclude(external_quantity=0).select_related("instrument")
    for position in strange.order_by("instrument__symbol"):
        splits = Entry.objects.filter(account=account, kind=Entry.Kind.SPLIT, fill__instrument=position.instrument_id)
        if not splits.exists():  # after one, units of orders before and after it cannot be compared
            found.extend(_of(position))
    return found


def _of(position: Position) -> list[OverClosed]:
    left = abs(position.external_quantity)
    entered = Side.SELL if position.external_quantity > 0 else Side.BUY
    sums = (
        Order.objects.filter(account=position.account_id, instrument=position.instrument_id, filled_quantity__gt=0)
        .annotate(about=Coalesce("decision_id", "exit_intent__decision_id"))
        .filter(about__isnull=False)
        .values("about")
        .annotate(
            opened=Sum("filled_quantity", filter=Q(tag=Tag.ENTRY, side=entered)),
            closed=Sum("filled_quantity", filter=~Q(tag=Tag.ENTRY)),
        )
        .order_by("-about")
    )
    found = []
    for row in sums:
        opened, closed = row["opened"], row["closed"] or ZERO
        if opened is None or closed <= opened or not left:
            continue
        beyond: Decimal = min(closed - opened, left)
        left -= beyond
        found.append(OverClosed(row["about"], position.instrument.symbol, str(entered), opened, closed, beyond))
    return found
