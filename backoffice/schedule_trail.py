"""Every change of the schedule leaves an audit event, whoever makes it: beat at its start, a shell, a form.

What always holds: when a task last ran is no change; both sides of a change are told.
"""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_delete, post_save, pre_save
from django_celery_beat.models import PeriodicTask

from trading.services import audit
from trading.services.audit import Actor

_KEPT = "_audit_before"


def connect() -> None:
    """Listen to all changes; once, when the application starts."""
    pre_save.connect(_remember, sender=PeriodicTask, dispatch_uid="schedule.remember")
    post_save.connect(_saved, sender=PeriodicTask, dispatch_uid="schedule.saved")
    post_delete.connect(_deleted, sender=PeriodicTask, dispatch_uid="schedule.deleted")


def facts_of(task: PeriodicTask) -> dict[str, Any]:
    """What the trail tells of an entry."""
    return {
        "name": task.name,
        "task": task.task,
        "interval": str(task.interval or ""),
        "crontab": str(task.crontab or ""),
        "queue": task.queue or "",
        "enabled": task.enabled,
    }


def _remember(sender: Any, instance: PeriodicTask, **_: Any) -> None:
    rows = PeriodicTask.objects.select_related("interval", "crontab")
    setattr(instance, _KEPT, rows.filter(pk=instance.pk).first() if instance.pk is not None else None)


def _saved(sender: Any, instance: PeriodicTask, **_: Any) -> None:
    standing: PeriodicTask | None = getattr(instance, _KEPT, None)
    before, after = audit.changes(facts_of(standing) if standing is not None else {}, facts_of(instance))
    if after:
        audit.record(kind="schedule.changed", actor=Actor.current(), obj=instance, before=before, after=after)


def _deleted(sender: Any, instance: PeriodicTask, **_: Any) -> None:
    audit.record(kind="schedule.removed", actor=Actor.current(), obj=instance, before=facts_of(instance))
