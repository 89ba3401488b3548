"""The simulator's process and accounts for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.servers import Simulator
from tests.trading.brokers.simulator_desk import START, Desk
from trading.brokers.simulator_control import SimulatorControl


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One process for all tests of a file, its clock standing still; each test has an account of its own."""
    directory = tmp_path_factory.mktemp("simulator")
    process = Simulator.start(directory, ["--always-open", "--speed", "0", "--start", START.isoformat()])
    yield process
    process.stop()


@pytest.fixture
def control(running: Simulator) -> Iterator[SimulatorControl]:
    control = SimulatorControl(running.control_url)
    control.clear_faults()
    control.set_price("EUR_USD", Decimal("1.10000"), Decimal("1.10010"))
    yield control
    control.clear_faults()
    control.close()


@pytest.fixture
def desk(running: Simulator, control: SimulatorControl) -> Iterator[Desk]:
    desk = Desk(running, control)
    yield desk
    desk.broker.close()
