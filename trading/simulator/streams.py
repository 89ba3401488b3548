"""Open streams: what carries them, their heartbeats, and the faults that strike them while they are open.

What always holds here: a stream never changes the world; what is hidden waits until it may be seen; a fault that is
ordered strikes a stream that is open already as well as one that opens later; an open stream ends with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from typing import Any, Protocol

from aiohttp import web

from .core.faults import Fault, find_cut, find_for_message
from .core.feeds import Feed, Message
from .core.pages import planted
from .oanda.dialect import in_unix_time
from .runtime import Runtime

HEARTBEAT_SECONDS = 5.0
_LOOK_SECONDS = 0.03


def hang_up(request: web.Request, *, reset: bool) -> None:
    """Close the connection as it is: politely, or with a reset."""
    transport = request.transport
    if transport is None:
        return
    if reset:
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()


def compact(message: Any) -> bytes:
    """JSON without blanks."""
    return json.dumps(message, separators=(",", ":")).encode()


class Carrier(Protocol):
    """How the messages of a stream travel. Sending raises ConnectionError when the client has gone."""

    stalled: bool

    @property
    def gone(self) -> bool: ...

    async def send(self, message: Message) -> None: ...

    async def send_slowly(self, message: Message, seconds: float) -> None: ...

    async def send_part(self, message: Message | None, size: int | None) -> None: ...


class LineCarrier:
    """One line of JSON a message, each in a chunk of its own, as OANDA sends them."""

    def __init__(self, request: web.Request, headers: dict[str, str]) -> None:
        self._request = request
        self._unix = request.headers.get("Accept-Datetime-Format", "").upper() == "UNIX"
        self._response = web.StreamResponse(headers={**headers, "Content-Type": "application/octet-stream"})
        self._response.enable_chunked_encoding()
        self.stalled = False

    @property
    def gone(self) -> bool:
        """Whether the connection is over."""
        return self._request.transport is None or self._request.transport.is_closing()

    async def open(self) -> web.StreamResponse:
        """Send the headers."""
        await self._response.prepare(self._request)
        return self._response

    def _line(self, message: Message) -> bytes:
        return compact(in_unix_time(message) if self._unix else message) + b"\n"

    async def send(self, message: Message) -> None:
        """One line at once."""
        await self._response.write(self._line(message))

    async def send_slowly(self, message: Message, seconds: float) -> None:
        """One byte at a time."""
        line = self._line(message)
        for index in range(len(line)):
            await self._response.write(line[index : index + 1])
            await asyncio.sleep(seconds / len(line))

    async def send_part(self, message: Message | None, size: int | None) -> None:
        """The beginning of a line: `size` bytes, or half of it."""
        line = self._line(message if message is not None else {})
        await self._response.write(line[: len(line) // 2 if size is None else min(size, len(line) - 1)])


class Hub:
    """The open streams of one dialect. `path` is what faults name them by, where that is not the request's path."""

    def __init__(self, runtime: Runtime, broker: str, path: str = "", heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self.runtime, self.broker = runtime, broker
        self.path, self.heartbeat_seconds = path, heartbeat
        self.closing = False
        self._feeds: list[Feed] = []
        runtime.world.listeners.append(self._hear)

    def _hear(self, account: str, kind: str, data: dict[str, Any]) -> None:
        for feed in self._feeds:
            feed.hear(account, kind, data)

    async def close(self, app: web.Application) -> None:
        """Let every open stream end."""
        self.closing = True

    async def carry(self, request: web.Request, feed: Feed, carrier: Carrier) -> None:
        """Send what the feed says until the client goes, a fault cuts the stream, or the server ends."""
        self._feeds.append(feed)
        try:
            with contextlib.suppress(ConnectionError):
                await _Stream(self, request, feed, carrier).run()
        finally:
            self._feeds.remove(feed)


class _Stream:
    """One open stream."""

    def __init__(self, hub: Hub, request: web.Request, feed: Feed, carrier: Carrier) -> None:
        self.hub, self.runtime, self.request = hub, hub.runtime, request
        self.feed, self.carrier = feed, carrier
        self.path = hub.path or request.path
        self._hidden: list[Message] = []
        self._held: list[Message] = []
        self._drip: float | None = None

    @property
    def _over(self) -> bool:
        return self.carrier.gone or self.hub.closing

    async def run(self) -> None:
        """The life of the stream."""
        next_beat = 0.0
        while not self._over:
            cut = find_cut(self.runtime.world.state.faults, self.hub.broker, self.path)
            if cut is not None:
                self.runtime.strike(cut)
                if await self._cut(cut):
                    return
            wall = time.monotonic()
            muted = self.runtime.muted(self.hub.broker, self.path)
            for message in self._visible(self.feed.due(wall)):
                if not muted:
                    await self._send(message)
            if wall >= next_beat:
                next_beat = wall + self.hub.heartbeat_seconds
                beat = self.feed.heartbeat()
                if beat is not None and not muted:
                    await self._flush()
                    await self._put(beat)
            await asyncio.sleep(_LOOK_SECONDS)

    def _visible(self, messages: list[Message]) -> list[Message]:
        """What may be seen now of these messages and of those that had to wait."""
        veil = self.runtime.veil(self.feed.account)
        dialect = self.runtime.dialects[self.hub.broker]
        waiting = self._hidden + messages
        self._hidden = [message for message in waiting if veil and dialect.hides(message, veil)]
        return [message for message in waiting if message not in self._hidden] if self._hidden else waiting

    async def _send(self, message: Message) -> None:
        """One message, through the fault that it meets, if any."""
        fault = find_for_message(self.runtime.world.state.faults, self.hub.broker, self.path)
        if fault is not None:
            self.runtime.strike(fault)
            if fault.action == "reorder":
                self._held.append(message)
                return
            if fault.action == "bad_value":
                message = planted(message, fault.args["path"], fault.args["value"])
            else:
                await self._put(message)
        await self._put(message)
        await self._flush()

    async def _flush(self) -> None:
        """Send what was held back to come out of order."""
        held, self._held = self._held, []
        for message in held:
            await self._put(message)

    async def _put(self, message: Message) -> None:
        if self._drip is None:
            await self.carrier.send(message)
        else:
            seconds, self._drip = self._drip, None
            await self.carrier.send_slowly(message, seconds)

    async def _cut(self, fault: Fault) -> bool:
        """Let a fault strike the open stream; True when the stream is over."""
        seconds = float(fault.args.get("seconds", 60 if fault.action == "hang" else 10))
        if fault.action == "drip":
            self._drip = seconds
            return False
        if fault.action == "truncate":
            message = next(iter(self.feed.due(time.monotonic())), None) or self.feed.heartbeat()
            await self.carrier.send_part(message, int(fault.args["bytes"]) if "bytes" in fault.args else None)
        if fault.action == "hang":
            self.carrier.stalled = True
            end = time.monotonic() + seconds
            while not self._over and time.monotonic() < end:
                await asyncio.sleep(_LOOK_SECONDS)
        hang_up(self.request, reset=fault.action == "reset")
        return True
