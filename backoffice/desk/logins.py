"""The two logins of the database, and what each may do.

What always holds here:
- the owner owns the database and everything in it, and only migrations use it;
- the application login owns nothing and may not even make a temporary table (one could stand in front of a real
  table inside the posting function);
- neither is a member of the other, neither is a superuser or may make roles: neither can become the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backoffice.desk import paths
from backoffice.desk.postgres import SUPERUSER, PostgresServer

if TYPE_CHECKING:
    import psycopg

OWNER = "backoffice_owner"
APPLICATION = "backoffice_app"
DATABASE = "backoffice"
_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS"


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """Addresses of one database under both logins; they contain passwords."""

    application: str
    owner: str

    def environment(self) -> dict[str, str]:
        """The environment variables that hand both to a process of ours."""
        return {"DATABASE_URL": self.application, "DATABASE_OWNER_URL": self.owner}


def superuser_url(server: PostgresServer, database: str = "postgres") -> str:
    """The superuser's address; only for making logins and databases."""
    return server.url(SUPERUSER, server.superuser_password, database)


def urls(server: PostgresServer, owner_password: str, application_password: str, database: str) -> DatabaseUrls:
    """The addresses of one database of this server."""
    return DatabaseUrls(
        application=server.url(APPLICATION, application_password, database),
        owner=server.url(OWNER, owner_password, database),
    )


def provision(server: PostgresServer, owner_password: str, application_password: str, database: str) -> DatabaseUrls:
    """Make the logins and the database, or set them right again; safe to repeat at each start."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(superuser_url(server), autocommit=True) as connection:
        for role, password in ((OWNER, owner_password), (APPLICATION, application_password)):
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
            connection.execute(
                sql.SQL("{verb} ROLE {role} {attributes} PASSWORD {password}").format(
                    verb=sql.SQL("ALTER" if known else "CREATE"),
                    role=sql.Identifier(role),
                    attributes=sql.SQL(_ATTRIBUTES),
                    password=sql.Literal(password),
                )
            )
        connection.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(OWNER))
            )
        close_to_others(connection, database)
    return urls(server, owner_password, application_password, database)


def close_to_others(connection: psycopg.Connection, database: str) -> None:
    """Let only the two logins connect to a database; a clone of a template starts open to everybody."""
    from psycopg import sql

    name = sql.Identifier(database)
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(APPLICATION)))


def embedded_urls(server: PostgresServer) -> DatabaseUrls:
    """The addresses of this installation's database, made ready."""
    return provision(server, paths.secret("owner_password"), paths.secret("application_password"), DATABASE)
