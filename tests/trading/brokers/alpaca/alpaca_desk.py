"""An Alpaca account of its own at the simulator: our adapter on one side, the simulator's own books on the other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.servers import Simulator
from trading.brokers.registry import Connection, open_broker
from trading.brokers.simulator_control import SimulatorControl
from trading.domain.broker import Broker, BrokerEvent, Completeness, OrderRequest, OrderType, ProtectiveLeg, Side

BID, ASK = Decimal("199.99"), Decimal("200.01")


class Desk:
    """One account of its own: the adapter and the truth about it."""

    def __init__(self, running: Simulator, control: SimulatorControl) -> None:
        self.control = control
        self.account, credentials = control.create_account(broker="alpaca", currency="USD", cash=Decimal(100000))
        keys = {"key": credentials["key"], "secret": credentials["secret"]}
        self.connection = Connection("alpaca", "simulator", running.alpaca_url, self.account, keys)
        self.broker: Broker = open_broker(self.connection)
        self.first_row = max((row["seq"] for row in control.journal()), default=0)
        self.cursor = ""
        self.seen: dict[str, BrokerEvent] = {}
        self.news()

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The journal's data of this account since it was opened."""
        rows = self.control.journal(self.first_row)
        return [row["data"] for row in rows if row["kind"] == kind and row["account"] == self.account]

    def posts(self) -> int:
        """How many orders reached the simulator's door. One accepted late has a second row, when it is acted on."""
        posts = [row for row in self.rows("request") if row["method"] == "POST" and row["path"].endswith("/orders")]
        return len([row for row in posts if row["outcome"] != "late"])

    def news(self) -> list[BrokerEvent]:
        """The events that were not seen before, as the inbox would find them; the others must be as they were."""
        found = []
        for _ in range(5):
            page = self.broker.events_since(self.cursor)
            assert page.completeness is Completeness.COMPLETE, page.reason
            for event in page.events:
                if event.external_id not in self.seen:
                    found.append(event)
                assert self.seen.setdefault(event.external_id, event).raw == event.raw, "a body has changed"
            if not page.events or page.cursor == self.cursor:
                break
            self.cursor = page.cursor
        return found

    def truth(self) -> dict[str, Any]:
        return self.control.account(self.account)

    def step(self, seconds: int = 1) -> None:
        """Let some time pass, so that what follows is later."""
        self.control.step_clock(Decimal(seconds))

    def price(self, bid: str, ask: str, instrument: str = "AAPL") -> None:
        self.control.set_price(instrument, Decimal(bid), Decimal(ask))


def order(name: str, **fields: Any) -> OrderRequest:
    known: dict[str, Any] = {
        "client_id": name,
        "instrument": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal("10.000000000000"),
        "type": OrderType.MARKET,
        "label": "trend AAPL",
    }
    return OrderRequest(**{**known, **fields})


def bracket(name: str, **fields: Any) -> OrderRequest:
    legs = {
        "stop_loss": ProtectiveLeg(f"{name}-s", Decimal(190)),
        "take_profit": ProtectiveLeg(f"{name}-t", Decimal(210)),
    }
    return order(name, **{**legs, **fields})
