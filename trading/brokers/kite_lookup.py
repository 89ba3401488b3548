"""What became of an order, found by the label that it was sent with.

Kite lists the orders of its day only, and a label may be on several of them. So `Found` needs an order with the label
today; more than one is found, too, and named, because that is an alarm. `Absent` says that today's complete list has
none: it has not arrived (yet), which never is a reason to send it again by itself (`Capabilities.resends_when_absent`).
Once the day of the send is over nothing can be said any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from trading.brokers.budget import Lane
from trading.brokers.errors import BadData
from trading.brokers.fields import Row
from trading.brokers.kite_client import KiteClient
from trading.brokers.kite_events import orders_with
from trading.brokers.kite_parse import order
from trading.brokers.wire import Exchange
from trading.domain.broker import Absent, BrokerUnreachable, Evidence, Found, LookupFailed, LookupOutcome


@dataclass(frozen=True, slots=True)
class Looking:
    """One look-up in progress: whom it asks, in which lane, and every exchange that it has made."""

    client: KiteClient
    lane: Lane = "general"
    exchanges: list[Exchange] = field(default_factory=list)

    def read(self, call: Callable[[Any], object], question: str) -> Any:
        """The data of a good answer; whatever the answer was, it is remembered. Raises as `KiteClient.data`."""
        exchange = self.client.ask(call, lane=self.lane)
        self.exchanges.append(exchange)
        return self.client.data(exchange, question)

    def orders(self) -> list[Row]:
        """Today's orders. Raises `BrokerUnreachable` and its kinds."""
        question = "the look-up of one order"
        found = self.read(lambda kite: kite.orders(), question)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise BrokerUnreachable(self.client.sentence(question, "the data are not a list of objects"))
        return found

    def order(self, order_id: str) -> Row | None:
        """The order of that id as it is now, None when today has none. Raises as `orders`."""
        named = [row for row in self.orders() if row.get("order_id") == order_id]
        return named[0] if named else None

    def evidence(self) -> tuple[Evidence, ...]:
        """The records of all exchanges made so far."""
        return self.client.evidence(*self.exchanges)


def order_by_client_id(looking: Looking, tag: str, *, sent_on: date | None, today: date) -> LookupOutcome:
    """Look for the order with that label. Reads only; never raises for a failed exchange."""
    try:
        looking.client.check_account(lane=looking.lane)
        named = orders_with(tag, looking.orders())
        if named:
            first, *others = [order(row) for row in named]
            return Found(first, looking.evidence(), duplicates=tuple(others))
    except (BadData, BrokerUnreachable) as error:
        return LookupFailed(str(error), looking.evidence())
    if sent_on is not None and sent_on != today:
        reason = (
            f"Kite lists the orders of {today} only, and this one was sent on or after {sent_on}: that it is not in "
            "the list proves nothing. Look at Kite's order history or the contract note."
        )
        return LookupFailed(reason, looking.evidence())
    return Absent(looking.evidence())
