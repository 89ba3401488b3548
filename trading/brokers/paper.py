"""The paper book as a broker: the in-process adapter of the port, on bars.

What always holds: it has the same outcomes and events as any broker, so its fills pass the same inbox; `market` must
have been told before an order is submitted; events are handed out once, in order, and carry ids derived from the
client ids, so that a second run of the same bars adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading.domain.bars import Bar
from trading.domain.broker import (
    NOT_SENT,
    Absent,
    Accepted,
    BrokerEvent,
    BrokerOrderStatus,
    Capabilities,
    Completeness,
    EventKind,
    EventPage,
    LookupOutcome,
    OrderRequest,
    Refused,
    SubmitOutcome,
)
from trading.domain.paper import PaperBook
from trading.domain.paper_events import order_id


@dataclass(frozen=True, slots=True)
class Market:
    """What the book needs to know of an instrument now: time, mid, average true range, quote → account rate."""

    at: datetime
    mid: Decimal
    atr: Decimal | None
    rate: Decimal


class PaperBroker:
    """One paper account. Only the verbs that a paper account has use for."""

    name = "paper"
    capabilities = Capabilities(
        native_bracket=True, idempotent_client_id=True, replace_keeps_id=True, hedging=True, fractional=True
    )

    def __init__(self, book: PaperBook) -> None:
        self.book = book
        self._markets: dict[str, Market] = {}
        self._closing: dict[str, str] = {}
        self._outgoing: list[BrokerEvent] = []

    @property
    def has_news(self) -> bool:
        """Whether something happened that nobody has asked for yet."""
        return bool(self._outgoing)

    def deposit(self, amount: Decimal, at: datetime) -> None:
        """The opening deposit."""
        self._outgoing += self.book.deposit(amount, at)

    def tell(self, symbol: str, market: Market) -> None:
        """What the market is for orders that are submitted next."""
        self._markets[symbol] = market

    def closes(self, client_id: str, entry_client_id: str) -> None:
        """The order `client_id` will close what the entry holds, and nothing else."""
        self._closing[client_id] = entry_client_id

    def on_bar(self, bar: Bar, *, atr: Decimal | None, rate: Decimal) -> None:
        """Let a closed bar pass over the book."""
        self._outgoing += self.book.on_bar(bar, atr=atr, rate=rate)

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        """Take an order; a client id that is known answers as accepted and changes nothing."""
        market = self._markets.get(request.instrument)
        if market is None:
            return Refused(NOT_SENT, f"the paper book has seen no price of {request.instrument}", ())
        events = self.book.submit(
            request,
            at=market.at,
            mid=market.mid,
            atr=market.atr,
            rate=market.rate,
            closes=self._closing.get(request.client_id, ""),
        )
        refusals = [event for event in events if event.kind is EventKind.ORDER_REJECTED]
        if refusals:
            return Refused("REFUSED", refusals[0].orders[0].reason, ())
        self._outgoing += events
        return Accepted(order_id(request.client_id), BrokerOrderStatus.WORKING, "", ())

    def cancel(self, *, broker_order_id: str, client_id: str) -> SubmitOutcome:
        """Take an order back. Refused when it is not resting."""
        moment = max(market.at for market in self._markets.values())
        events = self.book.cancel(client_id, at=moment)
        if not events:
            return Refused("ORDER_DOESNT_EXIST", "no such resting order", ())
        self._outgoing += events
        return Accepted(broker_order_id, BrokerOrderStatus.CANCELLED, "", ())

    def replace(
        self, *, broker_order_id: str, client_id: str, quantity: Decimal | None, price: Decimal
    ) -> SubmitOutcome:
        """Change a resting order in its place. Refused when it is not resting."""
        if not self.book.change(client_id, quantity=quantity, price=price):
            return Refused("ORDER_DOESNT_EXIST", "no such resting order", ())
        return Accepted(broker_order_id, BrokerOrderStatus.WORKING, "", ())

    def events_since(self, cursor: str) -> EventPage:
        """What happened since it was asked last."""
        events, self._outgoing = tuple(self._outgoing), []
        last = str(events[-1].sequence) if events else cursor
        return EventPage(events, Completeness.COMPLETE, last)

    def order_by_client_id(self, client_id: str, *, since: str = "") -> LookupOutcome:
        """Never needed: a paper order has no unknown outcome."""
        return Absent(())

    def close(self) -> None:
        """Nothing to close."""
