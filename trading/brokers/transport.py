"""The one HTTP session that every broker SDK is given: bounded, literal, and leaving evidence.

What always holds:
- nothing of the environment is used: no netrc, no proxies, no certificate bundles named by variables, no cookies;
- a redirect is an answer like any other and is never followed; nothing is ever sent a second time by itself;
- an exchange ends at its total deadline (connect at most 2 s of it), and an answer above the size cap is not read;
- every exchange, also one that raised inside an SDK, is kept as the calling thread's `last` one; adapters judge that,
  never what an SDK made of it;
- when not even a connection came about (`Exchange.sent` is False), the broker has not got the request: adapters say
  `Refused(NOT_SENT)`. From the first byte on, everything but a complete and readable answer leaves the outcome unknown.

A write reuses a kept connection only within two seconds of its last answer (see `wire.py`): a POST on a connection
that the broker has closed meanwhile is an unknown outcome, and a fresh connection per write would break the brokers'
limits on new connections when many cancels leave at once.
"""

from __future__ import annotations

import http.client
import json
import threading
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3.exceptions

from trading.brokers.budget import Lane, RateBudget
from trading.brokers.counting import one_request, one_too_many
from trading.brokers.errors import BadData, ExchangeFailed
from trading.brokers.wire import CONNECT_SECONDS, Exchange, GuardedAdapter, current_exchange
from trading.domain.broker import Evidence
from trading.failpoints import failpoint

DEADLINE_SECONDS = 3.0
BODY_LIMIT = 8 * 1024 * 1024
# No broker's answer is nested half as deeply; what reads or stores an answer calls itself for each level.
DEEPEST = 32
_CHUNK = 64 * 1024
_LONGEST_BACK_OFF = 60.0


class BrokerSession(requests.Session):
    """A `requests.Session` for one account of one broker. Threads may share it; each has its own `last` exchange."""

    # What rings at the deadline.
    _alarm = threading.Timer

    def __init__(
        self,
        *,
        budget: RateBudget,
        headers: Mapping[str, str],
        secrets: tuple[str, ...] = (),
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.clear()
        self.headers.update({"Accept": "application/json", "Accept-Encoding": "gzip", **headers})
        self.mount("https://", GuardedAdapter())
        self.mount("http://", GuardedAdapter())
        self._budget = budget
        self._secrets = tuple(secret for secret in secrets if secret)
        self._deadline = deadline
        self._thread = threading.local()

    @property
    def last(self) -> Exchange | None:
        """This thread's latest exchange; None when the latest `prepare_call` was followed by none."""
        return getattr(self._thread, "last", None)

    def prepare_call(self, lane: Lane) -> None:
        """Forget this thread's last exchange and choose the lane of its next request."""
        self._thread.last = None
        self._thread.lane = lane

    def evidence(self, exchange: Exchange) -> Evidence:
        """The record of an exchange, secrets redacted."""
        return exchange.evidence(self._secrets)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one prepared request; the caller's time-outs, proxies and redirect wishes are overruled.

        Raises `ExchangeFailed` when there is no complete answer.
        """
        exchange = Exchange(
            method=request.method or "GET",
            path=request.path_url,
            request_body=_as_text(request.body),
            deadline_seconds=self._deadline,
        )
        self._thread.last = exchange
        if not self._budget.take(getattr(self._thread, "lane", "general"), wait=self._deadline):
            exchange.error = "our own budget of requests for this account is spent; nothing was sent"
            exchange.finished_at = datetime.now(UTC)
            one_too_many()
            raise ExchangeFailed(exchange.error, request=request)
        one_request()
        exchange.restart_clock()
        timer = self._alarm(self._deadline, exchange.expire)
        timer.daemon = True
        token = current_exchange.set(exchange)
        timer.start()
        try:
            return self._exchange(request, exchange)
        except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError, zlib.error) as error:
            # requests' own exceptions are OSErrors; ValueError is an URL or header that cannot be sent.
            exchange.error = f"no complete answer within {self._deadline:g} s" if exchange.expired else _said(error)
            raise ExchangeFailed(exchange.error, request=request) from error
        finally:
            timer.cancel()
            current_exchange.reset(token)
            exchange.finished_at = datetime.now(UTC)

    def _exchange(self, request: requests.PreparedRequest, exchange: Exchange) -> requests.Response:
        adapter = self.get_adapter(request.url or "")
        response = adapter.send(request, stream=True, timeout=(CONNECT_SECONDS, self._deadline), verify=True)
        failpoint(f"{exchange.method.lower()}_sent")
        exchange.status = response.status_code
        exchange.headers = {name.lower(): value for name, value in response.headers.items()}
        try:
            self._read(response.raw, exchange)
        except BaseException:
            response.raw.close()
            raise
        exchange.unwatch()
        response.raw.release_conn()
        # What the SDKs read it as; otherwise some guess from the bytes, which takes minutes for a large answer.
        response.encoding = "utf-8"
        # requests keeps a body that was read in this attribute; from here on it is an ordinary finished response.
        response._content = exchange.body
        response._content_consumed = True  # type: ignore[attr-defined]
        if response.status_code == 429:
            asked = _retry_after(exchange.headers)
            one_too_many(asked)
            self._budget.back_off(1.0 if asked is None else asked)
        return response

    @staticmethod
    def _read(raw: Any, exchange: Exchange) -> None:
        encoding = exchange.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip", "deflate", ""):
            raise ValueError(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
        inflate = zlib.decompressobj(wbits=47) if encoding in ("gzip", "deflate") else None
        while True:
            piece = raw.read1(_CHUNK, decode_content=False)
            if exchange.expired:
                raise TimeoutError("the deadline of the exchange passed while its answer was read")
            if not piece:
                break
            if inflate is not None and inflate.eof:
                raise ValueError("the compressed answer goes on after its end")
            exchange.body += inflate.decompress(piece, BODY_LIMIT + 1 - len(exchange.body)) if inflate else piece
            if len(exchange.body) > BODY_LIMIT or (inflate is not None and inflate.unconsumed_tail):
                exchange.body = exchange.body[:_CHUNK]
                raise ValueError(f"the answer is longer than {BODY_LIMIT} bytes")
        if inflate is not None and not inflate.eof:
            raise ValueError("the compressed answer ends in the middle")


def read_json(exchange: Exchange) -> dict[str, Any]:
    """The JSON object that an answer consists of. Raises `BadData` as `read_document` does, or for another kind."""
    document = read_document(exchange)
    if not isinstance(document, dict):
        raise BadData("the answer is JSON, but not an object")
    return document


def read_document(exchange: Exchange) -> Any:
    """The JSON that an answer consists of: numbers as `Decimal` or `int`, text without NUL or half surrogates.

    Raises `BadData` when there is no complete answer, or it is not UTF-8, not JSON, holds NaN or Infinity, is nested
    more deeply than `DEEPEST`, or an object in it says two things under one key.
    """
    if not exchange.complete:
        raise BadData(exchange.error or "no answer")
    try:
        text = exchange.body.decode("utf-8-sig")
        document = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_object_of)
        _refuse_depth(document)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise BadData(f"the answer is not readable JSON: {_said(error)}") from error
    # Text with NUL or half a surrogate pair cannot be stored by PostgreSQL; both can only come in escaped.
    return _clean(document) if "\\u0000" in text or "\\ud" in text.lower() else document


def storable(value: Any) -> Any:
    """The same JSON with each `Decimal` as its exact text, so that any JSON column can keep it."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {key: storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        joined = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return joined.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) and any(found[key] != value for key, value in pairs):
        raise ValueError("an object says two things under one key")
    return found


def _refuse_depth(document: Any) -> None:
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(DEEPEST):
        if not level:
            return
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, dict | list)
        ]
    if level:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _as_text(body: Any) -> str:
    if isinstance(body, bytes):
        return body.decode("utf-8", errors="replace")
    return body if isinstance(body, str) else ""


def _said(error: BaseException) -> str:
    """An error in one bounded line; of urllib3's wrappers ("max retries": we make none) only what they wrap."""
    cause = error.args[0] if error.args and isinstance(error.args[0], BaseException) else error
    error = getattr(cause, "reason", None) or cause
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a 429 asks us to be quiet: its Retry-After when that is a plain number, None otherwise."""
    text = headers.get("retry-after", "")
    return min(float(text), _LONGEST_BACK_OFF) if text.isascii() and text.isdigit() else None
