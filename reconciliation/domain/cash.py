"""Cash per currency: what typed events explain, and what nothing explains.

What always holds here: trade-date cash is compared, so a payment on its way is no difference; a stored event of cash
that is not booked is a finding of its own; what fills not yet booked moved belongs to their cases, and what the broker
took back or corrected to the case of that event; only what is then left is CASH_UNEXPLAINED, one case per currency.
"""

from __future__ import annotations

from decimal import Decimal

from reconciliation.domain.actions import actions_for
from reconciliation.domain.bad_data import Inspection
from reconciliation.domain.causes import cash_cause, cash_event_cause
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksSnapshot, UnpostedEvent, cash_of, sides_of
from trading.domain.broker import BrokerSnapshot, CashData, EventKind
from trading.domain.money import ZERO, plain

_KIND = {
    EventKind.FINANCING: Kind.FINANCING_NOT_BOOKED,
    EventKind.DIVIDEND: Kind.DIVIDEND_NOT_BOOKED,
    EventKind.FEE: Kind.FEE_NOT_BOOKED,
    EventKind.TRANSFER: Kind.TRANSFER_NOT_BOOKED,
    EventKind.TAX: Kind.TAX_NOT_BOOKED,
    EventKind.CONVERSION: Kind.CONVERSION_NOT_BOOKED,
}


def compare_cash(
    broker: BrokerSnapshot, books: BooksSnapshot, policy: ReconciliationPolicy, seen: Inspection
) -> list[Finding]:
    """The findings about cash."""
    found = [_not_booked(event, cash) for event in books.unposted for cash in event.cash]
    moved: dict[str, Decimal] = {}
    for event in books.unposted:
        for fill in event.fills:
            rule = seen.by_broker_symbol.get(fill.instrument)
            moved[books.currency] = moved.get(books.currency, ZERO) + cash_of(fill, rule)
        for cash in event.cash:
            for currency, amount in sides_of(cash):
                moved[currency] = moved.get(currency, ZERO) + amount
    for change in books.changed:
        for currency, amount in change.cash(books.currency, seen.by_broker_symbol).items():
            moved[currency] = moved.get(currency, ZERO) + amount
    for currency in seen.comparable_currencies(broker, books):
        theirs, ours = broker.cash.get(currency, ZERO), books.cash.get(currency, ZERO)
        explained = moved.get(currency, ZERO)
        difference = theirs - ours - explained
        if abs(difference) > policy.cash_tolerance_of(currency):
            found.append(_unexplained(currency, ours, theirs, explained, difference))
    return found


def _not_booked(event: UnpostedEvent, cash: CashData) -> Finding:
    kind = _KIND.get(cash.kind, Kind.FEE_NOT_BOOKED)
    actions, suggestion = actions_for(kind, stored=event.event_id != 0)
    return Finding(
        kind=kind,
        key=f"cash:{cash.external_id}",
        severity=severity_of(kind),
        cause=cash_event_cause(cash, stored=event.event_id != 0),
        relies_on=Confidence.HISTORY,
        commodity=cash.currency,
        books_value=ZERO,
        broker_value=cash.amount,
        difference=cash.amount,
        explains={currency: amount for currency, amount in sides_of(cash) if amount != 0},
        event_ids=(event.event_id,),
        evidence={"id": cash.external_id, "kind": cash.kind, "instrument": cash.instrument},
        actions=actions,
        suggestion=suggestion,
    )


def _unexplained(currency: str, ours: Decimal, theirs: Decimal, explained: Decimal, difference: Decimal) -> Finding:
    actions, suggestion = actions_for(Kind.CASH_UNEXPLAINED)
    return Finding(
        kind=Kind.CASH_UNEXPLAINED,
        key=currency,
        severity=severity_of(Kind.CASH_UNEXPLAINED),
        cause=cash_cause(currency, books=ours, broker=theirs, explained=explained, difference=difference),
        relies_on=Confidence.CASH,
        commodity=currency,
        books_value=ours,
        broker_value=theirs,
        difference=difference,
        explains={currency: difference},
        evidence={"explained_by_events": plain(explained)},
        actions=actions,
        suggestion=suggestion,
    )
