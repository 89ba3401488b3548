"""A committed database with rich books, made once for a module: attacks on it must leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backoffice.desk import logins
from tests.conftest import CommittedDatabase
from tests.servers import DatabaseServer
from tests.trading.ledger.world import make_books


@pytest.fixture(scope="module")
def rich(
    database_server: DatabaseServer, django_db_setup: None, template_database: str, django_db_blocker: Any
) -> Iterator[CommittedDatabase]:
    """The database with `make_books` in it. Django looks at it only within `on_rich`."""
    with django_db_blocker.unblock():
        before, name = database_server.current, database_server.next_name()
        urls = database_server.clone(template_database, name)
        database_server.point_django_at(urls, name)
        make_books()
        database_server.point_django_at(*before)
        yield CommittedDatabase(name, urls, logins.superuser_url(database_server.server, name))
        database_server.drop(name)


@pytest.fixture
def on_rich(rich: CommittedDatabase, database_server: DatabaseServer, django_db_blocker: Any) -> Iterator[None]:
    """Django works on the rich database."""
    with django_db_blocker.unblock():
        before = database_server.current
        database_server.point_django_at(rich.urls, rich.name)
        try:
            yield
        finally:
            database_server.point_django_at(*before)
