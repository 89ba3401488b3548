"""Django against the wall: the ORM in every way it can write, and the admin's pages by hand-made requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import DatabaseError, connection, models, transaction
from django.test import Client
from django.urls import reverse

from tests.trading.ledger.digest import digest
from trading.models import Commodity, LedgerAccount, User

FACTS: list[type[models.Model]] = list(
    dict.fromkeys([*(m for m in apps.get_models() if getattr(m, "append_only", False)), LedgerAccount, Commodity])
)
REFUSED = "permission denied|append-only|non-DEFAULT|only be updated to DEFAULT|get their numbers"
# What the signing in of a new superuser and his being refused write; everything else has to stay as it was.
TRAILS = {
    "django_session", "trading_auditevent", "trading_chainblock", "trading_chainhead", "trading_user", "trading_person",
}  # fmt: skip


@pytest.fixture
def unchanged(on_rich: None) -> Iterator[None]:
    """Everything is taken back; within the test nothing but the trails may have been changed."""
    with connection.cursor() as cursor, transaction.atomic():
        before = digest(cursor)
        yield
        after = digest(cursor)
        assert {name for name in after if after[name] != before[name]} <= TRAILS
        transaction.set_rollback(True)


def _other(model: type[models.Model]) -> models.Field[Any, Any]:
    return model._meta.concrete_fields[-1]


def _row(model: type[models.Model]) -> models.Model:
    """A row of the table; an invented one where it has none."""
    return model._base_manager.order_by("pk").first() or model(pk=1)


def save_again(model: type[models.Model]) -> None:
    """save() of a loaded fact."""
    _row(model).save(force_update=True)


def save_as_new(model: type[models.Model]) -> None:
    """save() under a number of one's own."""
    row = _row(model)
    row.pk = "ZZZ" if model is Commodity else 987_654_321
    row.save(force_insert=True)


def delete(model: type[models.Model]) -> None:
    """The rows themselves, whatever points at them."""
    model._base_manager.all()._raw_delete(model._base_manager.db)


def update(model: type[models.Model]) -> None:
    """queryset.update"""
    model._base_manager.update(**{_other(model).attname: models.F(_other(model).attname)})


def update_in_bulk(model: type[models.Model]) -> None:
    """bulk_update"""
    model._base_manager.bulk_update([_row(model)], [_other(model).name])


def create_in_bulk_with_numbers(model: type[models.Model]) -> None:
    """bulk_create with numbers of one's own, over what stands."""
    model._base_manager.bulk_create(
        [_row(model)], update_conflicts=True, unique_fields=["pk"], update_fields=[_other(model).name]
    )


def lock(model: type[models.Model]) -> None:
    """SELECT … FOR UPDATE, which needs the right to update."""
    list(model._base_manager.select_for_update()[:1])


def raw(model: type[models.Model]) -> None:
    """A cursor."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {model._meta.db_table} SET {_other(model).column} = DEFAULT")


WAYS = [save_again, save_as_new, delete, update, update_in_bulk, create_in_bulk_with_numbers, lock, raw]


@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_the_orm_changes_a_fact(unchanged: None, way: Callable[[type[models.Model]], None]) -> None:
    for model in FACTS:
        if way is save_as_new and model is Commodity:
            continue  # a new commodity is no change of one
        with pytest.raises(DatabaseError, match=REFUSED), transaction.atomic():
            way(model)


REGISTERED = [model for model in FACTS if model in admin.site._registry]


@pytest.fixture
def root(unchanged: None) -> Client:
    """A superuser, signed in: whoever may everything in Django."""
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


def test_the_admin_shows_the_facts() -> None:
    names = {model.__name__ for model in REGISTERED}
    assert {"Entry", "LedgerAccount", "AuditEvent", "Fill", "Proposal", "Approval", "Application"} <= names


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
@pytest.mark.scenario("S-79")
def test_no_request_to_the_admin_changes_a_fact_even_a_superusers(root: Client, model: type[models.Model]) -> None:
    base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    pk = _row(model).pk
    form = {field.name: "1" for field in model._meta.concrete_fields}
    chosen = {"_selected_action": [pk], "index": 0, "select_across": "0", "post": "yes"}
    requests = [
        (reverse(f"{base}_delete", args=[pk]), {"post": "yes"}),
        (reverse(f"{base}_change", args=[pk]), {**form, "_save": "Save"}),
        (reverse(f"{base}_add"), {**form, "_save": "Save"}),
        (reverse(f"{base}_changelist"), {**chosen, "action": "delete_selected"}),
        (
            reverse(f"{base}_changelist"),
            {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": pk, "_save": "x"},
        ),
    ]
    for url, data in requests:
        answer = root.post(url, data)
        assert answer.status_code in (200, 302, 403, 404, 405), (url, answer.status_code)  # the digest judges
    for url, data in requests[:3]:
        assert root.post(url, data).status_code in (403, 404, 405), url
