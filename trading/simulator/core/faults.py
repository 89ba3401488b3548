"""Faults that testers order: which of them applies to a request or an order, and how often it still may.

What always holds here: a fault is used at most `times` times; a request meets at most one wire fault; the oldest
fault that fits goes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

WIRE_ACTIONS = ("drop", "reset", "hang", "status", "late_accept", "rate_limit", "redirect", "body", "truncate", "drip")
ORDER_ACTIONS = ("partial_fill",)
STATE_ACTIONS = ("halt",)
ACTIONS = WIRE_ACTIONS + ORDER_ACTIONS + STATE_ACTIONS


@dataclass(slots=True)
class Fault:
    """One ordered fault. `route` is "METHOD /path-prefix" or "*"; `left` counts down."""

    id: str
    broker: str
    route: str
    when: str
    action: str
    times: int
    left: int
    args: dict[str, Any] = field(default_factory=dict)

    def fits(self, broker: str, method: str, path: str) -> bool:
        """Whether a request is meant."""
        if self.broker not in ("*", broker):
            return False
        if self.route == "*":
            return True
        wanted_method, _, prefix = self.route.partition(" ")
        return wanted_method in ("*", method) and path.startswith(prefix)

    def shown(self) -> dict[str, Any]:
        """As the control API lists it."""
        return {
            "id": self.id, "broker": self.broker, "route": self.route, "when": self.when, "action": self.action,
            "times": self.times, "left": self.left, "args": self.args,
        }  # fmt: skip


def make_fault(id: str, body: dict[str, Any]) -> Fault:
    """A fault from the control call's body. Raises ValueError with a sentence."""
    action = body.get("action")
    if action not in ACTIONS:
        raise ValueError(f"there is no fault action {action!r}; there are: {', '.join(ACTIONS)}")
    when = body.get("when", "before")
    if when not in ("before", "after"):
        raise ValueError(f"when must be before or after, not {when!r}")
    times = body.get("times", 1)
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise ValueError("times must be a whole number of at least 1")
    route = str(body.get("route", "*"))
    if route != "*" and not (" /" in route or " *" in route):
        raise ValueError('route must be "METHOD /path-prefix" or "*"')
    args = body.get("args") or {}
    if not isinstance(args, dict):
        raise ValueError("args must be an object")
    return Fault(id, str(body.get("broker", "*")), route, when, action, times, times, dict(args))


def find(faults: Iterable[Fault], broker: str, method: str, path: str) -> Fault | None:
    """The wire fault that this request meets; not used up yet."""
    for fault in faults:
        if fault.left > 0 and fault.action in WIRE_ACTIONS and fault.fits(broker, method, path):
            return fault
    return None


def take(faults: Iterable[Fault], broker: str, action: str) -> Fault | None:
    """The next order fault of this kind, used up by one."""
    for fault in faults:
        if fault.left > 0 and fault.action == action and fault.broker in ("*", broker):
            fault.left -= 1
            return fault
    return None
