"""A replay that nothing disturbed, to compare others with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.servers import DatabaseServer
from tests.trading.engine.running import replay
from tests.trading.services.histories import left_behind
from trading.models import Account


@dataclass(frozen=True)
class Undisturbed:
    """What it printed and what it left."""

    printed: str
    left: dict[str, Any]


@contextmanager
def own_database(server: DatabaseServer, template: str) -> Iterator[None]:
    """Django on a clone of its own for a while."""
    before, name = server.current, server.next_name()
    server.point_django_at(server.clone(template, name), name)
    try:
        yield
    finally:
        server.point_django_at(*before)
        server.drop(name)


@pytest.fixture(scope="package")
def undisturbed(
    database_server: DatabaseServer,
    template_database: str,
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Undisturbed:
    """The generated market, replayed once from its first bar to its last."""
    with django_db_blocker.unblock(), own_database(database_server, template_database):
        printed = replay(tmp_path_factory.mktemp("undisturbed"))
        return Undisturbed(printed, left_behind(Account.objects.get(broker="PAPER")))
