"""An open discrepancy, and people who are signed in."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.test import Client

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy
from tests.reconciliation.admin.still_broker import StillBroker
from tests.trading.admin.world import World, build_world
from trading.services import cursors
from trading.services.inbox import INFLOW


@pytest.fixture
def world(db: None) -> World:
    """A row on every list of trading; the broker's history is read to its end."""
    world = build_world()
    cursors.put(account=world.account, name=INFLOW, value="900")
    return world


@pytest.fixture
def compare(world: World) -> Callable[..., None]:
    """Reconcile the account with a broker that shows so much EUR_USD."""

    def run(quantity: str, *, times: int = 1, **more: object) -> None:
        for _ in range(times):
            broker = StillBroker(world.account, Decimal(quantity), **more)  # type: ignore[arg-type]
            run_reconciliation(account=world.account, trigger="MANUAL", broker=broker)  # type: ignore[arg-type]

    return run


@pytest.fixture
def case(world: World, compare: Callable[..., None]) -> Discrepancy:
    """Somebody bought 700 by hand: the broker holds 10,700, the books 10,000; two runs have confirmed it."""
    compare("10700", times=2)
    case = Discrepancy.objects.get(key="EURUSD")
    assert case.state == "OPEN", case.state
    return case


@pytest.fixture
def signed_in(world: World) -> Callable[[str], Client]:
    """A client in which somebody of the cast is signed in."""

    def sign_in(name: str) -> Client:
        client = Client()
        client.force_login(world.people[name])
        return client

    return sign_in
