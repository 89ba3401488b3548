"""Faults that testers order: which of them applies to a request, an answer, an order or a stream, and how often.

What always holds here: a fault that strikes single things (requests, pages, orders, fills, streams, messages) does so
at most `times` times, and the oldest that fits goes first; a request meets at most one of them; a fault that is in
force for a while (halt, mute_stream, expire_token) strikes everything that fits until its time is over or it is
cleared. A fault changes what clients see, never what the journal says happened; only `partial_fill`, `both_legs`,
`reject_later`, `late_accept` and `halt` are acts of the broker itself, and those are in the journal like any other.

| action | args | what happens |
|---|---|---|
| drop, reset | | the connection ends without an answer; an open stream is cut |
| hang | seconds | nothing is sent for so long; an open stream stays half open, then ends |
| drip | seconds | the answer, or the stream's next message, comes one byte at a time |
| truncate | bytes | the answer, or the stream's next line, breaks off |
| status, rate_limit, redirect | status, headers, location, body, seconds, keep | another answer (`keep`: its body) |
| body, bad_value | path, value (or text, content_type for body) | one member of the answer or message is replaced |
| late_accept | seconds, status or "drop" | the answer is lost and the broker acts later |
| reject_later | seconds, reason | the order is accepted, fills nothing, and is rejected by the broker later |
| partial_fill | quantity | the next order is filled in part |
| both_legs | | the next leg that fills does not end the other one: both fill at that price (Alpaca) |
| hide | seconds or until, what, page, account, client_id, tag, instruments | see `hides_fill` |
| duplicate, reorder | | the rows of a page, or messages of a stream, come twice or out of order |
| stale_page | | the page as it was before the account's last change |
| mute_stream | seconds | open and new streams stay open and say nothing, no heartbeat either |
| expire_token | seconds, status | every request is refused as not authorised |
| halt | seconds or until, instrument | nothing is tradeable |

`seconds` are the wall clock's (but for halt: the broker's), `until` is the broker's time; without either the fault
lasts until it is cleared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .numbers import moment, number

WIRE_ACTIONS = (
    "drop", "reset", "hang", "status", "late_accept", "rate_limit", "redirect", "body", "bad_value", "truncate", "drip",
)  # fmt: skip
PAGE_ACTIONS = ("duplicate", "reorder", "stale_page")
WRITE_ACTIONS = ("hide", "reject_later")
CUT_ACTIONS = ("drop", "reset", "hang", "truncate", "drip")
MESSAGE_ACTIONS = ("duplicate", "reorder", "bad_value")
LASTING_ACTIONS = ("halt", "mute_stream", "expire_token")
ACTIONS = (*WIRE_ACTIONS, *PAGE_ACTIONS, *WRITE_ACTIONS, "partial_fill", "both_legs", *LASTING_ACTIONS)
_READS = ("GET", "HEAD")
_STREAM_WORDS = ("/stream", "/v2/iex", "/ticker", "/postback")


@dataclass(slots=True)
class Fault:
    """One ordered fault. `route` is "METHOD /path-prefix" or "*"; `left` counts down; `ordered` is a wall time."""

    id: str
    broker: str
    route: str
    when: str
    action: str
    times: int
    left: int
    args: dict[str, Any] = field(default_factory=dict)
    ordered: float = 0.0

    def fits(self, broker: str, method: str, path: str) -> bool:
        """Whether a request is meant."""
        if self.broker not in ("*", broker):
            return False
        if self.route == "*":
            return True
        wanted_method, _, prefix = self.route.partition(" ")
        return wanted_method in ("*", method) and (prefix == "*" or path.startswith(prefix))

    def fits_open_stream(self, broker: str, path: str) -> bool:
        """Whether a stream that is already open is meant: by "*", or by a route that names a stream.

        A shorter path prefix means requests: a fault for `GET /v3/accounts/…/transactions` spares the stream below it.
        Kite's ticker and its postbacks, which are at other addresses, are `GET /ticker` and `GET /postback`.
        """
        named = self.route == "*" or any(word in self.route for word in _STREAM_WORDS)
        return named and self.fits(broker, "GET", path)

    @property
    def hides_fill(self) -> bool:
        """Whether it hides a fill (`what: "fill"`) rather than an order.

        `what: "order"` (the default) hides what the next request that creates or changes anything brings about: its
        orders, the trades they open and its rows of history are absent from lists, look-ups, history and streams.
        `what: "fill"` hides the next fill, whatever causes it, a stop or target inside the engine too, that
        belongs to `account`, `client_id` (the order's), `tag` (of the order's client extensions) and
        `instruments` (a list) where these are given: only its row of history and its message are absent.
        Positions and cash always include what is hidden. With `page: "skip"` (the default) history leaves the
        hidden rows out and goes on; with `page: "end"` it ends before the first of them, its last id too.
        Hidden things appear, the messages late, after `seconds` of the wall clock
        or at `until`, or when the faults are cleared.
        """
        return self.action == "hide" and self.args.get("what") == "fill"

    def in_force(self, wall: float, now: datetime) -> bool:
        """Whether a lasting fault has not run out; `wall` is the wall clock, `now` the broker's."""
        if "until" in self.args:
            return now < moment(self.args["until"])
        return "seconds" not in self.args or wall < self.ordered + float(self.args["seconds"])

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
    args = {key: value for key, value in args.items() if value is not None or key == "value"}
    fault = Fault(id, str(body.get("broker", "*")), route, when, action, times, times, args, float(body.get("wall", 0)))
    _check(fault)
    return fault


def _check(fault: Fault) -> None:
    """Raises ValueError with a sentence when the args of the action are missing or wrong."""
    args, action = fault.args, fault.action
    if "seconds" in args:
        try:
            seconds = number(args["seconds"])
        except ValueError:
            seconds = number(-1)
        if seconds < 0:
            raise ValueError(f"args.seconds must be a number of seconds, not {args['seconds']!r}")
    if "until" in args:
        args["until"] = moment(args["until"]).isoformat()
    if "status" in args and not (action == "late_accept" and str(args["status"]).lower() == "drop"):
        text = str(args["status"])
        if not (text.isdecimal() and 200 <= int(text) <= 599):
            raise ValueError(f"args.status must be an HTTP status from 200 to 599, not {args['status']!r}")
    if "headers" in args and not isinstance(args["headers"], dict):
        raise ValueError("args.headers must be an object")
    if "bytes" in args and (isinstance(args["bytes"], bool) or not str(args["bytes"]).isdecimal()):
        raise ValueError("args.bytes must be a whole number")
    if action == "partial_fill":
        try:
            quantity = number(args.get("quantity"))
        except ValueError:
            quantity = number(0)
        if quantity <= 0:
            raise ValueError("args.quantity must be a number above zero")
    if action == "bad_value" and not (isinstance(args.get("path"), str) and args["path"] and "value" in args):
        raise ValueError('bad_value needs args.path (like "orders.*.price" or "0.qty") and args.value')
    if action == "body" and "text" not in args and not args.get("path"):
        raise ValueError("body needs args.text, or args.path and args.value")
    if action == "hide":
        _check_hide(fault)


def _check_hide(fault: Fault) -> None:
    args = fault.args
    if args.get("what", "order") not in ("order", "fill"):
        raise ValueError(f'args.what must be "order" or "fill", not {args["what"]!r}')
    if args.get("page", "skip") not in ("skip", "end"):
        raise ValueError(f'args.page must be "skip" or "end", not {args["page"]!r}')
    if fault.hides_fill and fault.route != "*":
        raise ValueError('what: "fill" hides a fill whatever causes it: the route must be "*"')
    if not fault.hides_fill and {"account", "client_id", "tag", "instruments"} & set(args):
        raise ValueError('account, client_id, tag and instruments are for what: "fill"; a route chooses an order')


def find(faults: Iterable[Fault], broker: str, method: str, path: str, pages: bool = True) -> Fault | None:
    """The fault that this request meets; not used up yet. Without `pages`, faults of its rows are left aside."""
    actions = set(WIRE_ACTIONS)
    if method not in _READS:
        actions.update(WRITE_ACTIONS)
    elif pages:
        actions.update(PAGE_ACTIONS)
    for fault in faults:
        meant = fault.left > 0 and fault.action in actions and not fault.hides_fill
        if meant and fault.fits(broker, method, path):
            return fault
    return None


def find_cut(faults: Iterable[Fault], broker: str, path: str) -> Fault | None:
    """The fault that cuts or stalls this open stream; not used up yet."""
    for fault in faults:
        if fault.left > 0 and fault.action in CUT_ACTIONS and fault.fits_open_stream(broker, path):
            return fault
    return None


def find_for_message(faults: Iterable[Fault], broker: str, path: str) -> Fault | None:
    """The fault that the next message of this open stream meets; not used up yet."""
    for fault in faults:
        if fault.left > 0 and fault.action in MESSAGE_ACTIONS and fault.fits_open_stream(broker, path):
            return fault
    return None


def lasting(
    faults: Iterable[Fault], action: str, broker: str, method: str, path: str, *, wall: float, now: datetime
) -> Fault | None:
    """The lasting fault of this kind that is in force for a request or stream."""
    for fault in faults:
        if fault.action == action and fault.fits(broker, method, path) and fault.in_force(wall, now):
            return fault
    return None


def take(faults: Iterable[Fault], broker: str, action: str) -> Fault | None:
    """The next order fault of this kind, used up by one."""
    for fault in faults:
        if fault.left > 0 and fault.action == action and fault.broker in ("*", broker):
            fault.left -= 1
            return fault
    return None
