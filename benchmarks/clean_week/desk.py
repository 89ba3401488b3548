"""The desk of the clean week: three brokers in one simulator, whose clock moves from slot to slot and stands between.

What always holds: everything is done by the product's own verbs, in the order in which its processes would; a slot is
left only when nothing is due any more, so that none can be missed; somebody logs in at Kite each morning before it is
asked, as a person would have to.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.own_database import FAST, own_database

if TYPE_CHECKING:
    from tests.servers import Simulator
    from trading.models import Account

SESSION = Path(__file__).with_name("session.yaml")
# A Tuesday, so that a weekend lies in the middle and the faults afterwards meet an open market. A few seconds past
# the slot's beginning the candle before it is there.
BEGINS = "2026-01-06T00:00:15Z"
SLOT_SECONDS = 300
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Sight:
    """A case as one run left it."""

    case: int
    account: str
    kind: str
    key: str
    state: str

    def __str__(self) -> str:
        return f"{self.account} {self.kind} {self.key} {self.state}"


@dataclass
class WeekDesk:
    """The desk. `runs` counts what ran by account and trigger, `not_complete` says what did not get through."""

    simulator: Simulator
    setups: list[Any]
    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    not_complete: list[str] = field(default_factory=list)
    run_seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        from trading.brokers.simulator_control import SimulatorControl

        self.control = SimulatorControl(self.simulator.control_url)
        self._kite_dies_at = self.now()
        self._tell_time()

    @property
    def accounts(self) -> list[Account]:
        """The accounts at the brokers."""
        return [setup.feed_account for setup in self.setups]

    def runs_of(self, account: Account) -> int:
        """How many runs of the account there were, whatever made them due."""
        return sum(count for (name, _), count in self.runs.items() if name == account.name)

    def now(self) -> datetime:
        """The simulator's time."""
        return self.control.clock()[0]

    def step(self) -> None:
        """One slot: time passes at the brokers, then everybody does what they have to do at its end."""
        from trading.engine.instruments import read_all
        from trading.engine.live import evaluate_due
        from trading.engine.settling import settle_all
        from trading.engine.watcher import watch_once

        self.control.step_clock(Decimal(SLOT_SECONDS))
        self._tell_time()
        read_all()
        for setup in self.setups:
            evaluate_due(setup)
        for _ in range(ROUNDS):
            watch_once()
            if not self.unfinished():
                break
        settle_all()
        self.reconcile()

    def reconcile(self) -> None:
        """Run what is due, until nothing is."""
        from reconciliation.engine.due import reconcilable, run_if_due
        from reconciliation.models import Run

        for account in reconcilable():
            while True:
                began = time.perf_counter()
                result = run_if_due(account)
                if result is None:
                    break
                self.run_seconds.append(time.perf_counter() - began)
                trigger = ""
                if result.run_id is not None:
                    trigger = Run.objects.get(pk=result.run_id).trigger
                self.runs[account.name, trigger] += 1
                if not result.ok:
                    self.not_complete.append(f"{account.name} {trigger} {result.status}: {result.error}"[:300])
                    break

    def unfinished(self) -> bool:
        """Whether an order is still on its way, or waits to be."""
        from trading.models import Account, Order

        waiting = Order.objects.filter(state__in=["PLANNED", "SENDING", "UNKNOWN", "CANCELLING"], rides_on=None)
        return waiting.exclude(account__broker=Account.Broker.PAPER).exists()

    def live(self) -> list[Sight]:
        """The cases that are alive, suspected ones too."""
        from reconciliation.models import Discrepancy

        rows = Discrepancy.objects.exclude(state__in=["CLOSED", "CLEARED"]).order_by("pk")
        fields = ("pk", "account__name", "kind", "key", "state")
        return [Sight(*row) for row in rows.values_list(*fields)]

    def _tell_time(self) -> None:
        """All accounts' clocks stand where the simulator's does."""
        from trading.clock import store_broker_clock

        at = self.now()
        for setup in self.setups:
            for account in (setup.account, setup.feed_account):
                store_broker_clock(account=account, broker_at=at, speed=Decimal(0))
        if at >= self._kite_dies_at:
            self._log_in_at_kite()

    def _log_in_at_kite(self) -> None:
        from trading.brokers.registry import SIMULATOR_KITE_ACCOUNT, SIMULATOR_KITE_KEY, SIMULATOR_KITE_SECRET

        session = self.simulator.truth(SIMULATOR_KITE_ACCOUNT)["session"]
        proof = SIMULATOR_KITE_KEY + session["request_token"] + SIMULATOR_KITE_SECRET
        asked = {
            "api_key": SIMULATOR_KITE_KEY,
            "request_token": session["request_token"],
            "checksum": hashlib.sha256(proof.encode()).hexdigest(),
        }
        answer = requests.post(f"{self.simulator.kite_url}/session/token", data=asked, timeout=10)
        answer.raise_for_status()
        os.environ.update(
            SIMULATOR_URL=self.simulator.control_url,
            KITE_API_KEY=SIMULATOR_KITE_KEY,
            KITE_ACCESS_TOKEN=answer.json()["data"]["access_token"],
            KITE_API_SECRET=SIMULATOR_KITE_SECRET,
        )
        dies_at = self.simulator.truth(SIMULATOR_KITE_ACCOUNT)["session"]["dies_at"]
        # It dies within the slot before the next step: whoever comes at that step finds it dead and logs in.
        self._kite_dies_at = datetime.fromisoformat(dies_at)


@contextmanager
def week_desk(begins: str = BEGINS) -> Iterator[WeekDesk]:
    """Everything of the run's own, stopped and removed at the end."""
    for name in ("ALPACA_API_KEY", "KITE_API_KEY", "KITE_ACCESS_TOKEN", "BACKOFFICE_DEMO", "BACKOFFICE_PROFILE"):
        os.environ.pop(name, None)
    with own_database("clean_week", FAST) as own:
        os.environ["BACKOFFICE_SESSION"] = str(SESSION)
        import django

        django.setup()
        from backoffice.desk import paths
        from tests.servers import Simulator
        from trading.engine.desk import ensure_desk

        paths.log_directory()
        simulator = Simulator.start(own.directory / "simulator", ["--speed", "0", "--start", begins])
        try:
            setups = ensure_desk(control_url=simulator.control_url)
            desk = WeekDesk(simulator, setups)
            yield desk
            desk.control.close()
        finally:
            simulator.stop()
