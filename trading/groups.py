"""What each group of people may do. Assigned after every `migrate`, when all permissions exist.

What always holds: no group both proposes and approves; `admin` manages users and neither trades nor approves.
"""

from typing import Any

from django.apps import AppConfig
from django.contrib.auth.models import Group, Permission

GROUPS: dict[str, list[str]] = {
    "viewer": [],
    "operator": ["propose", "pause", "kill"],
    "approver": ["approve"],
    "risk": ["pause", "kill"],
    "auditor": [],
    "admin": ["add_user", "change_user", "add_person"],
}
VIEWED_APPS = ["trading", "reconciliation"]


def assign_group_permissions(sender: AppConfig, using: str = "default", **kwargs: Any) -> None:
    """Give each group its permissions; every group may view."""
    views = Permission.objects.using(using).filter(
        content_type__app_label__in=VIEWED_APPS, codename__startswith="view_"
    )
    for name, codenames in GROUPS.items():
        group, _ = Group.objects.using(using).get_or_create(name=name)
        acts = Permission.objects.using(using).filter(content_type__app_label__in=VIEWED_APPS, codename__in=codenames)
        group.permissions.set([*views, *acts])
