"""`manage.py streams` as the process that the desk runs, and the streams of a live engine in the foreground."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from backoffice.desk.paths import PROJECT
from tests.conftest import CommittedDatabase
from tests.servers import Simulator
from tests.trading.engine.stream_desk import StreamDesk, wait
from tests.trading.management.commands import Files, run
from trading.engine.streams import events_name
from trading.services import heartbeats, leases


def test_the_standing_process_listens_and_ends_at_once_when_it_is_told_to(
    committed_db: CommittedDatabase, simulator: Simulator, tmp_path: Path
) -> None:
    desk = StreamDesk.open(simulator)
    ready = tmp_path / "ready"
    process = subprocess.Popen(
        [sys.executable, "manage.py", "streams"],
        cwd=PROJECT,
        env={**committed_db.environment(), "BACKOFFICE_READY_FILE": str(ready)},
    )
    try:
        wait(ready.exists, 30, "it says that it is ready")
        wait(lambda: desk.health().get("connected") and desk.is_current(), 10, "it listens")
        desk.trade_elsewhere()
        wait(desk.is_current, 5, "what happens is known")
        assert desk.health()["pid"] == process.pid
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 3, "two seconds, and one for the end of the interpreter"
        assert not leases.held(events_name(desk.account)), "the next one need not wait"
    finally:
        process.kill()
        process.wait()
        desk.close()


def test_a_live_engine_in_the_foreground_streams_itself_and_says_so(
    committed_db: CommittedDatabase,
    simulator: Simulator,
    capfd: pytest.CaptureFixture[str],
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in simulator.environment().items():
        monkeypatch.setenv(name, value)
    flags = ("--cfg", str(files.cfg), "--mode", "ws", "--source", "simulator", "--for_seconds", "1")
    ended = run(capfd, "live_port", *flags)
    assert ended.code == 0, ended.err
    assert ended.blocks[-1]["ws"] == {"connected": True, "errors": "0"}
    account = f"oanda-{simulator.account}"
    for name in (f"stream.events:{account}", f"stream.prices:{account}"):
        assert heartbeats.lately(name, within=timedelta(seconds=30)) is not None
        assert not leases.held(name)
