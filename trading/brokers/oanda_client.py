"""Asking OANDA one thing through oandapyV20, on our session: the SDK builds the request, we judge the answer.

What always holds: what the SDK returns or raises is not used. It gives up on a good answer with another 2xx status,
reads NaN as a number, and cannot tell a lost answer from a refusal; the session's captured exchange can.
"""

from __future__ import annotations

import logging
from typing import Any

import requests

from trading.brokers.budget import Lane, budget_for
from trading.brokers.errors import BadData
from trading.brokers.transport import BrokerSession, read_json
from trading.brokers.wire import Exchange
from trading.domain.broker import BrokerNeedsLogin, BrokerUnreachable, Evidence

# The vendor advises at most 100 requests a second on a connection; half of that, and half of the burst kept for kills.
REQUESTS_PER_SECOND = 50.0
BURST = 100
RESERVED_FOR_REDUCING = 50


class OandaClient:
    """The line to one account. `url` is the API's root without /v3."""

    def __init__(self, *, account_id: str, token: str, url: str) -> None:
        import oandapyV20.oandapyV20 as sdk  # the SDK is loaded only where it is used
        from oandapyV20.exceptions import V20Error

        self.account_id = account_id
        self.url = url.rstrip("/")
        self.session = BrokerSession(
            budget=budget_for(
                f"{self.url} {account_id}", per_second=REQUESTS_PER_SECOND, burst=BURST, reserve=RESERVED_FOR_REDUCING
            ),
            headers={"Authorization": f"Bearer {token}", "Accept-Datetime-Format": "RFC3339"},
            secrets=(token,),
        )
        sdk.TRADING_ENVIRONMENTS[self.url] = {"api": self.url, "stream": self.url}
        # Its error lines repeat whole bodies of answers; those are kept as evidence instead.
        logging.getLogger("oandapyV20").setLevel(logging.CRITICAL)
        self._api = sdk.API(access_token=None, environment=self.url)
        self._api.client.close()
        self._api.client = self.session
        # All that the SDK raises once a request was begun: its own error, ValueError for another status or bad JSON,
        # RecursionError for deep JSON, and what the session raises.
        self._sdk_errors = (V20Error, ValueError, RecursionError, requests.RequestException)

    def ask(self, endpoint: Any, *, lane: Lane = "general") -> Exchange:
        """Send an SDK request once and return what happened on the wire. Never raises for a failed exchange."""
        self.session.prepare_call(lane)
        problem = "nothing was sent"
        try:
            self._api.request(endpoint)
        except self._sdk_errors as error:
            problem = f"{type(error).__name__} before anything was sent"
        exchange = self.session.last
        if exchange is None:
            exchange = Exchange(method=str(endpoint.method), path=f"/{endpoint}", request_body="", deadline_seconds=0)
            exchange.error = problem
        return exchange

    def evidence(self, *exchanges: Exchange) -> tuple[Evidence, ...]:
        """The records of some exchanges, secrets redacted."""
        return tuple(self.session.evidence(exchange) for exchange in exchanges)

    def read(self, endpoint: Any, question: str, *, lane: Lane = "general") -> tuple[dict[str, Any], Exchange]:
        """Ask something that changes nothing; the answer must be a 200 with a JSON object.

        Raises `BrokerNeedsLogin` when OANDA turns the credentials away, `BrokerUnreachable` for any other answer.
        """
        exchange = self.ask(endpoint, lane=lane)
        return self.good_answer(exchange, question), exchange

    def good_answer(self, exchange: Exchange, question: str) -> dict[str, Any]:
        """The JSON object of an answer of status 200. Raises as `read` does."""
        body = self.answer(exchange, question)
        if exchange.status != 200:
            said = " ".join(str(body.get("errorMessage", "")).split())[:200]
            raise BrokerUnreachable(self._sentence(question, f"it answered with status {exchange.status} {said}"))
        return body

    def answer(self, exchange: Exchange, question: str) -> dict[str, Any]:
        """The JSON object of an answer of any status. Raises as `read` does, but not for the status itself."""
        if exchange.complete and exchange.status in (401, 403):
            raise BrokerNeedsLogin(
                f"OANDA does not accept the key for account {self.account_id} (status {exchange.status}): nothing can "
                "be asked or sent until a person puts a valid OANDA_API_KEY in place. Positions stay as they are."
            )
        try:
            return read_json(exchange)
        except BadData as error:
            status = "" if exchange.status is None else f" (status {exchange.status})"
            raise BrokerUnreachable(self._sentence(question, f"{error}{status}")) from error

    def close(self) -> None:
        """Close all connections."""
        self.session.close()

    def _sentence(self, question: str, problem: str) -> str:
        return (
            f"OANDA at {self.url} gave no usable answer to {question} of account {self.account_id}: {problem}. "
            "This says nothing about positions or money; check the connection and ask again."
        )
