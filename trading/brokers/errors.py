"""What can go wrong between an adapter and its broker, before it becomes an outcome or a `BrokerUnreachable`.

These never leave `trading/brokers`: adapters turn them into the port's outcomes (writes) or errors (reads).
"""

from __future__ import annotations

import requests


class BadData(ValueError):
    """An answer has a field that is missing, of the wrong kind, or not a number that can be kept exactly."""


class ForeignAnswer(BadData):
    """A readable answer that is about another order than the one that was asked for."""


class ExchangeFailed(requests.RequestException):
    """An exchange did not end with a complete answer. The SDKs let this pass, since it is a `RequestException`.

    Whether anything was sent is kept in the session's last exchange, not here.
    """
