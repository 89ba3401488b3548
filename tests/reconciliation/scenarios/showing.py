"""The real adapter, whose snapshots are changed on their way: for what no simulator can be made to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.reconciliation.conftest import Desk
from trading.domain.broker import Broker, BrokerSnapshot


@dataclass
class Showing:
    """Everything as the adapter says it, but for each snapshot."""

    real: Broker
    change: Callable[[BrokerSnapshot], BrokerSnapshot]

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def snapshot(self) -> BrokerSnapshot:
        """What stands at the broker, changed."""
        return self.change(self.real.snapshot())


def shows(desk: Desk, change: Callable[[BrokerSnapshot], BrokerSnapshot]) -> Broker:
    """Let the desk's broker show this from now on; returns the adapter that it has."""
    real = desk.broker
    desk.broker = Showing(real, change)  # type: ignore[assignment]
    return real
