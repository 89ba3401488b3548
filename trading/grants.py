"""What the application login may do in the database.

What always holds: it may never change or delete a row of an append-only table, never write the ledger except through
`ledger_post` and `ledger_post_many`, never seal a block of the chain, never draw a number, never change the schema,
and it is not a member of the owner. Granted after every `migrate`, which runs under the owner's login.
"""

from typing import Any

from django.apps import AppConfig, apps
from django.db import connections

LEDGER_TABLES = {"trading_entry", "trading_transfer", "trading_lot", "trading_lotclose"}
READ_ONLY_TABLES = {"django_migrations", "trading_chainhead", "trading_chainblock"}
WORK_TABLES = {"matching_broker", "matching_books", "matching_broker_left", "matching_books_left"}
"""No part of the books; whoever fills one counts its rows for the planner."""
DOORS = ("ledger_post", "ledger_post_many")


def grant_application_login(sender: AppConfig, using: str = "default", **kwargs: Any) -> None:
    """Grant the login of the `default` alias its rights on `sender`'s tables and on Django's own.

    Does nothing when the migration ran under the application login itself (there is then no separation to keep, and
    `manage.py verify` reports it).
    """
    application = str(connections["default"].settings_dict["USER"])
    connection = connections[using]
    if not application or application == connection.settings_dict["USER"]:
        return
    append_only = {m._meta.db_table for m in apps.get_models() if getattr(m, "append_only", False)}
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        login = connection.ops.quote_name(application)
        for table in tables:
            if table in LEDGER_TABLES or table in READ_ONLY_TABLES:
                rights = "SELECT"
            elif table in append_only:
                rights = "SELECT, INSERT"
            elif table in WORK_TABLES:
                rights = "SELECT, INSERT, DELETE, MAINTAIN"
            else:
                rights = "SELECT, INSERT, UPDATE, DELETE"
            name = connection.ops.quote_name(table)
            cursor.execute(f"REVOKE ALL ON {name} FROM {login}")
            cursor.execute(f"GRANT {rights} ON {name} TO {login}")
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {login}")
        cursor.execute(f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {login}")
        # Of our functions the application may call the ledger's doors; everything else is called by triggers.
        cursor.execute(
            "SELECT oid::regprocedure::text FROM pg_proc "
            "WHERE pronamespace = 'public'::regnamespace AND proname = ANY(%s)",
            [list(DOORS)],
        )
        for (signature,) in cursor.fetchall():
            cursor.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
            cursor.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {login}")
