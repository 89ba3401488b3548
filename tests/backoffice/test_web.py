"""The doors of the web that need no person: alive, ready, and the way to the admin."""

from __future__ import annotations

import pytest
import requests
from django.contrib import admin
from django.db import connections
from django.test import Client

from tests.conftest import CommittedDatabase


def test_alive_needs_no_database(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


@pytest.mark.django_db
def test_ready_means_that_the_database_has_every_migration(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "database": True, "migrations": True}


def test_not_ready_while_a_migration_is_missing(client: Client, committed_db: CommittedDatabase) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ok": False, "database": True, "migrations": False}


def test_not_ready_while_the_database_is_gone(client: Client, committed_db: CommittedDatabase) -> None:
    from django.conf import settings

    name = settings.DATABASES["default"]["NAME"]
    connections.close_all()
    settings.DATABASES["default"]["NAME"] = "gone"
    try:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"ok": False, "database": False, "migrations": False}
        assert client.get("/healthz").status_code == 200
    finally:
        settings.DATABASES["default"]["NAME"] = name


def test_the_front_door_leads_to_the_admin_and_asks_who_you_are(web: str) -> None:
    answer = requests.get(web, timeout=10)
    assert answer.status_code == 200
    assert answer.url.startswith(f"{web}/admin/login/")
    assert "Trading back office" in answer.text


def test_the_admin_is_our_own_site() -> None:
    assert type(admin.site._wrapped if hasattr(admin.site, "_wrapped") else admin.site).__name__ == "BackOfficeSite"
