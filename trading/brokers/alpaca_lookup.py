"""What became of an order, found by the client id that it was sent with.

Alpaca keeps a client id for ever and gives it to no second order, so one question is enough: a found order is the
order, and a 404 in Alpaca's own words says that it has not arrived (yet: see the quarantine). `Absent` needs exactly
that; any other answer says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from trading.brokers.alpaca_client import AlpacaClient, error_code
from trading.brokers.alpaca_parse import leg_orders, order
from trading.brokers.budget import Lane
from trading.brokers.errors import BadData
from trading.brokers.fields import Row, optional_text, text
from trading.brokers.wire import Exchange
from trading.domain.broker import Absent, BrokerUnreachable, Evidence, Found, LookupFailed, LookupOutcome

# Orders of these classes have legs, also where an answer does not list them.
_WITH_LEGS = frozenset({"bracket", "oto", "oco"})


@dataclass(frozen=True, slots=True)
class Looking:
    """One look-up in progress: whom it asks, in which lane, and every exchange that it has made."""

    client: AlpacaClient
    lane: Lane = "general"
    exchanges: list[Exchange] = field(default_factory=list)

    def ask(self, path: str, question: str, fields: dict[str, Any]) -> Row | None:
        """The answer's object; None when Alpaca says that there is no such order.

        Raises `BrokerUnreachable` and its kinds when there is no answer, `BadData` for any other one.
        """
        exchange = self.client.ask("GET", path, fields, lane=self.lane)
        self.exchanges.append(exchange)
        document = self.client.document(exchange, question)
        if exchange.status == 404 and error_code(document) is not None:
            return None
        if exchange.status != 200 or not isinstance(document, dict):
            raise BadData(f"{question} was answered with status {exchange.status}")
        return document

    def evidence(self) -> tuple[Evidence, ...]:
        """The records of all exchanges made so far."""
        return self.client.evidence(*self.exchanges)


def order_by_client_id(looking: Looking, known_client_id: str) -> LookupOutcome:
    """Look for the order with that client id. Reads only; never raises for a failed exchange."""
    try:
        looking.client.check_account(lane=looking.lane)
        row = row_by_client_id(looking, known_client_id)
        if row is None:
            return Absent(looking.evidence())
        return Found(order(row), looking.evidence(), leg_orders(row))
    except (BadData, BrokerUnreachable) as error:
        return LookupFailed(str(error), looking.evidence())


def row_by_client_id(looking: Looking, known_client_id: str) -> Row | None:
    """The order as Alpaca writes it, with its legs. Raises as `Looking.ask`."""
    fields = {"client_order_id": known_client_id, "nested": "true"}
    row = looking.ask("/orders:by_client_order_id", "the look-up of one order", fields)
    if row is None:
        return None
    if optional_text(row, "client_order_id") != known_client_id:
        raise BadData(
            f"asked for order {known_client_id}, got one with the client id {row.get('client_order_id')!r:.60}"
        )
    if row.get("legs") is None and optional_text(row, "order_class") in _WITH_LEGS:
        nested = row_by_id(looking, text(row, "id"))
        if nested is None:
            raise BadData(f"order {text(row, 'id')} was found by its client id, but not by its own")
        return nested
    return row


def row_by_id(looking: Looking, order_id: str) -> Row | None:
    """The order of that id as Alpaca writes it, with its legs. Raises as `Looking.ask`."""
    row = looking.ask(f"/orders/{quote(order_id, safe='')}", "the look-up of one order", {"nested": "true"})
    if row is not None and text(row, "id") != order_id:
        raise BadData(f"asked for order {order_id}, got {row.get('id')!r:.60}")
    return row
