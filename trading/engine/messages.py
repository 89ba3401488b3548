"""Keep what went over the wire: one BrokerMessage an exchange, raw, with its hash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from trading.clock import now
from trading.domain.broker import Evidence
from trading.domain.canonical import canonical_json, sha256_hex
from trading.models import BrokerMessage, Order


def keep(order: Order, purpose: str, evidence: Sequence[Evidence]) -> BrokerMessage | None:
    """Store the exchanges about an order; returns the last, None when there was none (an in-process book)."""
    return keep_all(purpose, [(order, evidence)]).get(order.pk)


def keep_all(purpose: str, exchanges: Sequence[tuple[Order, Sequence[Evidence]]]) -> dict[int, BrokerMessage]:
    """Store the exchanges about orders of one account in one statement; the last of each, by the order's number."""
    if not any(evidence for _, evidence in exchanges):
        return {}
    moment = now(exchanges[0][0].account)
    rows = [_message(order, purpose, exchange, moment) for order, evidence in exchanges for exchange in evidence]
    return {row.order_id: row for row in BrokerMessage.objects.bulk_create(rows) if row.order_id is not None}


def _message(order: Order, purpose: str, exchange: Evidence, at: datetime) -> BrokerMessage:
    return BrokerMessage(
        at=at,
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
