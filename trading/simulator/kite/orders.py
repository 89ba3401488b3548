"""Order endpoints: place, modify, cancel, the order book, an order's history, trades.

What always holds here: what a client asks wrongly is refused before an order exists; what the account cannot pay for is
an order that is rejected; the answer to a new order says its id and nothing more; tags may repeat.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

from ..core.calls import Answer, Call
from ..core.model import Account, Order
from ..core.numbers import ZERO, plain
from ..core.world import World
from .answers import HOLDING, MARGIN, Refusal, bad_input, bad_order, no_order, success
from .contracts import CONTRACTS
from .facts import (
    AMO,
    AMO_RECEIVED,
    CNC,
    ICEBERG,
    MIS,
    MODIFIED,
    MODIFY_VALIDATING,
    MODIFYING,
    OPEN,
    TRIGGER_PENDING,
    Step,
    facts,
)
from .parse import (
    LIMIT,
    ORDER_TYPES,
    SL,
    SL_M,
    VALIDITIES,
    VARIETIES,
    Asked,
    amount,
    asked,
    check_prices,
    choice,
    form,
    protection,
    whole,
)
from .power import deliverable, funds, need_of, reckoned_price
from .render import order_wire, side_of, step_wire, trade_wire
from .routes import ONE, Route
from .venue import SQUARE_OFF, KiteVenue, square_off_after

MOST_MODIFICATIONS = 25
MOST_SLICES = 10


class OrderCalls:
    """The order endpoints of one simulator."""

    def __init__(self, world: World, venue: KiteVenue) -> None:
        self.world, self.venue = world, venue

    def routes(self) -> list[Route]:
        """The doors."""
        return [
            ("POST", f"/orders{ONE}", self.create),
            ("PUT", f"/orders{ONE}{ONE}", self.modify),
            ("DELETE", f"/orders{ONE}{ONE}", self.cancel),
            ("GET", "/orders", self.listed),
            ("GET", f"/orders{ONE}/trades", self.trades_of),
            ("GET", f"/orders{ONE}", self.history),
            ("GET", "/trades", self.trades),
        ]

    # placing

    def create(self, account: Account, call: Call, variety: str) -> Answer:
        """POST /orders/{variety}."""
        wanted = asked(variety, form(call))
        if wanted.autoslice and wanted.quantity > wanted.contract.item.maximum_units:
            return success(self._sliced(account, wanted), "changed")
        return success({"order_id": self.place(account, wanted)}, "changed")

    def _sliced(self, account: Account, wanted: Asked) -> dict[str, Any]:
        """As many orders as the freeze quantity makes necessary; those that are refused do not stop the others."""
        freeze, left, parent = wanted.contract.item.maximum_units, wanted.quantity, ""
        if left > freeze * MOST_SLICES:
            raise bad_input(f"An order is sliced into at most {MOST_SLICES} orders.")
        children: list[dict[str, Any]] = []
        while left > 0:
            size = min(left, freeze)
            left -= size
            try:
                id = self.place(account, dataclasses.replace(wanted, quantity=size), parent=parent, sliced=True)
            except Refusal as refusal:
                if not children:
                    raise
                error = {"code": refusal.status, "error_type": refusal.error_type, "message": refusal.message}
                children.append({"error": {**error, "data": None}})
                continue
            parent = parent or id
            children.append({"order_id": id})
        return {"order_id": parent, "children": children}

    def place(self, account: Account, wanted: Asked, *, parent: str = "", sliced: bool = False) -> str:
        """Take in an order; its id. Raises Refusal when no order comes of it."""
        name, units = wanted.contract.item.name, wanted.quantity if wanted.side == "BUY" else -wanted.quantity
        self._check_time(wanted)
        self._check_trigger(name, wanted.side, wanted.order_type, wanted.trigger_price)
        if wanted.product == CNC and units < 0:
            self._need_shares(account, name, wanted.quantity)
        meta: dict[str, Any] = {}
        if wanted.variety == ICEBERG:
            total, leg = wanted.quantity, wanted.iceberg_quantity
            meta = {
                "iceberg": {
                    "leg": 1, "legs": wanted.iceberg_legs, "leg_quantity": int(leg), "total_quantity": int(total),
                    "remaining_quantity": int(total - leg),
                }
            }  # fmt: skip
            wanted = dataclasses.replace(wanted, quantity=leg)
        price = reckoned_price(
            self.world, name, units, wanted.price or ZERO, wanted.trigger_price or ZERO
        )  # fmt: skip
        need, free = need_of(account, name, wanted.product, units, price), funds(self.world, account).available
        short = need > max(ZERO, free) and need > 0
        if short and sliced:
            raise Refusal(400, MARGIN, _short_of(need, free))
        order = self.venue.make(account, wanted, parent=parent, meta=meta)
        if short:
            raw = f"RMS:Margin Exceeds,Required:{need:.2f}, Available:{free:.2f} for entity account-{account.id}"
            self.venue.refuse(account, order, _short_of(need, free), raw)
        else:
            self.venue.receive(account, order)
        return order.id

    def _check_time(self, wanted: Asked) -> None:
        hours, now, contract = self.world.market.indian_hours, self.world.now, wanted.contract
        if contract.expiry is not None and hours.exchange.day_of(now) > contract.expiry:
            raise bad_input("The instrument you are placing an order for has either expired or does not exist.")
        is_open = hours.is_open(now)
        if wanted.variety == AMO:
            if is_open:
                raise bad_input("Your order could not be converted to a After Market Order (AMO).")
        elif not is_open:
            raise bad_input("Markets are closed right now. Place an after-market order (AMO) or use GTT.")
        elif wanted.product == MIS and not hours.always_open and square_off_after(now) > hours.running(now).closes:
            raise bad_input(f"MIS orders are blocked after {SQUARE_OFF:%H:%M}. Use CNC or NRML.")

    def _check_trigger(self, name: str, side: str, order_type: str, trigger: Decimal | None) -> None:
        """A stop that would trigger at once is refused."""
        quote = self.world.quote(name)
        if order_type not in (SL, SL_M) or trigger is None or quote is None:
            return
        last = CONTRACTS[name].item.price(quote.mid)
        if side == "BUY" and trigger < last:
            raise bad_input("Trigger price for stoploss buy orders cannot be below the last traded price.")
        if side == "SELL" and trigger > last:
            raise bad_input("Trigger price for stoploss sell orders cannot be above the last traded price.")

    def _need_shares(self, account: Account, name: str, quantity: Decimal, without: Order | None = None) -> None:
        there = deliverable(account, name, without)
        if quantity > there:
            raise Refusal(
                400, HOLDING, f"Insufficient stock holding. Required {plain(quantity)}, available {plain(there)}."
            )

    # changing

    def _find(self, account: Account, id: str) -> Order:
        """An order of today."""
        order = account.orders.get(id)
        if order is None or not self.venue.is_todays(account, order):
            raise no_order()
        return order

    def _working(self, account: Account, variety: str, id: str, word: str) -> Order:
        if variety not in VARIETIES:
            raise bad_input("Invalid `variety`.")
        order = self._find(account, id)
        if facts(order).variety != variety:
            raise bad_input("Invalid `variety`.")
        if not order.pending:
            raise bad_order(f"Order cannot be {word} as it is being processed. Try later. ({facts(order).status})")
        return order

    def modify(self, account: Account, call: Call, variety: str, id: str) -> Answer:
        """PUT /orders/{variety}/{order_id}: the order keeps its id."""
        order = self._working(account, variety, id, "modified")
        known, given = facts(order), form(call)
        if known.modifications >= MOST_MODIFICATIONS:
            raise bad_order("Maximum allowed order modifications exceeded.")
        changes = self._changes(order, given)
        step = dataclasses.replace(known.now, **changes)
        self._check_change(account, order, step)
        known.modifications += 1
        waits = known.status == AMO_RECEIVED
        self.venue.step(account, order, MODIFY_VALIDATING)
        self.venue.step(account, order, MODIFYING)
        order.units = step.quantity.copy_sign(order.units)
        if step.order_type not in (SL, SL_M):
            known.triggered = False
        self.venue.step(account, order, MODIFIED, **changes)
        if waits:
            self.venue.step(account, order, AMO_RECEIVED)
            return success({"order_id": order.id}, "changed")
        self.venue.shape(order)
        stops = step.order_type in (SL, SL_M) and not known.triggered
        self.venue.step(account, order, TRIGGER_PENDING if stops else OPEN)
        self.venue.settle(account, order)
        return success({"order_id": order.id}, "changed")

    def _changes(self, order: Order, given: dict[str, str]) -> dict[str, Any]:
        """The members of a step that a form changes. Raises Refusal."""
        now = facts(order).now
        order_type = choice(given, "order_type", ORDER_TYPES, now.order_type)
        price, trigger = amount(given, "price"), amount(given, "trigger_price")
        changes: dict[str, Any] = {
            "order_type": order_type,
            "price": (price or now.price) if order_type in (LIMIT, SL) else ZERO,
            "trigger_price": (trigger or now.trigger_price) if order_type in (SL, SL_M) else ZERO,
            "validity": choice(given, "validity", VALIDITIES[:2], now.validity)
            if given.get("validity")
            else now.validity,
        }
        if given.get("quantity"):
            changes["quantity"] = Decimal(whole(given, "quantity", 1))
        if given.get("disclosed_quantity"):
            changes["disclosed"] = Decimal(whole(given, "disclosed_quantity"))
        if given.get("market_protection"):
            changes["protection"] = protection(given)
        return changes

    def _check_change(self, account: Account, order: Order, step: Step) -> None:
        """Whether the order may become this. Raises Refusal."""
        contract, known, side = CONTRACTS[order.instrument], facts(order), side_of(order)
        if step.quantity % contract.item.minimum_units or step.quantity > contract.item.maximum_units:
            raise bad_input("Invalid `quantity`.")
        if step.quantity <= abs(order.filled):
            raise bad_input("Quantity cannot be at or below the quantity that is filled.")
        check_prices(contract, side, step.order_type, step.price or None, step.trigger_price or None)
        if not known.triggered:
            self._check_trigger(contract.item.name, side, step.order_type, step.trigger_price or None)
        left = (step.quantity - abs(order.filled)).copy_sign(order.units)
        if known.product == CNC and left < 0:
            self._need_shares(account, order.instrument, abs(left), order)
        price = reckoned_price(self.world, order.instrument, left, step.price, step.trigger_price)
        need = need_of(account, order.instrument, known.product, left, price)
        free = funds(self.world, account, without=order).available
        if need > 0 and need > free:
            raise Refusal(400, MARGIN, _short_of(need, free))

    def cancel(self, account: Account, call: Call, variety: str, id: str) -> Answer:
        """DELETE /orders/{variety}/{order_id}."""
        order = self._working(account, variety, id, "cancelled")
        self.venue.cancel(account, order)
        return success({"order_id": order.id}, "changed")

    # reading

    def listed(self, account: Account, call: Call) -> Answer:
        """GET /orders: the day's order book, oldest first."""
        return success([order_wire(account, order) for order in self.venue.todays_orders(account)])

    def history(self, account: Account, call: Call, id: str) -> Answer:
        """GET /orders/{order_id}: every step of an order of today, oldest first."""
        order = self._find(account, id)
        return success([step_wire(account, order, step) for step in facts(order).steps])

    def trades(self, account: Account, call: Call) -> Answer:
        """GET /trades: the day's trade book, oldest first."""
        return success([trade_wire(account, row) for row in self.venue.todays_trades(account)])

    def trades_of(self, account: Account, call: Call, id: str) -> Answer:
        """GET /orders/{order_id}/trades."""
        order = self._find(account, id)
        rows = [row for row in self.venue.todays_trades(account) if row["order_id"] == order.id]
        return success([trade_wire(account, row) for row in rows])


def _short_of(need: Decimal, free: Decimal) -> str:
    return (
        f"Insufficient funds. Required margin is {need:.2f} but available margin is {free:.2f}. "
        "Check the orderbook for open orders."
    )
