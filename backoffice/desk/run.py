"""`manage.py desk`: everything, in one terminal.

What always holds here: one desk per `var`; every step is said with its seconds; on Ctrl-C, SIGTERM or the death of a
part everything stops in reverse order; after `kill -9` the kernel stops every child, and the next start works.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.request import urlopen
from zoneinfo import ZoneInfo

from backoffice.desk import children, join, locks, migrations, paths
from backoffice.desk.paths import DeskError
from backoffice.desk.processes import Clock, Part, Supervisor, child_environment, python, tell
from backoffice.desk.redis import RedisServer

FIRST_WEB_PORT = 8000
FIRST_SIMULATOR_PORT = 9100
# Ten simulated seconds a second: a five-minute bar every half minute, and prices still fresh when a worker acts. The
# demo day runs twice as fast, from shortly before New York's opening bell.
SIMULATOR_SPEED, DEMO_SPEED = "10", "20"
MORNING, DEMO_MORNING = (time_of_day(6, 50), ZoneInfo("UTC")), (time_of_day(9, 27), ZoneInfo("America/New_York"))
# What may take long has a process of its own: orders never wait until it is done.
WORKERS = {"worker": ("orders,signals,reconciliation", "2"), "slow-worker": ("slow", "1")}
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
PATIENCE = 10.0
SEED_SECONDS = 60.0
ANCHOR_SECONDS = 20.0


def free_port(first: int, tries: int = 200) -> int:
    """The first port from `first` on that nobody listens on, on loopback."""
    for port in range(first, first + tries):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise DeskError(f"No port between {first} and {first + tries} is free on 127.0.0.1.")


def answers(url: str) -> bool:
    """Whether a GET of this address is answered with 200 now."""
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Desk:
    """All parts of the desk and the order of their start."""

    def __init__(self, *, demo: bool = False) -> None:
        """With `demo` the day of the demo is run and its differences are planted."""
        self._demo = demo
        self._clock = Clock()
        self._supervisor = Supervisor(self._clock)
        self._lock = locks.FileLock("desk")
        self._database: join.EmbeddedDatabase | None = None
        self._redis: RedisServer | None = None
        self._stopping = False
        self._may_anchor = False
        self._seeding: subprocess.Popen[bytes] | None = None
        self._demo_day: subprocess.Popen[bytes] | None = None
        self._facts_file = paths.state_directory() / "desk.json"
        self._facts: dict[str, Any] = {"pid": os.getpid()}

    def run(self) -> int:
        """Run until somebody stops it. The exit code: 0 after Ctrl-C or SIGTERM, 1 when a part died."""
        for caught in STOP_SIGNALS:
            signal.signal(caught, self._interrupt)
        if os.environ.pop("BACKOFFICE_STOP_WITH_PARENT", ""):
            children.stop_with_our_parent()
        if not self._lock.take(alone=True, wait=False):
            other = paths.read_json(self._facts_file)
            where = other.get("web", "it is just starting")
            tell(f"A desk on {paths.var_directory()} is already running (process {other.get('pid', '?')}): {where}")
            return 1
        self._facts_file.unlink(missing_ok=True)
        code = 0
        try:
            self._start()
            self._watch()
        except KeyboardInterrupt:
            tell("\nStopping …")
        except DeskError as error:
            tell(f"\n{error}")
            code = 1
        finally:
            self._stopping = True
            self._stop()
        return code

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """Leave whatever we do and stop; a second signal must not break the stopping off."""
        if not self._stopping:
            self._stopping = True
            raise KeyboardInterrupt

    def _start(self) -> None:
        if self._demo:
            os.environ["BACKOFFICE_DEMO"] = "1"
        tell(f"The desk starts; its data is in {paths.var_directory()}, its logs in {paths.log_directory()}.")
        self._start_redis()
        simulator = self._simulator()
        self._supervisor.launch(simulator)
        self._start_database()
        self._supervisor.wait_for(simulator)
        os.environ["BACKOFFICE_SIMULATOR_URL"] = self._simulator_url()
        web, address = self._web()
        self._supervisor.launch(web)
        seeding = self._seed()
        self._supervisor.wait_for(web)
        self._facts.update(web=address, BACKOFFICE_SIMULATOR_URL=self._simulator_url())
        self._write_facts()
        tell(f"\n          {address}/admin/\n")
        users = self._users_of(seeding)
        workers = (self._streams(), *(self._celery(kind) for kind in (*WORKERS, "beat")))
        self._supervisor.launch(*workers)
        self._supervisor.wait_for(*workers)
        tell(f"\nThe back office is at {address}/admin/")
        for line in users:
            tell(f"  {line}")
        if self._demo:
            self._start_demo_day()
        tell("Ctrl-C stops everything.\n")

    def _watch(self) -> None:
        """Until Ctrl-C; raises `DeskError` when a part has ended."""
        while True:
            paths.trim_logs()
            for _ in range(240):
                self._supervisor.raise_on_death()
                self._raise_on_dead_server()
                time.sleep(0.25)

    def _start_redis(self) -> None:
        if os.environ.get("REDIS_URL"):
            self._clock.say("Redis is the one that REDIS_URL names")
            return
        self._redis = RedisServer(paths.var_directory() / "redis", paths.run_directory() / "redis", log="redis")
        self._redis.launch()
        os.environ["REDIS_URL"] = self._redis.url

    def _start_database(self) -> None:
        if os.environ.get("DATABASE_URL"):
            if not os.environ.get("DATABASE_OWNER_URL"):
                raise DeskError(
                    "DATABASE_URL is set, but DATABASE_OWNER_URL is not: the desk applies migrations, and they are "
                    "made by the owner of the tables. Set DATABASE_OWNER_URL (docs/operations.md)."
                )
            self._facts["DATABASE_URL"] = os.environ["DATABASE_URL"]  # so that commands join it, not an empty one
            self._clock.say("PostgreSQL is the one that DATABASE_URL names")
            self._migrate(os.environ["DATABASE_OWNER_URL"])
        else:
            self._database = join.EmbeddedDatabase()
            urls = self._database.open(alone=True)
            os.environ.update(urls.environment())
            self._clock.say("PostgreSQL is ready")
            self._migrate(urls.owner)
            self._database.ready()
        if self._redis is not None:
            self._redis.wait()
            self._clock.say("Redis is ready")
        self._facts["REDIS_URL"] = os.environ["REDIS_URL"]
        self._write_facts()

    def _migrate(self, owner_url: str) -> None:
        if not migrations.are_applied(owner_url):
            done = subprocess.run(
                [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=paths.PROJECT, check=False
            )
            if done.returncode != 0:
                raise DeskError("The database could not be brought up to date; the reason stands above.")
        self._clock.say("the database is up to date")
        self._may_anchor = True

    def _simulator(self) -> Part:
        ports_file = paths.state_directory() / "ports.json"
        ports_file.unlink(missing_ok=True)
        return Part(
            name="simulator",
            arguments=python(
                "-m",
                "trading.simulator",
                *("--ports", str(FIRST_SIMULATOR_PORT)),
                *("--state", paths.var_directory() / "simulator"),
                *("--speed", DEMO_SPEED if self._demo else SIMULATOR_SPEED),
                *("--start", _first_morning(*(DEMO_MORNING if self._demo else MORNING))),
                "--always-open",
                *("--ports-file", ports_file),
            ),
            ready=lambda: bool(paths.read_json(ports_file)),
            environment=child_environment(),
        )

    def _simulator_url(self) -> str:
        ports = paths.read_json(paths.state_directory() / "ports.json")
        return f"http://127.0.0.1:{ports['ports']['control']}"

    def _web(self) -> tuple[Part, str]:
        port = free_port(FIRST_WEB_PORT)
        address = f"http://127.0.0.1:{port}"
        part = Part(
            name="web",
            arguments=python(
                "-m",
                "gunicorn",
                "backoffice.wsgi:application",
                *("--bind", f"127.0.0.1:{port}"),
                *("--worker-class", "gthread"),
                *("--workers", "1"),
                *("--threads", "8"),
                *("--graceful-timeout", "5"),
                *("--access-logfile", "-"),
                "--no-control-socket",
            ),
            ready=lambda: answers(f"{address}/readyz"),
            environment=child_environment(BACKOFFICE_DATABASE_POOL="1"),
        )
        return part, address

    def _streams(self) -> Part:
        ready_file = paths.state_directory() / "streams.ready"
        ready_file.unlink(missing_ok=True)
        return Part(
            name="streams",
            arguments=python("manage.py", "streams"),
            ready=ready_file.exists,
            environment=child_environment(BACKOFFICE_READY_FILE=str(ready_file)),
            stop_steps=((signal.SIGTERM, 4.0),),
        )

    def _celery(self, kind: str) -> Part:
        ready_file = paths.state_directory() / f"{kind}.ready"
        ready_file.unlink(missing_ok=True)
        program, flags = "beat", ["--pidfile="]
        if kind in WORKERS:
            queues, concurrency = WORKERS[kind]
            program = "worker"
            flags = [
                *("--queues", queues),
                *("--concurrency", concurrency),
                *("--hostname", f"{kind}@%h"),
                *("--without-mingle", "--without-gossip"),
            ]
        return Part(
            name=kind,
            arguments=python("-m", "celery", "--app", "backoffice.celery", "--quiet", program, *flags),
            ready=ready_file.exists,
            environment=child_environment(
                BACKOFFICE_READY_FILE=str(ready_file),
                PYTHONWARNINGS="ignore:You're running the worker with superuser privileges",
            ),
            # The first signal lets running tasks finish; the second gives them a last few seconds and gives them back.
            stop_steps=((signal.SIGTERM, 8.0), (signal.SIGQUIT, 14.0)),
        )

    def _seed(self) -> subprocess.Popen[bytes]:
        """Start making the demo people and accounts, beside the start of the web."""
        self._seeding = children.start(
            python("manage.py", "seed_desk", "--simulator", self._simulator_url()),
            log=paths.open_log("seed_desk"),
            environment=child_environment(),
            directory=paths.PROJECT,
            read_output=True,
        )
        return self._seeding

    def _start_demo_day(self) -> None:
        """Let the demo day take its course; what it says is said here, and its end is nobody's death."""
        self._demo_day = day = children.start(
            python("manage.py", "demo"),
            log=paths.open_log("demo"),
            environment=child_environment(),
            directory=paths.PROJECT,
            read_output=True,
        )
        threading.Thread(target=_pass_on, args=(day,), daemon=True).start()

    def _users_of(self, seeding: subprocess.Popen[bytes]) -> list[str]:
        """Wait for the demo people; a line for each, with the password of whoever was just made."""
        try:
            output, _ = seeding.communicate(timeout=SEED_SECONDS)
            people = json.loads(output)["users"] if seeding.returncode == 0 else None
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            people = None
        if people is None:
            end = paths.end_of_log("seed_desk")
            raise DeskError(f"The demo people and accounts could not be made. The end of the log:\n{end}")
        self._clock.say("people and accounts are ready")
        known = "the password it was given at first (manage.py changepassword sets another)"
        return [
            f"{person['username']:10} {', '.join(person.get('groups', [])):12} {person.get('password', known)}"
            for person in people
        ]

    def _raise_on_dead_server(self) -> None:
        server = self._database.server if self._database is not None else None
        for name, process in (
            ("postgres", server.process if server is not None else None),
            ("redis", self._redis.process if self._redis is not None else None),
        ):
            if process is not None and process.poll() is not None:
                raise DeskError(f"{name} ended by itself, so the whole desk stops. Its log:\n{paths.end_of_log(name)}")

    def _write_facts(self) -> None:
        paths.write_private(self._facts_file, json.dumps(self._facts) + "\n")

    def _stop(self) -> None:
        for helper in (self._seeding, self._demo_day):
            if helper is not None:
                children.stop(helper, (signal.SIGTERM, 5.0))
        self._supervisor.stop()
        self._anchor()
        if self._redis is not None:
            self._redis.stop()
            self._clock.say("Redis has stopped")
        if self._database is not None:
            self._database.close(patience=PATIENCE)
            self._clock.say("PostgreSQL has stopped")
        paths.remove_run_directory()
        self._facts_file.unlink(missing_ok=True)
        Path(paths.state_directory() / "ports.json").unlink(missing_ok=True)
        self._lock.release()

    def _anchor(self) -> None:
        """Write down outside the database where the books end; whatever prevents it does not keep us from stopping."""
        if not self._may_anchor:
            return
        try:
            done = subprocess.run(
                [sys.executable, "manage.py", "anchor"],
                cwd=paths.PROJECT,
                env=child_environment(),
                capture_output=True,
                text=True,
                timeout=ANCHOR_SECONDS,
                start_new_session=True,  # a second Ctrl-C in the terminal is not for it
            )
            said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
        except subprocess.TimeoutExpired:
            said = [f"no anchor after {ANCHOR_SECONDS:.0f} s; the next start makes it up"]
        self._clock.say(f"the books: {said[-1] if said else 'not anchored'}")


def _pass_on(day: subprocess.Popen[bytes]) -> None:
    """Say what the demo day says, until it ends."""
    assert day.stdout is not None
    for line in day.stdout:
        tell(f"  demo day: {line.decode(errors='replace').rstrip()}")


def _first_morning(at: time_of_day, zone: ZoneInfo) -> str:
    """Where a new simulator's clock begins: this time of the last weekday that has begun there."""
    day = datetime.now(zone).date()
    while day.weekday() > 4:
        day -= timedelta(days=1)
    return datetime.combine(day, at, zone).astimezone(UTC).isoformat()
