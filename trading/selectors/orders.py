"""Questions about orders."""

from __future__ import annotations

from trading.models import Account, Instrument, Order

UNFINISHED = ["SENDING", "WORKING", "PARTIAL", "CANCELLING", "UNKNOWN"]


def has_unfinished_orders(account: Account) -> bool:
    """True while an order of the account may still change at the broker."""
    return Order.objects.filter(account=account, state__in=UNFINISHED).exists()


def has_pending_order(account: Account, instrument: Instrument) -> bool:
    """True while an entry on the instrument is on its way or resting."""
    return Order.objects.filter(
        account=account, instrument=instrument, tag="ENTRY", state__in=["PLANNED", *UNFINISHED]
    ).exists()
