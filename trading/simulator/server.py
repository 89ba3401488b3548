"""The sockets: one port for control, one for each dialect, and the faults that strike on the wire.

What always holds here: one event loop; an input is kept before its answer leaves; a fault only changes what the
client sees, never what the journal says happened.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from .core.calls import Answer, Call
from .core.faults import Fault
from .core.pages import duplicated, planted, reordered
from .oanda.dialect import in_unix_time
from .oanda.streams import is_stream, open_feed
from .runtime import Runtime
from .sockets import Sockets, is_socket
from .streams import Hub, LineCarrier, hang_up

CONTROL_TOKEN = "sim-control-token"
_BIGGEST = 64 * 1024 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def control_token() -> str:
    """The token of the control API."""
    return os.environ.get("SIMULATOR_CONTROL_TOKEN") or CONTROL_TOKEN


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    text = json.dumps(body, separators=(",", ":"))
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")


def _hang_up(request: web.Request, *, reset: bool) -> web.Response:
    """Close the connection without an answer."""
    hang_up(request, reset=reset)
    return web.Response(status=500)


class DialectServer:
    """Serves one dialect."""

    def __init__(self, runtime: Runtime, broker: str, hub: Hub | None = None) -> None:
        self.runtime, self.broker = runtime, broker
        self.hub = hub or Hub(runtime, broker)
        self.sockets = Sockets(self.hub) if broker == "alpaca" else None

    def app(self) -> web.Application:
        """The web application of this dialect."""
        app = web.Application(client_max_size=_BIGGEST)
        app.router.add_route("*", "/{path:.*}", self.serve)
        app.on_shutdown.append(self.hub.close)
        return app

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, through the fault it meets, if any."""
        body = (await request.read()).decode("utf-8", "replace")
        call = Call(request.method, request.path, request.rel_url.raw_query_string, body)
        authorization = self.runtime.dialects[self.broker].authorization(request.headers)
        fault = self.runtime.fault_for(self.broker, call, authorization)
        streaming = self.broker == "oanda" and is_stream(call)
        socket = self.sockets is not None and is_socket(request)
        later = fault is not None and (_strikes_later(fault) or (socket and fault.action == "expire_token"))
        if fault is not None and not ((streaming or socket) and later):
            return await self._faulty(request, call, authorization, fault)
        if self.sockets is not None and socket:
            return await self.sockets.serve(request)
        answer = self.runtime.call(self.broker, call, authorization)
        if streaming and answer is not None and answer.status == 200:
            return await self._stream(request, call, authorization, answer)
        return self._response(request, answer)

    async def _stream(self, request: web.Request, call: Call, authorization: str, answer: Answer) -> web.StreamResponse:
        """Keep a stream of lines open that the dialect has allowed."""
        account = self.runtime.dialects[self.broker].account_of(call, authorization)
        carrier = LineCarrier(request, answer.headers)
        response = await carrier.open()
        await self.hub.carry(request, open_feed(self.runtime.world, account, call), carrier)
        return response

    def _response(self, request: web.Request, answer: Answer | None) -> web.Response:
        assert answer is not None
        if answer.body is None:
            return web.Response(status=answer.status, headers=answer.headers)
        body: Any = answer.body
        if isinstance(body, str):
            return web.Response(text=body, status=answer.status, headers=answer.headers)
        if request.headers.get("Accept-Datetime-Format", "").upper() == "UNIX":
            body = in_unix_time(body)
        return _json(body, answer.status, answer.headers)

    async def _faulty(self, request: web.Request, call: Call, authorization: str, fault: Fault) -> web.StreamResponse:
        after, args, action = fault.when == "after", fault.args, fault.action

        def act(**how: Any) -> Answer | None:
            return self.runtime.call(self.broker, call, authorization, fault=fault.id, **how)

        if action == "expire_token":
            refused = self.runtime.dialects[self.broker].act(call, "", "")
            status = int(args.get("status", refused.status))
            act(acted=False, sent=status)
            return _json(refused.body, status)

        if action in ("drop", "reset"):
            act(acted=after, answered=False, sent=None)
            return _hang_up(request, reset=action == "reset")
        if action == "hang":
            return await self._hang(request, call, authorization, fault)
        if action == "late_accept":
            seconds = float(args.get("seconds", 1))
            late = {"id": secrets.token_hex(6), "due": time.time() + seconds}
            dropped = str(args.get("status", "")).lower() == "drop"
            status = 504 if dropped else int(args.get("status", 504))
            act(acted=False, answered=not dropped, sent=None if dropped else status, late=late)
            return _hang_up(request, reset=False) if dropped else _failure(status, args)
        if action in ("status", "rate_limit", "redirect"):
            status = int(args.get("status", {"rate_limit": 429, "redirect": 307}.get(action, 503)))
            headers = {str(key): str(value) for key, value in (args.get("headers") or {}).items()}
            if action == "rate_limit":
                headers.setdefault("Retry-After", str(args.get("seconds", 1)))
            if action == "redirect":
                headers.setdefault("Location", str(args.get("location", "/")))
            answer = act(acted=after, answered=True, sent=status)
            if answer is not None and (status < 300 or args.get("keep")):
                return _json(answer.body, status, {**answer.headers, **headers})
            return _failure(status, {**args, "headers": headers})
        if action in ("hide", "reject_later", "stale_page"):
            return self._response(request, act())
        return await self._spoiled(request, act(answered=True), fault)

    async def _hang(self, request: web.Request, call: Call, authorization: str, fault: Fault) -> web.StreamResponse:
        """Keep the client waiting: before the broker acts, or after it has acted."""
        seconds = float(fault.args.get("seconds", 60))
        if fault.when == "after":
            answer = self.runtime.call(self.broker, call, authorization, fault=fault.id, answered=False)
            await asyncio.sleep(seconds)
            return self._response(request, answer)
        fault.left -= 1
        await asyncio.sleep(seconds)
        fault.left += 1
        gone = request.transport is None or request.transport.is_closing()
        answer = self.runtime.call(self.broker, call, authorization, fault=fault.id, answered=not gone)
        return self._response(request, answer)

    async def _spoiled(self, request: web.Request, answer: Answer | None, fault: Fault) -> web.StreamResponse:
        """An answer that arrives damaged: other content, cut off, or one byte at a time."""
        assert answer is not None
        args = fault.args
        if fault.action == "body" and "text" in args:
            kind = str(args.get("content_type", "text/html"))
            return web.Response(text=str(args["text"]), status=answer.status, content_type=kind)
        if fault.action in ("body", "bad_value"):
            return _json(planted(answer.body, str(args["path"]), args.get("value")), answer.status, answer.headers)
        if fault.action in ("duplicate", "reorder"):
            answer.body = (duplicated if fault.action == "duplicate" else reordered)(answer.body)
            return self._response(request, answer)
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body, separators=(",", ":"))
        data = text.encode()
        headers = {"Content-Type": "application/json", **answer.headers, "Content-Length": str(len(data))}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        if fault.action == "truncate":
            await response.write(data[: int(args.get("bytes", len(data) // 2))])
            if request.transport is not None:
                request.transport.close()
            return response
        pause = float(args.get("seconds", 10)) / max(1, len(data))
        for index in range(len(data)):
            await response.write(data[index : index + 1])
            await asyncio.sleep(pause)
        return response


def _failure(status: int, args: dict[str, Any]) -> web.Response:
    headers = {str(key): str(value) for key, value in (args.get("headers") or {}).items()}
    text = str(args.get("body", f"<html><body><h1>{status}</h1></body></html>"))
    kind = "application/json" if text.startswith("{") else "text/html"
    return web.Response(text=text, status=status, headers=headers, content_type=kind)


def _strikes_later(fault: Fault) -> bool:
    """Whether a fault that a stream meets when it opens is for the open stream rather than for its opening."""
    return fault.action in ("hang", "drip", "truncate", "bad_value", "body")


class ControlServer:
    """Serves the control API."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def app(self) -> web.Application:
        """The web application of the control API."""
        app = web.Application(client_max_size=_BIGGEST, middlewares=[self._guard])
        router = app.router
        router.add_get("/journal", self._journal)
        router.add_get("/clock", self._clock)
        router.add_get("/faults", self._faults)
        router.add_get("/accounts", self._accounts)
        router.add_get("/accounts/{id}", self._account)
        for path, operation in (("/prices", "prices"), ("/bars", "bars"), ("/clock", "clock"), ("/faults", "fault")):
            router.add_post(path, self._operation(operation))
        router.add_post("/accounts", self._operation("account"))
        router.add_delete("/faults", self._operation("clear_faults"))
        router.add_post("/accounts/{id}/reset", self._operation("reset"))
        router.add_post("/accounts/{id}/external", self._operation("external"))
        router.add_post("/accounts/{id}/postback", self._operation("postback"))
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("X-Control-Token", "")
        if not secrets.compare_digest(given.encode(), control_token().encode()):
            return _json({"error": "the header X-Control-Token is missing or wrong"}, 401)
        try:
            return await handler(request)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        except web.HTTPException as error:
            return _json({"error": error.reason}, error.status)

    async def _body(self, request: web.Request) -> dict[str, Any]:
        text = await request.text()
        try:
            body = json.loads(text, parse_float=str) if text.strip() else {}
        except ValueError as error:
            raise ValueError(f"the body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise ValueError("the body must be a JSON object")
        return body

    def _operation(self, name: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await self._body(request)
            if "id" in request.match_info:
                body["account"] = request.match_info["id"]
                if body["account"] not in self.runtime.world.accounts:
                    return _json({"error": f"there is no account {body['account']}"}, 404)
            return _json(self.runtime.command(name, body))

        return handle

    async def _journal(self, request: web.Request) -> web.StreamResponse:
        self.runtime.refresh()
        since = request.query.get("since", "0")
        limit = request.query.get("limit")
        if not since.isdecimal() or (limit is not None and not limit.isdecimal()):
            raise ValueError("since and limit must be whole numbers")
        journal = self.runtime.world.state.journal
        text = journal.since(int(since), int(limit) if limit else None)
        return web.Response(text=text, content_type="application/json", headers={"X-Journal-Last": str(journal.last)})

    async def _clock(self, request: web.Request) -> web.StreamResponse:
        self.runtime.refresh()
        return _json(self.runtime.control.clock())

    async def _faults(self, request: web.Request) -> web.StreamResponse:
        return _json({"faults": [fault.shown() for fault in self.runtime.world.state.faults]})

    async def _accounts(self, request: web.Request) -> web.StreamResponse:
        accounts = self.runtime.world.accounts.values()
        return _json({"accounts": [{"id": one.id, "broker": one.broker, "currency": one.currency} for one in accounts]})

    async def _account(self, request: web.Request) -> web.StreamResponse:
        self.runtime.refresh()
        if request.match_info["id"] not in self.runtime.world.accounts:
            return _json({"error": f"there is no account {request.match_info['id']}"}, 404)
        return _json(self.runtime.control.truth(request.match_info["id"]))
