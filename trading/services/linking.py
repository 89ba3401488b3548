"""Linking: our order behind a broker's words.

What always holds: by client id first, then by broker id, then as the order that took the place of one of ours, then as
the leg of an order of ours that the broker names as its parent; never by symbol and quantity. An order found so keeps
its broker id, and the next word finds it by that.
"""

from __future__ import annotations

from collections.abc import Iterable

from trading.domain.broker import BrokerOrder, LegRole, OrderNews
from trading.models import Account, Order


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
    if broker_order_id:
        found = orders.filter(broker_order_id=broker_order_id).first()
        if found is not None:
            return found
    if replaces:
        found = orders.filter(broker_order_id=replaces).first()
        if found is not None:
            return found
    if parent_client_id and leg is not None:
        named = orders.filter(rides_on__client_order_id=parent_client_id, tag=leg)
        # The leg may have been put in the place of another more than once since we looked.
        return (named if replaces else named.filter(broker_order_id="")).first()
    return None


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
