"""The ticker's published client in a process of its own (its event loop cannot be started twice in one).

`python ticker_client.py ADDRESS KEY TOKEN INSTRUMENT_TOKEN…` subscribes to the instruments in full mode and writes
one line of JSON for everything that it hears.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from kiteconnect import KiteTicker


def say(kind: str, **more: Any) -> None:
    """One line."""
    print(json.dumps({"kind": kind, **more}, default=str), flush=True)


def main(address: str, key: str, token: str, *instruments: str) -> None:
    """Listen until somebody ends the process."""
    logging.disable(logging.CRITICAL)
    ticker = KiteTicker(key, token, root=address, reconnect=False)

    def connected(socket: KiteTicker, response: Any) -> None:
        say("connect")
        socket.subscribe([int(one) for one in instruments])
        socket.set_mode(socket.MODE_FULL, [int(one) for one in instruments])

    def heard(socket: KiteTicker, payload: bytes, is_binary: bool) -> None:
        if is_binary and len(payload) == 1:
            say("heartbeat")

    ticker.on_connect = connected
    ticker.on_message = heard
    ticker.on_ticks = lambda socket, ticks: say("ticks", ticks=ticks)
    ticker.on_order_update = lambda socket, data: say("order", data=data)
    ticker.on_error = lambda socket, code, reason: say("error", code=code, reason=str(reason))
    ticker.on_close = lambda socket, code, reason: say("close", code=code, reason=str(reason))
    ticker.connect()


if __name__ == "__main__":
    main(*sys.argv[1:])
