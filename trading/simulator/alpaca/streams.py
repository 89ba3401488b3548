"""What Alpaca's two websockets say, and how they answer what the client says: trade updates and market data.

What always holds here: nothing is said before the client has shown its key, an account has one connection of each
kind, nothing is replayed, and a session only reads the world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..core.feeds import Message
from ..core.instruments import SHARES
from ..core.market import Quote
from ..core.numbers import at_second, seconds_of
from ..core.world import World
from .render import bar_wire

TRADING_PATH, DATA_PATHS = "/stream", ("/v2/iex", "/v2/sip", "/v2/delayed_sip", "/v2/test")
AUTHORIZED, UNAUTHORIZED, TOO_MANY = "authorized", "unauthorized", "connection limit exceeded"
_CHANNELS = ("trades", "quotes", "bars")
_SHOWN = (*_CHANNELS, "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors")
_WINDOW_SECONDS = 0.25
_MINUTE = 60
_LOT = 100
Opener = Callable[[str], tuple[str, str]]


@dataclass(slots=True)
class Reply:
    """What is answered to a client's message; `close` ends the connection after it."""

    messages: list[Any] = field(default_factory=list)
    close: bool = False


class TradeUpdates:
    """The connection to `/stream`. `opener` takes "key:secret" and gives (AUTHORIZED or why not, account)."""

    def __init__(self, world: World, opener: Opener) -> None:
        self.world, self.opener = world, opener
        self.account = ""
        self._listening = False
        self._waiting: list[Message] = []

    def greeting(self) -> list[Any]:
        """Nothing: the client speaks first."""
        return []

    def hear(self, account: str, kind: str, data: dict[str, Any]) -> None:
        """Keep an update of this account when the client listens."""
        if self._listening and account == self.account and kind == "trade_update":
            self._waiting.append({"stream": "trade_updates", "data": data})

    def due(self, wall: float) -> list[Message]:
        """The updates that have not been sent yet, in their order."""
        found, self._waiting = self._waiting, []
        return found

    def heartbeat(self) -> Message | None:
        """The websocket has pings of its own."""
        return None

    def answer(self, message: Any) -> Reply:
        """Answer a message of the client, in either of the two forms of authentication."""
        if not isinstance(message, dict) or not isinstance(message.get("data", {}), dict):
            return Reply([{"action": "error", "data": {"error_message": "invalid message format"}}])
        action, data = message.get("action"), message.get("data", {})
        if action in ("authenticate", "auth"):
            key, secret = (data["key_id"], data.get("secret_key")) if "key_id" in data else _keys(message)
            return self._authenticate(str(action), f"{key}:{secret}")
        if action == "listen":
            if not self.account:
                return Reply([_authorization(UNAUTHORIZED, "listen")])
            streams = data.get("streams")
            chosen = [one for one in streams if one == "trade_updates"] if isinstance(streams, list) else []
            self._listening = bool(chosen)
            return Reply([{"stream": "listening", "data": {"streams": chosen}}])
        return Reply([{"action": "error", "data": {"error_message": f"unknown action {action!r}"}}])

    def _authenticate(self, action: str, token: str) -> Reply:
        if self.account:
            return Reply([_authorization(AUTHORIZED, action)])
        status, account = self.opener(token)
        self.account = account
        if status == AUTHORIZED:
            return Reply([_authorization(AUTHORIZED, action)])
        more = {} if status == UNAUTHORIZED else {"message": status}
        return Reply([_authorization(UNAUTHORIZED, action, **more)], close=True)


def _authorization(status: str, action: str, **more: str) -> Message:
    return {"stream": "authorization", "data": {"status": status, "action": action, **more}}


def _keys(message: dict[str, Any]) -> tuple[Any, Any]:
    return message.get("key"), message.get("secret")


class MarketData:
    """A connection to the market data of shares: trades and quotes as prices change, bars as minutes end.

    `t` of a message is a datetime; whoever sends it writes it as the client reads it.
    """

    def __init__(self, world: World, opener: Opener) -> None:
        self.world, self.opener = world, opener
        self.account = ""
        self._wanted: dict[str, list[str]] = {channel: [] for channel in _CHANNELS}
        self._sent: dict[tuple[str, str], Quote | None] = {}
        self._next: dict[tuple[str, str], float] = {}
        self._minute = 0
        self._trades = 0

    def greeting(self) -> list[Any]:
        """What the server says first."""
        return [[{"T": "success", "msg": "connected"}]]

    def hear(self, account: str, kind: str, data: dict[str, Any]) -> None:
        """Prices are looked at when they are due."""

    def heartbeat(self) -> Message | None:
        """The websocket has pings of its own."""
        return None

    def answer(self, message: Any) -> Reply:
        """Answer a message of the client."""
        if not isinstance(message, dict):
            return _error(400, "invalid syntax")
        action = message.get("action")
        if action == "auth":
            return self._authenticate(*_keys(message))
        if action not in ("subscribe", "unsubscribe"):
            return _error(400, "invalid syntax")
        if not self.account:
            return _error(401, "not authenticated")
        for channel in _CHANNELS:
            names = message.get(channel, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                return _error(400, "invalid syntax")
            self._change(channel, names, subscribe=action == "subscribe")
        shown = {channel: self._wanted.get(channel, []) for channel in _SHOWN}
        shown["corrections"] = shown["cancelErrors"] = self._wanted["trades"]
        return Reply([[{"T": "subscription", **shown}]])

    def _authenticate(self, key: Any, secret: Any) -> Reply:
        if self.account:
            return _error(403, "already authenticated")
        status, account = self.opener(f"{key}:{secret}")
        self.account = account
        if status == AUTHORIZED:
            return Reply([[{"T": "success", "msg": "authenticated"}]])
        reply = _error(402, "auth failed") if status == UNAUTHORIZED else _error(406, TOO_MANY)
        reply.close = True
        return reply

    def _change(self, channel: str, names: list[str], *, subscribe: bool) -> None:
        before = set(self._wanted[channel])
        after = before | set(names) if subscribe else before - set(names)
        self._wanted[channel] = sorted(after)
        if channel == "bars":
            if not before and after:
                self._minute = seconds_of(self.world.now) // _MINUTE
            return
        for name in self._names(channel):
            if (channel, name) not in self._sent:
                self._sent[channel, name] = self.world.quote(name)

    def _names(self, channel: str) -> list[str]:
        wanted = self._wanted[channel]
        return [name for name in SHARES if name in wanted or "*" in wanted]

    def due(self, wall: float) -> list[Message]:
        """Bars of the minutes that have ended, and the prices that have changed."""
        found = self._bars()
        for channel in ("trades", "quotes"):
            for name in self._names(channel):
                key = channel, name
                quote = self.world.quote(name)
                known = self._sent.get(key)
                if quote is None or wall < self._next.get(key, 0):
                    continue
                if known is None or (quote.bid, quote.ask) != (known.bid, known.ask):
                    self._sent[key], self._next[key] = quote, wall + _WINDOW_SECONDS
                    found.append(self._trade(name, quote) if channel == "trades" else _quote(name, quote))
        return found

    def _trade(self, name: str, quote: Quote) -> Message:
        self._trades += 1
        price = float(SHARES[name].price(quote.mid))
        return {
            "T": "t", "S": name, "i": self._trades, "x": "V", "p": price, "s": _LOT, "c": ["@"], "z": "C",
            "t": quote.at,
        }  # fmt: skip

    def _bars(self) -> list[Message]:
        minute = seconds_of(self.world.now) // _MINUTE
        if minute <= self._minute:
            self._minute = minute  # the clock can be put back
            return []
        start, end = at_second(self._minute * _MINUTE), at_second(minute * _MINUTE)
        count = minute - self._minute
        self._minute = minute
        bars: list[tuple[datetime, Message]] = []
        for name in self._names("bars"):
            for candle in self.world.market.candles(name, "M1", self.world.now, start, end, count):
                if candle.complete:
                    bars.append((candle.start, {"T": "b", "S": name, **bar_wire(candle), "t": candle.start}))
        return [bar for _, bar in sorted(bars, key=lambda pair: pair[0])]


def _quote(name: str, quote: Quote) -> Message:
    return {
        "T": "q", "S": name, "bx": "V", "bp": float(quote.bid), "bs": _LOT, "ax": "V", "ap": float(quote.ask),
        "as": _LOT, "c": ["R"], "z": "C", "t": quote.at,
    }  # fmt: skip


def _error(code: int, message: str) -> Reply:
    return Reply([[{"T": "error", "code": code, "msg": message}]])
