"""Orders of ours on the desk of shares whose fills happen at the broker in the parts that a test asks for."""

from __future__ import annotations

from tests.reconciliation.engine.share_desk import AAPL, ShareDesk
from tests.trading.services import shares
from trading.models import Order


def ours(desk: ShareDesk, quantity: str, *, side: str = "BUY", number: int = 1, **more: str) -> Order:
    """An order of ours that is on its way; nothing of it has filled yet."""
    stop, target = ("90", "150") if side == "BUY" else ("110", "50")
    return shares.entry(desk.account, number, quantity=quantity, side=side, stop=stop, target=target, **more)


def fills(desk: ShareDesk, order: Order, quantity: str, price: str = "100") -> str:
    """So much of the order fills at the broker; nobody has read it yet. Returns the broker's id of the execution."""
    units = quantity if order.side == "BUY" else f"-{quantity}"
    done = desk.external("trade", instrument=AAPL, quantity=units, price=price)
    Order.objects.filter(pk=order.pk).update(broker_order_id=done["order_id"])
    return str(done["fill_id"])
