"""The one server on which everything is measured: durable, with PostgreSQL's own default configuration.

What always holds: the data lie in a directory of this run that is removed at its end; the product is migrated as its
owner and measured under its application login; the peers have a database of their own beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

PROJECT = Path(__file__).resolve().parents[2]
PRODUCT, UNCHAINED, PEERS = "bench_product", "bench_unchained", "bench_peers"
_REMOVED = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "SIMULATOR_URL", "OANDA_API_KEY", "ALPACA_API_KEY")


@dataclass(frozen=True, slots=True)
class Server:
    """The running server."""

    databases: Any  # tests.servers.DatabaseServer, imported only after the environment is set

    def superuser(self, database: str) -> psycopg.Connection[Any]:
        """The superuser's own connection: sizes, switches and counters, never a measured statement."""
        from backoffice.desk import logins

        return psycopg.connect(logins.superuser_url(self.databases.server, database), autocommit=True)

    def application(self, database: str) -> psycopg.Connection[Any]:
        """A connection as the product's processes have it."""
        return psycopg.connect(self._urls(database).application, autocommit=True)

    def owner_url(self, database: str) -> str:
        """The owner's address of a database."""
        return str(self._urls(database).owner)

    def _urls(self, database: str) -> Any:
        from backoffice.desk import logins
        from tests.servers import APPLICATION_PASSWORD, OWNER_PASSWORD

        return logins.urls(self.databases.server, OWNER_PASSWORD, APPLICATION_PASSWORD, database)

    def copy_without_chain(self) -> None:
        """A copy of the product's database in which nothing is sealed: what sealing costs is the difference."""
        self.databases.close_connections()
        self.databases.clone(PRODUCT, UNCHAINED)
        with self.superuser(UNCHAINED) as connection:
            rows = connection.execute("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'z_chain'")
            for (table,) in rows.fetchall():
                connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER z_chain").format(sql.Identifier(table)))

    def configuration(self) -> dict[str, str]:
        """What a reader wants to know of the server."""
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "data_checksums")
        with self.superuser("postgres") as connection:
            return {name: str(connection.execute(f"SHOW {name}").fetchone()[0]) for name in names}  # type: ignore[index]


@contextmanager
def fresh_server() -> Iterator[Server]:
    """A server with the migrated product and an empty database for the peers; stopped and removed at the end."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="bench-ledger-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        for name in _REMOVED:
            os.environ.pop(name, None)
        os.environ["BACKOFFICE_VAR"] = str(directory / "var")
        os.environ["BACKOFFICE_SECRET_KEY"] = "a key for this run only"
        os.environ["DJANGO_SETTINGS_MODULE"] = "backoffice.settings"
        from backoffice.desk import paths
        from backoffice.desk.postgres import PostgresServer
        from tests.servers import DatabaseServer

        directory.chmod(paths.private_mode())
        stack.callback(paths.remove_run_directory)
        server = PostgresServer(
            directory / "postgres", paths.run_directory() / "postgres", "superuser-for-this-run", log="postgres"
        )
        server.start()
        stack.callback(server.stop)
        databases = DatabaseServer(server)
        databases.provision(PEERS)
        os.environ.update(databases.provision(PRODUCT).environment())
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=PROJECT, check=True, timeout=120
        )
        import django

        django.setup()
        stack.callback(databases.close_connections)
        yield Server(databases)
