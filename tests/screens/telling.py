"""What a broker tells in the showcase: its snapshot, fills and answers, and the signals that led to them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from trading.domain.broker import BrokerEvent as PortEvent
from trading.domain.broker import (
    BrokerOrder,
    BrokerOrderStatus,
    BrokerPosition,
    BrokerSnapshot,
    Completeness,
    EventKind,
    EventPage,
    Evidence,
    FillData,
    OrderNews,
    Part,
    Side,
)
from trading.models import Account, Decision, Instrument, Order, Signal
from trading.selectors import books
from trading.services import cursors
from trading.services.inbox import INFLOW
from trading.services.setup import ensure_policy

WHOLE = Part(Completeness.COMPLETE)
STOP_DISTANCE = {"EURUSD": Decimal("0.00240"), "GBPUSD": Decimal("0.00310"), "XAUUSD": Decimal("8.5")}


@dataclass(frozen=True)
class Prices:
    """Entry, stop and target of a trade."""

    entry: Decimal
    stop: Decimal
    target: Decimal


def bracket(symbol: str, side: str, entry: Decimal) -> Prices:
    """A stop one distance away and a target two."""
    away = STOP_DISTANCE[symbol] * Side(side).sign
    return Prices(entry, entry - away, entry + 2 * away)


def gates_of(blocked: str = "") -> list[dict[str, Any]]:
    """What the gates said, with their numbers."""
    asked = [
        ("trading_state", "", {"state": "OPEN"}),
        ("window", "", {"opens": "07:00", "closes": "10:00"}),
        ("daily_stop", "2.1 R of 2 R are lost today", {"realised_r": "-0.42", "limit_r": "-2"}),
        ("strategy_trades", "", {"trades": 1, "limit": 3}),
        ("price_age", "", {"age_seconds": "0.8", "limit_seconds": "60"}),
        ("portfolio_heat", "", {"heat_pct": "0.50", "after_pct": "1.00", "limit_pct": "2.0"}),
        ("external_position", "", {"external_quantity": "0"}),
        ("size", "", {"units": "40000", "risk_pct": "0.50"}),
    ]
    return [
        {"name": name, "passed": name != blocked, "reason": reason if name == blocked else "", "numbers": numbers}
        for name, reason, numbers in asked
    ]


def signal_of(
    account: Account,
    instrument: Instrument,
    side: str,
    units: Decimal,
    prices: Prices,
    at: datetime,
    gates: list[dict[str, Any]] | None = None,
) -> Decision:
    """A strategy's wish and what became of it: approved, unless a gate of `gates` did not pass."""
    gates = gates if gates is not None else gates_of()
    refused = next((gate for gate in gates if not gate["passed"]), None)
    config = ensure_policy()
    signal = Signal.objects.create(
        account=account, config_version=config, strategy="orb", instrument=instrument, at=at,
        bar_start=at - timedelta(minutes=5), side=side, order_type="MARKET", entry=prices.entry, stop=prices.stop,
        target=prices.target, reason="close beyond the opening range",
        features={"range_high": str(prices.entry - Decimal("0.0001")), "atr14": "0.00118", "range_minutes": 30},
    )  # fmt: skip
    return Decision.objects.create(
        at=at, signal=signal, account=account, config_version=config, client_plan_id=f"orb-{signal.pk}",
        verdict="REJECTED" if refused else "APPROVED", reason=refused["reason"] if refused else "", gates=gates,
        risk_pct=Decimal("0.5"), risk_amount=Decimal(500), position_size=units, portfolio_heat_before=Decimal("0.5"),
        portfolio_heat_after=Decimal("1.0"), trading_day=at.date(),
    )  # fmt: skip


def exchange(order: Order, name: str, at: datetime, error: str = "") -> Evidence:
    """The request that placed an order, and the broker's answer unless there was an `error`."""
    request = {
        "order": {
            "type": "MARKET",
            "instrument": name,
            "units": f"{'' if order.side == 'BUY' else '-'}{order.quantity.normalize():f}",
            "timeInForce": "FOK",
            "positionFill": "DEFAULT",
            "clientExtensions": {"id": order.client_order_id, "tag": order.tag},
        }
    }
    answer = {
        "orderCreateTransaction": {"type": "MARKET_ORDER", "instrument": name, "time": at.isoformat()},
        "lastTransactionID": "11",
    }
    path = "/v3/accounts/101-001-1000001-001/orders"
    began = at + timedelta(milliseconds=44)
    if error:
        return Evidence("POST", path, json.dumps(request), None, "", began, began + timedelta(seconds=10), error)
    ended = at + timedelta(milliseconds=185)
    return Evidence("POST", path, json.dumps(request), 201, json.dumps(answer), began, ended)


def event_of_fill(
    number: int,
    at: datetime,
    order: Order | None,
    name: str,
    side: Side,
    units: Decimal,
    price: Decimal,
    **money: Decimal,
) -> PortEvent:
    """One execution in the broker's history; without an order it is somebody else's."""
    fill = FillData(
        external_id=str(number),
        broker_order_id=f"8{number:04d}",
        client_id=order.client_order_id if order is not None else "",
        instrument=name,
        side=side,
        quantity=units,
        price=price,
        realised=money.get("realised", Decimal(0)),
        financing=money.get("financing", Decimal(0)),
        commission=money.get("commission", Decimal(0)),
        reason="MARKET_ORDER",
        opened_trade_id=str(number),
    )
    raw = {
        "id": str(number),
        "type": "ORDER_FILL",
        "time": at.isoformat(),
        "instrument": name,
        "units": f"{units * side.sign:f}",
        "price": f"{price:f}",
        "reason": fill.reason,
        "orderID": fill.broker_order_id,
    }
    return PortEvent(str(number), number, at, EventKind.ORDER_FILLED, raw, fills=(fill,))


def event_of_leg(number: int, at: datetime, leg: Order, trade: str, *, gone: bool = False) -> PortEvent:
    """A protective order that now rests at the broker, or is gone because its sibling filled."""
    status = BrokerOrderStatus.CANCELLED if gone else BrokerOrderStatus.WORKING
    broker_id = leg.broker_order_id or Order.objects.get(pk=leg.pk).broker_order_id or str(number)
    why = "LINKED_TRADE_CLOSED" if gone else "ON_FILL"
    news = OrderNews(broker_id, leg.client_order_id, status, why, trade_id=trade)
    raw = {"id": str(number), "type": f"{leg.type}_ORDER", "time": at.isoformat(), "reason": why, "tradeID": trade}
    kind = EventKind.ORDER_CANCELLED if gone else EventKind.ORDER_CREATED
    return PortEvent(str(number), number, at, kind, raw, orders=(news,))


@dataclass
class TellingBroker:
    """Holds what the books and the held events hold, and on top what is planted: signed units by symbol, and cash."""

    account: Account
    names: dict[str, str]
    positions: dict[str, Decimal] = field(default_factory=dict)
    cash: Decimal = Decimal(0)
    price: Decimal = Decimal(1)
    name = "telling"

    def events_since(self, cursor: str) -> EventPage:
        """Nothing new."""
        return EventPage((), Completeness.COMPLETE, cursor)

    def snapshot(self) -> BrokerSnapshot:
        """The account as told."""
        held: dict[str, tuple[Decimal, Decimal]] = {}
        for symbol, row in books.positions(self.account).items():
            held[symbol] = (row.quantity, row.average_price or Decimal(1))
        for fill in self._unbooked():
            symbol = next(ours for ours, theirs in self.names.items() if theirs == fill["instrument"])
            quantity, cost = held.get(symbol, (Decimal(0), Decimal(0)))
            more, price = Decimal(fill["quantity"]), Decimal(fill["price"])
            held[symbol] = (quantity + more, round((quantity * cost + more * price) / (quantity + more), 5))
        for symbol, quantity in self.positions.items():
            held[symbol] = (quantity + held.get(symbol, (Decimal(0), self.price))[0], self.price)
        shown = tuple(
            BrokerPosition(self.names[symbol], Side.BUY if units > 0 else Side.SELL, abs(units), cost)
            for symbol, (units, cost) in held.items()
        )
        cash = books.cash_balances(self.account)["USD"] + self.cash
        return BrokerSnapshot(
            account_id=self.account.external_id,
            currency="USD",
            at=self.account.opened_at,
            last_event_id=cursors.get(self.account, INFLOW),
            cash={"USD": cash},
            cash_part=WHOLE,
            positions=shown,
            positions_part=WHOLE,
            orders=self._orders(),
            orders_part=WHOLE,
        )

    def _unbooked(self) -> list[dict[str, Any]]:
        events = self.account.broker_events.filter(fills=None, cash_events=None)
        return [fill for event in events for fill in event.facts.get("fills", [])]

    def _orders(self) -> tuple[BrokerOrder, ...]:
        """Our resting orders."""
        resting = Order.objects.filter(account=self.account, state="WORKING").select_related("instrument")
        return tuple(
            BrokerOrder(
                broker_order_id=order.broker_order_id,
                client_id=order.client_order_id,
                instrument=self.names[order.instrument.symbol],
                side=Side(order.side),
                type=order.type,
                quantity=order.quantity,
                filled=order.filled_quantity,
                price=order.price,
                status=BrokerOrderStatus.WORKING,
                raw_status="PENDING",
            )
            for order in resting
        )

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a comparison does not ask a broker for {name}")
