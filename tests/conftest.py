"""What all tests stand on: real PostgreSQL, Redis and simulator, started when a test first asks for them.

What always holds here:
- nothing outside the temporary directory is touched and nothing else needs to run;
- tests work under the application login, like the product; the migrations ran as the owner, once, in a template;
- `db` rolls back; `committed_db` is a fresh clone of the template, because append-only tables cannot be emptied.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

from backoffice.desk import logins, paths
from backoffice.desk.postgres import PostgresServer
from tests.audited import watching
from tests.servers import DatabaseServer, Simulator, start_redis

_KEPT = ("BACKOFFICE_VAR", "BACKOFFICE_SECRET_KEY", "DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
_directory: Path | None = None

# How hard property tests look: `HYPOTHESIS_PROFILE=nightly`, or `--hypothesis-profile nightly`. Without one it is "ci".
hypothesis_settings.register_profile("ci", deadline=None)
hypothesis_settings.register_profile("nightly", deadline=None, max_examples=10_000)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    """Turn everything that settings and commands may read to a temporary directory, before any test is collected."""
    global _directory
    _directory = Path(tempfile.mkdtemp(prefix="backoffice-test-"))
    _directory.chmod(paths.private_mode())
    for name in _KEPT:
        os.environ.pop(name, None)
    os.environ["BACKOFFICE_VAR"] = str(_directory / "var")
    os.environ["BACKOFFICE_SECRET_KEY"] = "a key for tests only"
    from django.conf import settings

    settings.VAR = _directory / "var"
    settings.SECRET_KEY = os.environ["BACKOFFICE_SECRET_KEY"]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the temporary directory; the servers were stopped by their fixtures."""
    if _directory is not None:
        sockets = paths.run_directory()  # named after the directory, so ask before that is gone
        for leftover in (sockets, _directory):
            shutil.rmtree(leftover, ignore_errors=True)


@pytest.fixture(autouse=True)
def nothing_changes_silently() -> Iterator[None]:
    """Whatever a test makes the project write, it writes with an audit event in the same transaction."""
    with watching() as watch:
        yield
    assert not watch.silent, "written without an audit event in the same transaction:\n" + "\n".join(watch.silent)
    assert not watch.undeclared, "fields that the kind does not declare (domain/audit_kinds.py): " + "; ".join(
        watch.undeclared
    )


@pytest.fixture(scope="module")
def open_directory() -> Path:
    """A directory that other users can pass through, unlike pytest's: PostgreSQL runs as one when we are root."""
    assert _directory is not None
    made = Path(tempfile.mkdtemp(dir=_directory))
    made.chmod(paths.private_mode())
    return made


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    """The session's PostgreSQL: real logins and rules, but it may lose everything in a power cut."""
    assert _directory is not None
    server = PostgresServer(
        _directory / "postgres",
        paths.run_directory() / "postgres",
        "superuser-for-tests",
        log="postgres",
        options=("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=200"),
    )
    server.start()
    try:
        yield DatabaseServer(server)
    finally:
        server.stop()


@pytest.fixture(scope="session")
def template_database(database_server: DatabaseServer, django_test_environment: None, django_db_blocker: Any) -> str:
    """The name of the database in which the real migrations ran once, as the owner; others are cloned from it."""
    from django.core.management import call_command

    name = "backoffice_template"
    with django_db_blocker.unblock():
        database_server.point_django_at(database_server.provision(name), name)
        call_command("migrate", verbosity=0)
        database_server.close_connections()
    return name


@pytest.fixture(scope="session")
def django_db_setup(database_server: DatabaseServer, template_database: str, django_db_blocker: Any) -> Iterator[None]:
    """The database behind `db`, instead of pytest-django's own: a clone of the template."""
    with django_db_blocker.unblock():
        urls = database_server.clone(template_database, "backoffice_test")
        database_server.point_django_at(urls, "backoffice_test")
    yield
    with django_db_blocker.unblock():
        database_server.close_connections()


@dataclass(frozen=True, slots=True)
class CommittedDatabase:
    """A database of one test's own, in which commits stay."""

    name: str
    urls: logins.DatabaseUrls
    superuser_url: str

    def environment(self) -> dict[str, str]:
        """The whole environment for a process of ours that is to work on this database."""
        return {**os.environ, **self.urls.environment()}


@pytest.fixture
def committed_db(
    database_server: DatabaseServer,
    django_db_setup: None,
    template_database: str,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[CommittedDatabase]:
    """A fresh database of the test's own in which commits stay; both aliases and `DATABASE_URL` point at it."""
    with (
        django_db_blocker.unblock(),
        database_server.lend(template_database, monkeypatch.setenv) as (name, urls),
    ):
        yield CommittedDatabase(name, urls, logins.superuser_url(database_server.server, name))


@pytest.fixture
def web(committed_db: CommittedDatabase, settings: Any) -> Iterator[str]:
    """The address of the real web over `committed_db`, served by a thread; for browsers and HTTP clients."""
    from pytest_django.live_server_helper import LiveServer

    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    server = LiveServer("127.0.0.1")
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an embedded Redis for the session."""
    server = start_redis(tmp_path_factory.mktemp("redis"))
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture
def start_simulator(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Start simulators as processes of their own, each with further arguments; stopped after the test."""
    running: list[Simulator] = []

    def start(*arguments: str, name: str = "simulator") -> Simulator:
        running.append(Simulator.start(tmp_path / name, arguments))
        return running[-1]

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture
def simulator(start_simulator: Callable[..., Simulator]) -> Simulator:
    """A broker: always open, its clock stands still unless the test moves it."""
    return start_simulator("--always-open", "--speed", "0")
