"""How many requests a piece of work sends to brokers, and whether one of them was turned away as one too many.

What always holds: only what the same thread sends inside the block is counted, once for each request that may have
left; counting changes nothing of what is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Wire:
    """What was counted so far. `retry_after` is the longest quiet in seconds that a broker has asked for, if it did.

    `too_many`: a broker has said 429, or our own budget for it was spent.
    """

    requests: int = 0
    too_many: bool = False
    retry_after: float | None = None


_counted: ContextVar[Wire | None] = ContextVar("counted", default=None)


@contextmanager
def counting() -> Iterator[Wire]:
    """Count what the block sends."""
    wire = Wire()
    token = _counted.set(wire)
    try:
        yield wire
    finally:
        _counted.reset(token)


def one_request() -> None:
    """A request leaves."""
    wire = _counted.get()
    if wire is not None:
        wire.requests += 1


def one_too_many(retry_after: float | None = None) -> None:
    """A request was turned away; `retry_after` is how many seconds of quiet were asked for, None if nobody said."""
    wire = _counted.get()
    if wire is not None:
        wire.too_many = True
        if retry_after is not None:
            wire.retry_after = max(wire.retry_after or 0.0, retry_after)
