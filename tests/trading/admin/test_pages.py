"""Every list and every page renders for a viewer, with rows, and nobody can edit anything on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from reconciliation.models import Discrepancy
from tests.trading.admin.world import World, grow
from trading.admin.pages import ReadOnlyAdmin
from trading.models import AuditEvent, OrderAlias, User

SignIn = Callable[[str], Client]
NAMES = sorted(model.__name__ for model in admin.site._registry if model._meta.app_label == "trading")


def url(model: str, page: str, *args: Any) -> str:
    return reverse(f"admin:trading_{model.lower()}_{page}", args=[quote(arg) for arg in args])


@pytest.mark.parametrize("name", NAMES)
def test_a_viewer_sees_the_list_with_rows_and_the_page_of_a_row(name: str, signed_in: SignIn) -> None:
    client = signed_in("charlie")
    row = apps.get_model("trading", name).objects.order_by("pk").first()
    assert row is not None, f"the world has no {name}"
    listed = client.get(url(name, "changelist"))
    assert listed.status_code == 200
    assert listed.context["cl"].result_count > 0
    assert url(name, "change", row.pk) in listed.content.decode()
    page = client.get(url(name, "change", row.pk))
    assert page.status_code == 200
    assert 'name="_save"' not in page.content.decode()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "User"])
def test_nobody_adds_changes_or_deletes_a_fact_not_even_a_superuser(name: str, world: World) -> None:
    User.objects.create_superuser("root", password="a-password-for-tests")
    client = Client()
    client.force_login(User.objects.get(username="root"))
    row = apps.get_model("trading", name).objects.order_by("pk").first()
    assert row is not None
    assert client.get(url(name, "add")).status_code == 403
    assert client.post(url(name, "add"), {}).status_code == 403
    assert client.post(url(name, "change", row.pk), {}).status_code == 403
    assert client.post(url(name, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert apps.get_model("trading", name).objects.filter(pk=row.pk).exists()


def test_every_model_of_the_admin_but_users_is_read_only_and_only_cases_have_bulk_actions() -> None:
    verbs = ("propose", "approve", "reject", "withdraw", "take", "label")
    allowed = {Discrepancy: tuple(f"{verb}_selected" for verb in verbs)}
    for model, model_admin in admin.site._registry.items():
        if model is not User:
            assert isinstance(model_admin, ReadOnlyAdmin), model
        assert model_admin.actions == allowed.get(model), model
    assert "delete_selected" not in dict(admin.site.actions)


def test_users_are_deactivated_and_never_deleted(signed_in: SignIn, world: World) -> None:
    client = signed_in("ulla")
    bob = world.people["bob"]
    assert client.post(url("User", "delete", bob.pk), {"post": "yes"}).status_code == 403
    form = client.get(url("User", "change", bob.pk)).context["adminform"].form
    data = {name: form.initial.get(name) or "" for name in form.fields if name != "groups"}
    data["groups"] = [group.pk for group in bob.groups.all()]
    data.pop("is_active")
    assert client.post(url("User", "change", bob.pk), data).status_code == 302
    bob.refresh_from_db()
    assert not bob.is_active
    audited = AuditEvent.objects.get(kind="user.changed")
    assert audited.actor_name == "ulla"
    assert audited.after["active"] is False


def test_an_administrator_cannot_change_her_own_rights_nor_the_person_of_anybody(
    signed_in: SignIn, world: World
) -> None:
    client = signed_in("ulla")
    own = client.get(url("User", "change", world.people["ulla"].pk)).context["adminform"].form
    assert not {"groups", "is_active", "is_staff", "is_superuser", "person"} & set(own.fields)
    other = client.get(url("User", "change", world.people["bob"].pk)).context["adminform"].form
    assert "groups" in other.fields
    assert not {"is_superuser", "user_permissions", "person"} & set(other.fields)


def test_an_administrator_cannot_set_the_password_of_a_superuser(signed_in: SignIn) -> None:
    root = User.objects.create_superuser("root", password="a-password-for-tests")
    client = signed_in("ulla")
    data = {"usable_password": "true", "password1": "a-long-password-7", "password2": "a-long-password-7"}
    assert client.post(reverse("admin:auth_user_password_change", args=[root.pk]), data).status_code == 403
    assert client.post(url("User", "change", root.pk), {"username": "mine"}).status_code == 403
    assert Client().login(username="root", password="a-password-for-tests")


def test_a_new_user_gets_a_person_of_its_own_and_an_audit_event(signed_in: SignIn) -> None:
    data = {
        "username": "dora",
        "person": "",
        "usable_password": "true",
        "password1": "a-long-password-7",
        "is_active": "on",
    }
    answer = signed_in("ulla").post(url("User", "add"), {**data, "password2": "a-long-password-7"})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert User.objects.get(username="dora").person.name == "dora"
    assert AuditEvent.objects.filter(kind="user.added", object_repr="dora").exists()


def test_changing_ones_own_password_is_audited(signed_in: SignIn, world: World) -> None:
    data = {"old_password": "a-password-for-tests", "new_password1": "a-long-password-7"}
    client = signed_in("bob")
    assert client.post(reverse("admin:password_change"), {**data, "new_password2": "another"}).status_code == 200
    assert not AuditEvent.objects.filter(kind="user.password_changed").exists()
    assert (
        client.post(reverse("admin:password_change"), {**data, "new_password2": "a-long-password-7"}).status_code == 302
    )
    assert AuditEvent.objects.get(kind="user.password_changed").actor == world.people["bob"]


def test_a_viewer_never_sees_a_password_hash(signed_in: SignIn, world: World) -> None:
    page = signed_in("charlie").get(url("User", "change", world.people["bob"].pk)).content.decode()
    assert "md5" not in page
    assert world.people["bob"].password not in page


def test_the_order_page_tells_the_story_from_signal_to_entry(signed_in: SignIn, world: World) -> None:
    page = signed_in("charlie").get(url("Order", "change", world.entry.pk)).content.decode()
    for words in (
        "close above the opening range",  # the signal
        "daily_stop",  # the gates
        "used_r 0.4",
        world.entry.client_order_id,
        "POST /v3/accounts/x/orders",  # the raw message
        "&quot;units&quot;: &quot;10000&quot;",
        "1.09012",  # the fill
        "Position EURUSD",  # the entry's lines
        world.stop.client_order_id,  # its protective leg
        "test planned ENTRY BUY 10000 EURUSD",  # the audit trail
    ):
        assert words in page, words
    assert "Earlier ids at its broker" not in page, "it has had no other"
    states = [event.to_state for event in world.entry.events.order_by("sequence")]
    assert states == ["PLANNED", "SENDING", "WORKING", "FILLED"]
    assert "1.090120000000" not in page


def test_the_order_page_names_the_ids_that_its_broker_had_for_it_before(signed_in: SignIn, world: World) -> None:
    moment = world.entry.at
    OrderAlias.objects.create(account=world.entry.account, order=world.entry, broker_order_id="before-41", at=moment)
    panels = {
        panel.title: panel
        for panel in signed_in("charlie").get(url("Order", "change", world.entry.pk)).context["panels"]
    }
    assert "before-41" in str(panels["Earlier ids at its broker"].rows[0][0])


def test_an_entry_shows_debits_and_credits_that_sum_to_zero(signed_in: SignIn, world: World) -> None:
    entry = world.entry.fills.get().entries.get()
    panels = {
        panel.title: panel for panel in signed_in("charlie").get(url("Entry", "change", entry.pk)).context["panels"]
    }
    assert len(panels["Lines"].rows) == 4
    assert {row[0]: row[3] for row in panels["Sums"].rows} == {"EURUSD": 0, "USD": 0}


def test_a_ledger_account_shows_its_balance_and_the_balance_after_each_posting(signed_in: SignIn, world: World) -> None:
    cash = world.account.ledger_accounts.get(kind="CASH")
    client = signed_in("charlie")
    assert "99,999.5" in client.get(url("LedgerAccount", "changelist") + "?kind__exact=CASH").content.decode()
    statement = client.get(url("LedgerAccount", "change", cash.pk)).context["statement"]
    assert [str(line.balance.normalize()) for line in statement.lines] == ["1E+5", "99999.5"]


def test_the_inbox_says_what_is_posted_and_what_is_held(signed_in: SignIn, world: World) -> None:
    client = signed_in("charlie")
    held = client.get(url("BrokerEvent", "changelist") + "?posting=held").context["cl"]
    assert [event.external_id for event in held.result_list] == ["900"]
    posted = client.get(url("BrokerEvent", "changelist") + "?posting=posted").context["cl"]
    assert {event.external_id for event in posted.result_list} == {"1", "11"}


def test_an_account_says_paper_or_live_in_words(signed_in: SignIn, world: World) -> None:
    client = signed_in("charlie")
    assert '<span class="pill plain">PAPER</span>' in client.get(url("Account", "changelist")).content.decode()
    assert "PAPER account" in client.get(url("Account", "change", world.account.pk)).content.decode()


def test_the_index_lists_models_by_task(signed_in: SignIn) -> None:
    tasks = [app["name"] for app in signed_in("charlie").get(reverse("admin:index")).context["app_list"]]
    assert tasks == ["Review", "Trading", "Ledger", "Reconciliation", "System"]


# Session, user and her permissions (4), the header's pill and the sidebar's number (2), then count, rows, filters and
# the date hierarchy.
BUDGETS = {
    "Order": 13, "Decision": 13, "Fill": 13, "Entry": 11, "Signal": 14, "BrokerEvent": 12, "AuditEvent": 14,
    "LedgerAccount": 12, "Lot": 12, "Trade": 14, "Proposal": 15, "BrokerMessage": 12,
}  # fmt: skip


@pytest.mark.parametrize(("name", "budget"), BUDGETS.items())
def test_a_list_costs_a_fixed_number_of_queries_however_long_it_is(
    name: str, budget: int, signed_in: SignIn, world: World
) -> None:
    client = signed_in("charlie")
    client.get(url(name, "changelist"))
    counts = []
    for rows in (0, 6):
        grow(world, rows)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(url(name, "changelist")).status_code == 200
        counts.append(len(queries))
    assert counts[1] <= budget, "\n".join(query["sql"][:160] for query in queries.captured_queries)
    assert counts[0] == counts[1]
