"""What OANDA's two streams say: the prices of some instruments, and the transactions of an account from now on.

What always holds here: nothing is sent twice and nothing is replayed; of the prices of one instrument that fall into
one window only the newest is sent, as OANDA promises; a feed only reads the world.
"""

from __future__ import annotations

from typing import Any

from ..core.calls import Call
from ..core.feeds import Feed, Message
from ..core.market import Quote
from ..core.numbers import iso
from ..core.world import World
from .render import last_id, price_wire

_WINDOW_SECONDS = 0.25


class PriceFeed:
    """The newest price of each instrument, when it differs from the one sent before."""

    def __init__(self, world: World, account: str, names: list[str], snapshot: bool) -> None:
        self.world, self.account, self.names = world, account, names
        self._sent: dict[str, tuple[Quote, bool]] = {}
        self._next: dict[str, float] = {}
        if not snapshot:
            for name in names:
                self._changed(name)

    def _changed(self, name: str) -> Quote | None:
        """The present price when it, or whether it can be traded at, is news."""
        quote = self.world.quote(name)
        if quote is None:
            return None
        broker = self.world.accounts[self.account].broker
        shown = (quote, self.world.tradeable(name, broker))
        known = self._sent.get(name)
        if known is not None and (known[0].bid, known[0].ask, known[1]) == (quote.bid, quote.ask, shown[1]):
            return None
        self._sent[name] = shown
        return quote

    def due(self, wall: float) -> list[Message]:
        """The prices to send at this moment of the wall clock, in seconds."""
        found: list[Message] = []
        for name in self.names:
            if wall < self._next.get(name, 0):
                continue
            quote = self._changed(name)
            if quote is not None:
                self._next[name] = wall + _WINDOW_SECONDS
                found.append(price_wire(self.world, self.world.accounts[self.account], name, quote))
        return found

    def hear(self, account: str, kind: str, data: dict[str, Any]) -> None:
        """Prices are looked at when they are due."""

    def heartbeat(self) -> Message:
        """The sign of life of a price stream."""
        return {"type": "HEARTBEAT", "time": iso(self.world.now)}


class TransactionFeed:
    """Every transaction of an account that is written while the stream is open."""

    def __init__(self, world: World, account: str) -> None:
        self.world, self.account = world, account
        self._waiting: list[Message] = []

    def hear(self, account: str, kind: str, data: dict[str, Any]) -> None:
        """Keep a transaction of this account to be sent."""
        if account == self.account and kind == "transaction":
            self._waiting.append(data)

    def due(self, wall: float) -> list[Message]:
        """The transactions that have not been sent yet, in their order."""
        found, self._waiting = self._waiting, []
        return found

    def heartbeat(self) -> Message:
        """The sign of life of a transaction stream, with the id up to which the account has come."""
        last = last_id(self.world.accounts[self.account])
        return {"type": "HEARTBEAT", "lastTransactionID": last, "time": iso(self.world.now)}


def is_stream(call: Call) -> bool:
    """Whether the call asks for a stream."""
    return call.method == "GET" and call.path.rstrip("/").endswith(("/pricing/stream", "/transactions/stream"))


def open_feed(world: World, account: str, call: Call) -> Feed:
    """What a stream that the dialect has allowed will say."""
    if call.path.rstrip("/").endswith("/transactions/stream"):
        return TransactionFeed(world, account)
    given = call.parameters()
    names = list(dict.fromkeys(part for part in given["instruments"].split(",") if part))
    return PriceFeed(world, account, names, given.get("snapshot", "true").lower() != "false")
