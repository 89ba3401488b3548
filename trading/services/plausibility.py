"""Whether what a broker says of an order of ours can be true of it, and telling people when it cannot.

What always holds: nothing here changes an order or the books. What cannot be true is held and told, once; people who
compare with the broker decide what it was.
"""

from __future__ import annotations

from decimal import Decimal

from trading.clock import now
from trading.domain.broker import FillData, OrderNews, Side
from trading.domain.money import ZERO, plain
from trading.domain.orders import PROTECTIVE_TAGS
from trading.models import Entry, Order, RiskEvent

from .notifications import note

# A price that is so many times above or below what the order was about is of another unit, or of another order.
ABSURD = 10
FOREIGN = "FOREIGN_ANSWER"


def other_terms(order: Order, *, side: Side | None, quantity: Decimal | None) -> str:
    """Why an order under our id cannot be ours: what it says is not what we asked for. "" when it may be."""
    if side is not None and side != order.side:
        return f"it is a {side}, ours is a {order.side}"
    if quantity is not None and quantity != order.quantity:
        return f"it is about {plain(quantity)}, ours about {plain(order.quantity)}"
    return ""


def is_not_ours(order: Order, news: OrderNews) -> str:
    """Why the beginning of an order under our id is not that of our order, which is not bound to any yet."""
    first = not order.broker_order_id and not news.replaces and news.leg is None
    return other_terms(order, side=news.side, quantity=news.quantity) if first and news.client_id else ""


def absurd_fill(order: Order, fill: FillData) -> str:
    """Why a fill of our order cannot be: of another order, of more than all of it, or at a price of another unit.

    Its price is compared with the order's own, else with the decision's; an order without either is not judged. Legs
    that rest at the broker may have been made larger there, by a split.
    """
    if is_foreign(order, fill.broker_order_id):
        return f"a fill of order {fill.broker_order_id}, which carries our id and is not ours"
    if order.tag not in PROTECTIVE_TAGS and fill.quantity > order.quantity:
        return f"one fill of {plain(fill.quantity)} for an order of {plain(order.quantity)}"
    decision = order.decision or (order.exit_intent.decision if order.exit_intent is not None else None)
    expected = order.price or (decision.signal.entry if decision is not None else ZERO)
    if expected and not expected / ABSURD < fill.price < expected * ABSURD and not _was_split(order):
        return f"a fill at {plain(fill.price)} of an order that was about {plain(expected)}"
    return ""


def _was_split(order: Order) -> bool:
    """Whether prices of its instrument mean other units by now than when the order's decision was made."""
    splits = Entry.objects.filter(account=order.account_id, kind=Entry.Kind.SPLIT, fill__instrument=order.instrument_id)
    return splits.exists()


def is_foreign(order: Order, broker_order_id: str) -> bool:
    """Whether this order of the broker's carries the id of ours and was found not to be it."""
    told = RiskEvent.objects.filter(account=order.account_id, kind=FOREIGN, numbers__order=order.pk)
    return bool(broker_order_id) and told.filter(numbers__broker_order=broker_order_id).exists()


def tell_foreign(order: Order, why: str, *, broker_order_id: str = "") -> None:
    """Tell people, once for an order, that its broker says of it what cannot be. Callers hold the account's lock."""
    numbers = {"order": order.pk, "broker_order": broker_order_id}
    if RiskEvent.objects.filter(account=order.account_id, kind=FOREIGN, numbers=numbers).exists():
        return
    RiskEvent.objects.create(
        account=order.account, at=now(order.account), kind=FOREIGN, reason=why[:300], numbers=numbers
    )
    note(
        key=f"foreign:{order.account_id}:{order.client_order_id}",
        level="CRITICAL",
        text=(
            f"{order.account.name}: what its broker says of our order {order.client_order_id} is not about it: {why}. "
            "Nothing was bound or booked by it. Look the order up at the broker; somebody else may use our ids, or "
            "answers of two requests were exchanged."
        ),
    )


def tell_overfilled(order: Order, fill: FillData) -> None:
    """Tell people that an order has filled by more than was ordered; what happened is booked."""
    RiskEvent.objects.create(
        account=order.account,
        at=now(order.account),
        kind="OVERFILLED",
        reason=f"order {order.client_order_id} filled {plain(order.filled_quantity)} of {plain(order.quantity)}",
        numbers={"order": order.pk, "fill": fill.external_id},
    )
