"""An account of its own at the simulator: our adapter on one side, the simulator's own books on the other."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.servers import Simulator
from trading.brokers.registry import Connection, open_broker
from trading.brokers.simulator_control import SimulatorControl
from trading.domain.broker import Broker, BrokerEvent, Completeness, OrderRequest, OrderType, Side

START = datetime(2026, 1, 5, 10, tzinfo=UTC)


class Desk:
    """One account of its own: the adapter and the truth about it."""

    def __init__(self, running: Simulator, control: SimulatorControl, hedging: bool = False) -> None:
        self.control = control
        self.account, credentials = control.create_account(
            broker="oanda", currency="USD", cash=Decimal(100000), hedging=hedging
        )
        self.url = running.oanda_url
        token = credentials["token"]
        self.broker: Broker = open_broker(Connection("oanda", "simulator", self.url, self.account, {"token": token}))
        self.first_row = max((row["seq"] for row in control.journal()), default=0)
        self.cursor = self.broker.events_since("").cursor

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The journal's data of this account since it was opened."""
        rows = self.control.journal(self.first_row)
        return [row["data"] for row in rows if row["kind"] == kind and row["account"] == self.account]

    def posts(self) -> int:
        """How many orders reached the simulator's door. One accepted late has a second row, when it is acted on."""
        posts = [row for row in self.rows("request") if row["method"] == "POST" and row["path"].endswith("/orders")]
        return len([row for row in posts if row["outcome"] != "late"])

    def news(self) -> list[BrokerEvent]:
        """The events since the last call, complete."""
        page = self.broker.events_since(self.cursor)
        assert page.completeness is Completeness.COMPLETE, page.reason
        self.cursor = page.cursor
        return list(page.events)

    def truth(self) -> dict[str, Any]:
        return self.control.account(self.account)


def order(name: str, **fields: Any) -> OrderRequest:
    known: dict[str, Any] = {
        "client_id": name,
        "instrument": "EUR_USD",
        "side": Side.BUY,
        "quantity": Decimal("1000.000000000000"),
        "type": OrderType.MARKET,
        "label": "ORB EURUSD",
    }
    return OrderRequest(**{**known, **fields})
