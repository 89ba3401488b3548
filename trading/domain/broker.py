"""The broker port: what the back office asks of any broker, and the typed outcomes of asking.

What always holds here:
- pure: no I/O, no clock; adapters in `trading/brokers` implement `Broker`, engines call it, nobody else does;
- a write has exactly three outcomes: `Accepted`, `Refused` (on the short allow-list of real refusals) or `Unknown`
  (everything else after the first byte may have left: the order may live; only evidence ends that state).
What brokers show (orders, events, snapshots) is in `broker_data` and can be imported from here as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from trading.domain.broker_data import (
    AccountIdentity,
    BrokerCandle,
    BrokerEvent,
    BrokerInstrument,
    BrokerOrder,
    BrokerOrderStatus,
    BrokerPosition,
    BrokerPrice,
    BrokerSnapshot,
    CashData,
    Completeness,
    CorporateAction,
    DayOver,
    EventKind,
    EventPage,
    FillData,
    Heartbeat,
    LegRole,
    OrderNews,
    OrderType,
    Part,
    Side,
    StreamNews,
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do natively.

    `legs_reserve_units` is True where units that a resting stop or target guards cannot be sold by another order: the
    legs must be cancelled, and the cancel confirmed, before an exit is sent. `good_till` is True where the broker ends
    an order at `OrderRequest.good_till` by itself; elsewhere it is cancelled by us then. `resends_when_absent` is False
    where nothing would recognise a second copy and no list is ever proof: an order that cannot be found there stays
    UNKNOWN until a person decides. `day_orders` is True where an order rests until the end of its day at most, and its
    end may never be told.
    """

    native_bracket: bool
    idempotent_client_id: bool
    replace_keeps_id: bool
    hedging: bool
    fractional: bool
    legs_reserve_units: bool = False
    good_till: bool = True
    resends_when_absent: bool = True
    day_orders: bool = False


@dataclass(frozen=True, slots=True)
class ProtectiveLeg:
    """A stop or target that the broker places itself once the entry fills."""

    client_id: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order as it is to be sent. `instrument` is the broker's own symbol; `quantity` > 0 in units.

    `client_id` is the derived identity. `label` is text for people only (strategy and symbol).
    `reduce_only` may never open or flip a position. `price` is None for MARKET.
    """

    client_id: str
    instrument: str
    side: Side
    quantity: Decimal
    type: OrderType
    price: Decimal | None = None
    stop_loss: ProtectiveLeg | None = None
    take_profit: ProtectiveLeg | None = None
    reduce_only: bool = False
    good_till: datetime | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One exchange on the wire, secrets redacted. `status` is None when no complete answer arrived."""

    method: str
    path: str
    request_body: str
    status: int | None
    response_body: str
    started_at: datetime
    finished_at: datetime
    error: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker has the order. `status` may already be terminal (an accepted order can be cancelled at once).

    `legs` names the protective orders that the broker made with it, where it gives them ids of its own at once.
    """

    broker_order_id: str
    status: BrokerOrderStatus
    reason: str
    evidence: tuple[Evidence, ...]
    legs: tuple[OrderNews, ...] = ()


NOT_SENT = "NOT_SENT"
"""`Refused.code` when no byte of the request left this machine: the same request may simply be sent again later."""

NEEDS_LOGIN = "NEEDS_LOGIN"
"""`Refused.code` when the broker turned our credentials away before looking at the request."""

EXCHANGE_CLOSED = "EXCHANGE_CLOSED"
"""`Refused.code` when the broker takes no such order now, because its exchange is closed: later it may."""

INVALID_REQUEST = "INVALID_REQUEST"
"""`Refused.code` when the adapter itself will not send such a request; sending it again cannot help."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A real refusal: the broker has no such order and will not get it from this request.

    `code` is the broker's own word, or one of NOT_SENT, NEEDS_LOGIN, INVALID_REQUEST.
    """

    code: str
    message: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """It is not known whether the broker has the order. Never a rejection, never resent blindly.

    `foreign` says that an answer came that is about another order than ours: people must hear of that.
    """

    reason: str
    evidence: tuple[Evidence, ...]
    foreign: bool = False


SubmitOutcome = Accepted | Refused | Unknown


@dataclass(frozen=True, slots=True)
class Found:
    """A look-up that found the order, and its legs where the broker names them itself.

    `duplicates` are further orders with the same client id, at a broker that lets it repeat: an alarm, never ours.
    """

    order: BrokerOrder
    evidence: tuple[Evidence, ...]
    legs: tuple[BrokerOrder, ...] = ()
    duplicates: tuple[BrokerOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class Absent:
    """A COMPLETE look-up that found nothing: the first one still proves nothing (see the quarantine)."""

    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class LookupFailed:
    """The look-up itself failed; it says nothing about the order."""

    reason: str
    evidence: tuple[Evidence, ...]


LookupOutcome = Found | Absent | LookupFailed


class BrokerUnreachable(Exception):
    """A read failed: the broker did not answer, or not as it should. Says nothing about the account."""


class BrokerNeedsLogin(BrokerUnreachable):
    """The broker refuses our credentials: a person must act before anything can be asked or sent."""


class BrokerOtherAccount(BrokerNeedsLogin):
    """An answer to our question is about another account: nothing of it is used, and a person must look why."""


class BrokerWentBack(BrokerUnreachable):
    """The broker's newest event is older than one it gave before: it shows an earlier state. Stop and ask a person."""


class OrderPort(Protocol):
    """The part of the port that orders go through; the in-process paper book has this much of it."""

    name: str
    capabilities: Capabilities

    def order_by_client_id(self, client_id: str, *, since: str = "") -> LookupOutcome:
        """Look for an order. `since` is the last event id known before it was sent: the history after it is searched.

        Without `since` only what the broker can still name by the client id is seen; Absent then proves little.
        """
        ...

    def events_since(self, cursor: str) -> EventPage: ...

    def submit(self, request: OrderRequest) -> SubmitOutcome: ...

    def cancel(self, *, broker_order_id: str, client_id: str) -> SubmitOutcome: ...

    def replace(
        self, *, broker_order_id: str, client_id: str, quantity: Decimal | None, price: Decimal
    ) -> SubmitOutcome:
        """Let a resting order fill only `quantity` more, at `price`; everything else about it stays.

        Without `quantity` its price alone is moved: it may fill what was left, also when more fills meanwhile. As that
        reduces nothing, it is sent in the general lane.
        `broker_order_id` is its id, `client_id` ours, which a broker that makes a new order of it goes on with where
        it can. Accepted names the order that rests afterwards: the same id only with `Capabilities.replace_keeps_id`.
        Refused: what rested, if it still does, rests as it was. Unknown: either may rest.
        """
        ...

    def close(self) -> None: ...


class Broker(OrderPort, Protocol):
    """What every adapter offers. Reads raise `BrokerUnreachable`; writes never raise, they return an outcome."""

    def identity(self) -> AccountIdentity: ...

    def now(self) -> datetime: ...

    def instruments(self) -> Sequence[BrokerInstrument]: ...

    def snapshot(self) -> BrokerSnapshot: ...

    def prices(self, instruments: Sequence[str]) -> Sequence[BrokerPrice]: ...

    def candles(
        self, instrument: str, *, since: datetime, until: datetime | None = None, interval_seconds: int = 300
    ) -> Sequence[BrokerCandle]:
        """Candles that open in [since, until), oldest first; without `until` up to the broker's present.

        The last one may be incomplete. Raises ValueError for an interval that the broker does not have.
        """
        ...

    def price_stream(self, instruments: Sequence[str], *, silence_seconds: float) -> Iterator[BrokerPrice | Heartbeat]:
        """Prices as they come; ends by `BrokerUnreachable` when cut, or silent (no heartbeat either) for too long.

        Closing the iterator closes the connection.
        """
        ...

    def event_stream(self, *, silence_seconds: float) -> Iterator[StreamNews | Heartbeat]:
        """What happens on the account as it happens, without any replay of the past: catch up after connecting.

        The first item comes as soon as the broker listens. Ends by `BrokerUnreachable` like `price_stream`.
        """
        ...


__all__ = [
    "EXCHANGE_CLOSED",
    "INVALID_REQUEST",
    "NEEDS_LOGIN",
    "NOT_SENT",
    "Absent",
    "Accepted",
    "AccountIdentity",
    "Broker",
    "BrokerCandle",
    "BrokerEvent",
    "BrokerInstrument",
    "BrokerNeedsLogin",
    "BrokerOrder",
    "BrokerOrderStatus",
    "BrokerOtherAccount",
    "BrokerPosition",
    "BrokerPrice",
    "BrokerSnapshot",
    "BrokerUnreachable",
    "BrokerWentBack",
    "Capabilities",
    "CashData",
    "Completeness",
    "CorporateAction",
    "DayOver",
    "EventKind",
    "EventPage",
    "Evidence",
    "FillData",
    "Found",
    "Heartbeat",
    "LegRole",
    "LookupFailed",
    "LookupOutcome",
    "OrderNews",
    "OrderPort",
    "OrderRequest",
    "OrderType",
    "Part",
    "ProtectiveLeg",
    "Refused",
    "Side",
    "StreamNews",
    "SubmitOutcome",
    "Unknown",
]
