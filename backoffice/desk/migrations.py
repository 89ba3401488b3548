"""Whether the database has all migrations, found without loading Django, and how to apply them.

What always holds here:
- the fingerprint of what was applied last is a comment on the table `django_migrations`, written by the owner: it
  travels with the data, and a database that was swapped or restored is never taken for up to date;
- only names count, as for Django itself: an edited migration is not applied again.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version

from backoffice.desk.paths import PROJECT

APPS = ("backoffice", "trading", "reconciliation")
PACKAGES = ("Django",)


def fingerprint() -> str:
    """A digest of the names of all migrations that this project brings."""
    names = [f"{app}/{file.name}" for app in APPS for file in (PROJECT / app / "migrations").glob("[0-9]*.py")]
    packages = [f"{package}=={version(package)}" for package in PACKAGES]
    return hashlib.sha256("\n".join(sorted(names) + packages).encode()).hexdigest()


def are_applied(owner_url: str) -> bool:
    """Whether the last migration run of this database was of exactly these migrations."""
    import psycopg

    with psycopg.connect(owner_url) as connection:
        row = connection.execute(
            "SELECT obj_description(to_regclass('public.django_migrations'), 'pg_class')"
        ).fetchone()
    return row is not None and row[0] == fingerprint()
