"""The world is told once and cloned for each test, so that each can be broken in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection as django
from django.db.backends.postgresql.base import Cursor as DjangosCursor
from django.db.backends.postgresql.psycopg_any import get_adapters_template

from backoffice.desk import logins
from backoffice.verification import INVARIANTS, Result, check
from tests.servers import DatabaseServer, Simulator

from .bars import FIRST_DAY
from .world import Story

BY_ID = {invariant.id: invariant for invariant in INVARIANTS}


@dataclass(frozen=True)
class Clone:
    """A copy of the world; Django looks at it under the application's login."""

    superuser_url: str
    environment: dict[str, str]

    def alter(self, sql: str) -> None:
        """Run statements with the superuser's hands, for good."""
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute(sql)


class Laboratory:
    """One copy of the world in which every experiment is undone."""

    def __init__(self, superuser_url: str) -> None:
        self._connection = psycopg.connect(
            superuser_url, context=get_adapters_template(True, UTC), cursor_factory=DjangosCursor
        )

    def plant(self, number: str, sql: str) -> Result:
        """What the invariant says once `sql` was run with every guard of every table put to sleep."""
        with self._experiment() as cursor:
            cursor.execute(_SLEEP)
            cursor.execute(sql)
            touched = cursor.rowcount
            while cursor.nextset():
                touched = cursor.rowcount
            assert touched != 0, "the plant changed no row, so it would prove nothing"
            cursor.execute(_WAKE)
            return check(cursor, BY_ID[number])  # type: ignore[arg-type]

    def alter(self, number: str, sql: str) -> Result:
        """What the invariant says once `sql` has changed the schema."""
        with self._experiment() as cursor:
            cursor.execute(sql)
            return check(cursor, BY_ID[number])  # type: ignore[arg-type]

    @contextmanager
    def _experiment(self) -> Iterator[psycopg.Cursor[Any]]:
        """Django reads through the same connection meanwhile, so that checks which ask models see the plant, too."""
        django.ensure_connection()
        its_own, django.connection = django.connection, self._connection
        try:
            yield self._connection.cursor()
        finally:
            self._connection.rollback()
            django.connection = its_own

    def close(self) -> None:
        """Leave."""
        self._connection.close()


_SLEEP = """
CREATE TEMP TABLE guards ON COMMIT DROP AS
    SELECT c.oid::regclass::text AS tablename, t.tgname, t.tgenabled::text AS enabled
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND c.relname ~ '^(trading|reconciliation)_';
DO $$ DECLARE g record; BEGIN
    FOR g IN SELECT * FROM guards LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', g.tablename, g.tgname);
    END LOOP;
END $$;
SET LOCAL session_replication_role = replica;
"""
_WAKE = """
SET LOCAL session_replication_role = origin;
DO $$ DECLARE g record; BEGIN
    FOR g IN SELECT * FROM guards LOOP
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', g.tablename,
                       CASE g.enabled WHEN 'A' THEN 'ALWAYS' ELSE '' END, g.tgname);
    END LOOP;
END $$;
"""


@pytest.fixture(scope="session")
def world(
    database_server: DatabaseServer,
    django_db_setup: None,
    template_database: str,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The name of the database in which the story was told."""
    from django.conf import settings

    folder: Path = tmp_path_factory.mktemp("world")
    simulator = Simulator.start(
        folder / "simulator", ("--always-open", "--speed", "0", "--start", FIRST_DAY.isoformat())
    )
    patch = pytest.MonkeyPatch()
    for name in ("OANDA_API_KEY", "OANDA_ACCOUNT_ID", "OANDA_URL", "OANDA_ENV"):
        patch.delenv(name, raising=False)
    patch.setenv("SIMULATOR_URL", simulator.control_url)
    patch.setattr(settings, "BASE_DIR", folder)
    name, before = database_server.next_name(), database_server.current
    with django_db_blocker.unblock():
        try:
            urls = database_server.clone(template_database, name)
            database_server.point_django_at(urls, name)
            Story(simulator, folder).tell()
        finally:
            patch.undo()
            simulator.stop()
            database_server.point_django_at(*before)
        yield name
        database_server.drop(name)


@pytest.fixture(scope="module")
def laboratory(world: str, database_server: DatabaseServer, django_db_blocker: Any) -> Iterator[Laboratory]:
    """A copy of the world for experiments; Django's own connections see it too."""
    with django_db_blocker.unblock():
        before, name = database_server.current, database_server.next_name()
        database_server.point_django_at(database_server.clone(world, name), name)
        made = Laboratory(logins.superuser_url(database_server.server, name))
        try:
            yield made
        finally:
            made.close()
            database_server.point_django_at(*before)
            database_server.drop(name)


@pytest.fixture
def clone(
    world: str, database_server: DatabaseServer, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Clone]:
    """The world, copied for one test; Django looks at the copy."""
    with django_db_blocker.unblock(), database_server.lend(world, monkeypatch.setenv) as (name, urls):
        yield Clone(logins.superuser_url(database_server.server, name), urls.environment())
