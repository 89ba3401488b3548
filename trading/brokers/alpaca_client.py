"""Asking Alpaca one thing through alpaca-py, on our session: the SDK builds the request, we judge the answer.

What always holds: the SDK's own second tries are off and what it returns or raises is not used. It has no time-out,
turns numbers into floats, breaks a whole list on one word it does not know, and cannot tell a lost answer from a
refusal; the session's captured exchange can. Every body that leaves is one that we wrote, numbers as text.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from trading.brokers.budget import Lane, budget_for
from trading.brokers.errors import BadData
from trading.brokers.fields import Row, currency, identity
from trading.brokers.transport import BrokerSession, read_document
from trading.brokers.wire import Exchange
from trading.domain.broker import BrokerNeedsLogin, BrokerOtherAccount, BrokerUnreachable, Evidence


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one process may ask for an account; `reserve` of the burst is kept for cancels and closes."""

    per_second: float
    burst: int
    reserve: int


# Alpaca allows 200 requests a minute for an account: 40 at once and 2 a second stay below it, with room for another
# process of the desk. The simulator has no limit of its own.
VENDOR_PACE = Pace(per_second=2.0, burst=40, reserve=20)
SIMULATOR_PACE = Pace(per_second=200.0, burst=400, reserve=100)

# Which account a key belongs to, and its currency: that never changes, so a process asks once for each key.
_account_of_key: dict[tuple[str, str], tuple[str, str]] = {}


class AlpacaClient:
    """The line to one account. `url` and `data_url` are the roots of the trading and market data APIs without /v2.

    `account_id` is the account's number, "" when it is not known yet.
    """

    def __init__(self, *, account_id: str, key: str, secret: str, url: str, data_url: str, pace: Pace) -> None:
        from alpaca.common.exceptions import APIError, RetryException  # the SDK is loaded only where it is used
        from alpaca.common.rest import RESTClient

        self.account_id = account_id
        self.url = url.rstrip("/")
        self._data_url = data_url.rstrip("/")
        self._key = key
        self.session = BrokerSession(
            budget=budget_for(f"{self.url} {key}", per_second=pace.per_second, burst=pace.burst, reserve=pace.reserve),
            headers={},
            secrets=(secret, key),
        )
        logging.getLogger("alpaca").setLevel(logging.CRITICAL)
        # The client that all clients of the SDK are made from: those add models of floats and closed lists of words,
        # and load pandas for them, which every worker and the kill switch would wait for.
        self._api = RESTClient(self.url, key, secret, api_version="v2", raw_data=True)
        self._api._retry = 0
        self._api._session.close()
        self._api._session = self.session
        # All that the SDK raises once a request was begun: its own errors, ValueError and AttributeError for an answer
        # that is no JSON object, RecursionError for deep JSON, and what the session raises.
        self._sdk_errors = (
            APIError,
            RetryException,
            ValueError,
            AttributeError,
            RecursionError,
            requests.RequestException,
        )

    def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | None = None,
        *,
        lane: Lane = "general",
        data_api: bool = False,
    ) -> Exchange:
        """Send one request and return what happened on the wire. Never raises for a failed exchange.

        `fields` are the query of a GET or DELETE and the JSON body of a POST or PATCH.
        """
        self.session.prepare_call(lane)
        problem = "nothing was sent"
        base_url = self._data_url if data_api else None
        try:
            self._api._request(method, path, dict(fields) if fields else None, base_url=base_url)
        except self._sdk_errors as error:
            problem = f"{type(error).__name__} before anything was sent"
        exchange = self.session.last
        if exchange is None:
            exchange = Exchange(method=method, path=path, request_body="", deadline_seconds=0)
            exchange.error = problem
        return exchange

    def evidence(self, *exchanges: Exchange) -> tuple[Evidence, ...]:
        """The records of some exchanges, secrets redacted."""
        return tuple(self.session.evidence(exchange) for exchange in exchanges)

    def read(
        self,
        path: str,
        question: str,
        fields: Mapping[str, Any] | None = None,
        *,
        lane: Lane = "general",
        data_api: bool = False,
    ) -> Row:
        """Ask something that changes nothing; the answer must be a 200 with a JSON object.

        Raises `BrokerNeedsLogin` when Alpaca turns the credentials away, `BrokerUnreachable` for any other answer.
        """
        document = self._good(self.ask("GET", path, fields, lane=lane, data_api=data_api), question)
        if not isinstance(document, dict):
            raise BrokerUnreachable(self._sentence(question, "the answer is JSON, but not an object"))
        return document

    def read_list(
        self, path: str, question: str, fields: Mapping[str, Any] | None = None, *, lane: Lane = "general"
    ) -> list[Row]:
        """Like `read`, for an answer that is a list of objects."""
        document = self._good(self.ask("GET", path, fields, lane=lane), question)
        if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
            raise BrokerUnreachable(self._sentence(question, "the answer is JSON, but not a list of objects"))
        return document

    def document(self, exchange: Exchange, question: str) -> Any:
        """The JSON of an answer of any status but one that turns the credentials away. Raises as `read` does."""
        try:
            found = read_document(exchange)
        except BadData as error:
            if exchange.complete and exchange.status == 401:
                raise self._needs_login(exchange) from error
            status = "" if exchange.status is None else f" (status {exchange.status})"
            raise BrokerUnreachable(self._sentence(question, f"{error}{status}")) from error
        if is_login_refusal(exchange.status, found):
            raise self._needs_login(exchange)
        return found

    def check_account(self, *, lane: Lane = "general") -> str:
        """Make sure that our key is the account's own, before anything is done with it; returns its currency.

        Raises `BrokerOtherAccount` when it belongs to another one, `BrokerUnreachable` when that cannot be read.
        """
        known = _account_of_key.get((self.url, self._key))
        number, currency = known or self.account_facts(self.read("/account", "the identity", lane=lane))
        if self.account_id and number != self.account_id:
            raise BrokerOtherAccount(
                f"The key in ALPACA_API_KEY belongs to account {number}, not to {self.account_id}: nothing of "
                f"{self.account_id} was asked or changed. Put the key of {self.account_id} in place."
            )
        return currency

    def account_facts(self, account: Row) -> tuple[str, str]:
        """Number and currency in an answer about the account.

        Raises `BrokerUnreachable` when one is missing, `BrokerOtherAccount` when our key was another account's before.
        """
        try:
            facts = identity(account, "account_number"), currency(account, "currency")
        except BadData as error:
            raise BrokerUnreachable(self._sentence("the identity", str(error))) from error
        known = _account_of_key.get((self.url, self._key))
        if known is not None and known[0] != facts[0]:
            raise BrokerOtherAccount(
                f"Alpaca's answer to the identity of account {known[0]} is about account {facts[0]}, though the key is "
                "the same: nothing of it was used."
            )
        # One wrong answer must not be believed for as long as the process lives.
        if self.account_id in ("", facts[0]):
            _account_of_key[self.url, self._key] = facts
        return facts

    def close(self) -> None:
        """Close all connections."""
        self.session.close()

    def _good(self, exchange: Exchange, question: str) -> Any:
        document = self.document(exchange, question)
        if exchange.status != 200:
            said = " ".join(str(document.get("message", "")).split())[:200] if isinstance(document, dict) else ""
            raise BrokerUnreachable(self._sentence(question, f"it answered with status {exchange.status} {said}"))
        return document

    def _needs_login(self, exchange: Exchange) -> BrokerNeedsLogin:
        return BrokerNeedsLogin(
            f"Alpaca does not accept the key for account {self.account_id or '(not known yet)'} (status "
            f"{exchange.status}): nothing can be asked or sent until a person puts a valid ALPACA_API_KEY and "
            "ALPACA_SECRET_KEY in place. Positions stay as they are."
        )

    def _sentence(self, question: str, problem: str) -> str:
        return (
            f"Alpaca at {self.url} gave no usable answer to {question} of account {self.account_id or '(unknown)'}: "
            f"{problem}. This says nothing about positions or money; check the connection and ask again."
        )


def error_code(document: Any) -> int | None:
    """The number that Alpaca's own errors carry; None for an answer that is not one."""
    code = document.get("code") if isinstance(document, dict) else None
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def is_login_refusal(status: int | None, document: Any) -> bool:
    """Whether an answer turns the credentials away: any 401, and a 403 without a code, which is no order's refusal."""
    return status == 401 or (status == 403 and isinstance(document, dict) and error_code(document) is None)
