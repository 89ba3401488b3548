"""The last requests of every adapter's budget are for what reduces risk: an account that polls too much can be left.

Nobody listens at the address: a request that may leave fails for want of a connection, one that may not for want of
budget. The budgets are the adapters' own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from trading.brokers.budget import Lane, RateBudget
from trading.brokers.registry import Connection, open_broker
from trading.domain.broker import Broker, BrokerUnreachable, OrderRequest, OrderType, Refused, Side

NOWHERE = "http://127.0.0.1:9"
PLACES = {
    "oanda": ("EUR_USD", "101-001-7654321-001", {"token": "a-token"}),
    "alpaca": ("AAPL", "SPENT", {"key": "a-key", "secret": "a-secret"}),
    "kite": ("NSE:INFY", "SPENT", {"key": "a-key", "access_token": "a-token-of-today"}),
}
ENTRY = OrderRequest(client_id="spent1", instrument="", side=Side.BUY, quantity=Decimal(1), type=OrderType.MARKET)
REDUCES: dict[str, Callable[[Broker, OrderRequest], object]] = {
    "a cancel": lambda broker, _: broker.cancel(broker_order_id="17", client_id="spent1"),
    "an exit": lambda broker, order: broker.submit(replace(order, side=Side.SELL, reduce_only=True)),
    "a leg made smaller": lambda broker, _: broker.replace(
        broker_order_id="17", client_id="spent1", quantity=Decimal(1), price=Decimal("1.1")
    ),
}
ADDS: dict[str, Callable[[Broker, OrderRequest], object]] = {
    "an entry": lambda broker, order: broker.submit(order),
    "an entry moved after the market": lambda broker, _: broker.replace(
        broker_order_id="17", client_id="spent1", quantity=None, price=Decimal("1.1")
    ),
    "a poll": lambda broker, _: broker.snapshot(),
    "prices": lambda broker, order: broker.prices([order.instrument]),
}


@pytest.fixture(params=sorted(PLACES))
def spent(request: pytest.FixtureRequest) -> tuple[Broker, OrderRequest]:
    """A broker whose general lane is used up for good, and an order there."""
    instrument, account, keys = PLACES[request.param]
    broker: Any = open_broker(Connection(request.param, "simulator", NOWHERE, f"{account}", keys))
    client = broker._client
    for budget in {client.session._budget, *getattr(client, "_budgets", {}).values()}:
        _use_up(budget)
    return broker, replace(ENTRY, instrument=instrument)


def _use_up(budget: RateBudget) -> None:
    budget._per_second = 1e-9
    while budget.take("general", wait=0):
        pass

    def at_once(lane: Lane, *, wait: float) -> bool:
        return RateBudget.take(budget, lane, wait=0)

    budget.take = at_once  # type: ignore[method-assign]


def said(ask: Callable[[], object]) -> str:
    """Why nothing came of it."""
    try:
        outcome = ask()
    except BrokerUnreachable as error:
        return str(error)
    if isinstance(outcome, Refused):
        return outcome.message
    return str(outcome)


@pytest.mark.parametrize("what", REDUCES)
def test_what_reduces_risk_leaves_when_the_budget_is_spent(spent: tuple[Broker, OrderRequest], what: str) -> None:
    broker, order = spent
    for _ in range(3):
        why = said(lambda: REDUCES[what](broker, order))
        assert "budget" not in why and "refused" in why, why


@pytest.mark.parametrize("what", ADDS)
def test_what_adds_risk_or_only_looks_never_takes_the_reserve(spent: tuple[Broker, OrderRequest], what: str) -> None:
    broker, order = spent
    why = said(lambda: ADDS[what](broker, order))
    assert "budget" in why and "refused" not in why, why
