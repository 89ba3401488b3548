"""Good-till-triggered orders: they wait at the broker, and send a LIMIT order when the last price reaches their level.

What always holds here: a trigger fires once, whichever of its two legs is reached first; the order that it sends has
an id of its own and may be refused like any other, which leaves the trigger `triggered` all the same; nothing is set
aside for it while it waits; a waiting leg is an order of the core that only this module looks at.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ..core.calls import Answer, Call
from ..core.market import Quote
from ..core.model import CANCELLED, MARKET_IF_TOUCHED, Account, Order
from ..core.model import TRIGGERED as CORE_TRIGGERED
from ..core.numbers import number, plain
from ..core.world import World
from .answers import Refusal, bad_input, success
from .contracts import CONTRACTS, Contract
from .facts import MIS, REGULAR, facts
from .facts import REJECTED as ORDER_REJECTED
from .orders import OrderCalls
from .parse import LIMIT, PRODUCTS, SIDES, Asked, check, choice, form
from .quotes import last_price
from .render import figure, ist
from .routes import Route
from .venue import KiteVenue

ACTIVE, TRIGGERED, EXPIRED, REJECTED, DELETED = "active", "triggered", "expired", "rejected", "deleted"
SINGLE, TWO_LEGS = "single", "two-leg"
_LIVES = timedelta(days=365)
_ID = re.compile(r"\d{1,18}\Z", re.ASCII)
_LEGS = {SINGLE: 1, TWO_LEGS: 2}
Wire = dict[str, Any]


@dataclass(slots=True)
class Leg:
    """What is sent when the last price reaches `level`; `result` tells what came of that."""

    level: Decimal
    side: str
    quantity: int
    price: Decimal
    product: str
    result: Wire | None = None


@dataclass(slots=True)
class Trigger:
    """One GTT. `orders` are the ids of its waiting legs, in the order of `legs`."""

    id: int
    type: str
    exchange: str
    symbol: str
    last_price: Decimal
    legs: list[Leg]
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    status: str = ACTIVE
    orders: list[str] = field(default_factory=list)

    @property
    def contract(self) -> Contract:
        """Whose last price it watches."""
        return CONTRACTS[f"{self.exchange}:{self.symbol}"]


class GttCalls:
    """The GTT endpoints of one simulator, and what the venue asks when a leg's moment has come."""

    def __init__(self, world: World, venue: KiteVenue, orders: OrderCalls) -> None:
        self.world, self.orders = world, orders
        venue.gtt = self

    def routes(self) -> list[Route]:
        """The endpoints."""
        one = "/gtt/triggers/([^/]+)"
        return [
            ("POST", "/gtt/triggers", self.create),
            ("GET", "/gtt/triggers", self.listed),
            ("GET", one, self.get),
            ("PUT", one, self.modify),
            ("DELETE", one, self.delete),
        ]

    # requests

    def create(self, account: Account, call: Call) -> Answer:
        """POST /gtt/triggers."""
        now = self.world.now
        trigger = _asked(form(call), 0, now)
        trigger.id = self.world.next_number()
        self._wait(account, trigger)
        return success({"trigger_id": trigger.id}, "changed")

    def listed(self, account: Account, call: Call) -> Answer:
        """GET /gtt/triggers: all of them, the oldest first."""
        return success([self._shown(account, one) for one in _triggers(account).values()])

    def get(self, account: Account, call: Call, id: str) -> Answer:
        """GET /gtt/triggers/{id}."""
        return success(self._shown(account, _found(account, id)))

    def modify(self, account: Account, call: Call, id: str) -> Answer:
        """PUT /gtt/triggers/{id}: everything is given anew; the id stays and the year begins again."""
        trigger = _found(account, id)
        self._must_be_active(trigger)
        changed = _asked(form(call), trigger.id, self.world.now)
        if (changed.exchange, changed.symbol) != (trigger.exchange, trigger.symbol):
            raise bad_input("The instrument of a trigger cannot be changed.")
        self._withdraw(account, trigger)
        trigger.type, trigger.legs, trigger.last_price = changed.type, changed.legs, changed.last_price
        trigger.updated_at, trigger.expires_at = changed.updated_at, changed.expires_at
        self._wait(account, trigger)
        return success({"trigger_id": trigger.id}, "changed")

    def delete(self, account: Account, call: Call, id: str) -> Answer:
        """DELETE /gtt/triggers/{id}."""
        trigger = _found(account, id)
        self._must_be_active(trigger)
        self._end(account, trigger, DELETED)
        return success({"trigger_id": trigger.id}, "changed")

    def _must_be_active(self, trigger: Trigger) -> None:
        if trigger.status != ACTIVE or trigger.expires_at <= self.world.now:
            raise bad_input(f"Trigger is not active: {trigger.status}.")

    # waiting

    def _wait(self, account: Account, trigger: Trigger) -> None:
        """Let every leg wait for its level, on the side of it that the client's last price says."""
        trigger.orders = []
        for leg in trigger.legs:
            order = Order(
                id=f"gtt-{trigger.id}-{self.world.next_number()}",
                instrument=trigger.contract.item.name,
                type=MARKET_IF_TOUCHED,
                units=Decimal(leg.quantity if leg.side == "BUY" else -leg.quantity),
                created_at=self.world.now,
                price=leg.level,
                trigger="MID",
                started_above=trigger.last_price > leg.level,
                expires_at=trigger.expires_at,
                wire={"gtt": trigger},
            )
            account.orders[order.id] = order
            account.pending_ids.append(order.id)
            trigger.orders.append(order.id)

    def _withdraw(self, account: Account, trigger: Trigger, status: str = CANCELLED) -> None:
        """No leg waits any more."""
        for id in trigger.orders:
            account.orders[id].status = status
            if id in account.pending_ids:
                account.pending_ids.remove(id)

    def _end(self, account: Account, trigger: Trigger, status: str) -> None:
        self._withdraw(account, trigger, CORE_TRIGGERED if status == TRIGGERED else CANCELLED)
        trigger.status, trigger.updated_at = status, self.world.now

    # the venue's side

    def triggered(self, account: Account, order: Order, quote: Quote) -> None:
        """The last price has reached a leg: the trigger is over, then its order is sent."""
        trigger = _of(order)
        if trigger.status != ACTIVE:
            return
        leg = trigger.legs[trigger.orders.index(order.id)]
        self._end(account, trigger, TRIGGERED)
        outcome = {"status": "success", "order_id": "", "rejection_reason": ""}
        try:
            outcome["order_id"] = id = self.orders.place(account, _order(trigger.contract, leg))
            state = facts(account.orders[id]).now
            if state.status == ORDER_REJECTED:
                outcome.update(status="failed", rejection_reason=state.message)
        except Refusal as refusal:
            outcome.update(status="failed", rejection_reason=refusal.message)
        leg.result = {
            "account_id": account.id,
            **_order_shown(trigger, leg),
            "validity": "DAY",
            "meta": json.dumps({"gtt": trigger.id}, separators=(",", ":")),
            "timestamp": ist(self.world.now),
            "triggered_at": figure(last_price(trigger.contract, quote)),
            "order_result": outcome,
        }

    def ended(self, account: Account, order: Order) -> None:
        """A leg's time is over, or the broker does not want it any more: the whole trigger ends."""
        trigger = _of(order)
        if trigger.status == ACTIVE:
            self._end(account, trigger, EXPIRED if trigger.expires_at <= self.world.now else REJECTED)

    # on the wire

    def _shown(self, account: Account, trigger: Trigger) -> Wire:
        return {
            "id": trigger.id,
            "user_id": account.id,
            "parent_trigger": None,
            "type": trigger.type,
            "created_at": ist(trigger.created_at),
            "updated_at": ist(trigger.updated_at),
            "expires_at": ist(trigger.expires_at),
            "status": trigger.status,
            "condition": {
                "exchange": trigger.exchange,
                "last_price": figure(trigger.last_price),
                "tradingsymbol": trigger.symbol,
                "trigger_values": [figure(leg.level) for leg in trigger.legs],
                "instrument_token": trigger.contract.token,
            },
            "orders": [{**_order_shown(trigger, leg), "result": leg.result} for leg in trigger.legs],
            "meta": {},
        }


def _order_shown(trigger: Trigger, leg: Leg) -> Wire:
    return {
        "exchange": trigger.exchange, "tradingsymbol": trigger.symbol, "product": leg.product, "order_type": "LIMIT",
        "transaction_type": leg.side, "quantity": leg.quantity, "price": figure(leg.price),
    }  # fmt: skip


def _of(order: Order) -> Trigger:
    trigger = order.wire["gtt"]
    assert isinstance(trigger, Trigger)
    return trigger


def _triggers(account: Account) -> dict[int, Trigger]:
    orders = account.orders.values()
    return {trigger.id: trigger for order in orders if isinstance(trigger := order.wire.get("gtt"), Trigger)}


def _found(account: Account, id: str) -> Trigger:
    trigger = _triggers(account).get(int(id)) if _ID.match(id) else None
    if trigger is None:
        raise Refusal(404, "GeneralException", "Trigger not found.")
    return trigger


# what a client asks for


def _asked(given: dict[str, str], id: int, now: datetime) -> Trigger:
    """The trigger that a form describes. Raises Refusal."""
    kind = given.get("type", "")
    if kind not in _LEGS:
        raise bad_input("Invalid trigger type.")
    condition, orders = _json(given, "condition", dict), _json(given, "orders", list)
    exchange, symbol = str(condition.get("exchange")), str(condition.get("tradingsymbol"))
    contract = CONTRACTS.get(f"{exchange}:{symbol}")
    if contract is None:
        raise bad_input("Invalid tradingsymbol or exchange in condition.")
    last = _price(condition.get("last_price"), "last_price")
    levels = condition.get("trigger_values")
    if not isinstance(levels, list) or len(levels) != _LEGS[kind] or len(orders) != _LEGS[kind]:
        raise bad_input(f"A {kind} trigger has {_LEGS[kind]} trigger values and as many orders.")
    legs = [_leg(contract, level, order) for level, order in zip(levels, orders, strict=True)]
    if any(leg.level == last for leg in legs):
        raise bad_input("Trigger already met: the trigger price is the last price.")
    if kind == TWO_LEGS and not legs[0].level < last < legs[1].level:
        raise bad_input("The last price of a two-leg trigger must lie between its trigger values.")
    return Trigger(id, kind, exchange, symbol, last, legs, now, now, now + _LIVES)


def _json(given: dict[str, str], name: str, kind: type) -> Any:
    try:
        found = json.loads(given.get(name, ""), parse_float=str)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, kind):
        raise bad_input(f"Invalid `{name}`.")
    return found


def _leg(contract: Contract, level: Any, order: Any) -> Leg:
    if not isinstance(order, dict):
        raise bad_input("Invalid order.")
    if (order.get("exchange"), order.get("tradingsymbol")) != (contract.exchange, contract.symbol):
        raise bad_input("The orders of a trigger are for its own instrument.")
    if order.get("transaction_type") not in SIDES:
        raise bad_input("Invalid `transaction_type`.")
    if order.get("order_type") != LIMIT:
        raise bad_input("A trigger sends LIMIT orders only.")
    quantity = order.get("quantity")
    if isinstance(quantity, bool) or not isinstance(quantity, int) or not 0 < quantity < 10**12:
        raise bad_input("Invalid `quantity`.")
    if order.get("product") == MIS:
        raise bad_input("MIS is not allowed for triggers.")
    leg = Leg(
        _price(level, "trigger_values"), order["transaction_type"], quantity, _price(order.get("price"), "price"),
        choice(order, "product", PRODUCTS),
    )  # fmt: skip
    check(_order(contract, leg))
    if leg.level % contract.item.tick:
        raise bad_input(f"Trigger price must be a multiple of {plain(contract.item.tick)}.")
    return leg


def _order(contract: Contract, leg: Leg) -> Asked:
    """The order that a leg sends."""
    return Asked(
        variety=REGULAR, exchange=contract.exchange, symbol=contract.symbol, side=leg.side,
        quantity=Decimal(leg.quantity), product=leg.product, order_type=LIMIT, price=leg.price,
    )  # fmt: skip


def _price(value: Any, name: str) -> Decimal:
    try:
        price = number(value)
    except ValueError:
        price = Decimal(0)
    if price <= 0 or price > 10_000_000:
        raise bad_input(f"Invalid `{name}`.")
    return price
