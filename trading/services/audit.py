"""The audit trail: one event per act, written in the act's own transaction.

What always holds: every event has an actor (a user or a named part of the system) and a door (`via`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models

from trading.clock import now, wall_now
from trading.models import Account, AuditEvent, User


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, through which door, in which request."""

    user: User | None
    name: str
    via: str
    request_id: str = ""

    @classmethod
    def system(cls, name: str, via: str = "engine") -> Actor:
        """A part of the system, named."""
        return cls(user=None, name=name, via=via)

    @classmethod
    def of(cls, user: User, via: str, request_id: str = "") -> Actor:
        """A signed-in person."""
        return cls(user=user, name=user.get_username(), via=via, request_id=request_id)


def record(
    *,
    kind: str,
    actor: Actor,
    account: Account | None = None,
    obj: models.Model | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
    level: str = "INFO",
    cause: AuditEvent | None = None,
    at: datetime | None = None,
) -> AuditEvent:
    """Write one audit event. `at` defaults to the account's clock (wall time without an account)."""
    moment = at or (now(account) if account is not None else wall_now())
    return AuditEvent.objects.create(
        at=moment,
        level=level,
        kind=kind,
        actor=actor.user,
        actor_name=actor.name,
        via=actor.via,
        request_id=actor.request_id,
        account=account,
        object_type=obj._meta.label if obj is not None else "",
        object_id=str(obj.pk) if obj is not None else "",
        object_repr=str(obj)[:200] if obj is not None else "",
        before=before or {},
        after=after or {},
        reason=reason[:500],
        cause=cause,
    )
