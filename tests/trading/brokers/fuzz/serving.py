"""Taped answers served to an adapter inside this process, below its own session: everything above the socket is real.

What always holds: size cap, decompression and evidence are the product's; an adapter that asks more often
than `MOST_REQUESTS` in one call is stopped by an error that no adapter may swallow.
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
import requests.adapters
import urllib3
import urllib3.exceptions

from tests.trading.brokers.fuzz.tapes import Answer
from trading.brokers.budget import Lane, RateBudget
from trading.brokers.transport import BrokerSession
from trading.brokers.wire import current_exchange

MOST_REQUESTS = 120


class NoAlarm(threading.Timer):
    """No thread for a deadline that cannot come: nothing waits in a playback."""

    def start(self) -> None:
        pass


class AsksForEver(BaseException):
    """An adapter has no end; not an `Exception`, so that nothing on the way can take it for an answer."""


@dataclass(frozen=True, slots=True)
class Served:
    """The bytes of one answer: what the wire carries, how long it says that is, or the fault instead of it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    wire: bytes
    length: int | None
    fault: str = ""


class Unlimited(RateBudget):
    """A budget that never waits."""

    def __init__(self) -> None:
        super().__init__(per_second=1.0, burst=2, reserve=1)

    def take(self, lane: Lane, *, wait: float) -> bool:
        return True

    def back_off(self, seconds: float) -> None:
        pass


@dataclass(slots=True)
class Script:
    """What is served to each question: the answers of its route in their order, the last of them again and again."""

    answers: Sequence[tuple[Answer, Served]] = ()
    asked: int = 0
    used: Counter[tuple[str, str]] = field(default_factory=Counter)

    def next(self, method: str, path: str) -> Served:
        self.asked += 1
        if self.asked > MOST_REQUESTS:
            raise AsksForEver(f"{method} {path} after {self.asked} requests")
        route = method, path.partition("?")[0]
        known = [served for answer, served in self.answers if answer.route == route]
        if not known:
            return Served(404, (("Content-Type", "application/json"),), b'{"code":40410000,"message":"none"}', None)
        index = min(self.used[route], len(known) - 1)
        self.used[route] += 1
        return known[index]


class Playback(requests.adapters.BaseAdapter):
    """Takes the place of the sockets under a session."""

    def __init__(self) -> None:
        super().__init__()
        self.script = Script()
        self._builder = requests.adapters.HTTPAdapter()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        served = self.script.next(request.method or "GET", request.path_url)
        if served.fault == "refused":
            raise requests.ConnectionError("connection refused")
        exchange = current_exchange.get()
        exchange.sent = True
        if served.fault == "reset":
            raise requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted", OSError("reset")))
        headers = dict(served.headers)
        headers["Content-Length"] = str(len(served.wire) if served.length is None else served.length)
        raw = urllib3.HTTPResponse(
            body=io.BytesIO(served.wire), headers=headers, status=served.status, preload_content=False
        )
        return self._builder.build_response(request, raw)

    def close(self) -> None:
        pass


def play_under(session: BrokerSession) -> Playback:
    """Put a playback under a session, and take its budget away."""
    playback = Playback()
    session.mount("http://", playback)
    session._budget = Unlimited()
    session._alarm = NoAlarm  # type: ignore[misc]
    return playback
