"""The stage of a mirrored replay: a simulator that is driven through the same bars, and the account on it.

What always holds: the simulator has seen every bar up to the moment at which an order reaches it; while the account has
neither orders nor positions bars are gathered and played in one go, which changes no fill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from trading.brokers.simulator_control import SimulatorControl
from trading.domain.bars import Bar
from trading.domain.broker import Broker, EventPage, LookupOutcome, OrderRequest, SubmitOutcome
from trading.domain.instruments import BUILT_IN, InstrumentSpec
from trading.domain.session import SessionConfig
from trading.models import Account

MOST_GATHERED = 288


def _on_stage(spec: InstrumentSpec) -> str:
    """What the simulator calls an instrument."""
    if spec.margin:
        return f"{spec.base}_{spec.quote}"
    return f"NSE:{spec.symbol}" if spec.quote == "INR" else spec.symbol


@dataclass(frozen=True, slots=True)
class Stage:
    """A simulator that the replay drives, the adapter of its account there, and how that account is reconciled."""

    control: SimulatorControl
    broker: Broker
    external_id: str
    endpoint: str
    reconcile: Callable[[Account, Broker], None]


class StagedBroker:
    """The account's adapter; whatever is sent to it finds the simulator at the bars' present."""

    def __init__(self, stage: Stage, session: SessionConfig) -> None:
        self.name, self.capabilities = stage.broker.name, stage.broker.capabilities
        self._stage, self._session = stage, session
        self._waiting: list[Mapping[str, Bar]] = []

    def play(self, slot: Mapping[str, Bar], *, at_once: bool) -> None:
        """Let the bars of one moment pass: now, or with the next ones."""
        self._waiting.append(slot)
        if at_once or len(self._waiting) >= MOST_GATHERED:
            self.flush()

    def flush(self) -> None:
        """Bring the simulator to the present."""
        slots, self._waiting = self._waiting, []
        for symbol in sorted({symbol for slot in slots for symbol in slot}):
            spec = BUILT_IN[symbol]
            self._stage.control.play_bars(
                instrument=_on_stage(spec),
                bars=[slot[symbol] for slot in slots if symbol in slot],
                half_spread=self._session.spread_pips(symbol) * spec.pip_size / 2,
            )

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        """See the port."""
        self.flush()
        return self._stage.broker.submit(request)

    def cancel(self, *, broker_order_id: str, client_id: str) -> SubmitOutcome:
        """See the port."""
        self.flush()
        return self._stage.broker.cancel(broker_order_id=broker_order_id, client_id=client_id)

    def replace(
        self, *, broker_order_id: str, client_id: str, quantity: Decimal | None, price: Decimal
    ) -> SubmitOutcome:
        """See the port."""
        self.flush()
        return self._stage.broker.replace(
            broker_order_id=broker_order_id, client_id=client_id, quantity=quantity, price=price
        )

    def order_by_client_id(self, client_id: str, *, since: str = "") -> LookupOutcome:
        """See the port."""
        return self._stage.broker.order_by_client_id(client_id, since=since)

    def events_since(self, cursor: str) -> EventPage:
        """See the port."""
        return self._stage.broker.events_since(cursor)

    def close(self) -> None:
        """See the port."""
        self._stage.broker.close()
