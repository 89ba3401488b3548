"""Facts are written once: no path changes or removes a row, under no login that the product uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import DatabaseError, connection, models, transaction

from tests.conftest import CommittedDatabase
from tests.trading.models.furnished import facts, furnish
from trading.models import AuditEvent, Signal

# Every table with one of its columns that is not its number.
COLUMNS = {
    model._meta.db_table: next(f.column for f in model._meta.concrete_fields if not f.primary_key) for model in facts()
}
TABLES = list(COLUMNS)
REFUSED = "permission denied|append-only|cannot insert a non-DEFAULT value"
STATEMENTS = ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0} CASCADE"]


@pytest.fixture
def furnished(db: None) -> None:
    """A row in every append-only table."""
    furnish()


def rows_of(model: type[models.Model]) -> list[tuple[object, ...]]:
    """Everything in a table."""
    return list(model._base_manager.order_by("pk").values_list())


def save_again(model: type[models.Model]) -> None:
    """Save a row that was read."""
    model._base_manager.earliest("pk").save()


def delete_one(model: type[models.Model]) -> None:
    """Delete a row, whatever points at it."""
    queryset = model._base_manager.filter(pk=model._base_manager.earliest("pk").pk)
    queryset._raw_delete(queryset.db)


def update_all(model: type[models.Model]) -> None:
    """queryset.update"""
    field = next(f for f in model._meta.concrete_fields if not f.primary_key)
    model._base_manager.update(**{field.attname: models.F(field.attname)})


def update_in_bulk(model: type[models.Model]) -> None:
    """bulk_update"""
    field = next(f.name for f in model._meta.concrete_fields if not f.primary_key)
    model._base_manager.bulk_update([model._base_manager.earliest("pk")], [field])


def insert_over(model: type[models.Model]) -> None:
    """bulk_create that overwrites on conflict."""
    field = next(f.name for f in model._meta.concrete_fields if not f.primary_key)
    model._base_manager.bulk_create(
        [model._base_manager.earliest("pk")], update_conflicts=True, unique_fields=["pk"], update_fields=[field]
    )


def lock_row(model: type[models.Model]) -> None:
    """SELECT … FOR UPDATE, which needs the right to update."""
    model._base_manager.select_for_update().earliest("pk")


@pytest.mark.parametrize("attack", [save_again, delete_one, update_all, update_in_bulk, insert_over, lock_row])
def test_no_way_of_the_orm_changes_a_fact(furnished: None, attack: Callable[[type[models.Model]], None]) -> None:
    for model in facts():
        before = rows_of(model)
        assert before, f"{model.__name__} has no row to attack"
        with pytest.raises(DatabaseError, match=REFUSED), transaction.atomic():
            attack(model)
        assert rows_of(model) == before, model.__name__


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.scenario("S-78")
def test_no_statement_of_the_application_login_changes_a_fact(furnished: None, statement: str) -> None:
    for model in facts():
        before = rows_of(model)
        with (
            pytest.raises(DatabaseError, match=REFUSED),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement.format(model._meta.db_table, COLUMNS[model._meta.db_table]))
        assert rows_of(model) == before, model.__name__


@pytest.fixture
def owner(committed_db: CommittedDatabase) -> Iterator[psycopg.Connection]:
    """A connection as the owner, who has every right on the tables."""
    with psycopg.connect(committed_db.urls.owner) as connected:
        yield connected


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_owner_is_refused_too(owner: psycopg.Connection, statement: str) -> None:
    for table in TABLES:
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"), owner.transaction():
            owner.execute(statement.format(table, COLUMNS[table]))


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_superuser_in_replica_mode_is_refused_too(committed_db: CommittedDatabase, statement: str) -> None:
    with psycopg.connect(committed_db.superuser_url) as root:
        root.execute("SET session_replication_role = replica")
        for table in TABLES:
            with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"), root.transaction():
                root.execute(statement.format(table, COLUMNS[table]))


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE {0} DISABLE TRIGGER ALL",
        "DROP TRIGGER a_append_only ON {0}",
        "ALTER TABLE {0} OWNER TO CURRENT_USER",
        "GRANT UPDATE ON {0} TO CURRENT_USER",
        "CREATE RULE quiet AS ON UPDATE TO {0} DO INSTEAD NOTHING",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "DROP FUNCTION refuse_change() CASCADE",
        "UPDATE trading_chainhead SET number = 9",
        "DELETE FROM trading_chainhead",
    ],
)
def test_the_application_login_cannot_take_the_wall_down(db: None, statement: str) -> None:
    for table in TABLES:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SAVEPOINT attack")
            try:
                cursor.execute(statement.format(table))
            except DatabaseError:
                cursor.execute("ROLLBACK TO SAVEPOINT attack")
            else:  # GRANT by somebody without the right is only a warning: then nothing may have been granted
                cursor.execute("SELECT has_table_privilege(current_user, %s, 'UPDATE')", [table])
                assert statement.startswith("GRANT") and cursor.fetchone() == (False,)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname = 'a_append_only' AND tgenabled = 'A'")
        (guarded,) = cursor.fetchone()
    assert guarded >= len(TABLES)


def test_every_append_only_table_refuses_what_was_never_written_and_locks_before_it_writes(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, array_agg(tgname::text ORDER BY tgname) FROM pg_trigger"
            " WHERE tgname IN ('a_append_lock', 'a_append_only') AND tgenabled = 'A' GROUP BY 1"
        )
        guarded = dict(cursor.fetchall())
    assert guarded.pop("trading_chainblock") == ["a_append_only"]  # written by those who hold the lock
    assert {tuple(guarded.get(table, ())) for table in TABLES if table != "trading_chainblock"} == {
        ("a_append_lock", "a_append_only")
    }


def test_foreign_keys_of_facts_are_checked_at_once(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text || '.' || conname FROM pg_constraint"
            " WHERE contype = 'f' AND condeferrable AND conrelid = ANY(%s::regclass[])",
            [TABLES],
        )
        assert cursor.fetchall() == []


def test_a_fact_about_nothing_is_refused_before_the_transaction_ends(furnished: None) -> None:
    signal = Signal.objects.get()
    with pytest.raises(DatabaseError, match="foreign key"), transaction.atomic():
        AuditEvent.objects.create(at=signal.at, kind="x", actor_name="x", via="task", account_id=987654)


def test_ids_of_facts_appear_in_the_order_of_commits(committed_db: CommittedDatabase) -> None:
    with (
        psycopg.connect(committed_db.urls.application) as first,
        psycopg.connect(committed_db.urls.application, autocommit=True) as second,
    ):
        insert = (
            "INSERT INTO trading_auditevent (at, recorded_at, level, kind, actor_name, via, request_id, address,"
            " object_type, object_id, object_repr, before, after, reason)"
            " VALUES (now(), now(), 'INFO', 'x', 'x', 'task', '', '', '', '', '', '{}', '{}', '') RETURNING id"
        )
        first.execute(insert)
        second.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute(insert)
        first.commit()
        second.execute(insert)
