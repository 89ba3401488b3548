"""What the Kite dialect knows of orders and accounts beyond the neutral core, and the words of its statuses.

What always holds here: an order's last step is its present state; there is no status for a partial fill; an order is
over exactly when its status is in `TERMINAL`. Orders of the core that are no orders of the order book (triggers that
wait) have no facts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ..core.model import Account, Order, Trade
from ..core.numbers import ZERO

RECEIVED, VALIDATING, OPENING = "PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING"
OPEN, TRIGGER_PENDING, AMO_RECEIVED = "OPEN", "TRIGGER PENDING", "AMO REQ RECEIVED"
MODIFY_VALIDATING, MODIFYING, MODIFIED = "MODIFY VALIDATION PENDING", "MODIFY PENDING", "MODIFIED"
CANCELLING, CANCELLED, COMPLETE, REJECTED = "CANCEL PENDING", "CANCELLED", "COMPLETE", "REJECTED"
TERMINAL = (CANCELLED, COMPLETE, REJECTED)
# On their way to somewhere else at once: seen in an order's history only.
PASSING = (RECEIVED, VALIDATING, OPENING, MODIFY_VALIDATING, MODIFYING, CANCELLING)
MIS, CNC, NRML = "MIS", "CNC", "NRML"
REGULAR, AMO, ICEBERG = "regular", "amo", "iceberg"


@dataclass(frozen=True, slots=True)
class Step:
    """An order as it is from one moment on. `value` is what its fills were worth; prices are zero when it has none;
    `listed` tells whether it has reached the exchange.
    """

    status: str
    at: datetime
    order_type: str
    quantity: Decimal
    price: Decimal
    trigger_price: Decimal
    validity: str
    ttl: int
    disclosed: Decimal
    protection: Decimal
    filled: Decimal = ZERO
    value: Decimal = ZERO
    listed: bool = False
    message: str = ""
    raw: str = ""


@dataclass(slots=True)
class Facts:
    """The dialect's part of an order."""

    variety: str
    product: str
    tag: str
    guid: str
    placed_by: str
    exchange_order_id: str = ""
    exchange_at: datetime | None = None
    parent: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    triggered: bool = False
    modifications: int = 0
    steps: list[Step] = field(default_factory=list)

    @property
    def now(self) -> Step:
        """The present state."""
        return self.steps[-1]

    @property
    def status(self) -> str:
        """The broker's own word."""
        return self.steps[-1].status


@dataclass(slots=True)
class Line:
    """One position on one day: what was carried into it, and what was bought and sold on it."""

    overnight: Decimal = ZERO
    overnight_price: Decimal = ZERO
    bought: Decimal = ZERO
    bought_value: Decimal = ZERO
    sold: Decimal = ZERO
    sold_value: Decimal = ZERO

    @property
    def day(self) -> Decimal:
        """Bought less sold today."""
        return self.bought - self.sold


@dataclass(slots=True)
class Book:
    """An account's day: where its orders and events begin, its lines by "EXCHANGE:SYMBOL/PRODUCT", and the shares
    that were bought for delivery and have not arrived, as (trading day, quantity) by instrument.
    """

    day: date
    opening: Decimal = ZERO
    first_order: int = 0
    first_event: int = 0
    carried: list[str] = field(default_factory=list)
    lines: dict[str, Line] = field(default_factory=dict)
    lots: dict[str, list[tuple[date, Decimal]]] = field(default_factory=dict)


@dataclass(slots=True)
class Session:
    """Who may ask for an account: its key, and the token of the last login until it dies."""

    api_key: str
    api_secret: str
    access_token: str
    login_at: datetime
    dies_at: datetime
    logins: int = 0


def facts(order: Order) -> Facts:
    """The dialect's part of an order of the order book."""
    found: Facts = order.wire["facts"]
    return found


def in_book(order: Order) -> bool:
    """Whether it is an order of the order book."""
    return "facts" in order.wire


def session_of(account: Account) -> Session:
    """The account's session, alive or dead."""
    found: Session = account.wire["session"]
    return found


def product_of(trade: Trade) -> str:
    """MIS, CNC or NRML."""
    return str(trade.wire["product"])


def holding(account: Account, name: str, product: str) -> Trade | None:
    """The open position of an instrument in one product."""
    return next((one for one in account.open_trades(name) if product_of(one) == product), None)


def held(account: Account, name: str, product: str) -> Decimal:
    """What is held of an instrument in one product, signed."""
    trade = holding(account, name, product)
    return trade.units if trade is not None else ZERO


def line_key(name: str, product: str) -> str:
    """The key of a line of the day."""
    return f"{name}/{product}"
