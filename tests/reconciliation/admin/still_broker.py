"""A broker that shows one account as it is told and has no news: the port without a wire."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trading.domain.broker import (
    BrokerOrder,
    BrokerOrderStatus,
    BrokerPosition,
    BrokerSnapshot,
    BrokerUnreachable,
    Completeness,
    EventPage,
    Part,
    Side,
)
from trading.models import Account, Order
from trading.services import cursors
from trading.services.inbox import INFLOW

WHOLE = Part(Completeness.COMPLETE)


@dataclass
class StillBroker:
    """Shows `quantity` EUR_USD at `price` and the cash; its history ends where our cursor stands."""

    account: Account
    quantity: Decimal
    price: Decimal = Decimal("1.09012")
    cash: Decimal = Decimal("99999.5")
    is_reachable: bool = True

    name = "still"

    def events_since(self, cursor: str) -> EventPage:
        """Nothing new."""
        if not self.is_reachable:
            raise BrokerUnreachable("the broker did not answer within 10 s")
        return EventPage((), Completeness.COMPLETE, cursor)

    def snapshot(self) -> BrokerSnapshot:
        """The account as told, with our working orders."""
        orders = tuple(
            BrokerOrder(
                broker_order_id=order.broker_order_id,
                client_id=order.client_order_id,
                instrument="EUR_USD",
                side=Side(order.side),
                type=order.type,
                quantity=order.quantity,
                filled=order.filled_quantity,
                price=order.price,
                status=BrokerOrderStatus.WORKING,
                raw_status="PENDING",
            )
            for order in Order.objects.filter(account=self.account, state="WORKING")
        )
        side = Side.BUY if self.quantity > 0 else Side.SELL
        held = (BrokerPosition("EUR_USD", side, abs(self.quantity), self.price),) if self.quantity else ()
        return BrokerSnapshot(
            account_id=self.account.external_id,
            currency="USD",
            at=self.account.opened_at,
            last_event_id=cursors.get(self.account, INFLOW),
            cash={"USD": self.cash},
            cash_part=WHOLE,
            positions=held,
            positions_part=WHOLE,
            orders=orders,
            orders_part=WHOLE,
        )

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a comparison does not ask a broker for {name}")
