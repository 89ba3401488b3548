"""A small world for screens: one account at a broker, made with the real services, with a row on every list.

A signal was approved, its entry filled and its stop works; another was rejected. A deposit is booked. Somebody else
traded by hand: that event is held. A proposal waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction

from trading.domain.broker import BrokerEvent as PortEvent
from trading.domain.broker import BrokerOrderStatus, CashData, EventKind, Evidence, FillData, OrderNews, Side
from trading.domain.canonical import sha256_hex
from trading.domain.orders import OrderState
from trading.domain.policy import load_policy
from trading.engine.messages import keep
from trading.models import (
    Account,
    ConfigVersion,
    DayState,
    Decision,
    ExitIntent,
    Heartbeat,
    Instrument,
    InstrumentAlias,
    Order,
    OrderGroup,
    Person,
    Proposal,
    RiskEvent,
    Signal,
    TaskAttempt,
    User,
)
from trading.services import approvals, inbox, orders, restrictions
from trading.services.audit import Actor

__all__ = ["START", "World", "build_world", "cast", "external_trade", "grow"]
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
POLICY = "policy:\n  name: fx\n"
ACTOR = Actor.system("test", via="engine")


@dataclass(frozen=True)
class World:
    """What was made, to look for on the pages."""

    account: Account
    instrument: Instrument
    decision: Decision
    rejected: Decision
    entry: Order
    stop: Order
    proposal: Proposal
    people: dict[str, User]


def cast() -> dict[str, User]:
    """ada proposes, bob approves, charlie looks; ada2 is a second user of ada's person, with bob's rights."""
    groups = {"ada": "operator", "bob": "approver", "charlie": "viewer", "ada2": "approver", "ulla": "admin"}
    made: dict[str, User] = {}
    for name, group in groups.items():
        person = made["ada"].person if name == "ada2" else Person.objects.create(name=name.capitalize())
        made[name] = User.objects.create_user(name, password="a-password-for-tests", person=person, is_staff=True)
        made[name].groups.add(Group.objects.get(name=group))
    return made


def fill_event(
    number: int,
    at: datetime,
    *,
    client_id: str = "",
    order_id: str,
    side: Side,
    quantity: str,
    price: str,
    **money: str,
) -> PortEvent:
    """One execution in the broker's history, as an adapter reads it."""
    numbers = {name: Decimal(money.get(name, "0")) for name in ("realised", "financing", "commission")}
    fill = FillData(
        external_id=str(number),
        broker_order_id=order_id,
        client_id=client_id,
        instrument="EUR_USD",
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        reason="MARKET_ORDER",
        opened_trade_id=str(number),
        **numbers,
    )
    raw = {"id": str(number), "type": "ORDER_FILL", "units": quantity, "price": price}
    return PortEvent(str(number), number, at, EventKind.ORDER_FILLED, raw, fills=(fill,))


def external_trade(account: Account, number: int = 900, quantity: str = "700") -> PortEvent:
    """Somebody traded by hand: an execution without an order of ours."""
    event = fill_event(
        number, START + timedelta(hours=2), order_id=str(number - 1), side=Side.BUY, quantity=quantity, price="1.0911"
    )
    inbox.receive(account=account, events=[event])
    return event


def _signal(account: Account, config: ConfigVersion, instrument: Instrument, minutes: int, side: str) -> Signal:
    at = START + timedelta(minutes=minutes)
    return Signal.objects.create(
        account=account,
        config_version=config,
        strategy="orb",
        instrument=instrument,
        at=at,
        bar_start=at - timedelta(minutes=5),
        side=side,
        order_type="MARKET",
        entry=Decimal("1.09"),
        stop=Decimal("1.085") if side == "BUY" else Decimal("1.095"),
        target=Decimal("1.1"),
        features={"range_high": "1.0895", "range_low": "1.0852"},
        reason="close above the opening range",
    )


def _decision(signal: Signal, verdict: str, gates: list[dict[str, Any]], size: str) -> Decision:
    return Decision.objects.create(
        at=signal.at,
        signal=signal,
        account=signal.account,
        config_version=signal.config_version,
        client_plan_id=f"plan-{signal.pk}",
        verdict=verdict,
        reason="" if verdict == "APPROVED" else "the day's loss limit is used up",
        gates=gates,
        risk_pct=Decimal("0.5"),
        risk_amount=Decimal("500"),
        position_size=Decimal(size),
        trading_day=signal.at.date(),
    )


@transaction.atomic
def build_world(*, with_external_trade: bool = True) -> World:
    """Make everything."""
    body = load_policy(POLICY).canonical
    config = ConfigVersion.objects.create(
        at=START, kind=ConfigVersion.Kind.POLICY, name="fx", sha256=sha256_hex(body), body=body
    )
    account = Account.objects.create(
        name="oanda-main",
        broker=Account.Broker.OANDA,
        environment=Account.Environment.PRACTICE,
        external_id="101-001-1000001-001",
        currency="USD",
        policy=config,
        opened_at=START,
    )
    instrument, _ = Instrument.objects.get_or_create(
        symbol="EURUSD",
        defaults={
            "base": "EUR",
            "quote": "USD",
            "pip_size": Decimal("0.0001"),
            "price_decimals": 5,
            "tick_size": Decimal("0.00001"),
            "lot_size": Decimal(1),
            "min_units": Decimal(1),
            "max_units": Decimal(100_000_000),
        },
    )
    InstrumentAlias.objects.get_or_create(
        broker="OANDA", symbol="EUR_USD", valid_until=None, defaults={"instrument": instrument, "valid_from": START}
    )
    people = cast()
    deposit = CashData("1", EventKind.TRANSFER, "USD", Decimal("100000"))
    raw = {"id": "1", "type": "TRANSFER_FUNDS", "amount": "100000.0000"}
    inbox.receive(account=account, events=[PortEvent("1", 1, START, EventKind.TRANSFER, raw, cash=(deposit,))])

    passed = {"name": "daily_stop", "passed": True, "reason": "", "numbers": {"used_r": "0.4", "limit_r": "2"}}
    failed = {"name": "daily_stop", "passed": False, "reason": "2.1 R of 2 R are lost", "numbers": {"used_r": "2.1"}}
    decision = _decision(_signal(account, config, instrument, 35, "BUY"), "APPROVED", [passed], "10000")
    rejected = _decision(_signal(account, config, instrument, 50, "SELL"), "REJECTED", [failed], "0")
    entry, stop = _send(account, decision, instrument, first_event=11)
    if with_external_trade:
        external_trade(account)
    intent = ExitIntent.objects.create(
        account=account,
        decision=decision,
        exit_type="TIME",
        exit_reason="the window ends",
        at=START + timedelta(hours=3),
    )
    assert intent.pk
    restrictions.restrict(
        account=account, level="REDUCE_ONLY", source="drawdown", reason="3 % below the peak", actor=ACTOR
    )
    RiskEvent.objects.create(
        account=account, at=START, kind="LATE_FILL", reason="a fill after the end", numbers={"n": 1}
    )
    Heartbeat.objects.create(name="beat", at=START)
    TaskAttempt.objects.create(key="orders.send:1", attempts=2, last_error="timeout")
    DayState.objects.create(account=account, trading_day=START.date(), trades=1, pnl=Decimal("12.5"), r=Decimal("0.25"))
    proposal = approvals.propose(
        kind="note",
        account=account,
        subject_type="trading.Account",
        subject_id=account.pk,
        subject_version=1,
        payload={"what": "nothing at all"},
        reason="to have something on the list",
        proposer=people["ada"],
        actor=Actor.of(people["ada"], via="admin"),
    )
    approvals.decide(
        proposal=proposal,
        approver=people["bob"],
        verdict="APPROVE",
        payload_sha256=proposal.payload_sha256,
        subject_version=1,
        actor=Actor.of(people["bob"], via="admin"),
    )
    approvals.record_application(proposal=proposal, applied_by=people["bob"], result={"done": True}, actor=ACTOR)
    return World(account, instrument, decision, rejected, entry, stop, proposal, people)


@transaction.atomic
def grow(world: World, times: int) -> None:
    """More of everything that grows: signals, decisions, orders, fills, entries, events, audit."""
    account, instrument, config = world.account, world.instrument, world.decision.config_version
    for number in range(times):
        signal = _signal(account, config, instrument, 300 + 5 * number, "BUY")
        decision = _decision(signal, "APPROVED", [], "1000")
        _send(account, decision, instrument, first_event=1000 + 10 * number)


def _send(account: Account, decision: Decision, instrument: Instrument, *, first_event: int) -> tuple[Order, Order]:
    """An entry that was sent and filled, and its stop, which works. Takes two of the broker's event numbers."""
    at = decision.at
    group = OrderGroup.objects.create(account=account, decision=decision)
    common: dict[str, Any] = {
        "account": account,
        "intent": decision,
        "instrument": instrument,
        "at": at,
        "actor": ACTOR,
    }
    quantity = decision.position_size
    entry = orders.plan_order(tag="ENTRY", side="BUY", quantity=quantity, type="MARKET", group=group, **common)
    stop = orders.plan_order(
        tag="STOP", side="SELL", quantity=quantity, type="STOP", price=Decimal("1.085"), group=group, rides_on=entry,
        reduce_only=True, **common,
    )  # fmt: skip
    entry = orders.locked(entry.pk)
    entry.attempt = 1
    orders.move(entry, OrderState.SENDING, at=at, reason="attempt 1")
    answer = Evidence("POST", "/v3/accounts/x/orders", '{"order":{"units":"10000"}}', 201, '{"id":"11"}', at, at)
    message = keep(entry, "submit", [answer])
    orders.move(entry, OrderState.WORKING, at=at, reason="accepted", message=message)
    number, stop_id = first_event, str(first_event + 1)
    news = OrderNews(stop_id, stop.client_order_id, BrokerOrderStatus.WORKING, "ON_FILL", trade_id=str(number))
    raw = {"id": stop_id, "type": "STOP_LOSS_ORDER"}
    inbox.receive(
        account=account,
        events=[
            fill_event(
                number, at + timedelta(seconds=1), client_id=entry.client_order_id, order_id=str(number - 1),
                side=Side.BUY, quantity=f"{quantity:f}", price="1.09012", commission="-0.5",
            ),
            PortEvent(stop_id, number + 1, at + timedelta(seconds=1), EventKind.ORDER_CREATED, raw, orders=(news,)),
        ],
    )  # fmt: skip
    return Order.objects.get(pk=entry.pk), Order.objects.get(pk=stop.pk)
