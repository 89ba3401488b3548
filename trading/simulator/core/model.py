"""Accounts, orders and trades, in words that fit every broker.

What always holds here: units are signed (> 0 buys); cash is the account's currency; an order that closes a trade
names it in `trade_id`; an object lives in exactly one place and is referred to by its id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from .numbers import ZERO

PENDING, FILLED, CANCELLED, TRIGGERED = "PENDING", "FILLED", "CANCELLED", "TRIGGERED"
MARKET, LIMIT, STOP, MARKET_IF_TOUCHED = "MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED"
TAKE_PROFIT, STOP_LOSS, TRAILING_STOP_LOSS = "TAKE_PROFIT", "STOP_LOSS", "TRAILING_STOP_LOSS"


@dataclass(slots=True)
class Order:
    """One order. `units` of an order that closes a trade are the trade's, negated, when it triggers.

    `effect` says what it may do to a position (DEFAULT, OPEN_ONLY, REDUCE_FIRST, REDUCE_ONLY); a `dormant` order rests
    without being filled; at `wakes_at` its dialect is asked what becomes of it; `extended` lets it be filled outside
    the usual hours; a trailing stop keeps `distance` (a difference) or `share` (a part of the price) from `mark`, the
    best price so far; `wire` holds what only the dialect understands.
    """

    id: str
    instrument: str
    type: str
    units: Decimal
    created_at: datetime
    time_in_force: str = "GTC"
    price: Decimal | None = None
    bound: Decimal | None = None
    distance: Decimal | None = None
    share: Decimal | None = None
    mark: Decimal | None = None
    trailing: Decimal | None = None
    started_above: bool | None = None
    expires_at: datetime | None = None
    wakes_at: datetime | None = None
    dormant: bool = False
    extended: bool = False
    effect: str = "DEFAULT"
    trigger: str = "DEFAULT"
    trade_id: str = ""
    client_id: str = ""
    status: str = PENDING
    filled: Decimal = ZERO
    continued: bool = False
    wire: dict[str, Any] = field(default_factory=dict)

    @property
    def pending(self) -> bool:
        """Whether it can still be filled."""
        return self.status == PENDING

    @property
    def remaining(self) -> Decimal:
        """What is left to fill, signed."""
        return self.units - self.filled


@dataclass(slots=True)
class Trade:
    """A stretch of position opened by one fill."""

    id: str
    instrument: str
    price: Decimal
    opened_at: datetime
    initial_units: Decimal
    units: Decimal
    initial_margin: Decimal = ZERO
    realised: Decimal = ZERO
    financing: Decimal = ZERO
    closed_units: Decimal = ZERO
    closed_value: Decimal = ZERO
    closed_at: datetime | None = None
    closing_ids: list[str] = field(default_factory=list)
    client_id: str = ""
    wire: dict[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether any of it is left."""
        return self.units != 0


@dataclass(slots=True)
class SideTotals:
    """What one side of one instrument has earned over the account's life."""

    realised: Decimal = ZERO
    financing: Decimal = ZERO


@dataclass(slots=True)
class Account:
    """One account with its history. `history` is the dialect's own list of events, in order, first to last; `wire`
    holds what only the dialect understands.
    """

    id: str
    broker: str
    currency: str
    hedging: bool
    token: str
    created_at: datetime
    opening_cash: Decimal = ZERO
    cash: Decimal = ZERO
    realised: Decimal = ZERO
    financing: Decimal = ZERO
    fees: Decimal = ZERO
    alias: str = ""
    margin_rate: Decimal | None = None
    last_fill_at: datetime | None = None
    next_silent_id: int = 900_000_001
    orders: dict[str, Order] = field(default_factory=dict)
    trades: dict[str, Trade] = field(default_factory=dict)
    open_ids: list[str] = field(default_factory=list)
    pending_ids: list[str] = field(default_factory=list)
    totals: dict[str, SideTotals] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    wire: dict[str, Any] = field(default_factory=dict)

    def pending_orders(self) -> list[Order]:
        """Orders that can still be filled, oldest first."""
        return [self.orders[key] for key in self.pending_ids]

    def open_trades(self, instrument: str | None = None) -> list[Trade]:
        """Open trades, oldest first."""
        trades = (self.trades[key] for key in self.open_ids)
        return [trade for trade in trades if instrument is None or trade.instrument == instrument]

    def units(self, instrument: str) -> tuple[Decimal, Decimal]:
        """Open units (long >= 0, short <= 0)."""
        trades = self.open_trades(instrument)
        return sum((t.units for t in trades if t.units > 0), ZERO), sum((t.units for t in trades if t.units < 0), ZERO)

    def side(self, instrument: str, units: Decimal) -> SideTotals:
        """The running totals of the side that these units are on."""
        key = f"{instrument}/{'long' if units > 0 else 'short'}"
        return self.totals.setdefault(key, SideTotals())
