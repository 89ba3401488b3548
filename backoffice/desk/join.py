"""How a `manage.py` command gets its database, before Django is loaded.

In this order: the one named by `DATABASE_URL`; the running desk's; the one that another command has started; else an
embedded PostgreSQL is started for the life of this command. Whoever started it stops it, after the last user is done.

What always holds here: words about progress go to stderr, because stdout belongs to blocks and JSON; and two commands
started at the same moment never start two servers over one data directory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from backoffice.desk import locks, logins, migrations, paths, postgres
from backoffice.desk.paths import DeskError

WITHOUT_DATABASE = frozenset(
    {"help", "version", "desk", "simulator", "check", "makemigrations", "collectstatic", "findstatic", "diffsettings"}
)
WITHOUT_MIGRATIONS = frozenset({"migrate", "showmigrations", "sqlmigrate", "dbshell", "restore"})


def say(sentence: str) -> None:
    """A word to the person in front of the terminal."""
    print(sentence, file=sys.stderr, flush=True)


def needs_database(argv: Sequence[str]) -> bool:
    """Whether this command line asks for the database at all."""
    if len(argv) < 2 or argv[1] in WITHOUT_DATABASE or argv[1].startswith("-"):
        return False
    if argv[1] == "demo" and not desk_facts():
        return False  # it will start the desk, and with it the database
    return not {"-h", "--help", "--version"} & set(argv[2:])


def embedded_server() -> postgres.PostgresServer:
    """This installation's server, not started."""
    data = postgres.data_directory()
    return postgres.PostgresServer(
        data, paths.run_directory() / "postgres", paths.secret("superuser_password"), log="postgres"
    )


def embedded_urls(database: str = logins.DATABASE) -> logins.DatabaseUrls:
    """The addresses of a database of the running embedded server, made if it is missing."""
    owner, application = paths.secret("owner_password"), paths.secret("application_password")
    return logins.provision(embedded_server(), owner, application, database)


def is_embedded() -> bool:
    """Whether the database that this command works on is that of this installation's own server."""
    known = paths.read_json(paths.state_directory() / "database.json")
    return bool(known) and known.get("DATABASE_URL") == os.environ.get("DATABASE_URL")


def desk_facts() -> dict[str, str]:
    """What the running desk wrote of itself (`pid`, addresses); empty when none runs."""
    if not locks.is_held("desk"):
        return {}
    facts = paths.read_json(paths.state_directory() / "desk.json")
    return {name: str(value) for name, value in facts.items()}


def known_urls() -> logins.DatabaseUrls:
    """The addresses of the server that somebody else has started here; it told them in `var/run/database.json`."""
    known = paths.read_json(paths.state_directory() / "database.json")
    return logins.DatabaseUrls(application=str(known["DATABASE_URL"]), owner=str(known["DATABASE_OWNER_URL"]))


class EmbeddedDatabase:
    """Our share in this installation's embedded PostgreSQL: started by us, or by somebody who waits for us."""

    def __init__(self) -> None:
        self._users = locks.FileLock("users")
        self._start = locks.FileLock("start")
        self._ownership = locks.FileLock("server")
        self._server: postgres.PostgresServer | None = None

    @property
    def server(self) -> postgres.PostgresServer | None:
        """The server, if it is we who run it."""
        return self._server

    def open(self, *, alone: bool = False) -> logins.DatabaseUrls:
        """Join the running server or start one. The caller says `ready` once migrations are applied.

        `alone`: wait until nobody else uses it and start our own, as the desk does, so that no command has to wait
        for the desk's end to stop what it started.
        """
        if alone and not self._users.take(alone=True, wait=False):
            say("Waiting for another command that uses the database …")
            self._users.take(alone=True)
        elif not alone:
            self._users.take(alone=False)
        self._start.take(alone=True)
        if not self._ownership.take(alone=True, wait=False):
            self._ownership.release()
            return known_urls()
        server = embedded_server()
        self._server = server
        server.start()
        urls = logins.embedded_urls(server)
        paths.write_private(paths.state_directory() / "database.json", json_of(urls))
        return urls

    def ready(self) -> None:
        """Let others in."""
        self._users.take(alone=False)
        self._start.release()

    def close(self, *, patience: float | None = None) -> None:
        """Stop the server if it is ours, after the others are done; `patience` is how long to wait, in seconds."""
        try:
            if self._server is not None and not self._users.take(alone=True, wait=False):
                say("Waiting for other commands that use this database (Ctrl-C stops it under them) …")
                self._wait_for_others(patience)
        except KeyboardInterrupt:
            say("Stopping the database under them.")
        finally:
            if self._server is not None:
                self._server.stop()
                self._server = None
                paths.remove_run_directory()
            for lock in (self._ownership, self._start, self._users):
                lock.release()

    def _wait_for_others(self, patience: float | None) -> None:
        from backoffice.desk.children import wait_until

        if patience is None:
            self._users.take(alone=True)
        else:
            wait_until(lambda: self._users.take(alone=True, wait=False), patience, pause=0.1)


def json_of(urls: logins.DatabaseUrls) -> str:
    """Both addresses as a JSON object."""
    import json

    return json.dumps(urls.environment()) + "\n"


def migrate_if_needed(urls: logins.DatabaseUrls) -> None:
    """Apply the migrations that are missing; a database that has them all costs one query."""
    if migrations.are_applied(urls.owner):
        return
    say("Bringing the database up to date …")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0, stdout=sys.stderr)
    from django.db import connections

    connections.close_all()


@contextmanager
def join_or_start_database(argv: Sequence[str]) -> Iterator[None]:
    """Give the command its database in `DATABASE_URL` and `DATABASE_OWNER_URL`, for as long as it runs.

    Ends the program with a sentence when that is impossible.
    """
    database: EmbeddedDatabase | None = None
    try:
        os.environ.setdefault("BACKOFFICE_SECRET_KEY", paths.secret("django_secret_key"))
        for name, value in desk_facts().items():
            if name in {"DATABASE_URL", "REDIS_URL", "BACKOFFICE_SIMULATOR_URL"}:
                os.environ.setdefault(name, value)
        if os.environ.get("DATABASE_URL"):
            if argv[1:2] == ["migrate"] and not os.environ.get("DATABASE_OWNER_URL") and needs_database(argv):
                raise DeskError(
                    "DATABASE_URL is set, but DATABASE_OWNER_URL is not: migrations are made by the owner of the "
                    "tables, never by the application's login. Set DATABASE_OWNER_URL (docs/operations.md)."
                )
        elif needs_database(argv):
            database = EmbeddedDatabase()
            urls = database.open()
            os.environ.update(urls.environment())
            if argv[1] not in WITHOUT_MIGRATIONS:
                migrate_if_needed(urls)
            database.ready()
    except DeskError as error:
        if database is not None:
            database.close(patience=0)
        sys.exit(str(error))
    except BaseException:
        if database is not None:
            database.close(patience=0)
        raise
    try:
        yield
    finally:
        if database is not None:
            if "django" in sys.modules:
                from django.db import connections

                connections.close_all()
            database.close()
