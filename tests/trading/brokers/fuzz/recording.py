"""Taping every subject at one simulator of this run's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.servers import Simulator
from tests.trading.brokers.fuzz.subjects import SUBJECTS, Subject, Tape
from tests.trading.brokers.simulator_desk import START
from trading.brokers.simulator_control import SimulatorControl


def record(directory: Path, subjects: Sequence[Subject] = SUBJECTS) -> list[Tape]:
    """Start a simulator in `directory`, tape all subjects, and end it."""
    running = Simulator.start(directory, ["--always-open", "--speed", "0", "--start", START.isoformat()])
    control = SimulatorControl(running.control_url)
    try:
        return [each.record(running, control) for each in subjects]
    finally:
        control.close()
        running.stop()
