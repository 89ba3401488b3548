"""An account of shares at a real simulator's Alpaca, seen from both sides; prices stand still."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from backoffice.verification import INVARIANTS, check, lines, run_all
from reconciliation.models import Discrepancy
from tests.reconciliation.conftest import Desk
from tests.servers import Simulator
from trading.brokers.registry import SIMULATOR_ALPACA_ACCOUNT
from trading.clock import now, store_broker_clock
from trading.engine.connections import broker_for
from trading.models import Account
from trading.selectors import books
from trading.services.setup import ensure_account

AAPL = "AAPL"


class ShareDesk(Desk):
    """One account of shares of ours at one simulator."""

    def external(self, kind: str, **body: str) -> Any:
        return self.simulator.post(f"/accounts/{self.account.external_id}/external", {"kind": kind, **body})

    def agrees(self) -> bool:
        truth = self.simulator.get(f"/accounts/{self.account.external_id}")
        theirs = {p["instrument"]: _signed(p) for p in truth["positions"]}
        ours = {name: p.quantity for name, p in books.positions(self.account).items()}
        return ours == theirs and books.cash_balances(self.account)["USD"] == Decimal(truth["cash"]["USD"])

    def wait_days(self, days: int) -> None:
        """The broker's clock goes on, and we hear of it."""
        self.simulator.post("/clock", {"now": (now(self.account) + timedelta(days=days)).isoformat()})
        store_broker_clock(account=self.account, broker_at=self.broker.now(), speed=Decimal(0))

    def opened(self) -> Discrepancy:
        """The one case, once two complete runs have confirmed it."""
        self.reconcile()
        self.reconcile()
        return self.case(state="OPEN")


def _signed(position: dict[str, str]) -> Decimal:
    quantity = abs(Decimal(position["quantity"]))
    return -quantity if position["side"].upper() in ("SHORT", "SELL") else quantity


@pytest.fixture
def share_desk(committed_db: object, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShareDesk]:
    """An account of ours at the simulator's Alpaca; prices stand still."""
    for name in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "ALPACA_URL", "SIMULATOR_URL"):
        monkeypatch.delenv(name, raising=False)
    account = ensure_account(
        name="test-alpaca",
        broker=Account.Broker.ALPACA,
        environment=Account.Environment.SIMULATOR,
        external_id=SIMULATOR_ALPACA_ACCOUNT,
        currency="USD",
        time_zone="America/New_York",
        endpoint=simulator.alpaca_url,
    )
    simulator.post("/prices", {"instrument": AAPL, "bid": "100.00", "ask": "100.00"})
    broker = broker_for(account)
    yield ShareDesk(account, simulator, broker)
    broker.close()


def verified() -> None:
    """Every invariant holds."""
    report = run_all()
    assert report.ok, "\n".join(lines(report))


OF_BOOKS = {
    "C-01", "C-02", "C-04", "I-05", "I-06", "I-07", "I-10", "I-20", "I-22", "I-24", "I-25", "I-27", "I-33", "I-41",
    "P-01", "P-02", "P-03", "R-06", "R-07",
}  # fmt: skip


def books_hold() -> None:
    """Every invariant about books, orders and trades: for orders that no desk has sent."""
    with connection.cursor() as cursor:
        for invariant in INVARIANTS:
            if invariant.id in OF_BOOKS:
                result = check(cursor, invariant)
                assert result.ok, (invariant.id, result.rows)
