"""`make soak MINUTES=…`: a whole week of the simulated market on the real desk, at speed.

What always holds: everything runs as for a user (the desk and all its processes, in a directory of its own); nothing is
planted; the last line is one JSON object, and the exit code is 0 only when no memory grew beyond the target, `verify`
is clean, no case is open at the end, and the cash of every account equals the broker's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.progress import finish

PROJECT = Path(__file__).resolve().parent.parent
WEEK_SECONDS = 7 * 24 * 3600
SAMPLE_SECONDS = 5.0
# What a process may gain between the first third of the run (caches fill, code loads) and its last, in percent.
MOST_GROWTH_PERCENT = 15
START_SECONDS = 120.0
SETTLE_SECONDS = 60.0


@dataclass
class Memory:
    """Resident memory of each part of the desk over the run, in MiB."""

    samples: dict[str, list[float]] = field(default_factory=dict)

    def take(self, desk: int) -> None:
        """Look at the desk and everything that it started."""
        now: dict[str, float] = {}
        for pid, name in _family(desk):
            now[name] = now.get(name, 0.0) + _resident(pid)
        for name, value in now.items():
            self.samples.setdefault(name, []).append(value)

    def growth(self) -> dict[str, dict[str, float]]:
        """For each part the median of the first and of the last third, and the growth in percent."""
        found = {}
        for name, values in sorted(self.samples.items()):
            third = len(values) // 3
            if third < 3:
                continue
            early, late = _median(values[third : 2 * third]), _median(values[-third:])
            found[name] = {
                "early_mib": round(early, 1),
                "late_mib": round(late, 1),
                "growth_percent": round(100 * (late - early) / early, 1),
            }
        return found


@contextmanager
def desk(environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The desk, until the end of the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "desk"], cwd=PROJECT, env=dict(environment), stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(minutes: float, simulated_seconds: float) -> dict[str, Any]:
    """The soak; figures, targets, and whether they were met."""
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    directory.chmod(0o711)
    os.environ.update(BACKOFFICE_VAR=str(directory / "var"), BACKOFFICE_DEMO="1")
    for name in ("DATABASE_URL", "REDIS_URL", "SIMULATOR_URL", "OANDA_API_KEY", "ALPACA_API_KEY"):
        os.environ.pop(name, None)
    from backoffice.desk import paths
    from trading.brokers.simulator_control import SimulatorControl

    try:
        with desk(os.environ, directory / "desk.log") as process:
            facts = _wait_for_facts(paths.state_directory() / "desk.json", process, directory / "desk.log")
            control = SimulatorControl(facts["BACKOFFICE_SIMULATOR_URL"])
            began, _ = control.clock()
            control.set_speed(round(Decimal(simulated_seconds) / Decimal(minutes * 60), 1))
            memory, started = Memory(), time.monotonic()
            while (at := control.clock()[0] - began).total_seconds() < simulated_seconds:
                if process.poll() is not None:
                    raise SystemExit(f"The desk ended by itself:\n{(directory / 'desk.log').read_text()[-2000:]}")
                memory.take(process.pid)
                _show(at.total_seconds() / simulated_seconds, time.monotonic() - started)
                time.sleep(SAMPLE_SECONDS)
            control.set_speed(Decimal(1))
            time.sleep(SETTLE_SECONDS)
            left = _manage("shell", "--no-imports", "--command", _WHAT_IS_LEFT)
            verified = _manage("verify", "--json")
            reconciled = _manage("reconcile")
            figures = {
                "simulated_hours": round(simulated_seconds / 3600, 1),
                "wall_minutes": round((time.monotonic() - started) / 60, 1),
                **json.loads(left.splitlines()[-1]),
                "verify_ok": json.loads(verified.splitlines()[-1])["ok"],
                "reconcile_ok": '"ok":true' in reconciled,
                "memory": memory.growth(),
            }
            control.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    targets = {"memory_growth_percent": MOST_GROWTH_PERCENT, "open_cases": [], "verify_ok": True, "reconcile_ok": True}
    met = (
        figures["open_cases"] == []
        and figures["verify_ok"] is True
        and figures["reconcile_ok"] is True
        and all(row["growth_percent"] <= MOST_GROWTH_PERCENT for row in figures["memory"].values())
    )
    return {"figures": figures, "targets": targets, "met": met}


_WHAT_IS_LEFT = """
import json
from reconciliation.models import Discrepancy, Run
alive = ["OPEN", "PROPOSED", "APPROVED", "APPLIED"]
from trading.models import Fill, Order, Trade
print(json.dumps({
    "open_cases": [str(row) for row in Discrepancy.objects.filter(state__in=alive)],
    "cases": Discrepancy.objects.count(), "runs": Run.objects.count(),
    "runs_failed": Run.objects.filter(status="FAILED").count(), "orders": Order.objects.count(),
    "fills": Fill.objects.count(), "trades": Trade.objects.count(),
}))
"""


def _manage(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or json.dumps({"ok": False, "error": done.stderr[-500:]})


def _wait_for_facts(path: Path, process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if path.exists():
            facts: dict[str, str] = json.loads(path.read_text())
            if "web" in facts:
                return facts
        time.sleep(0.2)
    raise SystemExit(f"The desk did not start:\n{log.read_text()[-2000:]}")


def _family(root: int) -> list[tuple[int, str]]:
    """The process and its descendants, each with the name of the part it belongs to."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [(root, "desk")]
    for pid, name in found:
        for child, parent in parents.items():
            if parent == pid:
                found.append((child, _name(child) if name == "desk" else name))
    return found


def _name(pid: int) -> str:
    try:
        words = (Path("/proc") / str(pid) / "cmdline").read_text().split("\0")
    except OSError:
        return "gone"
    for part in ("gunicorn", "beat", "worker", "streams", "trading.simulator", "redis", "postgres"):
        if any(part in word for word in words):
            return part
    return "other"


def _resident(pid: int) -> float:
    try:
        for line in (Path("/proc") / str(pid) / "status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
    except OSError:
        return 0.0
    return 0.0


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _show(share: float, seconds: float) -> None:
    filled = int(40 * min(share, 1))
    print(f"\r[{'#' * filled}{'.' * (40 - filled)}] {share:4.0%} {seconds:5.0f} s", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every target was met."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of wall time")
    parser.add_argument("--hours", type=float, default=WEEK_SECONDS / 3600, help="of simulated time")
    options = parser.parse_args(arguments)
    result = run(options.minutes, options.hours * 3600)
    return finish(result)


if __name__ == "__main__":
    raise SystemExit(main())
