"""Whose a broker's order is: by client id, then by broker id, never by symbol and quantity.

What always holds here: looking an order up costs the same however many there are; what is no working order, or is bad
data, links to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciliation.domain.snapshots import BooksOrder, BooksSnapshot
from trading.domain.broker import BrokerOrder, BrokerOrderStatus, BrokerSnapshot

WORKING = frozenset({BrokerOrderStatus.WORKING, BrokerOrderStatus.PARTIAL, BrokerOrderStatus.OTHER})


@dataclass(frozen=True, slots=True)
class Links:
    """Our orders by both of their names."""

    by_client: Mapping[str, BooksOrder]
    by_broker: Mapping[str, BooksOrder]

    @classmethod
    def of(cls, books: BooksSnapshot) -> Links:
        """The names of the orders in our books; the first of two with one name has it."""
        by_client: dict[str, BooksOrder] = {}
        by_broker: dict[str, BooksOrder] = {}
        for order in books.orders:
            by_client.setdefault(order.client_id, order)
            if order.broker_order_id:
                by_broker.setdefault(order.broker_order_id, order)
        return cls(by_client, by_broker)

    def ours(self, order: BrokerOrder) -> BooksOrder | None:
        """Our order behind one of the broker's, None for somebody else's."""
        found = self.by_client.get(order.client_id) if order.client_id else None
        return found if found is not None else self.by_broker.get(order.broker_order_id)


def count_linked(broker: BrokerSnapshot, books: BooksSnapshot) -> int:
    """How many of the broker's orders are orders of ours."""
    links = Links.of(books)
    return sum(1 for order in broker.orders if links.ours(order) is not None)
