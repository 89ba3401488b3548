"""Books with rows in every sealed table, told once, and hands that can do to them what nobody may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from backoffice.desk import logins, paths
from tests.servers import DatabaseServer
from tests.trading.models.furnished import furnish
from tests.trading.services import making
from trading.models import Rate

RATES = 12


@dataclass
class Books:
    """A database with books, and a superuser's connection to it whose every experiment is undone."""

    superuser_url: str
    environment: dict[str, str]

    @contextmanager
    def tampered(self, sql: str) -> Iterator[psycopg.Cursor[Any]]:
        """The books after `sql` was done to them with all guards asleep; undone at the end."""
        with psycopg.connect(self.superuser_url) as connection, connection.cursor() as cursor:
            cursor.execute(asleep(sql))
            yield cursor
            connection.rollback()

    def alter(self, sql: str) -> None:
        """The same for good."""
        with psycopg.connect(self.superuser_url) as connection:
            connection.execute(asleep(sql))


def asleep(sql: str) -> str:
    """These statements between putting every trigger of ours to sleep and waking it."""
    change = """DO $$ DECLARE t record; BEGIN
        FOR t IN SELECT DISTINCT c.relname FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
                 WHERE NOT g.tgisinternal AND c.relname ~ '^(trading|reconciliation)_' LOOP
            EXECUTE format('ALTER TABLE %I {} TRIGGER ALL', t.relname);
        END LOOP; END $$;"""
    numbers = "ALTER TABLE trading_rate ALTER COLUMN id SET GENERATED"
    return f"{numbers} BY DEFAULT; {change.format('DISABLE')} {sql}; {change.format('ENABLE')} {numbers} ALWAYS"


def tell() -> None:
    """Rows in every table, and blocks of several rows."""
    furnish()
    for count in (RATES, 3):
        Rate.objects.bulk_create(
            Rate(
                at=making.START + timedelta(hours=n), base="USD", quote="JPY", value=Decimal(150 + n), source="a\tb\nc"
            )
            for n in range(count)
        )


@pytest.fixture(scope="session")
def told(
    database_server: DatabaseServer, django_db_setup: None, template_database: str, django_db_blocker: Any
) -> Iterator[str]:
    """The name of the database in which the books were told; others are cloned from it."""
    with django_db_blocker.unblock():
        before, name = database_server.current, database_server.next_name()
        try:
            database_server.point_django_at(database_server.clone(template_database, name), name)
            tell()
        finally:
            database_server.point_django_at(*before)
        yield name
        database_server.drop(name)


@pytest.fixture
def books(
    told: str, database_server: DatabaseServer, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Books]:
    """Books of one test's own; Django looks at them under the application's login."""
    with django_db_blocker.unblock(), database_server.lend(told, monkeypatch.setenv) as (name, urls):
        yield Books(logins.superuser_url(database_server.server, name), urls.environment())


@pytest.fixture
def original(told: str, database_server: DatabaseServer) -> Books:
    """The books that all others are copies of, for what is undone at once; Django does not look at them."""
    return Books(logins.superuser_url(database_server.server, told), {})


@pytest.fixture(autouse=True)
def own_var(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchors of one test's own, under a key that the test knows."""
    directory = tmp_path / "anchored"
    directory.mkdir()
    monkeypatch.setattr(paths, "var_directory", lambda: directory)
    monkeypatch.setenv("BACKOFFICE_ANCHOR_KEY", "the key of the test")
