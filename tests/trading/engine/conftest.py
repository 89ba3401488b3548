"""A replay that nothing disturbed, to compare others with; and desks that trade live on a simulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import CommittedDatabase
from tests.servers import DatabaseServer, Simulator
from tests.trading.engine.live_desk import Desk, start_desk
from tests.trading.engine.running import replay
from tests.trading.services.histories import left_behind
from trading.models import Account, CashEvent, Decision, Order, Trade
from trading.selectors import books

PROFIT = ("REALISED", "COMMISSION", "FINANCING")


@dataclass(frozen=True)
class Undisturbed:
    """What it printed and what it left; `orders` and `decisions` have their signals with them."""

    printed: str
    left: dict[str, Any]
    cash: Decimal
    deposit: Decimal
    moved: Decimal
    trades: list[Trade]
    orders: list[Order]
    decisions: list[Decision]


@contextmanager
def own_database(server: DatabaseServer, template: str) -> Iterator[None]:
    """Django on a clone of its own for a while."""
    before, name = server.current, server.next_name()
    server.point_django_at(server.clone(template, name), name)
    try:
        yield
    finally:
        server.point_django_at(*before)
        server.drop(name)


@pytest.fixture(scope="package")
def undisturbed(
    database_server: DatabaseServer,
    template_database: str,
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Undisturbed:
    """The generated market, replayed once from its first bar to its last."""
    with django_db_blocker.unblock(), own_database(database_server, template_database):
        printed = replay(tmp_path_factory.mktemp("undisturbed"))
        account = Account.objects.get(broker="PAPER")
        profits = [books.balances(account, kind).get("USD", Decimal(0)) for kind in PROFIT]
        return Undisturbed(
            printed=printed,
            left=left_behind(account),
            cash=books.cash_balances(account)["USD"],
            deposit=CashEvent.objects.get().amount,
            moved=-sum(profits, Decimal(0)),
            trades=list(Trade.objects.select_related("instrument", "decision__signal")),
            orders=list(Order.objects.select_related("exit_intent")),
            decisions=list(Decision.objects.select_related("signal__instrument")),
        )


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine's environment says, the tests' does not."""
    for name in ("OANDA_API_KEY", "OANDA_ACCOUNT_ID", "OANDA_URL", "SIMULATOR_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def desk(committed_db: CommittedDatabase, simulator: Simulator, no_credentials: None) -> Iterator[Desk]:
    """A paper account alone, fed by a simulator's candles."""
    started = start_desk(simulator, mirrored=False)
    yield started
    started.control.close()


@pytest.fixture
def mirrored_desk(committed_db: CommittedDatabase, simulator: Simulator, no_credentials: None) -> Iterator[Desk]:
    """The same with the simulator's account as its mirror."""
    started = start_desk(simulator, mirrored=True)
    yield started
    started.control.close()
