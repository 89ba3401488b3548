"""What our own records of the broker's history say against each other.

What always holds here: these findings need no answer of the broker beyond what is stored; an event shown with another
body is kept with both hashes and never overwritten, and what it moves otherwise is explained by its own case.
"""

from __future__ import annotations

from reconciliation.domain.actions import actions_for, actions_for_correction
from reconciliation.domain.bad_data import Inspection
from reconciliation.domain.causes import changed_cause, correction_cause
from reconciliation.domain.findings import Finding, told
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksOrder, BooksSnapshot, ChangedBody, OverClosed
from trading.domain.money import plain


def compare_history(books: BooksSnapshot, policy: ReconciliationPolicy, seen: Inspection) -> list[Finding]:
    """Events whose body changed, orders filled beyond what was ordered, and trades closed beyond what they opened."""
    latest = {change.external_id: change for change in books.changed}
    return [
        *(_changed(latest[key], books, policy, seen) for key in sorted(latest)),
        *(_overfilled(order) for order in books.orders if order.filled > order.quantity),
        *(_over_closed(trade) for trade in books.over_closed),
    ]


def _changed(change: ChangedBody, books: BooksSnapshot, policy: ReconciliationPolicy, seen: Inspection) -> Finding:
    actions, suggestion = actions_for_correction(
        fills=bool(change.undone), cash=bool(change.cash_undone), policy=policy
    )
    rules = {name: seen.by_broker_symbol.get(name) for name in dict.fromkeys(f.instrument for _, f in change.fills())}
    units = {rule.symbol: change.units(name) for name, rule in rules.items() if rule is not None}
    explains = {**units, **change.cash(books.currency, seen.by_broker_symbol)}
    symbol = next(iter(units), "")
    return Finding(
        kind=Kind.FILL_MISMATCH,
        key=f"event:{change.external_id}",
        severity=severity_of(Kind.FILL_MISMATCH),
        cause=correction_cause(change) if change.is_booked_otherwise else changed_cause(change),
        relies_on=Confidence.HISTORY,
        instrument=symbol,
        commodity=symbol or next(iter(explains), ""),
        difference=units[symbol] if symbol else next(iter(explains.values()), None),
        explains={commodity: amount for commodity, amount in explains.items() if amount != 0},
        event_ids=(change.event_id,) if change.event_id else (),
        evidence={
            "first_sha256": change.first_sha256,
            "later_sha256": change.later_sha256,
            **({"fills": [told(fill) for fill in change.undone]} if change.undone else {}),
            **({"instead": [told(fill) for fill in change.instead]} if change.instead else {}),
        },
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


def _over_closed(trade: OverClosed) -> Finding:
    actions, suggestion = actions_for(Kind.OVER_CLOSED_TRADE)
    return Finding(
        kind=Kind.OVER_CLOSED_TRADE,
        key=f"decision:{trade.decision_id}",
        severity=severity_of(Kind.OVER_CLOSED_TRADE),
        cause=(
            f"Decision {trade.decision_id} opened {trade.side} {plain(trade.opened)} {trade.instrument}, and its exits "
            f"closed {plain(trade.closed)}: the account holds {plain(trade.beyond)} the other way, which no strategy "
            "wants and no stop guards. Close that at the broker; this case ends once it is gone."
        ),
        relies_on=Confidence.HISTORY,
        instrument=trade.instrument,
        books_value=trade.opened,
        broker_value=trade.closed,
        difference=trade.closed - trade.opened,
        evidence={"decision": trade.decision_id, "beyond": plain(trade.beyond)},
        actions=actions,
        suggestion=suggestion,
        matter=plain(trade.beyond),
    )
