"""Real trades: the generated market replayed once on the paper book and its mirror; copied for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from backoffice.desk import logins
from tests.conftest import CommittedDatabase
from tests.servers import DatabaseServer, Simulator
from tests.trading.engine.market import THURSDAY
from tests.trading.management.commands import CREDENTIALS, make_files
from trading.models import Account


@pytest.fixture(scope="session")
def traded(
    database_server: DatabaseServer,
    django_db_setup: None,
    template_database: str,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The name of a database in which three days were traded, decided on paper and mirrored to a simulator."""
    from django.conf import settings

    folder: Path = tmp_path_factory.mktemp("traded")
    files = make_files(folder, days=3)
    simulator = Simulator.start(
        folder / "simulator", ("--always-open", "--speed", "0", "--start", THURSDAY.isoformat())
    )
    patch = pytest.MonkeyPatch()
    for name in CREDENTIALS:
        patch.delenv(name, raising=False)
    patch.setenv("SIMULATOR_URL", simulator.control_url)
    patch.setattr(settings, "BASE_DIR", folder)
    name, before = database_server.next_name(), database_server.current
    with django_db_blocker.unblock():
        try:
            database_server.point_django_at(database_server.clone(template_database, name), name)
            call_command("live_oanda", *files.arguments(), "--mirror", "oanda")
        finally:
            patch.undo()
            simulator.stop()
            database_server.point_django_at(*before)
        yield name
        database_server.drop(name)


@contextmanager
def copy_of(name: str, server: DatabaseServer, blocker: Any) -> Iterator[CommittedDatabase]:
    """A copy of a database, that Django and the processes of the test look at."""
    patch = pytest.MonkeyPatch()
    with blocker.unblock():
        before, copy = server.current, server.next_name()
        urls = server.clone(name, copy)
        server.point_django_at(urls, copy)
        for variable, value in urls.environment().items():
            patch.setenv(variable, value)
        try:
            yield CommittedDatabase(copy, urls, logins.superuser_url(server.server, copy))
        finally:
            patch.undo()
            server.point_django_at(*before)
            server.drop(copy)


@pytest.fixture(autouse=True)
def at_home(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports go to the test's folder, messages nowhere."""
    settings.BASE_DIR, settings.EMAIL_TO = tmp_path, []
    monkeypatch.delenv("DISCORD_WEBHOOK_URL", raising=False)


@pytest.fixture
def history(traded: str, database_server: DatabaseServer, django_db_blocker: Any) -> Iterator[CommittedDatabase]:
    """Those three days in a database of the test's own."""
    with copy_of(traded, database_server, django_db_blocker) as copied:
        yield copied


@pytest.fixture
def paper(history: CommittedDatabase) -> Account:
    """The account that decided."""
    return Account.objects.get(broker=Account.Broker.PAPER)


@pytest.fixture
def mirror(history: CommittedDatabase) -> Account:
    """The account that followed."""
    return Account.objects.get(broker=Account.Broker.OANDA)
