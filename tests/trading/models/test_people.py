"""Who is who: the person of a user is fixed, and nobody who acted is ever deleted."""

from __future__ import annotations

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from tests.conftest import CommittedDatabase
from trading.models import Person, User


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada")


def run(statement: str, *values: object) -> None:
    """One statement as the application login."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)


def test_a_user_made_without_a_person_gets_one_of_its_own(ada: User) -> None:
    assert ada.person.name == "ada" and User.objects.create_superuser("root").person != ada.person


def test_the_person_of_a_user_cannot_be_changed(ada: User) -> None:
    other = Person.objects.create(name="Somebody else")
    ada.person = other
    with pytest.raises(DatabaseError, match="person of a user is fixed"), transaction.atomic():
        ada.save()
    with pytest.raises(DatabaseError, match="person of a user is fixed"), transaction.atomic():
        User.objects.filter(pk=ada.pk).update(person=other)
    with pytest.raises(DatabaseError, match="person of a user is fixed"), transaction.atomic():
        User.objects.bulk_update([ada], ["person"])
    with pytest.raises(DatabaseError, match="person of a user is fixed"):
        run("UPDATE trading_user SET person_id = %s", other.pk)
    ada.refresh_from_db()
    assert ada.person.name == "ada"


def test_the_number_of_a_user_or_person_cannot_be_exchanged(ada: User) -> None:
    lonely = Person.objects.create(name="Nobody's")
    with pytest.raises(DatabaseError, match="fixed"):
        run("UPDATE trading_user SET id = 987654 WHERE id = %s", ada.pk)
    with pytest.raises(DatabaseError, match="fixed"):
        run("UPDATE trading_person SET id = 987654 WHERE id = %s", lonely.pk)


def test_other_things_about_a_user_can_be_changed(ada: User) -> None:
    User.objects.filter(pk=ada.pk).update(is_active=False, first_name="Ada")
    Person.objects.filter(pk=ada.person_id).update(name="Ada Lovelace")
    ada.refresh_from_db()
    assert (ada.is_active, ada.first_name, ada.person.name) == (False, "Ada", "Ada Lovelace")


def test_users_and_people_are_never_deleted(ada: User) -> None:
    lonely = Person.objects.create(name="Nobody's")
    for delete in (ada.delete, User.objects.all().delete, lonely.delete, Person.objects.filter(users=None).delete):
        with pytest.raises(DatabaseError, match="never deleted"), transaction.atomic():
            delete()
    for table in ("trading_user", "trading_person"):
        with pytest.raises(DatabaseError, match="never deleted"):
            run(f"DELETE FROM {table}")
        with pytest.raises(DatabaseError, match=r"permission denied|foreign key"):
            run(f"TRUNCATE {table}")
        with pytest.raises(DatabaseError, match="permission denied"):
            run(f"TRUNCATE {table} CASCADE")
    assert User.objects.filter(pk=ada.pk).exists() and Person.objects.filter(pk=lonely.pk).exists()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER keep_person ON trading_user",
        "ALTER TABLE trading_user DISABLE TRIGGER keep_person",
        "CREATE OR REPLACE FUNCTION keep_person() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "SET ROLE backoffice_owner",
        "CREATE TEMPORARY TABLE pg_tables (tableowner name, schemaname name, tablename name)",
        "CREATE SCHEMA mine",
    ],
)
def test_the_application_login_cannot_go_round_it(ada: User, statement: str) -> None:
    with pytest.raises(DatabaseError, match=r"must be owner|permission denied"):
        run(statement)


def test_the_owner_may_correct_a_person_in_a_migration(committed_db: CommittedDatabase) -> None:
    user, other = User.objects.create_user("ada"), Person.objects.create(name="Ada herself")
    with psycopg.connect(committed_db.urls.owner) as owner:
        owner.execute("UPDATE trading_user SET person_id = %s WHERE id = %s", [other.pk, user.pk])
    user.refresh_from_db()
    assert user.person == other
