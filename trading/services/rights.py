"""Who may sign in and do what: every change of users, people, groups and grants leaves an audit event.

What always holds: the events come from Django's signals, so admin, commands and a shell leave the same trail as the
services; both sides of a change are told, passwords never, only that one was set. A change that goes round Django
(bulk updates, SQL) leaves none, and `verify` says so: it compares the rights that stand with the ones last told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import models
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from trading.models import AccountGrant, Person, User

from . import audit
from .audit import Actor

DEFAULT = "default"
"""The alias of the application's own connection; migrations under the owner's leave no trail of people."""
USER = {
    "username": "username", "person_id": "person", "is_active": "active", "is_staff": "staff",
    "is_superuser": "superuser", "email": "email", "first_name": "first_name", "last_name": "last_name",
}  # fmt: skip
"""The fields of a user that the trail tells, and under which names."""
_KEPT = "_audit_before"
_acting: ContextVar[tuple[Actor, str] | None] = ContextVar("acting", default=None)


@contextmanager
def acting(actor: Actor, reason: str = "") -> Iterator[None]:
    """Within this block changes of people are made by `actor` for this reason, not by whoever began the work."""
    token = _acting.set((actor, reason))
    try:
        yield
    finally:
        _acting.reset(token)


def connect() -> None:
    """Listen to all changes; once, when the application starts."""
    for model in (User, Person, Group, AccountGrant):
        name = model.__name__
        pre_save.connect(_remember, sender=model, dispatch_uid=f"rights.remember.{name}")
        post_save.connect(_saved, sender=model, dispatch_uid=f"rights.saved.{name}")
        post_delete.connect(_deleted, sender=model, dispatch_uid=f"rights.deleted.{name}")
    pre_delete.connect(_group_goes, sender=Group, dispatch_uid="rights.group_goes")
    for through, told in (
        (User.groups.through, _groups_changed),
        (User.user_permissions.through, _user_rights_changed),
        (Group.permissions.through, _group_rights_changed),
    ):
        m2m_changed.connect(told, sender=through, dispatch_uid=f"rights.{told.__name__}")


def facts_of(row: models.Model) -> dict[str, Any]:
    """What the trail tells of a user, a person, a group or a grant; groups of a user and rights apart."""
    if isinstance(row, User):
        return {told: getattr(row, name) for name, told in USER.items()}
    if isinstance(row, AccountGrant):
        return {"username": row.user.get_username(), "account": row.account.name, "level": str(row.level)}
    return {"name": getattr(row, "name", "")}


def _record(kind: str, row: models.Model, before: dict[str, Any], after: dict[str, Any]) -> None:
    actor, reason = _acting.get() or (Actor.current(), "")
    account = row.account if isinstance(row, AccountGrant) else None
    audit.record(kind=kind, actor=actor, account=account, obj=row, before=before, after=after, reason=reason)


def _remember(sender: type[models.Model], instance: models.Model, using: str, **_: Any) -> None:
    """Keep what is stored, to tell afterwards what has changed."""
    standing = None
    if using == DEFAULT and instance.pk is not None:
        standing = sender._default_manager.using(using).filter(pk=instance.pk).first()
    setattr(instance, _KEPT, standing)


def _saved(sender: type[models.Model], instance: models.Model, created: bool, using: str, **more: Any) -> None:
    if using != DEFAULT:
        return
    standing: models.Model | None = getattr(instance, _KEPT, None)
    kind = "grant" if isinstance(instance, AccountGrant) else sender.__name__.lower()
    if standing is None:
        after = facts_of(instance)
        if isinstance(instance, User):
            after["groups"] = []
        _record(f"{kind}.changed" if kind == "grant" else f"{kind}.added", instance, {}, after)
        return
    written = more.get("update_fields")
    if isinstance(instance, User) and isinstance(standing, User):
        unwritten = {
            told for name, told in USER.items() if written and name not in written and name[:-3] not in written
        }
    else:
        unwritten = set()
    before, after = audit.changes(facts_of(standing), facts_of(instance))
    before = {name: value for name, value in before.items() if name not in unwritten}
    after = {name: value for name, value in after.items() if name not in unwritten}
    if after:
        _record(f"{kind}.changed", instance, before, after)
    if isinstance(instance, User) and isinstance(standing, User) and (not written or "password" in written):
        _password_saved(standing, instance)


def _password_saved(standing: User, user: User) -> None:
    if standing.password == user.password:
        return
    if getattr(user, "_password", None) is None and user.has_usable_password():
        # Django's own, at a sign-in: the same password under another hash.
        _record("user.changed", user, {}, {"changed": ["how the same password is stored"]})
        return
    _record("user.password_changed", user, {}, {"changed": ["sign-in by password"]})


def _deleted(sender: type[models.Model], instance: models.Model, using: str, **_: Any) -> None:
    if using == DEFAULT:
        name = sender.__name__.lower()
        kind = "grant.changed" if isinstance(instance, AccountGrant) else f"{name}.removed"
        _record(kind, instance, facts_of(instance), {})


def _group_goes(sender: type[models.Model], instance: Group, using: str, **_: Any) -> None:
    """Whoever was in it is so no more."""
    if using != DEFAULT:
        return
    for user in _users(instance, None):
        before = _names(user.groups)
        _record("user.groups_changed", user, {"groups": before}, {"groups": [n for n in before if n != instance.name]})


def _groups_changed(instance: Any, action: str, reverse: bool, pk_set: set[int] | None, using: str, **_: Any) -> None:
    """A user's groups, from either side."""
    if using != DEFAULT:
        return
    if action.startswith("pre_"):
        affected = [instance] if not reverse else list(_users(instance, pk_set))
        setattr(instance, _KEPT, [(user, _names(user.groups)) for user in affected])
        return
    for user, before in getattr(instance, _KEPT, []):
        after = _names(user.groups)
        if after != before:
            _record("user.groups_changed", user, {"groups": before}, {"groups": after})


def _users(group: Group, pk_set: set[int] | None) -> Any:
    return User.objects.filter(pk__in=pk_set) if pk_set is not None else User.objects.filter(groups=group)


def _user_rights_changed(instance: Any, action: str, reverse: bool, using: str, **_: Any) -> None:
    _rights_changed("user.rights_changed", instance, action, reverse, using, "user_permissions")


def _group_rights_changed(instance: Any, action: str, reverse: bool, using: str, **_: Any) -> None:
    _rights_changed("group.changed", instance, action, reverse, using, "permissions")


def _rights_changed(kind: str, instance: Any, action: str, reverse: bool, using: str, attribute: str) -> None:
    """Single rights of a user or a group; given from a right's side, the right itself is what it is about."""
    if using != DEFAULT:
        return
    if reverse:
        if action.startswith("post_"):
            _record(kind, instance, {}, {"permissions": [instance.codename]})
        return
    held = getattr(instance, attribute)
    if action.startswith("pre_"):
        setattr(instance, _KEPT, _codes(held))
        return
    before, after = getattr(instance, _KEPT, []), _codes(held)
    if before != after:
        _record(kind, instance, {"permissions": before}, {"permissions": after})


def _names(groups: Any) -> list[str]:
    return sorted(groups.values_list("name", flat=True))


def _codes(held: models.Manager[Permission]) -> list[str]:
    return sorted(held.values_list("codename", flat=True))
