"""The desk's processes as one: started together, watched, and stopped in reverse order.

What always holds here: who watches also reports; the first death of any part ends the whole desk, because a desk
that half runs looks like one that trades.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backoffice.desk import children, paths
from backoffice.desk.paths import DeskError

READY_SECONDS = 90.0


@dataclass
class Part:
    """One process of the desk. `ready` says whether it can do its work now; its output goes to `var/log/<name>.log`."""

    name: str
    arguments: Sequence[str | Path]
    ready: Callable[[], bool]
    environment: Mapping[str, str]
    stop_steps: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 10.0),)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def launch(self) -> None:
        """Start it without waiting; a Python program of this project, in the project's directory."""
        self.process = children.start(
            self.arguments,
            log=paths.open_log(self.name),
            environment=self.environment,
            directory=paths.PROJECT,
        )

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll() if self.process is not None else None

    def stop(self) -> None:
        """End it, politely first."""
        if self.process is not None:
            children.stop(self.process, *self.stop_steps)


def python(*arguments: str | Path) -> list[str | Path]:
    """A command line for this very Python."""
    return [sys.executable, *arguments]


def tell(sentence: str) -> None:
    """A line to the person in front of the terminal, if it is still there: stopping must not fail for want of one."""
    with contextlib.suppress(OSError):
        print(sentence, flush=True)


class Clock:
    """Says each step with the seconds since the start."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def say(self, sentence: str) -> None:
        """One step, done."""
        tell(f"{time.monotonic() - self._begin:6.1f} s  {sentence}")


class Supervisor:
    """The parts that run, in the order in which they were started."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: list[Part] = []

    def launch(self, *parts: Part) -> None:
        """Start these without waiting."""
        for part in parts:
            self._parts.append(part)
            part.launch()

    def wait_for(self, *waiting: Part) -> None:
        """Wait until all of these are ready, saying each. Raises `DeskError` when any part of the desk ends first."""
        left = list(waiting)
        end = time.monotonic() + READY_SECONDS
        while left:
            self.raise_on_death()
            for part in [part for part in left if part.ready()]:
                self._clock.say(f"{part.name} is ready")
                left.remove(part)
            if left and time.monotonic() > end:
                names = ", ".join(part.name for part in left)
                raise DeskError(f"Not ready after {READY_SECONDS:.0f} s: {names}. See {paths.log_directory()}.")
            time.sleep(0.05)

    def raise_on_death(self) -> None:
        """Raise `DeskError` naming the first part that has ended, with the end of its log."""
        for part in self._parts:
            code = part.exit_code()
            if code is not None:
                raise DeskError(
                    f"{part.name} ended by itself (exit code {code}), so the whole desk stops. "
                    f"Orders at the broker stay as they are. The end of its log:\n{paths.end_of_log(part.name)}"
                )

    def stop(self) -> None:
        """Stop all parts, the last one started first."""
        while self._parts:
            part = self._parts.pop()
            part.stop()
            self._clock.say(f"{part.name} has stopped")


def child_environment(**more: str) -> dict[str, str]:
    """Our environment without the owner's login, and with these variables."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_OWNER_URL"}
    return {**environment, "PYTHONUNBUFFERED": "1", **more}
