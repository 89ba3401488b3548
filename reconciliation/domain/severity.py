"""How much is at stake in a difference, from its kind and its size.

What always holds here: every kind has a severity; size and age only ever raise it; what leaves money unguarded or may
double it (a naked position, a wrong side, two orders or two exits for one intent) is critical.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from reconciliation.domain.kinds import Kind, Severity

_BASE: Mapping[Kind, Severity] = MappingProxyType(
    {
        Kind.EXTERNAL_POSITION: Severity.HIGH,
        Kind.PHANTOM_POSITION: Severity.HIGH,
        Kind.SIDE_MISMATCH: Severity.CRITICAL,
        Kind.QUANTITY_MISMATCH: Severity.MEDIUM,
        Kind.CORPORATE_ACTION: Severity.MEDIUM,
        Kind.OVERSIZE: Severity.CRITICAL,
        Kind.COST_BASIS: Severity.LOW,
        Kind.FEE_PNL_DRIFT: Severity.LOW,
        Kind.MISSING_FILL: Severity.HIGH,
        Kind.EXTRA_FILL: Severity.HIGH,
        Kind.FILL_MISMATCH: Severity.HIGH,
        Kind.OVERFILL: Severity.CRITICAL,
        Kind.OVER_CLOSED_TRADE: Severity.CRITICAL,
        Kind.ORDER_UNCONFIRMED: Severity.HIGH,
        Kind.EXTERNAL_ORDER: Severity.MEDIUM,
        Kind.STATUS_DRIFT: Severity.MEDIUM,
        Kind.DUPLICATE_ORDER: Severity.CRITICAL,
        Kind.LATE_ACK: Severity.MEDIUM,
        Kind.STALE_ORDER: Severity.MEDIUM,
        Kind.UNPROTECTED_POSITION: Severity.CRITICAL,
        Kind.PARTIAL_PROTECTION: Severity.CRITICAL,
        Kind.OCO_ORPHAN: Severity.CRITICAL,
        Kind.CASH_UNEXPLAINED: Severity.HIGH,
        Kind.FINANCING_NOT_BOOKED: Severity.MEDIUM,
        Kind.DIVIDEND_NOT_BOOKED: Severity.MEDIUM,
        Kind.FEE_NOT_BOOKED: Severity.MEDIUM,
        Kind.TRANSFER_NOT_BOOKED: Severity.MEDIUM,
        Kind.TAX_NOT_BOOKED: Severity.MEDIUM,
        Kind.CONVERSION_NOT_BOOKED: Severity.MEDIUM,
        Kind.OPENING_BALANCE: Severity.HIGH,
        Kind.UNMAPPED_TRADE: Severity.MEDIUM,
        Kind.UNMAPPED_INSTRUMENT: Severity.HIGH,
        Kind.ACCOUNT_BLOCKED: Severity.HIGH,
        Kind.BAD_DATA: Severity.HIGH,
        Kind.FETCH_FAILED: Severity.MEDIUM,
        Kind.STATEMENT_GAP: Severity.MEDIUM,
    }
)
# A quantity mismatch from this share of the larger side on is high.
LARGE_SHARE = Decimal("0.1")
BLOCKING = frozenset({Severity.HIGH, Severity.CRITICAL})


# What nobody can decide on yet gets graver as it grows older.
BY_AGE = frozenset(
    {Kind.LATE_ACK, Kind.STALE_ORDER, Kind.UNMAPPED_TRADE, Kind.FETCH_FAILED, Kind.STATEMENT_GAP, Kind.STATUS_DRIFT}
)
OLD, VERY_OLD = timedelta(hours=1), timedelta(days=1)
# Within so long of its opening a case should be decided, on the account's clock.
SLA: Mapping[Severity, timedelta] = MappingProxyType(
    {
        Severity.CRITICAL: timedelta(minutes=15),
        Severity.HIGH: timedelta(hours=4),
        Severity.MEDIUM: timedelta(days=1),
        Severity.LOW: timedelta(days=5),
    }
)


def due_at(severity: Severity, opened_at: datetime) -> datetime:
    """When a case of that severity that was confirmed then should have been decided; both on the account's clock."""
    return opened_at + SLA[severity]


def severity_of(
    kind: Kind, *, books: Decimal | None = None, broker: Decimal | None = None, age: timedelta | None = None
) -> Severity:
    """The severity of a difference of that kind between these two quantities, standing for so long."""
    if kind in BY_AGE and age is not None and age >= OLD:
        return Severity.CRITICAL if age >= VERY_OLD else Severity.HIGH
    if kind is Kind.QUANTITY_MISMATCH and books is not None and broker is not None:
        larger = max(abs(books), abs(broker))
        if larger > 0 and abs(broker - books) >= LARGE_SHARE * larger:
            return Severity.HIGH
    return _BASE[kind]
