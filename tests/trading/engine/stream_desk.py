"""An account at a running simulator whose streams are listened to, for tests of what then happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.servers import Simulator
from tests.trading.services.making import make_entry
from trading.brokers.simulator_control import SimulatorControl
from trading.clock import wall_now
from trading.engine.live import LiveSetup
from trading.engine.sender import send_order
from trading.engine.streams import Streams, events_name
from trading.models import Account, BrokerEvent, Fill, Order
from trading.services import cursors, heartbeats
from trading.services.inbox import INFLOW
from trading.services.setup import ensure_account


def wait(what: Callable[[], Any], seconds: float, meaning: str) -> Any:
    """What it gives once that is true. Raises AssertionError after the seconds."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {meaning}"
        time.sleep(0.02)
    return found


@dataclass
class StreamDesk:
    """One account, the simulator's truth about it, and our streams."""

    simulator: Simulator
    control: SimulatorControl
    account: Account
    setups: list[LiveSetup] = field(default_factory=list)
    streams: Streams | None = None

    @classmethod
    def open(cls, simulator: Simulator) -> StreamDesk:
        """The simulator's OANDA account, fresh."""
        control = SimulatorControl(simulator.control_url)
        control.clear_faults()
        control.reset_account(simulator.account)
        control.set_price("EUR_USD", Decimal("1.10000"), Decimal("1.10010"))
        account = ensure_account(
            name="streamed",
            broker=Account.Broker.OANDA,
            environment=Account.Environment.SIMULATOR,
            external_id=simulator.account,
            currency="USD",
            endpoint=simulator.oanda_url,
        )
        return cls(simulator, control, account)

    def listen(self) -> None:
        """Start the streams, and wait until all that had happened is known."""
        self.streams = Streams(accounts=lambda: [self.account], setups=lambda: self.setups)
        self.streams.start()
        wait(lambda: self.health().get("connected") and self.is_current(), 10, "the event stream is connected")

    def health(self, name: str = "") -> dict[str, Any]:
        """The details of a stream's heartbeat, of the event stream unless another is named."""
        return heartbeats.lately(name or events_name(self.account), within=timedelta(seconds=60)) or {}

    def last_event(self) -> str:
        """The broker's newest."""
        return str(self.control.account(self.account.external_id)["last_event_id"])

    def is_current(self) -> bool:
        """Whether our cursor has reached the broker's newest event."""
        return cursors.get(self.account, INFLOW) == self.last_event()

    def history_reads(self) -> int:
        """How often the history was asked for."""
        rows = [row["data"] for row in self.control.journal() if row["kind"] == "request"]
        return len([row for row in rows if "sinceid" in row["path"]])

    def fault(self, action: str, *, times: int = 1, **args: Any) -> None:
        """Let a fault strike the event stream."""
        route = f"GET /v3/accounts/{self.account.external_id}/transactions/stream"
        self.control.add_fault(broker="oanda", route=route, when="after", action=action, times=times, args=args)

    def trade_elsewhere(self, units: int = 100) -> None:
        """Somebody trades by hand."""
        self.control.external(self.account.external_id, "trade", instrument="EUR_USD", quantity=str(units))

    def enter(self, number: int = 1) -> Order:
        """An order of ours with its stop and target, sent and accepted."""
        bar_start = wall_now() - timedelta(minutes=5 * (number + 1))
        order = make_entry(self.account, number, state="PLANNED", legs=True, stop="1.09", target="1.11", at=bar_start)
        sent = send_order(order_id=order.pk)
        assert sent.state == "FILLED", sent.reason
        return sent

    def jump(self, bid: str) -> None:
        """Let the market jump."""
        self.control.set_price("EUR_USD", Decimal(bid), Decimal(bid) + Decimal("0.0001"))

    def problems(self) -> list[str]:
        """How our inbox and books differ from the broker's journal."""
        rows = [row for row in self.control.journal() if row["account"] == self.account.external_id]
        filled = sorted(row["data"]["id"] for row in rows if row["kind"] == "fill")
        ours = sorted(Fill.objects.filter(account=self.account).values_list("external_id", flat=True))
        stored = list(BrokerEvent.objects.filter(account=self.account).order_by("sequence"))
        found = []
        numbers = [event.sequence for event in stored]
        if not numbers or numbers != list(range(numbers[0], int(self.last_event()) + 1)):
            found.append(f"events {numbers}, the broker's last is {self.last_event()}")
        if not set(ours) <= set(filled):
            found.append(f"fills {ours}, the broker's are {filled}")
        return found

    def close(self) -> None:
        """Stop everything."""
        if self.streams is not None:
            self.streams.stop()
            self.streams.join()
        self.control.clear_faults()
        self.control.close()
