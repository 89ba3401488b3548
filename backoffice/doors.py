"""Who came to the doors of the web: sign-ins, sign-outs, failed ones, and whoever was refused, in the audit trail.

What always holds: no password and no name that is none of ours is written down (people type passwords into the wrong
field); a flood of failures fills no table (`floods`); a refusal stands even when it cannot be written down.
"""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import DatabaseError
from django.http import HttpRequest

from trading import context
from trading.models import User
from trading.services import audit
from trading.services.audit import Actor

from .floods import Flood, Write

log = logging.getLogger(__name__)
NOBODY = "somebody not signed in"
failures, refusals = Flood(), Flood()


def connect() -> None:
    """Listen to sign-ins and sign-outs; once, when the application starts."""
    user_logged_in.connect(_signed_in, dispatch_uid="doors.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="doors.signed_out")
    user_login_failed.connect(_failed, dispatch_uid="doors.failed")


def _door() -> str:
    via = context.current().via
    return via if via in ("admin", "api") else "web"


def _signed_in(sender: Any, request: HttpRequest | None, user: User, **_: Any) -> None:
    audit.record(
        kind="signin.succeeded",
        actor=Actor.of(user, via=_door()),
        obj=user,
        after={"address": context.current().address, "door": _door()},
    )


def _signed_out(sender: Any, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    if user is not None:
        after = {"address": context.current().address, "door": _door()}
        audit.record(kind="signin.ended", actor=Actor.of(user, via=_door()), obj=user, after=after)


def _failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    address = context.current().address
    what, unwritten = failures.note(address)
    if what is Write.NOTHING:
        return
    actor = Actor.system(NOBODY, via="web")
    if what is Write.SUMMARY:
        audit.record(kind="signin.flood", actor=actor, after={"address": address})
        return
    user = User.objects.filter(username=str(credentials.get("username", ""))[:150]).first()
    why = "no user of that name" if user is None else "wrong password" if user.is_active else "the user is switched off"
    after: dict[str, Any] = {"address": address, "door": _door()}
    if unwritten:
        after["not_written"] = unwritten
    audit.record(kind="signin.failed", actor=actor, obj=user, after=after, reason=why)


def refused(request: HttpRequest) -> None:
    """Somebody was answered 403. Raises nothing: a refusal stands whether or not it could be written down."""
    address = context.current().address
    what, unwritten = refusals.note(address)
    if what is Write.NOTHING:
        return
    try:
        _write_refusal(request, address, what, unwritten)
    except DatabaseError as error:
        log.error("%s %s was refused, and that could not be audited: %s", request.method, request.path, error)


def _write_refusal(request: HttpRequest, address: str, what: Write, unwritten: int) -> None:
    signed_in = context.who().user_id is not None
    actor = Actor.current() if signed_in else Actor.system(NOBODY, via="web")
    if what is Write.SUMMARY:
        audit.record(kind="access.flood", actor=actor, after={"address": address})
        return
    after: dict[str, Any] = {"method": request.method, "path": request.path[:200], "address": address}
    if unwritten:
        after["not_written"] = unwritten
    audit.record(kind="access.denied", actor=actor, after=after)
