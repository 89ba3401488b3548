"""Whether what a broker says of an order of ours can be true of it, and telling people when it cannot.

What always holds: nothing here changes an order or the books. What cannot be true is held and told, once; people who
compare with the broker decide what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from trading.clock import now
from trading.domain.broker import FillData, OrderNews, Side
from trading.domain.money import ZERO, plain
from trading.domain.orders import PROTECTIVE_TAGS
from trading.models import Account, Entry, Notification, Order, RiskEvent

from .audit import Actor
from .notifications import note
from .restrictions import REDUCE_ONLY, restrict

# A price that is so many times above or below what the order was about is of another unit, or of another order.
ABSURD = 10
FOREIGN = "FOREIGN_ANSWER"
DUPLICATES, OVERFILLED = "duplicate orders", "overfilled"
ACTOR = Actor.system("plausibility")


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


def labelled(account: Account, news: OrderNews) -> Order | None:
    """Our order whose id is the label of this new one, at a broker where labels may repeat; None without any."""
    if not news.label:
        return None
    return Order.objects.select_related("account").filter(account=account, client_order_id=news.label).first()


def is_a_copy(order: Order, news: OrderNews) -> bool:
    """Whether an order that carries our label is not ours, or not surely; people are told then.

    Callers hold the account's lock.
    """
    if order.broker_order_id == news.broker_order_id or (not order.broker_order_id and news.client_id):
        return False
    tell_twice(order, [news.broker_order_id] if order.broker_order_id else [])
    return True


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
    if broker_order_id in ("", order.broker_order_id):
        return False
    told = RiskEvent.objects.filter(account=order.account_id, kind=FOREIGN, numbers__order=order.pk)
    return told.filter(numbers__broker_order=broker_order_id).exists()


def tell_foreign(order: Order, why: str, *, broker_order_id: str = "") -> None:
    """Tell people, once for an order, that its broker says of it what cannot be. Callers hold the account's lock."""
    if not _keep_foreign(order, why, broker_order_id):
        return
    note(
        key=f"foreign:{order.account_id}:{order.client_order_id}",
        level="CRITICAL",
        text=(
            f"{order.account.name}: what its broker says of our order {order.client_order_id} is not about it: {why}. "
            "Nothing was bound or booked by it. Look the order up at the broker; somebody else may use our ids, or "
            "answers of two requests were exchanged."
        ),
    )


def tell_twice(order: Order, others: Sequence[str] = ()) -> None:
    """More than one order at the broker carries our id: no new risk on the account until a person has looked.

    `others` are the ids of those that are not ours, whose fills are not booked as ours from now on; without any it is
    not known yet which one is. Told once. Callers hold the account's lock.
    """
    new = [other for other in others if not is_foreign(order, other)]
    key = f"order-twice:{order.pk}"
    if not new and (others or Notification.objects.filter(key=key).exists()):
        return
    why = f"{order.client_order_id} is on more than one order at the broker"
    if new:
        why += f": ours is {order.broker_order_id}, not {' and '.join(new)}"
    for other in new:
        _keep_foreign(order, why, other)
    restrict(account=order.account, level=REDUCE_ONLY, source=DUPLICATES, reason=why[:300], actor=ACTOR)
    note(key=key, text=f"{order.account.name}: {why}. Cancel what is too much.", level="CRITICAL")


def _keep_foreign(order: Order, why: str, broker_order_id: str) -> bool:
    """Write down that this is not about our order; False when that was written before."""
    numbers = {"order": order.pk, "broker_order": broker_order_id}
    if RiskEvent.objects.filter(account=order.account_id, kind=FOREIGN, numbers=numbers).exists():
        return False
    moment = now(order.account)
    RiskEvent.objects.create(account=order.account, at=moment, kind=FOREIGN, reason=why[:300], numbers=numbers)
    return True


def tell_overfilled(order: Order, fill: FillData) -> None:
    """Tell people that an order has filled by more than was ordered; what happened is booked.

    A second order may have been made of one request, and who made one may make more: no new risk until a person has
    looked. A leg may have been made larger by a split. Callers hold the account's lock.
    """
    why = f"order {order.client_order_id} filled {plain(order.filled_quantity)} of {plain(order.quantity)}"
    RiskEvent.objects.create(
        account=order.account,
        at=now(order.account),
        kind="OVERFILLED",
        reason=why,
        numbers={"order": order.pk, "fill": fill.external_id},
    )
    if order.tag in PROTECTIVE_TAGS and _was_split(order):
        return
    restrict(account=order.account, level=REDUCE_ONLY, source=OVERFILLED, reason=why, actor=ACTOR)
    note(
        key=f"overfilled:{order.pk}",
        level="CRITICAL",
        text=(
            f"{order.account.name}: {why}. All of it is booked, and entries are blocked: close what is too much, find "
            "out how it came about, and then lift the restriction."
        ),
    )
