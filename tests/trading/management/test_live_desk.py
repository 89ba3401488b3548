"""`live_oanda` and `live_port` without credentials, beside a desk whose simulator runs, or has stopped."""

from __future__ import annotations

import pytest

from tests.conftest import CommittedDatabase
from tests.servers import Simulator
from tests.trading.management.commands import Files, run
from trading.engine.desk import ensure_desk
from trading.models import Account, Order

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def mirror(committed_db: CommittedDatabase, simulator: Simulator) -> Account:
    """The desk's account at the simulator."""
    ensure_desk(control_url=simulator.control_url)
    return Account.objects.get(name="desk-oanda")


def test_it_says_that_the_desks_broker_is_the_simulator(mirror: Account, capfd: Capture, files: Files) -> None:
    ended = run(capfd, "live_oanda", "--cfg", str(files.cfg), "--mode", "ws", "--for_seconds", "1")
    assert ended.code == 0, ended
    words = f"Live on desk-paper; desk-oanda is the SIMULATOR at {mirror.endpoint}: no OANDA_API_KEY is set"
    assert words in ended.err.splitlines()


@pytest.mark.parametrize(("name", "value"), [("OANDA_API_KEY", "x"), ("OANDA_ACCOUNT_ID", "101-001-1-001")])
def test_half_of_the_credentials_never_goes_live_on_the_simulator(
    mirror: Account, capfd: Capture, files: Files, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    ended = run(capfd, "live_oanda", "--cfg", str(files.cfg), "--mode", "ws", "--for_seconds", "1")
    assert ended.code == 1 and "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set" in ended.blocks[0]["error"]
    assert not Order.objects.exists()


def test_a_simulator_that_has_stopped_is_one_sentence(
    mirror: Account, simulator: Simulator, capfd: Capture, files: Files
) -> None:
    simulator.stop()
    ended = run(capfd, "live_oanda", "--cfg", str(files.cfg), "--mode", "ws", "--for_seconds", "1")
    (block,) = ended.blocks
    assert ended.code == 1 and block["error"].startswith("The simulator of this desk is not running")
    assert block["error"].endswith("Start it with make run. Nothing was run.")


def test_without_a_mirror_it_waits_for_the_simulator_and_says_so_once(
    mirror: Account, simulator: Simulator, capfd: Capture, files: Files
) -> None:
    simulator.stop()
    ended = run(capfd, "live_port", "--cfg", str(files.cfg), "--mode", "ws", "--for_seconds", "2")
    assert ended.code == 0 and ended.err.count("No bars: The simulator of this desk is not running.") == 1
