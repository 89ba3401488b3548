"""Real answers of a broker's simulator, taped while an adapter asks, to be played back mutated.

What always holds: nothing on a tape was written by hand; a tape is plain data that can be sent to another process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from trading.brokers.transport import BrokerSession
from trading.domain.broker import Broker

Call = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer on the wire and what it answered. `body` is what the broker said before any compression."""

    method: str
    path: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def route(self) -> tuple[str, str]:
        """What an answer is found by: the question's method and path without its query."""
        return self.method, self.path.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Taped:
    """One call of an adapter's public function: its name, how to make it again, and all answers that it got."""

    name: str
    arguments: dict[str, Any]
    answers: tuple[Answer, ...]
    writes: bool = False


@dataclass(slots=True)
class Recorder:
    """Tapes what a session hears. One session, one thread."""

    session: BrokerSession
    heard: list[Answer] = field(default_factory=list)
    taped: list[Taped] = field(default_factory=list)

    def __post_init__(self) -> None:
        original = self.session.send

        def send(request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
            response = original(request, **kwargs)
            headers = tuple((name, value) for name, value in response.headers.items() if name.lower() in _KEPT)
            self.heard.append(
                Answer(request.method or "GET", request.path_url, response.status_code, headers, response.content)
            )
            return response

        self.session.send = send  # type: ignore[method-assign]

    def tape(self, broker: Broker, name: str, *, label: str = "", writes: bool = False, **arguments: Any) -> Any:
        """Make one call of the adapter and keep what it heard."""
        self.heard.clear()
        result = getattr(broker, name)(**arguments)
        self.taped.append(Taped(name, arguments, tuple(self.heard), writes))
        assert self.heard, f"{name} asked nothing"
        return result


# What an adapter may look at; the others (dates, servers) mean nothing to it.
_KEPT = frozenset({"content-type", "retry-after", "location"})
