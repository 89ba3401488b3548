"""One endless HTTP answer, line by line as the lines arrive: the wire under a broker's stream.

What always holds:
- the rules of `transport.py`: no proxies, netrc or cookies, no redirect is followed, nothing is sent twice, secrets
  never show; connecting and the head of the answer have a deadline;
- a line is given out as soon as its end has arrived, a half line at the end never;
- no complete line for `silence_seconds` ends the stream, whatever else the connection does (dripping included);
- `close` may be called from any thread, and wakes one that waits for a line.
"""

from __future__ import annotations

import http.client
import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping

import requests
import urllib3.exceptions

from trading.brokers.budget import RateBudget
from trading.brokers.wire import CONNECT_SECONDS, Exchange, GuardedAdapter, current_exchange

logger = logging.getLogger(__name__)

OPEN_SECONDS = 5.0
LONGEST_LINE = 1024 * 1024
_CHUNK = 64 * 1024


class StreamCut(Exception):
    """The stream has ended and we did not end it. The text says how, in one line without secrets."""


class LineStream:
    """A GET whose answer does not end. One thread reads, any thread may close."""

    def __init__(
        self,
        *,
        url: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        secrets: tuple[str, ...],
        budget: RateBudget,
        silence_seconds: float,
    ) -> None:
        self._request = requests.Request(
            "GET", url, params=dict(params), headers={**headers, "Accept-Encoding": "identity"}
        )
        self._secrets, self._budget, self._silence = secrets, budget, silence_seconds
        self._exchange = Exchange("GET", url, "", OPEN_SECONDS)
        self._allowed, self._due = OPEN_SECONDS, 0.0
        self._over = threading.Event()
        self._silent = False
        self.closed = False

    def close(self) -> None:
        """Close the connection: a reader that waits for a line stops at once."""
        self.closed = True
        self._over.set()
        self._exchange.expire()

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The status with an empty line once the broker has answered, then each line with it.

        An answer that is not 200 gives its status and nothing else. Raises `StreamCut` when the stream ends, or falls
        silent; returns when it was closed.
        """
        adapter = GuardedAdapter()
        try:
            yield from self._lines(adapter)
        except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError) as error:
            if self.closed:
                return
            raise StreamCut(self._said(error)) from error
        finally:
            self._over.set()
            self._exchange.expire()
            adapter.close()

    def _lines(self, adapter: GuardedAdapter) -> Iterator[tuple[int, bytes]]:
        if not self._budget.take("general", wait=OPEN_SECONDS):
            raise OSError("our own budget of requests for this account is spent; nothing was sent")
        self._alive(OPEN_SECONDS)
        threading.Thread(target=self._watch, daemon=True, name="stream watchdog").start()
        token = current_exchange.set(self._exchange)
        try:
            response = adapter.send(
                self._request.prepare(), stream=True, timeout=(CONNECT_SECONDS, self._silence), verify=True
            )
        finally:
            current_exchange.reset(token)
        self._alive(self._silence)
        try:
            if response.status_code == 429:
                self._budget.back_off(1.0)
            self._due = math.inf  # what the reader does with it takes as long as it takes
            yield response.status_code, b""
            self._alive(self._silence)
            if response.status_code != 200:
                return
            rest = b""
            while piece := response.raw.read1(_CHUNK, decode_content=False):
                *complete, rest = (rest + piece).split(b"\n")
                for line in complete:
                    if line.strip():
                        self._due = math.inf
                        yield 200, line
                        self._alive(self._silence)
                if len(rest) > LONGEST_LINE:
                    raise ValueError(f"a line is longer than {LONGEST_LINE} bytes")
            raise OSError("the broker ended it")
        finally:
            response.raw.close()

    def _alive(self, seconds: float) -> None:
        self._allowed, self._due = seconds, time.monotonic() + seconds

    def _watch(self) -> None:
        """Cut the connection when nothing complete has come for too long."""
        while not self._over.wait(max(0.01, min(self._due - time.monotonic(), self._silence / 2))):
            if time.monotonic() >= self._due:
                self._silent = True
                self._exchange.expire()
                return

    def _said(self, error: Exception) -> str:
        if self._silent or isinstance(error, (TimeoutError, urllib3.exceptions.ReadTimeoutError)):
            return f"it was silent for {self._allowed:g} s"
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text
