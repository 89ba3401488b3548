"""Users, people, groups and grants: every change of them is told, whoever makes it and however."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from tests.trading.services.making import make_account
from trading import context
from trading.context import Who
from trading.models import AccountGrant, AuditEvent, Person, User
from trading.services import people
from trading.services.audit import Actor

CANARY = "a-canary-password-91"


def told(about: Any) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Kind, before and after of what the trail says of an object, in order."""
    rows = AuditEvent.objects.filter(object_type=about._meta.label, object_id=str(about.pk)).order_by("id")
    return [(row.kind, row.before, row.after) for row in rows]


def test_a_new_user_its_person_and_its_group_are_told_under_the_one_who_made_them(db: None) -> None:
    people.ensure_user(username="ada", group="operator", actor=Actor.system("seed", via="command"))
    ada = User.objects.get(username="ada")
    added, groups = told(ada)
    assert added[0] == "user.added" and added[2]["person"] == ada.person_id and added[2]["superuser"] is False
    assert groups == ("user.groups_changed", {"groups": []}, {"groups": ["operator"]})
    assert [kind for kind, _, _ in told(ada.person)] == ["person.added"]
    made = AuditEvent.objects.filter(kind__in=["user.added", "person.added", "user.groups_changed"])
    assert {(event.actor_name, event.via, event.reason) for event in made} == {("seed", "command", "demo cast")}


def test_a_change_in_a_shell_or_a_command_is_told_with_both_sides(db: None) -> None:
    ada = User.objects.create_user("ada", email="old@example.test")
    with context.entered(via="command", who=lambda: Who("manage.py shell")):
        ada.email, ada.is_superuser = "new@example.test", True
        ada.save()
    kind, before, after = told(ada)[-1]
    assert kind == "user.changed"
    assert before == {"email": "old@example.test", "superuser": False}
    assert after == {"email": "new@example.test", "superuser": True}
    event = AuditEvent.objects.latest("id")
    assert (event.actor_name, event.via) == ("manage.py shell", "command")


def test_a_save_that_changes_nothing_told_and_a_sign_in_tell_nothing(db: None) -> None:
    ada = User.objects.create_user("ada")
    before = AuditEvent.objects.count()
    ada.save()
    ada.email = "not written"
    ada.save(update_fields=["last_login"])
    assert AuditEvent.objects.count() == before


def test_a_new_password_is_told_and_never_shown(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    ada = User.objects.create_user("ada", password="first-" + CANARY)
    ada.set_password(CANARY)
    ada.save(update_fields=["password"])
    assert told(ada)[-1] == ("user.password_changed", {}, {"changed": ["sign-in by password"]})
    assert ada.check_password(CANARY)
    trail = str([(row.before, row.after, row.reason) for row in AuditEvent.objects.all()])
    assert CANARY not in trail and "md5" not in trail and ada.password not in trail


def test_the_same_password_under_another_hash_is_not_a_new_password(db: None, settings: Any) -> None:
    ada = User.objects.create_user("ada", password=CANARY)
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS,
    ]  # fmt: skip
    assert User.objects.get(pk=ada.pk).check_password(CANARY)
    assert told(ada)[-1] == ("user.changed", {}, {"changed": ["how the same password is stored"]})


def test_groups_are_told_from_either_side_and_when_a_group_goes(db: None) -> None:
    ada, bob = User.objects.create_user("ada"), User.objects.create_user("bob")
    group = Group.objects.create(name="night")
    group.user_set.add(ada, bob)
    assert told(ada)[-1] == told(bob)[-1] == ("user.groups_changed", {"groups": []}, {"groups": ["night"]})
    ada.groups.set([Group.objects.get(name="viewer")])
    assert [step[1:] for step in told(ada)[-2:]] == [
        ({"groups": ["night"]}, {"groups": []}),
        ({"groups": []}, {"groups": ["viewer"]}),
    ]
    ada.groups.clear()
    assert told(ada)[-1][2] == {"groups": []}
    group.delete()
    assert told(bob)[-1] == ("user.groups_changed", {"groups": ["night"]}, {"groups": []})
    assert AuditEvent.objects.filter(kind="group.removed", before__name="night").exists()


def test_single_rights_of_users_and_groups_are_told(db: None) -> None:
    ada, right = User.objects.create_user("ada"), Permission.objects.get(codename="approve")
    ada.user_permissions.add(right)
    assert told(ada)[-1] == ("user.rights_changed", {"permissions": []}, {"permissions": ["approve"]})
    group = Group.objects.create(name="night")
    group.permissions.add(right)
    assert told(group)[-1] == ("group.changed", {"permissions": []}, {"permissions": ["approve"]})
    right.user_set.clear()
    assert told(right)[-1] == ("user.rights_changed", {}, {"permissions": ["approve"]})


def test_grants_and_people_are_told(db: None) -> None:
    ada, account = User.objects.create_user("ada"), make_account()
    grant = AccountGrant.objects.create(user=ada, account=account)
    grant.level = AccountGrant.Level.ACT
    grant.save()
    assert told(grant)[-1] == ("grant.changed", {"level": "VIEW"}, {"level": "ACT"})
    grant.delete()
    assert AuditEvent.objects.latest("id").before["level"] == "ACT"
    person = Person.objects.create(name="Dora")
    person.name = "Dora D."
    person.save()
    assert told(person)[-1] == ("person.changed", {"name": "Dora"}, {"name": "Dora D."})


def test_djangos_own_command_for_superusers_leaves_a_trail(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", CANARY)
    call_command("createsuperuser", interactive=False, username="root", email="")
    root = User.objects.get(username="root")
    assert told(root)[0][0] == "user.added" and told(root)[0][2]["superuser"] is True
    assert CANARY not in str(list(AuditEvent.objects.values()))
