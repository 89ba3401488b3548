"""The whole desk as a person runs it: real processes, Ctrl-C, kill -9, and the next start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests

from backoffice.desk import children
from backoffice.desk.paths import PROJECT
from tests.conftest import CommittedDatabase

START_SECONDS = 120.0


class RunningDesk:
    """`manage.py desk` over one `var`, with what it printed."""

    def __init__(self, var: Path, **more: str) -> None:
        self.var = var
        self.output = var.parent / "output.txt"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "BACKOFFICE_"))}
        self.environment = {**kept, "BACKOFFICE_VAR": str(var), **more}
        self.began = time.monotonic()
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "desk"], cwd=PROJECT, env=self.environment, stdout=file, stderr=file
            )

    @property
    def printed(self) -> str:
        return self.output.read_text()

    @property
    def facts(self) -> dict[str, str]:
        facts: dict[str, str] = json.loads((self.var / "run" / "desk.json").read_text())
        return facts

    def wait_for(self, words: str) -> float:
        """Wait until it has printed this; the seconds since its start."""
        seen = children.wait_until(lambda: words in self.printed or self.process.poll() is not None, START_SECONDS)
        assert seen and words in self.printed, self.printed
        return time.monotonic() - self.began

    def descendants(self) -> set[int]:
        """Every process below it."""
        parents = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.parent.name)] = int(fields[1])
        found: set[int] = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}

    def stop(self) -> int:
        """Ctrl-C."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def var(open_directory: Path) -> Path:
    """One `var` for this module: what a first desk made, the next one finds."""
    return open_directory / "var"


@pytest.fixture
def desk(var: Path) -> Iterator[RunningDesk]:
    """A desk that is fully up."""
    running = RunningDesk(var)
    try:
        running.wait_for("Ctrl-C stops everything")
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def test_one_command_runs_everything_and_ctrl_c_stops_it_in_order(desk: RunningDesk) -> None:
    address = desk.facts["web"]
    assert requests.get(f"{address}/readyz", timeout=10).json()["ok"] is True
    assert address in desk.printed
    for part in ("PostgreSQL", "Redis", "simulator", "web", "streams", "worker", "slow-worker", "beat"):
        assert f"{part} is ready" in desk.printed

    for name in ("run/desk.json", "secrets.json"):
        assert (desk.var / name).stat().st_mode & 0o777 == 0o600

    second = subprocess.run(
        [sys.executable, "manage.py", "desk"], cwd=PROJECT, env=desk.environment, capture_output=True, text=True
    )
    assert second.returncode == 1
    assert "already running" in second.stdout
    assert address in second.stdout

    joined = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "--command", _REDIS_AND_PEOPLE],
        cwd=PROJECT,
        env=desk.environment,
        capture_output=True,
        text=True,
    )
    assert (joined.returncode, joined.stderr) == (0, "")
    assert joined.stdout.strip() == "True redis+socket"

    processes = desk.descendants()
    assert desk.stop() == 0
    order = [
        desk.printed.index(f"{part} has stopped")
        for part in ("beat", "worker", "streams", "web", "simulator", "Redis", "PostgreSQL")
    ]
    assert order == sorted(order)
    assert not {pid for pid in processes if children.is_alive(pid)}
    assert not (desk.var / "run" / "desk.json").exists()
    assert desk.printed.index("the books: ") < desk.printed.index("Redis has stopped")
    assert (desk.var / "anchors.jsonl").stat().st_mode & 0o777 == 0o600


_DATABASE = "from django.db import connection; print(connection.settings_dict['NAME'])"
_REDIS_AND_PEOPLE = (
    "from django.conf import settings; from trading.models import User; "
    "print(User.objects.exists(), settings.CELERY_BROKER_URL.split(':')[0])"
)


def test_only_the_application_login_is_given_to_web_and_workers(desk: RunningDesk) -> None:
    known = 0
    for pid in desk.descendants():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:  # it has just ended
            continue
        if b"gunicorn" in command or b"celery" in command or b"trading.simulator" in command:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"DATABASE_OWNER_URL=" not in environment
            assert b"backoffice_owner" not in environment
            known += 1
    assert known >= 7  # the web and its child, two workers and their children, beat, the simulator


def _listens(on: socket.socket, port: int) -> bool:
    try:
        on.bind(("127.0.0.1", port))
        on.listen()
    except OSError:
        return False
    return True


def test_after_kill_9_nothing_is_left_and_the_next_start_is_quick_on_another_port_if_need_be(var: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # An earlier desk may just be leaving it; another program that keeps it serves as well.
        children.wait_until(lambda: _listens(taken, 8000), 10)
        first = RunningDesk(var)
        first.wait_for("Ctrl-C stops everything")
        assert not first.facts["web"].endswith(":8000")
        processes = first.descendants()
        assert len(processes) >= 7
        first.process.kill()
        first.process.wait()
        left = children.wait_until(lambda: not {pid for pid in processes if children.is_alive(pid)}, 30)
        assert left, "processes outlived the desk"

    again = RunningDesk(var)
    try:
        # Five seconds on an idle machine; twice that here, where other tests may share it.
        assert again.wait_for("web is ready") < 10
        again.wait_for("Ctrl-C stops everything")
    finally:
        assert again.stop() == 0


def test_the_death_of_a_part_stops_the_desk_and_is_named(var: Path) -> None:
    desk = RunningDesk(var)
    desk.wait_for("Ctrl-C stops everything")
    processes = desk.descendants()
    beat = next(pid for pid in processes if b"\0beat\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(beat, signal.SIGKILL)
    assert desk.process.wait(60) == 1
    assert "beat ended by itself" in desk.printed
    assert not {pid for pid in processes if children.is_alive(pid)}


def test_servers_that_are_named_are_used_instead_of_our_own(
    open_directory: Path, committed_db: CommittedDatabase, redis_url: str
) -> None:
    desk = RunningDesk(open_directory / "var", **committed_db.urls.environment(), REDIS_URL=redis_url)
    try:
        desk.wait_for("Ctrl-C stops everything")
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in desk.descendants()]
        assert not [command for command in commands if b"postgres" in command or b"redis-server" in command]
        assert requests.get(f"{desk.facts['web']}/readyz", timeout=10).status_code == 200
        elsewhere = {name: value for name, value in desk.environment.items() if not name.startswith("DATABASE_")}
        joined = subprocess.run(
            [sys.executable, "manage.py", "shell", "--no-imports", "--command", _DATABASE],
            cwd=PROJECT,
            env=elsewhere,
            capture_output=True,
            text=True,
        )
        assert joined.stdout.strip() == committed_db.name, "a command without the variable joins the desk's database"
    finally:
        assert desk.stop() == 0
    with psycopg.connect(committed_db.urls.application) as connected:
        row = connected.execute("SELECT count(*) FROM trading_user").fetchone()
    assert row == (3,)


def test_sigterm_while_still_starting_stops_what_had_started(var: Path) -> None:
    desk = RunningDesk(var)
    desk.wait_for("PostgreSQL is ready")
    processes = desk.descendants()
    desk.process.send_signal(signal.SIGTERM)
    assert desk.process.wait(60) == 0
    assert not {pid for pid in processes if children.is_alive(pid)}
