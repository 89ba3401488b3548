"""Keep what went over the wire: one BrokerMessage an exchange, raw, with its hash."""

from __future__ import annotations

from collections.abc import Sequence

from trading.clock import now
from trading.domain.broker import Evidence
from trading.domain.canonical import canonical_json, sha256_hex
from trading.models import BrokerMessage, Order


def keep(order: Order, purpose: str, evidence: Sequence[Evidence]) -> BrokerMessage | None:
    """Store the exchanges about an order; returns the last, None when there was none (an in-process book)."""
    last = None
    for exchange in evidence:
        last = BrokerMessage.objects.create(
            at=now(order.account),
            account=order.account,
            order=order,
            purpose=purpose,
            method=exchange.method,
            path=exchange.path[:500],
            request_body=exchange.request_body,
            status=exchange.status,
            response_body=exchange.response_body,
            error=exchange.error[:300],
            finished_at=exchange.finished_at,
            sha256=sha256_hex(
                canonical_json(
                    [exchange.method, exchange.path, exchange.request_body, exchange.status, exchange.response_body]
                )
            ),
        )
    return last
