"""The broker port: what the back office asks of any broker, in frozen values and typed outcomes.

What always holds here:
- pure: no I/O, no clock; adapters in `trading/brokers` implement `Broker`, engines call it, nobody else does;
- all money, prices and quantities are finite `Decimal`; quantities are positive, the side is separate;
- all times are aware and in UTC;
- a write has exactly three outcomes: `Accepted`, `Refused` (on the short allow-list of real refusals) or `Unknown`
  (everything else after the first byte may have left: the order may live; only evidence ends that state);
- every part of a snapshot carries its completeness; only COMPLETE may say that something is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol


class Side(StrEnum):
    """Direction of an order, fill or position."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """The side that closes this one."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """Kinds of order that the port can place."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    MARKET_IF_TOUCHED = "MARKET_IF_TOUCHED"


class BrokerOrderStatus(StrEnum):
    """What a broker says of an order, in our words. OTHER keeps the raw word and changes no state."""

    WORKING = "WORKING"
    PARTIAL = "PARTIAL"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    OTHER = "OTHER"


class Completeness(StrEnum):
    """How far an answer can be trusted about what it does not mention."""

    COMPLETE = "COMPLETE"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"


class EventKind(StrEnum):
    """What one event of the broker's history is about."""

    ORDER_CREATED = "ORDER_CREATED"
    ORDER_FILLED = "ORDER_FILLED"
    ORDER_CANCELLED = "ORDER_CANCELLED"
    ORDER_REJECTED = "ORDER_REJECTED"
    FINANCING = "FINANCING"
    TRANSFER = "TRANSFER"
    DIVIDEND = "DIVIDEND"
    FEE = "FEE"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do natively."""

    native_bracket: bool
    idempotent_client_id: bool
    replace_keeps_id: bool
    hedging: bool
    fractional: bool


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
    """The broker has the order. `status` may already be terminal (an accepted order can be cancelled at once)."""

    broker_order_id: str
    status: BrokerOrderStatus
    reason: str
    evidence: tuple[Evidence, ...]


NOT_SENT = "NOT_SENT"
"""`Refused.code` when no byte of the request left this machine: the same request may simply be sent again later."""

NEEDS_LOGIN = "NEEDS_LOGIN"
"""`Refused.code` when the broker turned our credentials away before looking at the request."""

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
    """It is not known whether the broker has the order. Never a rejection, never resent blindly."""

    reason: str
    evidence: tuple[Evidence, ...]


SubmitOutcome = Accepted | Refused | Unknown


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker shows it. `trade_id` names the trade that a protective order guards."""

    broker_order_id: str
    client_id: str
    instrument: str
    side: Side | None
    type: str
    quantity: Decimal | None
    filled: Decimal
    price: Decimal | None
    status: BrokerOrderStatus
    raw_status: str
    trade_id: str = ""
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """A look-up that found the order."""

    order: BrokerOrder
    evidence: tuple[Evidence, ...]


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


@dataclass(frozen=True, slots=True)
class FillData:
    """One execution. Money is in the account's currency, signed as it moves the account's cash.

    `realised` is the broker's own number and is what the books take. `closed` lists (trade id, units) that this
    execution closed or reduced, `opened_trade_id` the trade it opened ("" when none).
    """

    external_id: str
    broker_order_id: str
    client_id: str
    instrument: str
    side: Side
    quantity: Decimal
    price: Decimal
    realised: Decimal
    financing: Decimal
    commission: Decimal
    reason: str = ""
    opened_trade_id: str = ""
    closed: tuple[tuple[str, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class CashData:
    """One movement of cash without an execution: kind TRANSFER, FINANCING, DIVIDEND or FEE; amount signed."""

    external_id: str
    kind: EventKind
    currency: str
    amount: Decimal
    instrument: str = ""


@dataclass(frozen=True, slots=True)
class OrderNews:
    """What an event says of an order. `parent_trade_id` is set on protective orders made on a fill."""

    broker_order_id: str
    client_id: str
    status: BrokerOrderStatus
    reason: str = ""
    trade_id: str = ""


@dataclass(frozen=True, slots=True)
class BrokerEvent:
    """One row of the broker's history. `sequence` orders events within an account; `raw` is the broker's own body.

    `balance_after` is the account's cash after the event where the broker says it.
    """

    external_id: str
    sequence: int
    at: datetime
    kind: EventKind
    raw: dict[str, Any]
    fills: tuple[FillData, ...] = ()
    cash: tuple[CashData, ...] = ()
    orders: tuple[OrderNews, ...] = ()
    balance_after: Decimal | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events after a cursor, in the broker's order. FAILED has no events and a reason."""

    events: tuple[BrokerEvent, ...]
    completeness: Completeness
    cursor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """One position as the broker shows it; quantity > 0, flat positions are not listed."""

    instrument: str
    side: Side
    quantity: Decimal
    average_price: Decimal
    product: str = ""
    unrealised: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a snapshot: its rows, how complete they are, and why not when they are not."""

    completeness: Completeness
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BrokerSnapshot:
    """The account as the broker shows it at one moment. `last_event_id` is the broker's own cut."""

    account_id: str
    currency: str
    at: datetime
    last_event_id: str
    cash: dict[str, Decimal]
    cash_part: Part
    positions: tuple[BrokerPosition, ...]
    positions_part: Part
    orders: tuple[BrokerOrder, ...]
    orders_part: Part
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def completeness(self) -> Completeness:
        """COMPLETE only if every part is; FAILED only if every part is."""
        parts = {self.cash_part.completeness, self.positions_part.completeness, self.orders_part.completeness}
        if parts == {Completeness.COMPLETE}:
            return Completeness.COMPLETE
        return Completeness.FAILED if parts == {Completeness.FAILED} else Completeness.PARTIAL


@dataclass(frozen=True, slots=True)
class AccountIdentity:
    """Who the broker says we are."""

    account_id: str
    currency: str
    hedging: bool
    last_event_id: str


@dataclass(frozen=True, slots=True)
class BrokerInstrument:
    """An instrument as the broker defines it: decimals of its price and units, smallest and largest order."""

    symbol: str
    display_name: str
    base: str
    quote: str
    price_decimals: int
    unit_decimals: int
    pip_size: Decimal
    minimum_units: Decimal
    maximum_units: Decimal
    margin_rate: Decimal


@dataclass(frozen=True, slots=True)
class BrokerPrice:
    """The best bid and ask of an instrument at a broker's moment."""

    instrument: str
    bid: Decimal
    ask: Decimal
    at: datetime
    tradeable: bool


@dataclass(frozen=True, slots=True)
class BrokerCandle:
    """A mid candle; `start` is its opening time."""

    instrument: str
    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    complete: bool


class BrokerUnreachable(Exception):
    """A read failed: the broker did not answer, or not as it should. Says nothing about the account."""


class BrokerNeedsLogin(BrokerUnreachable):
    """The broker refuses our credentials: a person must act before anything can be asked or sent."""


class BrokerWentBack(BrokerUnreachable):
    """The broker's newest event is older than one it gave before: it shows an earlier state. Stop and ask a person."""


class OrderPort(Protocol):
    """The part of the port that orders go through; the in-process paper book has this much of it."""

    name: str

    def order_by_client_id(self, client_id: str, *, since: str = "") -> LookupOutcome:
        """Look for an order. `since` is the last event id known before it was sent: the history after it is searched.

        Without `since` only what the broker can still name by the client id is seen; Absent then proves little.
        """
        ...

    def events_since(self, cursor: str) -> EventPage: ...

    def submit(self, request: OrderRequest) -> SubmitOutcome: ...

    def cancel(self, *, broker_order_id: str, client_id: str) -> SubmitOutcome: ...

    def close(self) -> None: ...


class Broker(OrderPort, Protocol):
    """What every adapter offers. Reads raise `BrokerUnreachable`; writes never raise, they return an outcome."""

    capabilities: Capabilities

    def identity(self) -> AccountIdentity: ...

    def now(self) -> datetime: ...

    def instruments(self) -> Sequence[BrokerInstrument]: ...

    def snapshot(self) -> BrokerSnapshot: ...

    def prices(self, instruments: Sequence[str]) -> Sequence[BrokerPrice]: ...

    def candles(self, instrument: str, *, since: datetime, until: datetime | None = None) -> Sequence[BrokerCandle]: ...
