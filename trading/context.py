"""What the work at hand belongs to: the request, command or task that began it, and the audit event that caused it.

What always holds: every piece of work has a request id, also one that nobody entered a context for (the process has
one of its own); a context ends where its block ends and is never seen by another thread; only audit events that were
committed count as the cause of later work. Pure Python: no Django, no database, no clock.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from uuid import uuid4

HEADER = "backoffice"
"""Name of the header of a task's message under which a context travels."""
_WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{7,63}")


@dataclass(frozen=True, slots=True)
class Who:
    """Who began the work: a user's number and name, or the name of a part of the system alone."""

    name: str = ""
    user_id: int | None = None


def nobody() -> Who:
    """The work of a process that nobody asked for."""
    return Who()


@dataclass(frozen=True, slots=True)
class Context:
    """Facts about the work at hand. `cause` is the number of the audit event that made this work happen."""

    request_id: str
    via: str = "engine"
    address: str = ""
    cause: int | None = None


@dataclass(slots=True, eq=False)
class Scope:
    """A context while its block lasts: who began it (asked when first needed), and what it has written so far."""

    context: Context
    who: Callable[[], Who] = nobody
    last_event: int | None = field(default=None)

    def has_written(self, event_id: int) -> None:
        """An audit event of this work was committed."""
        self.last_event = event_id


def new_id() -> str:
    """A new request id."""
    return uuid4().hex


_process = Scope(Context(request_id=new_id()))
_scope: ContextVar[Scope | None] = ContextVar("backoffice_scope", default=None)


def begin_process(*, via: str, name: str = "") -> None:
    """From now on whatever this process does outside an entered context belongs to one new id of its own."""
    global _process
    _process = Scope(Context(request_id=new_id(), via=via), lambda: Who(name))


def entered_scope() -> Scope | None:
    """The innermost entered scope of this thread; None outside any."""
    return _scope.get()


def current() -> Context:
    """The context of the work at hand."""
    return (_scope.get() or _process).context


def who() -> Who:
    """Who began the work at hand."""
    return (_scope.get() or _process).who()


def enter(context: Context, who: Callable[[], Who] = nobody) -> Token[Scope | None]:
    """Enter a context where no `with` can be written; `leave` it with the token."""
    return _scope.set(Scope(context, who))


def leave(token: Token[Scope | None]) -> None:
    """Go back to what was before."""
    _scope.reset(token)


@contextmanager
def entered(
    *, via: str, who: Callable[[], Who] = nobody, request_id: str = "", address: str = "", cause: int | None = None
) -> Iterator[Context]:
    """A context for the length of a block; without a request id it gets a new one."""
    context = Context(request_id or new_id(), via, address, cause)
    token = enter(context, who)
    try:
        yield context
    finally:
        leave(token)


@contextmanager
def part(*, cause: int | None = None) -> Iterator[None]:
    """A part of the work at hand, with the same id: what it writes causes nothing of the other parts.

    With `cause` everything in the block was caused by that audit event.
    """
    outer = _scope.get() or _process
    context = outer.context if cause is None else replace(outer.context, cause=cause)
    token = enter(context, outer.who)
    try:
        yield
    finally:
        leave(token)


def well_formed(request_id: str) -> bool:
    """Whether somebody else's request id may be taken over: 8 to 64 letters, digits, `.`, `_`, `:` or `-`."""
    return bool(_WELL_FORMED.fullmatch(request_id))


def to_message() -> dict[str, str | int] | None:
    """The context as a task's message carries it; None where nobody entered one: such a task gets an id of its own."""
    scope = _scope.get()
    if scope is None and _process.context.via != "command":
        return None
    scope = scope or _process
    carried: dict[str, str | int] = {"request_id": scope.context.request_id}
    if scope.context.address:
        carried["address"] = scope.context.address
    cause = scope.last_event or scope.context.cause
    if cause is not None:
        carried["cause"] = cause
    return carried


def from_message(carried: object, *, via: str = "task") -> Context:
    """The context that a message carried; whatever is missing or malformed in it is left out, a new id is made."""
    found: Mapping[str, object] = carried if isinstance(carried, Mapping) else {}
    request_id, address, cause = found.get("request_id"), found.get("address"), found.get("cause")
    return Context(
        request_id=request_id if isinstance(request_id, str) and well_formed(request_id) else new_id(),
        via=via,
        address=address if isinstance(address, str) and _is_address(address) else "",
        cause=cause if isinstance(cause, int) and not isinstance(cause, bool) and cause > 0 else None,
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return len(text) <= 45
