"""An account at a running simulator whose streams are listened to, for tests of what then happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.faults.places import OANDA, Place
from tests.servers import Simulator
from tests.trading.services.making import make_entry
from trading.brokers.registry import simulator_url
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
    place: Place = OANDA
    first_row: int = 0
    setups: list[LiveSetup] = field(default_factory=list)
    streams: Streams | None = None

    @classmethod
    def open(cls, simulator: Simulator, place: Place = OANDA) -> StreamDesk:
        """The simulator's account at that broker, fresh."""
        control = SimulatorControl(simulator.control_url)
        control.clear_faults()
        control.reset_account(place.account)
        control.set_price(place.instrument, place.bid, place.ask)
        account = ensure_account(
            name="streamed",
            broker=place.broker,
            environment=Account.Environment.SIMULATOR,
            external_id=place.account,
            currency="USD",
            endpoint=simulator_url(simulator.control_url, place.name),
        )
        first_row = max((row["seq"] for row in control.journal()), default=0)
        return cls(simulator, control, account, place, first_row)

    def listen(self) -> None:
        """Start the streams, and wait until all that had happened is known."""
        self.streams = Streams(accounts=lambda: [self.account], setups=lambda: self.setups)
        self.streams.start()
        wait(lambda: self.health().get("connected") and self.is_current(), 10, "the event stream is connected")

    def health(self, name: str = "") -> dict[str, Any]:
        """The details of a stream's heartbeat, of the event stream unless another is named."""
        return heartbeats.lately(name or events_name(self.account), within=timedelta(seconds=60)) or {}

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The broker's journal of one kind since the account is fresh."""
        return [row["data"] for row in self.control.journal(self.first_row) if row["kind"] == kind]

    def last_event(self) -> str:
        """The broker's newest."""
        return str(self.control.account(self.account.external_id)["last_event_id"])

    def is_current(self) -> bool:
        """Whether we know all that has happened at the broker."""
        if self.place is OANDA:
            return cursors.get(self.account, INFLOW) == self.last_event()
        return bool(cursors.get(self.account, INFLOW)) and len(self.told()) >= len(self.rows("fill"))

    def history_reads(self) -> int:
        """How often OANDA's history was asked for."""
        return len([row for row in self.rows("request") if "sinceid" in row["path"]])

    def fault(self, action: str, *, times: int = 1, **args: Any) -> None:
        """Let a fault strike the event stream."""
        path = "/stream" if self.place is not OANDA else f"/v3/accounts/{self.place.account}/transactions/stream"
        self.control.add_fault(
            broker=self.place.name, route=f"GET {path}", when="after", action=action, times=times, args=args
        )

    def trade_elsewhere(self, units: int = 10) -> None:
        """Somebody trades by hand."""
        self.control.external(self.place.account, "trade", instrument=self.place.instrument, quantity=str(units))

    def enter(self, number: int = 1) -> Order:
        """An order of ours with its stop and target, sent and filled."""
        bar_start = wall_now() - timedelta(minutes=5 * (number + 1))
        ask, away = self.place.ask, self.place.away
        order = make_entry(
            self.account,
            number,
            state="PLANNED",
            legs=True,
            symbol=self.place.symbol,
            quantity="10",
            entry=str(ask),
            stop=str(ask - away),
            target=str(ask + away),
            at=bar_start,
        )
        send_order(order_id=order.pk)
        wait(lambda: Fill.objects.filter(order=order).exists(), 5, "the entry is filled")
        return order

    def reach_target(self) -> None:
        """Let the market jump beyond the target of what was entered."""
        spread = self.place.ask - self.place.bid
        bid = self.place.ask + self.place.away + spread * 5
        self.control.set_price(self.place.instrument, bid, bid + spread)

    def told(self) -> list[tuple[str, Decimal, Decimal]]:
        """The executions that our inbox knows."""
        return sorted(
            (fill["instrument"], Decimal(fill["quantity"]), Decimal(fill["price"]))
            for event in BrokerEvent.objects.filter(account=self.account)
            for fill in event.facts.get("fills", [])
        )

    def problems(self) -> list[str]:
        """How our inbox and books differ from the broker's journal."""
        filled = sorted(
            (row["instrument"], Decimal(row["quantity"]), Decimal(row["price"])) for row in self.rows("fill")
        )
        told = self.told()
        found = [] if told == filled else [f"fills told {told}, made {filled}"]
        events = BrokerEvent.objects.filter(account=self.account).order_by("sequence")
        numbers = list(events.values_list("sequence", flat=True))
        if self.place is OANDA and numbers != list(range(numbers[0], int(self.last_event()) + 1)):
            found.append(f"events {numbers}, the broker's last is {self.last_event()}")
        return found

    def close(self) -> None:
        """Stop everything."""
        if self.streams is not None:
            self.streams.stop()
            self.streams.join()
        self.control.clear_faults()
        self.control.close()
