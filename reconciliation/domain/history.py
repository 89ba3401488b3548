"""What our own records of the broker's history say against each other.

What always holds here: these findings need no answer of the broker beyond what is stored; an event shown with another
body is kept with both hashes and never overwritten.
"""

from __future__ import annotations

from reconciliation.domain.actions import actions_for
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksOrder, BooksSnapshot, ChangedBody
from trading.domain.money import plain


def compare_history(books: BooksSnapshot) -> list[Finding]:
    """Events whose body changed, and orders filled beyond what was ordered."""
    latest = {change.external_id: change for change in books.changed}
    return [
        *(_changed(latest[key]) for key in sorted(latest)),
        *(_overfilled(order) for order in books.orders if order.filled > order.quantity),
    ]


def _changed(change: ChangedBody) -> Finding:
    actions, suggestion = actions_for(Kind.FILL_MISMATCH)
    return Finding(
        kind=Kind.FILL_MISMATCH,
        key=f"event:{change.external_id}",
        severity=severity_of(Kind.FILL_MISMATCH),
        cause=(
            f"The broker showed its event {change.external_id} again with another body. The first one stands in our "
            "books; compare both before deciding which is right."
        ),
        relies_on=Confidence.HISTORY,
        evidence={"first_sha256": change.first_sha256, "later_sha256": change.later_sha256},
        actions=actions,
        suggestion=suggestion,
        matter=change.later_sha256,
    )


def _overfilled(order: BooksOrder) -> Finding:
    actions, suggestion = actions_for(Kind.OVERFILL)
    return Finding(
        kind=Kind.OVERFILL,
        key=f"order:{order.client_id}",
        severity=severity_of(Kind.OVERFILL),
        cause=(
            f"Our {order.tag} order {order.client_id} was for {plain(order.quantity)} {order.instrument} and the "
            f"broker filled {plain(order.filled)}."
        ),
        relies_on=Confidence.HISTORY,
        instrument=order.instrument,
        books_value=order.quantity,
        broker_value=order.filled,
        difference=order.filled - order.quantity,
        evidence={"order": order.order_id},
        actions=actions,
        suggestion=suggestion,
    )
