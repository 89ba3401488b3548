"""Linking: our order behind a broker's words.

What always holds: by client id first, then by broker id, then as the order that took the place of one of ours, then as
the leg of an order of ours that the broker names as its parent; never by symbol and quantity. An order found so keeps
its broker id, and the next word finds it by that. An id that it had before stays its own for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from trading.domain.broker import BrokerOrder, BrokerOrderStatus, LegRole, OrderNews
from trading.models import Account, Order, OrderAlias

from . import audit
from .audit import Actor

ACTOR = Actor.system("linking")


def link(
    account: Account,
    *,
    client_id: str,
    broker_order_id: str,
    parent_client_id: str = "",
    leg: LegRole | None = None,
    replaces: str = "",
) -> Order | None:
    """The order of ours that is meant, or None when it is nobody's here."""
    orders = Order.objects.filter(account=account)
    if client_id:
        found = orders.filter(client_order_id=client_id).first()
        if found is not None:
            return found
    for name in (broker_order_id, replaces):
        found = orders.filter(broker_order_id=name).first() or _formerly(account, name) if name else None
        if found is not None:
            return found
    if parent_client_id and leg is not None:
        named = orders.filter(rides_on__client_order_id=parent_client_id, tag=leg)
        # The leg may have been put in the place of another more than once since we looked.
        return (named if replaces else named.filter(broker_order_id="")).first()
    return None


def _formerly(account: Account, broker_order_id: str) -> Order | None:
    """The order of ours that once had this id."""
    alias = OrderAlias.objects.filter(account=account, broker_order_id=broker_order_id).select_related("order").first()
    return alias.order if alias is not None else None


def was_once(order: Order, broker_order_id: str) -> bool:
    """Whether our order had this id before, and goes on under another."""
    if not broker_order_id or broker_order_id == order.broker_order_id:
        return False
    return OrderAlias.objects.filter(order=order, broker_order_id=broker_order_id).exists()


def goes_on(order: Order, news: OrderNews, *, at: datetime) -> None:
    """Keep the id under which the broker says that our order lives now, and those that it had before.

    What is told late changes nothing back: an id that the order has left already is not taken again, but for an order
    that was refused the place of another: that one lives on. Callers hold the account's lock.
    """
    told = news.replaced_by or news.broker_order_id
    if news.replaces and news.status is BrokerOrderStatus.REJECTED:
        told = news.replaces if order.broker_order_id in ("", news.broker_order_id) else order.broker_order_id
    elif was_once(order, told) or (order.broker_order_id and not news.replaces and not news.replaced_by):
        told = order.broker_order_id
    had = {order.broker_order_id, news.replaces, news.broker_order_id if news.replaces or news.replaced_by else ""}
    if told and told != order.broker_order_id:
        order.broker_order_id = told
        order.save(update_fields=["broker_order_id", "updated_at"])
    for name in sorted(had - {"", told}):
        _, is_new = OrderAlias.objects.get_or_create(
            account_id=order.account_id, broker_order_id=name, defaults={"order": order, "at": at}
        )
        if is_new:
            audit.record(
                kind="order.replaced",
                actor=ACTOR,
                account=order.account,
                obj=order,
                before={"broker_order_id": name},
                after={"broker_order_id": told},
                at=at,
            )


def link_legs(account: Account, legs: Iterable[OrderNews | BrokerOrder]) -> None:
    """Keep the broker's ids of the legs of an order of ours. Callers hold the account's lock."""
    for leg in legs:
        order = link(
            account,
            client_id=leg.client_id,
            broker_order_id=leg.broker_order_id,
            parent_client_id=leg.parent_client_id,
            leg=leg.leg,
        )
        if order is not None and leg.broker_order_id and not order.broker_order_id:
            order.broker_order_id = leg.broker_order_id
            order.save(update_fields=["broker_order_id", "updated_at"])
