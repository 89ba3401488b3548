"""`migrate` as the owner of the tables, and the application login's rights on what it makes.

What always holds here:
- migrations run on the database alias `owner` unless another is named;
- tables made by a migration can be read and written by the application login unless that migration takes rights away;
  nothing is granted afterwards, so that what a migration revoked stays revoked;
- the application login cannot touch the list of migrations.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import OperationalError, connections

from backoffice.desk.migrations import fingerprint


class Command(DjangoMigrate):
    """Django's own command on the owner's connection."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database="owner")

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        role = connection.ops.quote_name(settings.DATABASES["default"]["USER"])
        own = connection.settings_dict["USER"] == settings.DATABASES["default"]["USER"]
        if own:
            raise CommandError(
                "Migrations need the owner's login: set DATABASE_OWNER_URL to another login than DATABASE_URL's "
                "(docs/operations.md). Nothing was changed."
            )
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
                rights = "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
                cursor.execute(f"{rights} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}")
                # Identity columns number their rows by themselves: nobody else may draw or set a number.
                cursor.execute(f"{rights} REVOKE ALL ON SEQUENCES FROM {role}")
        except OperationalError as error:
            raise CommandError(f"The database does not answer, nothing was changed: {error}") from error
        super().handle(*args, **options)
        if options["plan"] or options["check_unapplied"]:
            return
        whole = not options.get("app_label")
        with connection.cursor() as cursor:
            cursor.execute(f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON django_migrations FROM {role}")
            mark = f"'{fingerprint()}'" if whole and not options["fake"] else "NULL"
            cursor.execute(f"COMMENT ON TABLE django_migrations IS {mark}")
