"""A PostgreSQL of a measurement's own, with the product's schema and both logins, in a temporary directory.

What always holds: nothing outside that directory is touched, nothing else needs to run, and everything is stopped and
removed at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backoffice.desk.logins import DatabaseUrls
    from backoffice.desk.postgres import PostgresServer
    from tests.servers import DatabaseServer

# Not durable: for measurements in which nothing is ever committed, or nothing crashes.
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


@dataclass(frozen=True)
class OwnDatabase:
    """The server, a migrated database on it, and the directory where files may be put."""

    server: PostgresServer
    databases: DatabaseServer
    name: str
    urls: DatabaseUrls
    directory: Path


@contextmanager
def own_database(name: str, options: Sequence[str] = ()) -> Iterator[OwnDatabase]:
    """Start it, migrate as the owner, hand over; the environment names it for this process and its children."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix=f"{name}-".replace("_", "-")))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        for variable in ("OANDA_API_KEY", "OANDA_ACCOUNT_ID", "OANDA_URL", "SIMULATOR_URL", "REDIS_URL"):
            os.environ.pop(variable, None)
        os.environ["BACKOFFICE_VAR"] = str(directory / "var")
        os.environ["BACKOFFICE_SECRET_KEY"] = "a key for this run only"
        os.environ["BACKOFFICE_ANCHOR_KEY"] = "a key of anchors for this run only"
        os.environ["DJANGO_SETTINGS_MODULE"] = "backoffice.settings"
        from backoffice.desk import paths
        from backoffice.desk.postgres import PostgresServer
        from tests.servers import DatabaseServer

        directory.chmod(paths.private_mode())
        stack.callback(paths.remove_run_directory)
        server = PostgresServer(
            directory / "postgres",
            paths.run_directory() / "postgres",
            "superuser-for-this-run",
            log="postgres",
            options=("max_connections=100", *options),
        )
        server.start()
        stack.callback(server.stop)
        databases = DatabaseServer(server)
        urls = databases.provision(name)
        os.environ.update(urls.environment())
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=paths.PROJECT, check=True, timeout=300
        )
        yield OwnDatabase(server, databases, name, urls, directory)
