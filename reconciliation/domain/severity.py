"""How much is at stake in a difference, from its kind and its size.

What always holds here: every kind has a severity; size only ever raises it; what leaves money unguarded or may double
it (a naked position, a wrong side, two orders or two exits for one intent) is critical.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        Kind.COST_BASIS: Severity.LOW,
        Kind.MISSING_FILL: Severity.HIGH,
        Kind.EXTRA_FILL: Severity.HIGH,
        Kind.FILL_MISMATCH: Severity.HIGH,
        Kind.OVERFILL: Severity.CRITICAL,
        Kind.OVER_CLOSED_TRADE: Severity.CRITICAL,
        Kind.ORDER_UNCONFIRMED: Severity.HIGH,
        Kind.EXTERNAL_ORDER: Severity.MEDIUM,
        Kind.STATUS_DRIFT: Severity.MEDIUM,
        Kind.DUPLICATE_ORDER: Severity.CRITICAL,
        Kind.UNPROTECTED_POSITION: Severity.CRITICAL,
        Kind.CASH_UNEXPLAINED: Severity.HIGH,
        Kind.FINANCING_NOT_BOOKED: Severity.MEDIUM,
        Kind.DIVIDEND_NOT_BOOKED: Severity.MEDIUM,
        Kind.FEE_NOT_BOOKED: Severity.MEDIUM,
        Kind.TRANSFER_NOT_BOOKED: Severity.MEDIUM,
        Kind.TAX_NOT_BOOKED: Severity.MEDIUM,
        Kind.CONVERSION_NOT_BOOKED: Severity.MEDIUM,
        Kind.UNMAPPED_INSTRUMENT: Severity.HIGH,
        Kind.BAD_DATA: Severity.HIGH,
    }
)
# A quantity mismatch from this share of the larger side on is high.
LARGE_SHARE = Decimal("0.1")
BLOCKING = frozenset({Severity.HIGH, Severity.CRITICAL})


def severity_of(kind: Kind, *, books: Decimal | None = None, broker: Decimal | None = None) -> Severity:
    """The severity of a difference of that kind between these two quantities."""
    if kind is Kind.QUANTITY_MISMATCH and books is not None and broker is not None:
        larger = max(abs(books), abs(broker))
        if larger > 0 and abs(broker - books) >= LARGE_SHARE * larger:
            return Severity.HIGH
    return _BASE[kind]
