"""Asking Kite one thing through kiteconnect, on our session: the SDK builds the request, we judge the answer.

What always holds: what the SDK returns or raises is not used. It does not look at the HTTP status, turns numbers into
floats, follows redirects and breaks with errors of its own on a body that it did not expect; the session's captured
exchange does none of that. A good answer has status 200 and Kite's envelope with "success"; nothing else is believed.

An access token dies every morning, and nothing but a person's login gives another. Once Kite has turned a token away,
this process asks nothing more with it for `LOGIN_PAUSE` seconds, so that a dead token causes no storm of requests.
"""

from __future__ import annotations

import csv
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import requests

from trading.brokers.budget import Lane, RateBudget, budget_for
from trading.brokers.errors import BadData
from trading.brokers.fields import Row, identity, optional_text
from trading.brokers.transport import DEADLINE_SECONDS, BrokerSession, read_json
from trading.brokers.wire import Exchange
from trading.domain.broker import BrokerNeedsLogin, BrokerOtherAccount, BrokerUnreachable, Evidence

Kind = Literal["order", "quote", "history", "other"]
LOGIN_PAUSE = 15.0
TOKEN_REFUSED = "TokenException"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one process may ask for an account: of everything together, and of each kind that has its own limit.

    Each is (per second, burst, reserve); the reserve is kept for cancels and closes.
    """

    all: tuple[float, int, int]
    order: tuple[float, int, int]
    quote: tuple[float, int, int]
    history: tuple[float, int, int]


# Kite allows 10 orders a second and 200 a minute (a cancel and a change count), 1 quote and 3 histories a second, and
# 10 of everything else. The simulator has no limit of its own.
VENDOR_PACE = Pace(all=(10.0, 10, 4), order=(3.3, 8, 4), quote=(1.0, 1, 0), history=(3.0, 3, 0))
_FAST = (200.0, 400, 100)
SIMULATOR_PACE = Pace(all=_FAST, order=_FAST, quote=_FAST, history=_FAST)

# Which account a token belongs to: that never changes, so a process asks once for each token.
_account_of_token: dict[tuple[str, str], str] = {}
# Until when a token that was turned away is not used again, by this process's own clock.
_refused_until: dict[tuple[str, str], float] = {}
_lock = threading.Lock()


class KiteClient:
    """The line to one account. `url` is the root of the API; the SDK drops any path that it has.

    `account_id` is the user id at Kite, "" when it is not known yet.
    """

    def __init__(self, *, account_id: str, key: str, access_token: str, url: str, pace: Pace) -> None:
        from kiteconnect import KiteConnect  # imports Twisted: only where a connection is opened
        from kiteconnect.exceptions import KiteException

        self.account_id = account_id
        self.url = url.rstrip("/")
        self._me = (self.url, f"{key}:{access_token}")
        self._budgets: dict[Kind, RateBudget] = {
            "order": _budget(self._me, "order", pace.order),
            "quote": _budget(self._me, "quote", pace.quote),
            "history": _budget(self._me, "history", pace.history),
        }
        self.session = BrokerSession(budget=_budget(self._me, "all", pace.all), headers={}, secrets=(access_token, key))
        logging.getLogger("kiteconnect").setLevel(logging.CRITICAL)
        self._api = KiteConnect(key, access_token=access_token, root=self.url)
        self._api.reqsession.close()
        self._api.reqsession = self.session
        # All that the SDK raises once a request was begun: its own errors; LookupError, TypeError, AttributeError and
        # UnboundLocalError for bodies that it did not expect; ValueError and ArithmeticError for numbers and times in
        # them; and what the session raises.
        self._sdk_errors = (
            KiteException,
            LookupError,
            TypeError,
            AttributeError,
            UnboundLocalError,
            ValueError,
            ArithmeticError,
            RecursionError,
            csv.Error,
            requests.RequestException,
        )

    def ask(self, call: Callable[[Any], object], *, kind: Kind = "other", lane: Lane = "general") -> Exchange:
        """Make one call of the SDK and return what happened on the wire. Never raises for a failed exchange."""
        self.session.prepare_call(lane)
        hindrance = self._hindrance(kind, lane)
        if hindrance:
            return _unsent(hindrance)
        problem = "nothing was sent"
        try:
            call(self._api)
        except self._sdk_errors as error:
            problem = f"{type(error).__name__} before anything was sent"
        return self.session.last or _unsent(problem)

    def evidence(self, *exchanges: Exchange) -> tuple[Evidence, ...]:
        """The records of some exchanges, secrets redacted; of those that were never begun there is none."""
        return tuple(self.session.evidence(exchange) for exchange in exchanges if exchange.path)

    def read(
        self, call: Callable[[Any], object], question: str, *, kind: Kind = "other", lane: Lane = "general"
    ) -> Any:
        """Ask something that changes nothing; returns the data of a good answer, numbers as `Decimal`.

        Raises `BrokerNeedsLogin` when Kite turns the token away, `BrokerUnreachable` for any other answer.
        """
        return self.data(self.ask(call, kind=kind, lane=lane), question)

    def read_list(self, call: Callable[[Any], object], question: str, *, lane: Lane = "general") -> list[Row]:
        """Like `read`, for an answer that is a list of objects."""
        found = self.read(call, question, lane=lane)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise BrokerUnreachable(self.sentence(question, "the data are not a list of objects"))
        return found

    def read_object(
        self, call: Callable[[Any], object], question: str, *, kind: Kind = "other", lane: Lane = "general"
    ) -> Row:
        """Like `read`, for an answer that is one object."""
        found = self.read(call, question, kind=kind, lane=lane)
        if not isinstance(found, dict):
            raise BrokerUnreachable(self.sentence(question, "the data are not an object"))
        return found

    def read_lines(self, call: Callable[[Any], object], question: str) -> list[dict[str, str]]:
        """Like `read`, for an answer that is a table of comma-separated values, each line by its column's name."""
        exchange = self.ask(call)
        if exchange.status != 200 or not exchange.complete or b"json" in _content_type(exchange):
            self.data(exchange, question)
            raise BrokerUnreachable(self.sentence(question, "it is no table"))
        try:
            table = exchange.body.decode("utf-8-sig")
            if "\x00" in table:
                raise ValueError("it has NUL in it")
            lines = table.splitlines()
            found = [
                {
                    name: value or ""
                    for name, value in row.items()
                    if isinstance(name, str) and not isinstance(value, list)
                }
                for row in csv.DictReader(lines)
            ]
        except (ValueError, csv.Error) as error:
            raise BrokerUnreachable(self.sentence(question, f"its table cannot be read: {error}")) from error
        if not found or "tradingsymbol" not in found[0]:
            raise BrokerUnreachable(self.sentence(question, "its table is empty or has no tradingsymbol"))
        return found

    def data(self, exchange: Exchange, question: str) -> Any:
        """The data of a good answer. Raises as `read` does."""
        if exchange.error.startswith(_PARKED):
            raise BrokerNeedsLogin(self.login_sentence())
        try:
            answer = read_json(exchange)
        except BadData as error:
            status = "" if exchange.status is None else f" (status {exchange.status})"
            raise BrokerUnreachable(self.sentence(question, f"{error}{status}")) from error
        if self.is_login_refusal(exchange, answer):
            raise BrokerNeedsLogin(self.login_sentence())
        if exchange.status != 200 or answer.get("status") != "success" or "data" not in answer:
            said = " ".join(f"{answer.get('error_type', '')} {answer.get('message', '')}".split())[:200]
            raise BrokerUnreachable(self.sentence(question, f"it answered with status {exchange.status} {said}"))
        return answer["data"]

    def is_login_refusal(self, exchange: Exchange, answer: Row) -> bool:
        """Whether an answer turns the token away; that is remembered for `LOGIN_PAUSE` seconds."""
        refused = exchange.status == 403 and answer.get("error_type") == TOKEN_REFUSED
        if refused:
            with _lock:
                _refused_until[self._me] = time.monotonic() + LOGIN_PAUSE
        return refused

    def is_parked(self, exchange: Exchange) -> bool:
        """Whether a request was not sent, because its token was turned away a moment ago."""
        return exchange.error.startswith(_PARKED)

    def check_account(self, *, lane: Lane = "general") -> str:
        """Make sure that the token is the account's own, before anything is done with it; returns the user id.

        Raises `BrokerOtherAccount` when it belongs to another user, `BrokerUnreachable` when that cannot be read.
        """
        user = _account_of_token.get(self._me)
        if user is None:
            profile = self.read_object(lambda kite: kite.profile(), "the identity", lane=lane)
            try:
                user = identity(profile, "user_id")
            except BadData as error:
                raise BrokerUnreachable(self.sentence("the identity", str(error))) from error
            if self.account_id in ("", user):  # one wrong answer must not be believed for as long as the process lives
                _account_of_token[self._me] = user
        if self.account_id and user != self.account_id:
            raise BrokerOtherAccount(
                f"The token in KITE_ACCESS_TOKEN belongs to {user}, not to {self.account_id}: nothing of "
                f"{self.account_id} was asked or changed. Log in as {self.account_id} and put its token in place."
            )
        return user

    def close(self) -> None:
        """Close all connections."""
        self.session.close()

    def login_sentence(self) -> str:
        """What a person must do when the token is dead."""
        return (
            f"Kite needs a login: it does not accept the access token of {self.account_id or 'the account'}, which "
            "ends every morning at six in India. Log in at Kite and put the new token in KITE_ACCESS_TOKEN; until then "
            "nothing can be asked or sent, work waits, and positions stay as they are."
        )

    def sentence(self, question: str, problem: str) -> str:
        """That there is no usable answer to a question, and what that does not mean."""
        return (
            f"Kite at {self.url} gave no usable answer to {question} of account {self.account_id or '(unknown)'}: "
            f"{problem}. This says nothing about positions or money; check the connection and ask again."
        )

    def _hindrance(self, kind: Kind, lane: Lane) -> str:
        """Why a request must not leave now, "" when it may."""
        with _lock:
            if _refused_until.get(self._me, 0.0) > time.monotonic():
                return f"{_PARKED}; nothing was sent"
        budget = self._budgets.get(kind)
        if budget is not None and not budget.take(lane, wait=DEADLINE_SECONDS):
            return f"our own budget of {kind} requests for this account is spent; nothing was sent"
        return ""


_PARKED = "Kite turned the access token away a moment ago"


def refusal(answer: Row) -> tuple[str, str]:
    """The word and the sentence of an error in Kite's own envelope; ("", "") for anything else."""
    if answer.get("status") != "error":
        return "", ""
    try:
        return optional_text(answer, "error_type")[:60], optional_text(answer, "message")[:500]
    except BadData:
        return "", ""


def _budget(me: tuple[str, str], kind: str, pace: tuple[float, int, int]) -> RateBudget:
    per_second, burst, reserve = pace
    return budget_for(f"{me[0]} {me[1]} {kind}", per_second=per_second, burst=burst, reserve=reserve)


def _unsent(problem: str) -> Exchange:
    exchange = Exchange(method="", path="", request_body="", deadline_seconds=0)
    exchange.error = problem
    return exchange


def _content_type(exchange: Exchange) -> bytes:
    return exchange.headers.get("content-type", "").lower().encode()
