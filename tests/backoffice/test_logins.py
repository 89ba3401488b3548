"""Who may do what in the database."""

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections

from backoffice.desk import logins
from tests.conftest import CommittedDatabase
from tests.servers import DatabaseServer


@pytest.mark.django_db
def test_django_works_under_the_application_login() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, session_user")
        assert cursor.fetchone() == (logins.APPLICATION, logins.APPLICATION)
    Group.objects.create(name="can write")


def test_a_committed_database_starts_without_what_another_test_left(committed_db: CommittedDatabase) -> None:
    assert not Group.objects.filter(name="stays").exists()
    Group.objects.create(name="stays")
    with psycopg.connect(committed_db.urls.owner) as other:
        row = other.execute("SELECT count(*) FROM auth_group WHERE name = 'stays'").fetchone()
    assert row == (1,)


def test_a_second_committed_database_starts_afresh_too(committed_db: CommittedDatabase) -> None:
    test_a_committed_database_starts_without_what_another_test_left(committed_db)


def test_the_owner_alias_is_the_owner(committed_db: CommittedDatabase) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (logins.OWNER,)


@pytest.mark.parametrize("role", [logins.OWNER, logins.APPLICATION])
def test_neither_login_can_become_anybody_else(committed_db: CommittedDatabase, role: str) -> None:
    url = committed_db.urls.owner if role == logins.OWNER else committed_db.urls.application
    others = {logins.OWNER, logins.APPLICATION, "backoffice_superuser"} - {role}
    with psycopg.connect(url, autocommit=True) as connected:
        for other in others:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connected.execute(f"SET ROLE {other}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connected.execute(f"SET SESSION AUTHORIZATION {other}")
        connected.execute("RESET ROLE")
        assert connected.execute("SELECT current_user").fetchone() == (role,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connected.execute("CREATE ROLE back_door")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "INSERT INTO django_migrations (app, name, applied) VALUES ('trading', '9999', now())",
        "DROP TABLE auth_group",
        "ALTER TABLE auth_group DISABLE TRIGGER ALL",
        "TRUNCATE auth_group CASCADE",
    ],
)
def test_the_application_login_changes_rows_and_never_the_tables(
    committed_db: CommittedDatabase, statement: str
) -> None:
    with (
        psycopg.connect(committed_db.urls.application) as connected,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connected.execute(statement)


def test_nobody_gets_in_without_the_right_password(
    database_server: DatabaseServer, committed_db: CommittedDatabase
) -> None:
    for login in (logins.OWNER, logins.APPLICATION, "backoffice_superuser"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(database_server.server.url(login, "wrong", committed_db.name))


def test_the_server_has_checksums_and_listens_on_no_network(committed_db: CommittedDatabase) -> None:
    with psycopg.connect(committed_db.superuser_url) as connected:
        settings: dict[str, str] = dict(
            connected.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN "
                "('data_checksums', 'listen_addresses', 'unix_socket_permissions', 'TimeZone')"
            ).fetchall()
        )
        rules = connected.execute("SELECT type, auth_method FROM pg_hba_file_rules").fetchall()
    assert settings == {
        "data_checksums": "on",
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "TimeZone": "UTC",
    }
    assert rules == [("local", "scram-sha-256")]
