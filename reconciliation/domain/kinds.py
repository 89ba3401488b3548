"""The kinds of difference, which of them are one and the same case over time, and what may be done about them.

What always holds here: a kind belongs to exactly one family, and a case is named by account, family and key, so that
a difference that changes its shape (somebody else's position that grows into a quantity mismatch) stays one case.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What a difference is."""

    EXTERNAL_POSITION = "EXTERNAL_POSITION"
    PHANTOM_POSITION = "PHANTOM_POSITION"
    SIDE_MISMATCH = "SIDE_MISMATCH"
    QUANTITY_MISMATCH = "QUANTITY_MISMATCH"
    CORPORATE_ACTION = "CORPORATE_ACTION"
    OVERSIZE = "OVERSIZE"
    COST_BASIS = "COST_BASIS"
    FEE_PNL_DRIFT = "FEE_PNL_DRIFT"
    MISSING_FILL = "MISSING_FILL"
    EXTRA_FILL = "EXTRA_FILL"
    FILL_MISMATCH = "FILL_MISMATCH"
    OVERFILL = "OVERFILL"
    OVER_CLOSED_TRADE = "OVER_CLOSED_TRADE"
    ORDER_UNCONFIRMED = "ORDER_UNCONFIRMED"
    LATE_ACK = "LATE_ACK"
    EXTERNAL_ORDER = "EXTERNAL_ORDER"
    STATUS_DRIFT = "STATUS_DRIFT"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    STALE_ORDER = "STALE_ORDER"
    UNPROTECTED_POSITION = "UNPROTECTED_POSITION"
    PARTIAL_PROTECTION = "PARTIAL_PROTECTION"
    OCO_ORPHAN = "OCO_ORPHAN"
    CASH_UNEXPLAINED = "CASH_UNEXPLAINED"
    FINANCING_NOT_BOOKED = "FINANCING_NOT_BOOKED"
    DIVIDEND_NOT_BOOKED = "DIVIDEND_NOT_BOOKED"
    FEE_NOT_BOOKED = "FEE_NOT_BOOKED"
    TRANSFER_NOT_BOOKED = "TRANSFER_NOT_BOOKED"
    TAX_NOT_BOOKED = "TAX_NOT_BOOKED"
    CONVERSION_NOT_BOOKED = "CONVERSION_NOT_BOOKED"
    OPENING_BALANCE = "OPENING_BALANCE"
    UNMAPPED_TRADE = "UNMAPPED_TRADE"
    UNMAPPED_INSTRUMENT = "UNMAPPED_INSTRUMENT"
    ACCOUNT_BLOCKED = "ACCOUNT_BLOCKED"
    BAD_DATA = "BAD_DATA"
    FETCH_FAILED = "FETCH_FAILED"
    STATEMENT_GAP = "STATEMENT_GAP"


class Severity(StrEnum):
    """How much money may be at stake while the difference stands."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class Action(StrEnum):
    """What two people may decide to do about a difference."""

    BOOK_FILLS = "book_fills"
    BOOK_CASH = "book_cash"
    ADOPT_POSITION = "adopt_position"
    CLOSE_AT_ESTIMATE = "close_at_estimate"
    FLATTEN = "flatten"
    ADJUST = "adjust"
    RESIZE_STOP = "resize_stop"
    ACCEPT = "accept"


class Confidence(StrEnum):
    """Which part of the broker's answer a finding rests on; protection rests on orders and positions together.

    FLAGS is what the broker says it has blocked: known when it names something, or when its account could be read.

    What rests on EVERYTHING is known only from an answer that is complete in every part; ANSWER is what came of asking
    at all, known after every run, also of one that nobody answered.
    """

    POSITIONS = "positions"
    CASH = "cash"
    ORDERS = "orders"
    FLAGS = "flags"
    PROTECTION = "protection"
    HISTORY = "history"
    EVERYTHING = "everything"
    ANSWER = "answer"


POSITION_KINDS = frozenset(
    {
        Kind.EXTERNAL_POSITION,
        Kind.PHANTOM_POSITION,
        Kind.SIDE_MISMATCH,
        Kind.QUANTITY_MISMATCH,
        Kind.OVERSIZE,
    }
)
UNGUARDED = frozenset({Kind.UNPROTECTED_POSITION, Kind.PARTIAL_PROTECTION, Kind.OCO_ORPHAN})
CASH_NOT_BOOKED = frozenset(
    {
        Kind.FINANCING_NOT_BOOKED,
        Kind.DIVIDEND_NOT_BOOKED,
        Kind.FEE_NOT_BOOKED,
        Kind.TRANSFER_NOT_BOOKED,
        Kind.TAX_NOT_BOOKED,
        Kind.CONVERSION_NOT_BOOKED,
    }
)

_FAMILIES: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.EXTERNAL_POSITION: "POSITION",
        Kind.PHANTOM_POSITION: "POSITION",
        Kind.SIDE_MISMATCH: "POSITION",
        Kind.QUANTITY_MISMATCH: "POSITION",
        Kind.OVERSIZE: "POSITION",
        Kind.MISSING_FILL: "POSITION",
        Kind.EXTRA_FILL: "POSITION",
        Kind.CORPORATE_ACTION: "POSITION",
        Kind.COST_BASIS: "COST_BASIS",
        Kind.FEE_PNL_DRIFT: "FEE_PNL_DRIFT",
        Kind.FILL_MISMATCH: "EVENT_BODY",
        Kind.OVERFILL: "OVERFILL",
        Kind.OVER_CLOSED_TRADE: "OVER_CLOSED_TRADE",
        Kind.ORDER_UNCONFIRMED: "ORDER",
        Kind.STATUS_DRIFT: "ORDER",
        Kind.EXTERNAL_ORDER: "EXTERNAL_ORDER",
        Kind.DUPLICATE_ORDER: "DUPLICATE_ORDER",
        Kind.LATE_ACK: "LATE_ACK",
        Kind.STALE_ORDER: "STALE_ORDER",
        Kind.UNPROTECTED_POSITION: "PROTECTION",
        Kind.PARTIAL_PROTECTION: "PROTECTION",
        Kind.OCO_ORPHAN: "OCO_ORPHAN",
        Kind.CASH_UNEXPLAINED: "CASH",
        Kind.FINANCING_NOT_BOOKED: "CASH_EVENT",
        Kind.DIVIDEND_NOT_BOOKED: "CASH_EVENT",
        Kind.FEE_NOT_BOOKED: "CASH_EVENT",
        Kind.TRANSFER_NOT_BOOKED: "CASH_EVENT",
        Kind.TAX_NOT_BOOKED: "CASH_EVENT",
        Kind.CONVERSION_NOT_BOOKED: "CASH_EVENT",
        Kind.OPENING_BALANCE: "OPENING_BALANCE",
        Kind.UNMAPPED_TRADE: "UNMAPPED_TRADE",
        Kind.UNMAPPED_INSTRUMENT: "UNMAPPED_INSTRUMENT",
        Kind.ACCOUNT_BLOCKED: "ACCOUNT_BLOCKED",
        Kind.BAD_DATA: "BAD_DATA",
        Kind.FETCH_FAILED: "FETCH_FAILED",
        Kind.STATEMENT_GAP: "STATEMENT_GAP",
    }
)


def family(kind: Kind) -> str:
    """The family of a kind: the part of a case's identity that does not change with its shape."""
    return _FAMILIES[kind]
