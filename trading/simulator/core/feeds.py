"""What an open stream has to say, free of any web server; each dialect says it in its own words.

What always holds here: a feed only reads the world, so that a stream that is open or closed changes nothing.
"""

from __future__ import annotations

from typing import Any, Protocol

Message = dict[str, Any]


class Feed(Protocol):
    """The content of one open stream. `account` is whose it is, "" as long as nobody has said who listens."""

    account: str

    def hear(self, account: str, kind: str, data: dict[str, Any]) -> None:
        """Something happened in an account; what concerns this stream is kept until it is due."""

    def due(self, wall: float) -> list[Message]:
        """What is to be sent at this moment of the wall clock (seconds that only grow), in order."""

    def heartbeat(self) -> Message | None:
        """The sign of life that is sent every five seconds; None where the dialect has none of its own."""
