"""One moment out of several answers: an account is looked at until nothing happens while it is read.

What always holds: what may have changed meanwhile is never called complete.
"""

from __future__ import annotations

from collections.abc import Callable

from trading.domain.broker import BrokerSnapshot, Completeness, Part

# How often a snapshot is tried on an account that changes while it is read.
CUTS = 3


def cut(look: Callable[[], tuple[BrokerSnapshot, bool]]) -> BrokerSnapshot:
    """The first look during which the account stood still, as its second value says; else the last of `CUTS`."""
    for _ in range(CUTS):
        shown, same = look()
        if same:
            break
    return shown


def doubtful(part: Part, reason: str) -> Part:
    """The part when its answers may not belong together: no longer complete."""
    return Part(Completeness.PARTIAL, reason) if part.completeness is Completeness.COMPLETE else part
