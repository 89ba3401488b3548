"""What tests of the services make: an account at a broker, intents with their orders, and the broker's own words.

Orders are planned by the real service and moved along the real table; events look as an adapter reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction

from trading.domain.broker import (
    BrokerEvent,
    BrokerOrderStatus,
    CashData,
    EventKind,
    FillData,
    OrderNews,
    Side,
)
from trading.domain.orders import TERMINAL, OrderState, Tag
from trading.models import (
    Account,
    BrokerMessage,
    ConfigVersion,
    Decision,
    ExitIntent,
    Instrument,
    Order,
    OrderGroup,
    Signal,
)
from trading.services import inbox, orders
from trading.services.audit import Actor
from trading.services.inbox import Received
from trading.services.setup import ensure_account, ensure_policy, ensure_version

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
TEST = Actor.system("a test", via="command")


def moment(number: int) -> datetime:
    """The time of the broker's event of that number."""
    return START + timedelta(seconds=number)


def make_account(name: str = "oanda-main", *, currency: str = "USD", policy: ConfigVersion | None = None) -> Account:
    """An account at OANDA's practice environment, which nothing here ever calls."""
    return ensure_account(
        name=name,
        broker=Account.Broker.OANDA,
        environment=Account.Environment.PRACTICE,
        external_id=f"101-001-{name}",
        currency=currency,
        opened_at=START,
        policy=policy or ensure_policy(),
    )


def instrument(symbol: str = "EURUSD") -> Instrument:
    """The row of a built-in instrument."""
    return Instrument.objects.get(symbol=symbol)


def make_decision(
    account: Account,
    number: int = 1,
    *,
    symbol: str = "EURUSD",
    side: str = "BUY",
    quantity: str = "1000",
    entry: str = "1.1",
    stop: str | None = None,
    target: str | None = None,
    at: datetime | None = None,
    strategy: str = "orb",
) -> Decision:
    """An approved decision, as the gates would leave it."""
    version = ensure_version(kind="SESSION", name="a test's", body='{"a":"session"}')
    bar_start = (at or START) + timedelta(minutes=5 * number)
    signal = Signal.objects.create(
        account=account,
        config_version=version,
        strategy=strategy,
        instrument=instrument(symbol),
        at=bar_start + timedelta(minutes=5),
        bar_start=bar_start,
        side=side,
        order_type="MARKET",
        entry=Decimal(entry),
        stop=Decimal(stop or ("1.0" if side == "BUY" else "1.2")),
        target=Decimal(target or ("1.2" if side == "BUY" else "1.0")),
    )
    return Decision.objects.create(
        at=signal.at,
        signal=signal,
        account=account,
        config_version=version,
        client_plan_id=f"plan-{account.pk}-{number}",
        verdict="APPROVED",
        risk_pct=Decimal("0.5"),
        risk_amount=Decimal(500),
        position_size=Decimal(quantity),
        trading_day=signal.at.date(),
    )


@transaction.atomic
def make_entry(account: Account, number: int = 1, *, state: str = "SENDING", legs: bool = False, **more: Any) -> Order:
    """The entry order of a new decision, brought to `state` (PLANNED, SENDING, WORKING, UNKNOWN, CANCELLED…)."""
    decision = make_decision(account, number, **more)
    group = OrderGroup.objects.create(account=account, decision=decision)
    signal = decision.signal
    common: dict[str, Any] = {
        "account": account,
        "intent": decision,
        "instrument": signal.instrument,
        "quantity": decision.position_size,
        "at": signal.at,
        "group": group,
        "actor": TEST,
    }
    order = orders.plan_order(tag=Tag.ENTRY, side=signal.side, type="MARKET", **common)
    if legs:
        closing = Side(signal.side).opposite
        for tag, kind, price in ((Tag.STOP, "STOP", signal.stop), (Tag.TP1, "LIMIT", signal.target)):
            orders.plan_order(tag=tag, side=closing, type=kind, price=price, reduce_only=True, rides_on=order, **common)
    return bring_to(order, state)


@transaction.atomic
def make_exit(account: Account, entry: Order, *, quantity: str, number: int = 1, state: str = "SENDING") -> Order:
    """An order that closes a part of what an entry opened; an earlier exit of it ends first."""
    ExitIntent.objects.filter(account=account, decision=entry.decision).update(state=ExitIntent.State.CANCELLED)
    intent = ExitIntent.objects.create(
        account=account, decision=entry.decision, exit_type="TIME", exit_reason="a test", at=moment(number)
    )
    order = orders.plan_order(
        account=account,
        intent=intent,
        tag=Tag.CLOSE,
        instrument=entry.instrument,
        side=Side(entry.side).opposite,
        quantity=Decimal(quantity),
        type="MARKET",
        at=moment(number),
        reduce_only=True,
        actor=TEST,
    )
    return bring_to(order, state)


PATHS: dict[str, Sequence[str]] = {
    "PLANNED": (),
    "SENDING": ("SENDING",),
    "WORKING": ("SENDING", "WORKING"),
    "UNKNOWN": ("SENDING", "UNKNOWN"),
    "CANCELLING": ("SENDING", "WORKING", "CANCELLING"),
    "CANCELLED": ("SENDING", "WORKING", "CANCELLED"),
    "REJECTED": ("SENDING", "REJECTED"),
    "EXPIRED": ("SENDING", "WORKING", "EXPIRED"),
}


@transaction.atomic
def bring_to(order: Order, state: str) -> Order:
    """Move an order along the table to a state."""
    for step in PATHS[state]:
        message = None
        if step in TERMINAL:
            message = BrokerMessage.objects.create(
                at=order.at, account=order.account, order=order, purpose="test", method="GET", path="/", status=200,
                finished_at=order.at, sha256="0" * 64,
            )  # fmt: skip
        orders.move(orders.locked(order.pk), OrderState(step), at=order.at, reason="a test", message=message)
    return Order.objects.get(pk=order.pk)


def created(number: int, order: Order, status: str = "WORKING", *, broker_order_id: str = "") -> BrokerEvent:
    """The broker tells of an order."""
    identity = broker_order_id or f"b{order.client_order_id}"
    news = OrderNews(identity, order.client_order_id, BrokerOrderStatus(status), "CLIENT_ORDER")
    kind = EventKind.ORDER_CREATED if status == "WORKING" else EventKind.ORDER_CANCELLED
    raw = {"id": str(number), "type": f"{status}_ORDER", "order": identity}
    return BrokerEvent(str(number), number, moment(number), kind, raw, orders=(news,))


def fill_of(
    number: int,
    order: Order | None,
    quantity: str,
    price: str = "1.1",
    *,
    symbol: str = "EUR_USD",
    side: str = "BUY",
    realised: str = "0",
    financing: str = "0",
    commission: str = "0",
    by_broker_id: bool = False,
    external_id: str = "",
) -> BrokerEvent:
    """The broker tells of an execution; without `order` it is somebody else's."""
    fill = FillData(
        external_id=external_id or str(number),
        broker_order_id=f"b{order.client_order_id}" if order is not None else f"other-{number}",
        client_id="" if order is None or by_broker_id else order.client_order_id,
        instrument=_broker_name(order.instrument) if order is not None else symbol,
        side=Side(order.side if order is not None else side),
        quantity=Decimal(quantity),
        price=Decimal(price),
        realised=Decimal(realised),
        financing=Decimal(financing),
        commission=Decimal(commission),
        reason="MARKET_ORDER",
    )
    raw = {"id": str(number), "type": "ORDER_FILL", "units": quantity, "price": price, "pl": realised}
    return BrokerEvent(str(number), number, moment(number), EventKind.ORDER_FILLED, raw, fills=(fill,))


def _broker_name(row: Instrument) -> str:
    return f"{row.base}_{row.quote}" if row.is_margin else row.symbol


def cash_of(number: int, kind: str, amount: str, *, currency: str = "USD", symbol: str = "") -> BrokerEvent:
    """The broker tells of a movement of cash."""
    cash = CashData(str(number), EventKind(kind), currency, Decimal(amount), symbol)
    raw = {"id": str(number), "type": kind, "amount": amount, "currency": currency}
    return BrokerEvent(str(number), number, moment(number), EventKind(kind), raw, cash=(cash,))


def receive(account: Account, *events: BrokerEvent, cursor: str | None = None) -> Received:
    """Hand events to the inbox."""
    return inbox.receive(account=account, events=events, cursor=cursor)
