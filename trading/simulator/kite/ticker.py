"""The ticker on the wire: a websocket with prices in binary frames and everything else in text frames.

What always holds here: key and token are in the query of the address, and are looked at again while the connection
is open: a token that dies ends it; an account has at most three connections; who opens one is in the journal, as a
request for `/ticker` without its token, and faults name it by that path.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from aiohttp import WSMsgType, web

from ..core import faults
from ..core.calls import Call
from ..core.faults import Fault
from ..core.feeds import Message
from ..runtime import Runtime
from ..server import DialectServer
from ..sockets import SocketCarrier
from ..streams import Hub
from .dialect import KiteDialect
from .feed import TickerFeed
from .packets import HEARTBEAT, frame
from .postbacks import BROKER, Postbacks

PATH = "/ticker"
_CONNECTIONS = 3
_HEARTBEAT_SECONDS = 2.0
_LOOK_SECONDS = 0.25
_CLOSE_SECONDS = 2.0
_TEXT, _BINARY = 0x81, 0x82
_STRIKE_OPEN = ("hang", "drip", "truncate", "bad_value", "body")


class TickerCarrier(SocketCarrier):
    """Packets and heartbeats in binary frames, the rest as JSON in text frames."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        super().__init__(socket, request, _encoded, _TEXT)

    def _packed(self, message: Message) -> bytes:
        self._kind = _TEXT if "type" in message else _BINARY
        return _encoded(message)

    async def _send(self, data: bytes) -> None:
        async with self._turn:
            if data.startswith(b"{"):  # no binary frame begins so: it would have more than 31,000 packets
                await self._socket.send_str(data.decode())
            else:
                await self._socket.send_bytes(data)


def _encoded(message: Message) -> bytes:
    if "type" in message:
        return json.dumps(message, separators=(",", ":")).encode()
    return frame(message["packets"]) if "packets" in message else HEARTBEAT


class TickerServer(DialectServer):
    """Serves the ticker, and sends the postbacks, of one simulator's Kite accounts."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime, BROKER, Hub(runtime, BROKER, path=PATH, heartbeat=_HEARTBEAT_SECONDS))
        dialect = runtime.dialects[BROKER]
        assert isinstance(dialect, KiteDialect)
        self.dialect = dialect
        self.postbacks = Postbacks(runtime)
        self._open: dict[str, int] = {}

    def app(self) -> web.Application:
        """The web application of the ticker."""
        app = super().app()
        app.on_startup.append(self.postbacks.start)
        app.on_cleanup.append(self.postbacks.close)
        return app

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Open one connection, through the fault it meets, if any."""
        if request.path != "/":
            return web.Response(status=404, text="404 page not found")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=400, text="Bad Request")
        call = Call("GET", PATH)
        key, token = request.query.get("api_key", ""), request.query.get("access_token", "")
        authorization = f"token {key}:{token}"
        fault = self.runtime.fault_for(self.broker, call, authorization)
        if fault is not None and fault.action == "expire_token":
            return self._refused(call, authorization, 403, fault)
        if fault is not None and fault.action not in _STRIKE_OPEN:
            return await self._faulty(request, call, authorization, fault)
        account = self.dialect.account_with(authorization)
        if account is None:
            return self._refused(call, authorization, 403)
        if self._open.get(account.id, 0) >= _CONNECTIONS:
            return self._refused(call, authorization, 429)
        self._open[account.id] = self._open.get(account.id, 0) + 1
        try:
            self.runtime.call(self.broker, call, authorization, acted=False, sent=101, outcome="stream")
            return await self._keep(request, TickerFeed(self.runtime.world, account.id), authorization)
        finally:
            self._open[account.id] -= 1

    def _refused(self, call: Call, authorization: str, status: int, fault: Fault | None = None) -> web.Response:
        struck = {} if fault is None else {"fault": fault.id}
        self.runtime.call(self.broker, call, authorization, acted=False, sent=status, **struck)
        return web.Response(status=status)

    async def _keep(self, request: web.Request, feed: TickerFeed, authorization: str) -> web.StreamResponse:
        """Keep one connection open until it or its token ends."""
        socket = web.WebSocketResponse(autoping=False, timeout=_CLOSE_SECONDS)
        await socket.prepare(request)
        carrier = TickerCarrier(socket, request)
        pump = asyncio.create_task(self.hub.carry(request, feed, carrier))
        pump.add_done_callback(lambda _: request.transport.close() if request.transport is not None else None)
        guard = asyncio.create_task(self._guard(socket, carrier, authorization))
        try:
            with contextlib.suppress(ConnectionError):
                await self._converse(socket, carrier, feed)
        finally:
            for task in (guard, pump):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await task
        return socket

    async def _guard(self, socket: web.WebSocketResponse, carrier: TickerCarrier, authorization: str) -> None:
        """End the connection when its token has died."""
        while self._is_alive(authorization):
            await asyncio.sleep(_LOOK_SECONDS)
        if not carrier.stalled:
            await carrier.send({"type": "error", "data": "Token is invalid or has expired."})
        await socket.close()

    def _is_alive(self, authorization: str) -> bool:
        world, where = self.runtime.world, (self.broker, "GET", PATH)
        dead = faults.lasting(world.state.faults, "expire_token", *where, wall=time.time(), now=world.now)
        return dead is None and self.dialect.account_with(authorization) is not None

    async def _converse(self, socket: web.WebSocketResponse, carrier: TickerCarrier, feed: TickerFeed) -> None:
        """Answer what the client says until it goes."""

        async def say(messages: list[Message]) -> None:
            for message in messages:
                if not carrier.stalled and not self.runtime.muted(self.broker, PATH):
                    await carrier.reply(message)

        await say(feed.greeting())
        while True:
            received = await socket.receive()
            if received.type == WSMsgType.PING:
                if not carrier.stalled:
                    await carrier.pong(received.data)
            elif received.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await say(feed.answer(_decoded(received.data)))
            elif received.type != WSMsgType.PONG:
                return


def _decoded(data: bytes | str) -> Any:
    """What the client said; None when it is no JSON."""
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(data)
    return None
