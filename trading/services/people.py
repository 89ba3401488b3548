"""People who sign in: made with a person of their own, a group, and a password that is shown once.

What always holds: a user that exists keeps password, person and groups; every new user leaves audit events in the
same transaction (`rights`); nobody made here is a superuser.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db import transaction

from trading.models import Person, User

from .audit import Actor
from .rights import acting

DEMO_CAST = {"ada": "operator", "bob": "approver", "charlie": "viewer"}


@dataclass(frozen=True, slots=True)
class Seeded:
    """A user as seeded. `password` is None when the user existed: it is stored nowhere in clear."""

    username: str
    groups: tuple[str, ...]
    password: str | None


@transaction.atomic
def ensure_user(*, username: str, group: str, actor: Actor) -> Seeded:
    """The user of that name; a new one gets a person of its own, the group and a generated password.

    Raises Group.DoesNotExist for an unknown group (groups are made by `migrate`).
    """
    standing = User.objects.filter(username=username).first()
    if standing is not None:
        return Seeded(username, tuple(sorted(standing.groups.values_list("name", flat=True))), None)
    password = secrets.token_urlsafe(12)
    with acting(actor, "demo cast"):
        person = Person.objects.create(name=username.capitalize())
        user = User.objects.create_user(username, password=password, person=person, is_staff=True)
        user.groups.add(Group.objects.get(name=group))
    return Seeded(username, (group,), password)


@transaction.atomic
def seed_demo_cast(*, actor: Actor) -> list[Seeded]:
    """One operator, one approver, one viewer: enough for four eyes."""
    return [ensure_user(username=name, group=group, actor=actor) for name, group in DEMO_CAST.items()]
