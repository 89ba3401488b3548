"""The desks on which scenarios are played: an account at OANDA, one of shares, and desks that trade at any broker.

What always holds: the scenarios of one broker after the other share one simulator, whose accounts are made anew for
each test; its clock stands still unless a test moves it, and never goes back.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.conftest import any_world, make_world, running
from tests.reconciliation.engine.share_desk import share_desk
from tests.servers import Simulator
from trading.brokers.registry import SIMULATOR_ALPACA_ACCOUNT, SIMULATOR_KITE_ACCOUNT, SIMULATOR_OANDA_ACCOUNT

__all__ = ["any_world", "make_world", "running", "share_desk"]


@pytest.fixture(scope="package")
def lasting_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The process that all scenarios share."""
    process = Simulator.start(tmp_path_factory.mktemp("scenarios"), ["--always-open", "--speed", "0"])
    yield process
    process.stop()


@pytest.fixture
def simulator(lasting_simulator: Simulator) -> Iterator[Simulator]:
    """It, without faults and with new accounts."""
    lasting_simulator.delete("/faults")
    for account in (SIMULATOR_OANDA_ACCOUNT, SIMULATOR_ALPACA_ACCOUNT, SIMULATOR_KITE_ACCOUNT):
        lasting_simulator.post(f"/accounts/{account}/reset")
    yield lasting_simulator
    lasting_simulator.delete("/faults")
