"""What came later than our books could wait for: orders that lived on after their end, and decisions without a link.

What always holds here: judged by our own records alone; a fill that merely was told after the broker's own word that
the rest had ended is no late one; an order of which nobody knows yet whether it arrived has a case of its own.
"""

from __future__ import annotations

from datetime import timedelta

from reconciliation.domain.actions import actions_for
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind, Severity
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksSnapshot, LateOrder, UnmappedTrade
from trading.domain.money import plain
from trading.domain.orders import OrderState

_NOT_KNOWN_YET = frozenset({OrderState.SENDING, OrderState.UNKNOWN})


def compare_late(books: BooksSnapshot, policy: ReconciliationPolicy) -> list[Finding]:
    """Orders that filled after they had ended here, and open decisions whose order has no link to the broker."""
    return [
        *(_late(order, books) for order in books.late if not _only_told_late(order)),
        *_unmapped(books, policy),
    ]


def _only_told_late(order: LateOrder) -> bool:
    """Whether the broker ended the rest of it, and told a fill from before that only afterwards."""
    is_rest = order.ended in (OrderState.CANCELLED, OrderState.EXPIRED)
    return is_rest and order.ended_by_broker and order.filled_at <= order.ended_at


def _late(order: LateOrder, books: BooksSnapshot) -> Finding:
    actions, suggestion = actions_for(Kind.LATE_ACK)
    return Finding(
        kind=Kind.LATE_ACK,
        key=f"order:{order.client_id}",
        severity=severity_of(Kind.LATE_ACK, age=max(books.at - order.filled_at, timedelta(0))),
        cause=(
            f"Our {order.tag} order {order.client_id} ({order.side} {plain(order.quantity)} {order.instrument}) had "
            f"ended {order.ended} here at {order.ended_at:%Y-%m-%d %H:%M:%S}, and the broker filled "
            f"{plain(order.filled)} of it after all. The fill is booked; see that what it opened or closed is wanted."
        ),
        relies_on=Confidence.HISTORY,
        instrument=order.instrument,
        books_value=order.quantity,
        broker_value=order.filled,
        evidence={"order": order.order_id, "ended": order.ended, "ended_at": order.ended_at, "at": order.filled_at},
        actions=actions,
        suggestion=suggestion,
        matter=f"{order.ended}, then {plain(order.filled)}",
    )


def _unmapped(books: BooksSnapshot, policy: ReconciliationPolicy) -> list[Finding]:
    """One finding a decision, once it has waited longer than a race; too many of them at once are graver."""
    patience = timedelta(seconds=policy.race_window_seconds)
    is_many = len(books.unmapped) > policy.unmapped_alert_above
    return [
        _without_link(trade, books.at - trade.since, len(books.unmapped) if is_many else 0)
        for trade in books.unmapped
        if trade.state not in _NOT_KNOWN_YET and books.at - trade.since >= patience
    ]


def _without_link(trade: UnmappedTrade, age: timedelta, together: int) -> Finding:
    actions, suggestion = actions_for(Kind.UNMAPPED_TRADE)
    severity = severity_of(Kind.UNMAPPED_TRADE, age=age)
    if together and severity is not Severity.CRITICAL:
        severity = Severity.HIGH
    many = f" It is one of {together}." if together else ""
    return Finding(
        kind=Kind.UNMAPPED_TRADE,
        key=f"decision:{trade.decision_id}",
        severity=severity,
        cause=(
            f"Decision {trade.decision_id} is open in {trade.instrument}, and its order {trade.client_id} here is "
            f"{trade.state} without an order at the broker: the trade is not mirrored.{many}"
        ),
        relies_on=Confidence.HISTORY,
        instrument=trade.instrument,
        evidence={"decision": trade.decision_id, "order": trade.order_id, "state": trade.state, "since": trade.since},
        actions=actions,
        suggestion=suggestion,
        matter=trade.state,
    )
