"""Postbacks: order updates that are sent over HTTP to an account's own address.

What always holds here: updates are sent one after the other, each once, and whether anybody took one changes nothing.
Only the ends of orders come this way, and `UPDATE` for a partial fill or a modification; the ticker brings every
change. Faults name these messages by the path `/postback`; what is hidden from the client is not sent at all.
"""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
from aiohttp import web

from ..core.faults import find_for_message
from ..core.pages import planted
from ..runtime import Runtime
from .updates import ORDER_UPDATE, Row, postback

BROKER, PATH = "kite", "/postback"
ADDRESS = "postback_url"
_ENDS = ("COMPLETE", "CANCELLED", "REJECTED")
_PATIENCE = aiohttp.ClientTimeout(total=5)


class Postbacks:
    """Sends the updates of all accounts that have an address, in the order in which they happened."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._waiting: asyncio.Queue[tuple[str, Row]] = asyncio.Queue()
        self._held: list[tuple[str, Row]] = []
        self._known: dict[tuple[str, str], tuple[str, int]] = {}
        self._sender: asyncio.Task[None] | None = None
        runtime.world.listeners.append(self._hear)

    def _hear(self, id: str, kind: str, data: Row) -> None:
        account = self.runtime.world.accounts.get(id)
        if kind != ORDER_UPDATE or account is None:
            return
        key, seen = (id, data["order_id"]), (data["status"], data["filled_quantity"])
        before = self._known.pop(key, None)
        if data["status"] not in _ENDS:
            self._known[key] = seen
        url = account.wire.get(ADDRESS)
        if not url or self.runtime.muted(BROKER, PATH) or self._is_hidden(id, data):
            return
        if data["status"] in _ENDS:
            self._waiting.put_nowait((url, postback(account, data)))
        elif data["status"] == "MODIFIED" or (data["filled_quantity"] and (before is None or before[1] != seen[1])):
            self._waiting.put_nowait((url, {**postback(account, data), "status": "UPDATE"}))

    def _is_hidden(self, account: str, data: Row) -> bool:
        veil = self.runtime.veil(account)
        return bool(veil) and self.runtime.dialects[BROKER].hides({"type": "order", "data": data}, veil)

    async def start(self, app: web.Application) -> None:
        """Begin to send."""
        self._sender = asyncio.create_task(self._send_all())

    async def close(self, app: web.Application) -> None:
        """Send no more."""
        if self._sender is not None:
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender

    async def _send_all(self) -> None:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as client:
            while True:
                for url, data in self._through_faults(*await self._waiting.get()):
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                        async with client.post(url, json=data, allow_redirects=False) as answer:
                            await answer.read()

    def _through_faults(self, url: str, data: Row) -> list[tuple[str, Row]]:
        """What is sent of an update: it may come twice, after the next one, or with a wrong value."""
        fault = find_for_message(self.runtime.world.state.faults, BROKER, PATH)
        if fault is None:
            held, self._held = self._held, []
            return [(url, data), *held]
        self.runtime.strike(fault)
        if fault.action == "reorder":
            self._held.append((url, data))
            return []
        if fault.action == "duplicate":
            return [(url, data), (url, data)]
        return [(url, planted(data, fault.args["path"], fault.args["value"]))]
