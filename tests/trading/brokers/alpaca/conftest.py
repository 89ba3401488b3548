"""An Alpaca account of each test's own, at the simulator that a file shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Simulator
from tests.trading.brokers.alpaca.alpaca_desk import ASK, BID, Desk
from trading.brokers.simulator_control import SimulatorControl


@pytest.fixture
def desk(running: Simulator, control: SimulatorControl) -> Iterator[Desk]:
    control.set_price("AAPL", BID, ASK)
    desk = Desk(running, control)
    yield desk
    desk.broker.close()
