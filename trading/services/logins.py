"""What only a person can put right at a broker, said once: a login that is needed, an order that nothing can find.

What always holds: each is one CRITICAL message for people (once a day for a login that is still needed); nothing is
sent or moved here.
"""

from __future__ import annotations

from trading.clock import wall_now
from trading.models import Account, Order

from .notifications import note


def needs_login(account: Account, said: str) -> None:
    """The broker turns our credentials away; `said` is the adapter's sentence of what to do about it."""
    key = f"needs-login:{account.pk}:{wall_now():%Y%m%d}"
    text = f"{account.name}: {said} Orders that were not sent wait under their ids; nothing of them is lost."
    note(key=key, text=text, level="CRITICAL")


def person_must_decide(order: Order, said: str) -> None:
    """An order that may live or not, at a broker where sending it again could make a second one."""
    text = (
        f"{order.account.name}: nobody knows whether the broker has order {order.client_order_id} ({order.side} "
        f"{order.quantity.normalize():f} {order.instrument.symbol}). It is not sent again by itself, because nothing "
        f"there would recognise a copy ({said}). Look at the broker, and decide in the case of this order."
    )
    note(key=f"order-unknown:{order.pk}", text=text, level="CRITICAL")
