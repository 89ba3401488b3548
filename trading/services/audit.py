"""The audit trail: one event per act, written in the act's own transaction.

What always holds: every event has a kind of the registry, an actor (a user or a named part of the system), a door
(`via`) and the id of the request, task or command it belongs to; a change whose event cannot be written is not made,
because both share a transaction; no secret is kept (`domain.redaction`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from django.db import models, transaction

from trading import context
from trading.clock import now, wall_now
from trading.domain.audit_kinds import kind_of
from trading.domain.redaction import redacted, redacted_text
from trading.models import Account, AuditEvent, User

SECRETS = (
    "OANDA_API_KEY", "ALPACA_API_KEY", "ALPACA_SECRET_KEY", "KITE_API_KEY", "KITE_ACCESS_TOKEN", "KITE_API_SECRET",
    "TWELVEDATA_API_KEYS", "FINNHUB_API_KEYS", "DISCORD_WEBHOOK_URL", "SIMULATOR_CONTROL_TOKEN",
    "BACKOFFICE_SECRET_KEY", "BACKOFFICE_ANCHOR_KEY",
)  # fmt: skip
"""Variables of the environment whose values never reach the trail."""
ADDRESSES = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "BACKOFFICE_EMAIL_URL")
"""Those whose passwords never do."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, through which door, in which request (the work at hand's, where neither id nor address is given)."""

    user: User | None
    name: str
    via: str
    request_id: str = ""
    address: str = ""

    @classmethod
    def system(cls, name: str, via: str = "engine") -> Actor:
        """A part of the system, named."""
        return cls(user=None, name=name, via=via)

    @classmethod
    def of(cls, user: User, via: str, request_id: str = "") -> Actor:
        """A signed-in person."""
        return cls(user=user, name=user.get_username(), via=via, request_id=request_id)

    @classmethod
    def current(cls) -> Actor:
        """Whoever began the work at hand: the signed-in user of a request, else the command, task or process."""
        began, via = context.who(), context.current().via
        user = User.objects.filter(pk=began.user_id).first() if began.user_id is not None else None
        if user is not None:
            return cls.of(user, via=via)
        return cls.system(began.name or "somebody unknown", via="web" if via in ("admin", "api") else via)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be written: what happened to which object. `record` says what is taken where nothing is given."""

    kind: str
    actor: Actor
    account: Account | None = None
    obj: models.Model | None = None
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    level: str = ""
    cause: AuditEvent | None = None
    at: datetime | None = None


def record(
    *,
    kind: str,
    actor: Actor,
    account: Account | None = None,
    obj: models.Model | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
    level: str = "",
    cause: AuditEvent | None = None,
    at: datetime | None = None,
) -> AuditEvent:
    """Write one audit event, in the caller's transaction.

    `at` defaults to the account's clock (wall time without an account), `level` to that of the kind. Request id,
    address and cause are those of the work at hand unless the actor or the caller names others. Raises UnknownKind.
    """
    draft = Draft(kind, actor, account, obj, before or {}, after or {}, reason, level, cause, at)
    return record_all([draft])[0]


def record_all(drafts: Sequence[Draft]) -> list[AuditEvent]:
    """Write several events in one statement, in this order; each as `record` writes it."""
    secrets = known_secrets()
    events = AuditEvent.objects.bulk_create([_event(draft, secrets) for draft in drafts])
    scope = context.entered_scope()
    if scope is not None and events:  # only what is committed can be the cause of what a woken worker does
        transaction.on_commit(partial(scope.has_written, events[-1].pk))
    return events


def _event(draft: Draft, secrets: list[str]) -> AuditEvent:
    work, obj, account = context.current(), draft.obj, draft.account
    return AuditEvent(
        at=draft.at or (now(account) if account is not None else wall_now()),
        level=draft.level or kind_of(draft.kind).level,
        kind=draft.kind,
        actor=draft.actor.user,
        actor_name=draft.actor.name[:150],
        via=draft.actor.via,
        request_id=draft.actor.request_id or work.request_id,
        address=draft.actor.address or work.address,
        account=account,
        object_type=obj._meta.label if obj is not None else "",
        object_id=str(obj.pk)[:40] if obj is not None else "",
        object_repr=redacted_text(str(obj), secrets)[:200] if obj is not None else "",
        before=redacted(draft.before, secrets),
        after=redacted(draft.after, secrets),
        reason=redacted_text(draft.reason, secrets)[:500],
        cause_id=draft.cause.pk if draft.cause is not None else work.cause,
    )


def changes(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both sides of a change, without what stayed the same."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}


def known_secrets() -> list[str]:
    """Every secret that this process knows of."""
    found: list[str] = []
    for name in SECRETS:
        value = os.environ.get(name, "")
        found += [value, *value.split(",")] if "," in value else [value]
    for name in ADDRESSES:
        value = os.environ.get(name, "")
        if "@" in value:
            password = urlsplit(value).password or ""
            found += [password, unquote(password)]
    return found
