"""What the ticker says, and how it answers what a client says, free of any web server.

What always holds here: nothing is replayed; a client hears the order updates of the whole account, subscribed to or
not; prices come only for what is subscribed to: at once, then as they change, in the mode that was last chosen.
"""

from __future__ import annotations

from typing import Any

from ..core.feeds import Message
from ..core.market import Quote
from ..core.world import World
from .contracts import CONTRACTS, by_token
from .packets import MODES, QUOTE, packet
from .quotes import snapshot
from .updates import ORDER_UPDATE, postback

_WINDOW_SECONDS = 0.25
_MOST_TOKENS = 3000


class TickerFeed:
    """One connection of one account. A message is a text frame, or `{"packets": […]}` for a binary one."""

    def __init__(self, world: World, account: str) -> None:
        self.world, self.account = world, account
        self._modes: dict[int, str] = {}
        self._sent: dict[int, tuple[str, Quote]] = {}
        self._next: dict[int, float] = {}
        self._waiting: list[Message] = []

    def greeting(self) -> list[Message]:
        """What is said first: how many instruments there are."""
        return [{"type": "instruments_meta", "data": {"count": len(CONTRACTS), "etag": 'W/"sim"'}}]

    def hear(self, account: str, kind: str, data: dict[str, Any]) -> None:
        """Keep an update of an order of this account."""
        if account == self.account and kind == ORDER_UPDATE:
            update = postback(self.world.accounts[account], data)
            self._waiting.append({"type": "order", "id": "", "data": update})

    def heartbeat(self) -> Message | None:
        """A frame of one byte: no packets at all."""
        return {}

    def due(self, wall: float) -> list[Message]:
        """The updates of orders that have not been sent yet, then the prices that have changed."""
        found, self._waiting = self._waiting, []
        packets = []
        for token, mode in self._modes.items():
            contract = by_token(token)
            quote = self.world.quote(contract.item.name) if contract is not None else None
            if contract is None or quote is None or wall < self._next.get(token, 0):
                continue
            if self._sent.get(token) != (mode, quote):
                shown = snapshot(self.world, contract)
                if shown is not None:
                    packets.append(packet(mode, shown))
                    self._sent[token], self._next[token] = (mode, quote), wall + _WINDOW_SECONDS
        return [*found, {"packets": packets}] if packets else found

    def answer(self, message: Any) -> list[Message]:
        """Do what the client asks for: subscribe, unsubscribe, mode. Only what cannot be read is answered."""
        action, value = (message.get("a"), message.get("v")) if isinstance(message, dict) else (None, None)
        if action == "mode":
            if not isinstance(value, list) or len(value) != 2 or value[0] not in MODES:
                return _error("Invalid mode.")
            mode, tokens = value
        else:
            mode, tokens = QUOTE, value
        if action not in ("subscribe", "unsubscribe", "mode"):
            return _error("Invalid action.")
        if not isinstance(tokens, list) or any(isinstance(one, bool) or not isinstance(one, int) for one in tokens):
            return _error("Invalid instrument tokens.")
        if action == "unsubscribe":
            for token in tokens:
                for known in (self._modes, self._sent, self._next):
                    known.pop(token, None)
            return []
        if len({*self._modes, *tokens}) > _MOST_TOKENS:
            return _error(f"More than {_MOST_TOKENS} instruments.")
        for token in tokens:
            self._modes[token] = mode
            self._next.pop(token, None)
        return []


def _error(text: str) -> list[Message]:
    return [{"type": "error", "data": text}]
