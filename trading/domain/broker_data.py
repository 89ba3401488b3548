"""What a broker shows, in frozen values: its words, orders, history, positions, prices.

What always holds here:
- all money, prices and quantities are finite `Decimal`; quantities are positive, the side is separate;
- all times are aware and in UTC;
- every part of a snapshot carries its completeness; only COMPLETE may say that something is absent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any


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


class LegRole(StrEnum):
    """What a protective order does for the entry that it belongs to; the words are the tags of our own legs."""

    STOP = "STOP"
    TP1 = "TP1"


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
    TAX = "TAX"
    CONVERSION = "CONVERSION"
    CORPORATE_ACTION = "CORPORATE_ACTION"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker shows it. `trade_id` names the trade that a protective order guards.

    Where the broker names protective orders itself, `parent_client_id` and `leg` say whose leg it is.
    """

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
    parent_client_id: str = ""
    leg: LegRole | None = None
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FillData:
    """One execution. Money is in the account's currency, signed as it moves the account's cash.

    `realised` is the broker's own number and is what the books take; a broker of cash instruments gives none (zero),
    and the profit follows from the lots. `settles_on` is the value date of a cash instrument's payment. `closed` lists
    (trade id, units) that this execution closed or reduced, `opened_trade_id` the trade it opened ("" when none).
    `margin_closeout` says that the broker closed it by itself for want of margin.
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
    settles_on: date | None = None
    margin_closeout: bool = False


@dataclass(frozen=True, slots=True)
class CashData:
    """One movement of cash without an execution: kind TRANSFER, FINANCING, DIVIDEND, FEE, TAX or CONVERSION.

    `amount` is signed as it moves the account's cash. A conversion has a second side: `counter_amount` of
    `counter_currency`, of the opposite sign. No broker known here reports one today.
    """

    external_id: str
    kind: EventKind
    currency: str
    amount: Decimal
    instrument: str = ""
    counter_currency: str = ""
    counter_amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderNews:
    """What an event says of an order.

    `trade_id` is set on protective orders made on a fill. Where the broker names protective orders itself,
    `parent_client_id` and `leg` say whose leg it is: that links it until its broker id is known. Where a broker changes
    an order by putting another in its place, `replaces` and `replaced_by` are the broker's ids of the one before and of
    the one after. `filled` is what has filled in all, on news of an end; `side` and `quantity` are what was ordered,
    on news of a beginning, where the broker says it.

    `label` is set on news of a beginning where client ids are labels that may repeat: what the order carries, whether
    others carry it too or not ("" for nothing; None elsewhere). `client_id` is then given only while no other does.
    """

    broker_order_id: str
    client_id: str
    status: BrokerOrderStatus
    reason: str = ""
    trade_id: str = ""
    parent_client_id: str = ""
    leg: LegRole | None = None
    replaces: str = ""
    replaced_by: str = ""
    filled: Decimal | None = None
    side: Side | None = None
    quantity: Decimal | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class DayOver:
    """A new day at a broker whose orders are for the day: of what was sent `before`, only what it still lists rests."""

    before: datetime
    listed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """What happened to an instrument's units without a trade. `word` is for people: `merger`, `spin-off`.

    `units` are those that came (below zero: went) where the broker says how many.
    """

    word: str
    instrument: str
    units: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BrokerEvent:
    """One row of the broker's history. `sequence` orders events within an account; `raw` is the broker's own body.

    `balance_after` is the account's cash after the event where the broker says it. `day_over` comes once a day from
    a broker whose orders are for the day. A `corporate` action moves nothing in the books: people decide on it.
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
    day_over: DayOver | None = None
    corporate: CorporateAction | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events after a cursor, in the broker's order. FAILED has no events and a reason."""

    events: tuple[BrokerEvent, ...]
    completeness: Completeness
    cursor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """One position as the broker shows it; quantity > 0, flat positions are not listed.

    An `average_price` of zero: the broker does not say what it cost; then it has the `market_price` of the same list.
    """

    instrument: str
    side: Side
    quantity: Decimal
    average_price: Decimal
    product: str = ""
    unrealised: Decimal | None = None
    market_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a snapshot: its rows, how complete they are, and why not when they are not."""

    completeness: Completeness
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BrokerSnapshot:
    """The account as the broker shows it at one moment. `last_event_id` is the broker's own cut.

    `flags` are the broker's words for what it does not let the account do now; empty where it says nothing of that.
    """

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
    flags: tuple[str, ...] = ()

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
    """An instrument as the broker defines it: decimals of its price and units, smallest and largest order.

    `tick_size` is the step of its prices. `freeze_quantity` is the most that is taken in one order where the broker
    itself says so; `maximum_units` is then the same, elsewhere it is a bound of ours.
    """

    symbol: str
    display_name: str
    base: str
    quote: str
    price_decimals: int
    unit_decimals: int
    pip_size: Decimal
    tick_size: Decimal
    minimum_units: Decimal
    maximum_units: Decimal
    margin_rate: Decimal
    freeze_quantity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BrokerPrice:
    """The best bid and ask of an instrument at a broker's moment."""

    instrument: str
    bid: Decimal
    ask: Decimal
    at: datetime
    tradeable: bool


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign that a stream is alive; `at` is the broker's time where it says one."""

    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StreamNews:
    """One message of an event stream, raw. `events` are what may go into the inbox as it is, in the broker's order.

    Without `events` it says only that something happened: the history must be asked.
    """

    raw: dict[str, Any]
    events: tuple[BrokerEvent, ...] = ()


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
