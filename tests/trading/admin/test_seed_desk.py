"""`seed_desk`: the demo cast, whose passwords are told once."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from trading.models import AuditEvent, User


def seed() -> dict[str, dict[str, Any]]:
    """What the command prints, by user."""
    printed = StringIO()
    call_command("seed_desk", stdout=printed)
    assert printed.getvalue().count("\n") == 1
    return {user["username"]: user for user in json.loads(printed.getvalue())["users"]}


@pytest.mark.django_db
def test_seed_desk_makes_an_operator_an_approver_and_a_viewer_who_can_sign_in() -> None:
    cast = seed()
    assert {name: user["groups"] for name, user in cast.items()} == {
        "ada": ["operator"],
        "bob": ["approver"],
        "charlie": ["viewer"],
    }
    for name, user in cast.items():
        assert Client().login(username=name, password=user["password"])
    made = User.objects.filter(username__in=cast)
    assert len({user.person_id for user in made}) == 3
    assert all(user.is_staff and not user.is_superuser for user in made)
    assert AuditEvent.objects.filter(kind="user.added", via="command").count() == 3


@pytest.mark.django_db
def test_seeding_again_keeps_everybody_and_tells_no_password() -> None:
    first = seed()
    User.objects.get(username="bob").groups.clear()
    again = seed()
    assert all("password" not in user for user in again.values())
    assert again["bob"]["groups"] == [], "what people changed since stays as it is"
    assert Client().login(username="ada", password=first["ada"]["password"])
    assert User.objects.count() == 3


@pytest.mark.django_db
def test_ada_may_propose_and_not_approve_and_bob_the_other_way_round() -> None:
    seed()
    ada, bob, charlie = (User.objects.get(username=name) for name in ("ada", "bob", "charlie"))
    assert ada.has_perm("trading.propose") and not ada.has_perm("trading.approve")
    assert bob.has_perm("trading.approve") and not bob.has_perm("trading.propose")
    assert charlie.has_perm("reconciliation.view_discrepancy")
    assert not charlie.has_perm("trading.propose") and not charlie.has_perm("trading.approve")
