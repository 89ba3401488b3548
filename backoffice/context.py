"""Where the context of the work at hand comes from: a web request, a command line, a task's message.

What always holds: every request has an id, the caller's own where it is well-formed, and is answered with it; the
address is the peer's, never a header's; a task that somebody woke carries the id of what woke it and the audit event
that caused it, and one that beat started has an id of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Token
from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun
from django.db import DatabaseError, close_old_connections
from django.http import HttpRequest, HttpResponse

from trading import context
from trading.context import Who

log = logging.getLogger(__name__)
REQUEST_ID = "X-Request-ID"
DOORS = (("/admin", "admin"), ("/api", "api"))


def door_of(path: str) -> str:
    """Through which door a request comes: admin, api or web."""
    return next((door for start, door in DOORS if path == start or path.startswith(f"{start}/")), "web")


class RequestContext:
    """Middleware: the outermost, so that whatever answers a request knows which one it is."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request within its context; a refusal is audited."""
        from .doors import refused

        given = request.headers.get(REQUEST_ID, "")
        with context.entered(
            via=door_of(request.path),
            who=lambda: _who(request),
            request_id=given if context.well_formed(given) else "",
            address=str(request.META.get("REMOTE_ADDR", ""))[:45],
        ) as work:
            answer = self._get_response(request)
            if answer.status_code == 403:
                refused(request)
        answer[REQUEST_ID] = work.request_id
        return answer


def _who(request: HttpRequest) -> Who:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return Who("somebody not signed in")
    return Who(user.get_username(), user.pk)


_running: dict[str, Token[Any]] = {}


@before_task_publish.connect  # type: ignore[untyped-decorator]
def carry(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Put the context of whoever wakes a worker on its message."""
    carried = context.to_message()
    if headers is not None and carried is not None:
        headers[context.HEADER] = carried


@task_prerun.connect  # type: ignore[untyped-decorator]
def enter(task_id: str = "", task: Any = None, **_: Any) -> None:
    """Begin a task in the context that its message carried, or in a new one, and on a connection that is alive."""
    close_old_connections()
    request = getattr(task, "request", None)
    carried = getattr(request, context.HEADER, None) or (getattr(request, "headers", None) or {}).get(context.HEADER)
    work = context.from_message(carried)
    name = str(getattr(task, "name", "a task"))
    _running[task_id] = context.enter(_known(work), lambda: Who(name))


@task_postrun.connect  # type: ignore[untyped-decorator]
def leave(task_id: str = "", **_: Any) -> None:
    """The task is over."""
    token = _running.pop(task_id, None)
    if token is not None:
        context.leave(token)


def _known(work: context.Context) -> context.Context:
    """Without a cause that this database does not have: a message may be older than a restore, and Redis no record."""
    from trading.models import AuditEvent

    if work.cause is None:
        return work
    try:
        if AuditEvent.objects.filter(pk=work.cause).exists():
            return work
    except DatabaseError as error:
        log.warning("what caused this task could not be looked up: %s", error)
    return context.Context(work.request_id, work.via, work.address)
