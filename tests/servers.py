"""The real servers behind the tests' fixtures."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import requests
from psycopg import sql

from backoffice.desk import children, logins, paths
from backoffice.desk.postgres import PostgresServer
from backoffice.desk.redis import RedisServer

OWNER_PASSWORD = "owner-for-tests"
APPLICATION_PASSWORD = "application-for-tests"


class DatabaseServer:
    """The session's PostgreSQL, and which of its databases Django looks at."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.current: tuple[logins.DatabaseUrls, str] = (self._urls("none"), "none")
        self._made = 0

    def _urls(self, name: str) -> logins.DatabaseUrls:
        return logins.urls(self.server, OWNER_PASSWORD, APPLICATION_PASSWORD, name)

    def provision(self, name: str) -> logins.DatabaseUrls:
        """Make both logins and an empty database, as the desk does."""
        return logins.provision(self.server, OWNER_PASSWORD, APPLICATION_PASSWORD, name)

    def next_name(self) -> str:
        """A name for one more database."""
        self._made += 1
        return f"committed_{self._made}"

    def clone(self, template: str, name: str) -> logins.DatabaseUrls:
        """Copy a database with everything in it and its rights."""
        with psycopg.connect(logins.superuser_url(self.server), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY file_copy").format(
                    sql.Identifier(name), sql.Identifier(template), sql.Identifier(logins.OWNER)
                )
            )
            logins.close_to_others(connection, name)
        return self._urls(name)

    @contextmanager
    def lend(self, template: str, setenv: Callable[[str, str], None]) -> Iterator[tuple[str, logins.DatabaseUrls]]:
        """A copy of a database for one test: Django and `DATABASE_URL` point at it until it is dropped again."""
        before, name = self.current, self.next_name()
        urls = self.clone(template, name)
        self.point_django_at(urls, name)
        for variable, value in urls.environment().items():
            setenv(variable, value)
        try:
            yield name, urls
        finally:
            self.point_django_at(*before)
            self.drop(name)

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        with psycopg.connect(logins.superuser_url(self.server), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def close_connections(self) -> None:
        """Close Django's connections of this thread."""
        from django.db import connections

        connections.close_all()

    def point_django_at(self, urls: logins.DatabaseUrls, name: str) -> None:
        """Let both aliases of Django work on this database from now on, in every thread."""
        from django.conf import settings
        from django.db import connections

        from backoffice.settings import databases

        self.close_connections()
        for alias, config in databases(urls.environment()).items():
            settings.DATABASES[alias].clear()
            settings.DATABASES[alias].update(config)
        connections.configure_settings(settings.DATABASES)
        for alias in settings.DATABASES:
            if alias in connections and connections[alias].vendor == "unknown":  # made before there was a database
                del connections[alias]
        self.current = (urls, name)


def start_redis(directory: Path) -> RedisServer:
    """An embedded Redis with its data below `directory`."""
    server = RedisServer(directory, paths.run_directory() / "redis", log="redis")
    server.start()
    return server


@dataclass
class Simulator:
    """A running simulator and its control interface."""

    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    directory: Path
    account: str = "101-001-1000001-001"
    token: str = "sim-oanda-token"
    control_token: str = "sim-control-token"

    @classmethod
    def start(cls, directory: Path, arguments: Sequence[str]) -> Simulator:
        """Start one on free ports, with its journal in `directory`, and wait until it answers."""
        directory.mkdir(parents=True, exist_ok=True)
        ports_file = directory / "ports.json"
        ports_file.unlink(missing_ok=True)
        log = directory / "simulator.log"
        process = children.start(
            [
                sys.executable,
                "-m",
                "trading.simulator",
                "--ports",
                str(random.randrange(20000, 32000, 10)),
                "--state",
                directory / "state",
                "--ports-file",
                ports_file,
                *arguments,
            ],
            log=os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            directory=paths.PROJECT,
        )
        end = time.monotonic() + 30
        while not ports_file.exists() or not ports_file.read_text().strip():
            if process.poll() is not None or time.monotonic() > end:
                children.stop(process, (signal.SIGTERM, 5.0))
                raise AssertionError(f"the simulator did not start: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        return cls(process, json.loads(ports_file.read_text())["ports"], directory)

    @property
    def control_url(self) -> str:
        """The address of the control interface."""
        return f"http://127.0.0.1:{self.ports['control']}"

    @property
    def oanda_url(self) -> str:
        """The address that `OANDA_URL` takes (without `/v3`)."""
        return f"http://127.0.0.1:{self.ports['oanda']}"

    @property
    def alpaca_url(self) -> str:
        """The address that `ALPACA_URL` takes (without `/v2`)."""
        return f"http://127.0.0.1:{self.ports['alpaca']}"

    @property
    def kite_url(self) -> str:
        """The address that `KITE_URL` takes."""
        return f"http://127.0.0.1:{self.ports['kite']}"

    def get(self, path: str, **parameters: Any) -> Any:
        """GET from the control interface; the decoded answer."""
        return self._call("GET", path, params=parameters)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST to the control interface; the decoded answer."""
        return self._call("POST", path, json=body or {})

    def delete(self, path: str) -> Any:
        """DELETE at the control interface; the decoded answer."""
        return self._call("DELETE", path)

    def _call(self, method: str, path: str, **more: Any) -> Any:
        headers = {"X-Control-Token": self.control_token}
        answer = requests.request(method, self.control_url + path, headers=headers, timeout=10, **more)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def journal(self, since: int = 0) -> list[dict[str, Any]]:
        """Everything that happened there after sequence number `since`."""
        answer = self.get("/journal", since=since)
        rows: list[dict[str, Any]] = answer if isinstance(answer, list) else answer["rows"]
        return rows

    def truth(self, account: str | None = None) -> dict[str, Any]:
        """What that account really holds."""
        answer: dict[str, Any] = self.get(f"/accounts/{account or self.account}")
        return answer

    def environment(self) -> dict[str, str]:
        """The variables with which our OANDA adapter reaches it."""
        return {
            "OANDA_API_KEY": self.token,
            "OANDA_ACCOUNT_ID": self.account,
            "OANDA_URL": self.oanda_url,
            "SIMULATOR_URL": self.control_url,
        }

    def stop(self) -> None:
        """End it."""
        children.stop(self.process, (signal.SIGTERM, 5.0))
