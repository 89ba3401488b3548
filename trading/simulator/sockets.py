"""Alpaca's websockets on the wire: frames, codecs, the limit of one connection an account, and faults on open ones.

What always holds here: trade updates travel in binary frames, as the real paper endpoint sends them; market data in
msgpack when the client's handshake asks for it, else in JSON; who opens a connection is in the journal as a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgpack
from aiohttp import WSMsgType, web

from .alpaca.streams import AUTHORIZED, DATA_PATHS, TOO_MANY, TRADING_PATH, UNAUTHORIZED, MarketData, TradeUpdates
from .core.calls import Call
from .core.feeds import Message
from .core.numbers import iso
from .streams import Hub

Codec = Callable[[Any], bytes]
_AUTHENTICATE_WITHIN_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_BINARY, _TEXT = 0x82, 0x81


def is_socket(request: web.Request) -> bool:
    """Whether a request to the Alpaca port asks for one of its websockets."""
    return request.path in (TRADING_PATH, *DATA_PATHS)


def _json(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":"), default=iso).encode()


def _msgpack(message: Any) -> bytes:
    packed: bytes = msgpack.packb(message, default=_timestamp)
    return packed


def _timestamp(value: Any) -> Any:
    if isinstance(value, datetime):
        return msgpack.Timestamp.from_datetime(value)
    raise TypeError(f"{value!r} cannot be packed")


class SocketCarrier:
    """One message a frame. `listed` puts each into a list of its own, as market data travels."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, codec: Codec, kind: int) -> None:
        self._socket, self._request, self._codec, self._kind = socket, request, codec, kind
        self._turn = asyncio.Lock()  # a frame that comes byte by byte must not be broken by another
        self.listed = False
        self.stalled = False

    @property
    def gone(self) -> bool:
        """Whether the connection is over."""
        transport = self._request.transport
        return self._socket.closed or transport is None or transport.is_closing()

    def _packed(self, message: Message) -> bytes:
        return self._codec([message] if self.listed else message)

    async def reply(self, message: Any) -> None:
        """One answer to the client, as it is."""
        await self._send(self._codec(message))

    async def _send(self, data: bytes) -> None:
        async with self._turn:
            if self._kind == _BINARY:
                await self._socket.send_bytes(data)
            else:
                await self._socket.send_str(data.decode())

    async def pong(self, data: bytes) -> None:
        """Answer a ping."""
        async with self._turn:
            await self._socket.pong(data)

    async def send(self, message: Message) -> None:
        """One frame at once."""
        await self._send(self._packed(message))

    def _frame(self, message: Message) -> bytes:
        """An uncompressed frame from server to client."""
        data = self._packed(message)
        if len(data) < 126:
            return bytes([self._kind, len(data)]) + data
        return bytes([self._kind, 126]) + len(data).to_bytes(2, "big") + data

    def _write(self, data: bytes) -> None:
        if self.gone or self._request.transport is None:
            raise ConnectionResetError("the client has gone")
        self._request.transport.write(data)

    async def send_slowly(self, message: Message, seconds: float) -> None:
        """A frame, one byte at a time."""
        frame = self._frame(message)
        async with self._turn:
            for index in range(len(frame)):
                self._write(frame[index : index + 1])
                await asyncio.sleep(seconds / len(frame))

    async def send_part(self, message: Message | None, size: int | None) -> None:
        """The beginning of a frame: `size` bytes, or half of it."""
        frame = self._frame(message if message is not None else {})
        self._write(frame[: len(frame) // 2 if size is None else min(size, len(frame) - 1)])


class Sockets:
    """The websockets of one simulator's Alpaca accounts."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.runtime = hub, hub.runtime
        self._taken: set[tuple[str, str]] = set()

    def _opener(self, request: web.Request, place: list[tuple[str, str]]) -> Callable[[str], tuple[str, str]]:
        """Lets a session ask whose connection it is; the place it takes is put into `place`."""
        call = Call("GET", request.path, request.rel_url.raw_query_string)
        broker = self.hub.broker

        def open_for(token: str) -> tuple[str, str]:
            fault = self.runtime.fault_for(broker, call, token)
            if fault is not None and fault.action == "expire_token":
                self.runtime.call(broker, call, token, fault=fault.id, acted=False, sent=401)
                return UNAUTHORIZED, ""
            account = self.runtime.dialects[broker].account_of(call, token)
            if not account:
                self.runtime.call(broker, call, token, acted=False, sent=401)
                return UNAUTHORIZED, ""
            key = ("trading" if request.path == TRADING_PATH else "data", account)
            if key in self._taken:
                self.runtime.call(broker, call, token, acted=False, sent=406)
                return TOO_MANY, ""
            self._taken.add(key)
            place.append(key)
            self.runtime.call(broker, call, token, acted=False, sent=200, outcome="stream")
            return AUTHORIZED, account

        return open_for

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Keep one websocket open."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=426, text="this address is a websocket", headers={"Upgrade": "websocket"})
        socket = web.WebSocketResponse(autoping=False, timeout=_CLOSE_SECONDS)
        await socket.prepare(request)
        trading = request.path == TRADING_PATH
        packed = not trading and "msgpack" in request.headers.get("Content-Type", "")
        kind = _BINARY if trading or packed else _TEXT
        carrier = SocketCarrier(socket, request, _msgpack if packed else _json, kind)
        carrier.listed = not trading
        place: list[tuple[str, str]] = []
        opener = self._opener(request, place)
        session = (TradeUpdates if trading else MarketData)(self.runtime.world, opener)
        pump = asyncio.create_task(self.hub.carry(request, session, carrier))
        pump.add_done_callback(lambda _: self._end(request))
        try:
            with contextlib.suppress(ConnectionError):
                await self._converse(request, socket, session, carrier)
        finally:
            self._taken.difference_update(place)
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await pump
        return socket

    def _end(self, request: web.Request) -> None:
        """The pump has ended: a fault has cut the stream, or the server ends."""
        if request.transport is not None:
            request.transport.close()

    async def _converse(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        session: TradeUpdates | MarketData,
        carrier: SocketCarrier,
    ) -> None:
        """Answer what the client says until it goes."""

        async def say(message: Any) -> None:
            if not carrier.stalled and not self.runtime.muted(self.hub.broker, request.path):
                await carrier.reply(message)

        for greeting in session.greeting():
            await say(greeting)
        while True:
            try:
                patience = None if session.account else _AUTHENTICATE_WITHIN_SECONDS
                frame = await asyncio.wait_for(socket.receive(), patience)
            except TimeoutError:
                if not carrier.listed:
                    return
                await say([{"T": "error", "code": 404, "msg": "auth timeout"}])
                await socket.close()
                return
            if frame.type == WSMsgType.PING:
                if not carrier.stalled:
                    await carrier.pong(frame.data)
            elif frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                reply = session.answer(_decoded(frame.data))
                for message in reply.messages:
                    await say(message)
                if reply.close:
                    await socket.close()
                    return
            elif frame.type != WSMsgType.PONG:
                return


def _decoded(data: bytes | str) -> Any:
    """What the client said, in JSON or msgpack; None when it is neither."""
    with contextlib.suppress(ValueError):
        return json.loads(data)
    if isinstance(data, bytes):
        with contextlib.suppress(ValueError, msgpack.UnpackException):
            return msgpack.unpackb(data)
    return None
