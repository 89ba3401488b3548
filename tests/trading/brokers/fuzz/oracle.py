"""What may come out of an adapter when a bad answer went in, judged without any of the adapter's own code.

What always holds: a number of a result is a number of an answer, exactly, or one that its subject names as derived;
nothing non-finite, no float, no time without zone, no text that PostgreSQL cannot keep is anywhere in a result.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Context, Decimal
from enum import Enum
from typing import Any

from trading.domain.broker import (
    Absent,
    Accepted,
    BrokerCandle,
    BrokerEvent,
    BrokerOrder,
    BrokerPosition,
    BrokerPrice,
    BrokerUnreachable,
    CashData,
    FillData,
    Found,
    LookupFailed,
    OrderNews,
    Refused,
    Unknown,
)
from trading.domain.canonical import canonical_json

# A context of its own, so that nothing of the product decides what a number is.
_WIDE = Context(prec=20_000, traps=[])
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff\x00]")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f]")
_CURRENCY = re.compile("[A-Z]{3}", re.ASCII)
_BIGINT = 2**63
LONGEST_MESSAGE = 3000
# Times that any of our tables and sequences can keep; brokers did not exist before.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2067, 1, 1, tzinfo=UTC)
_LENGTHS = {
    ("BrokerEvent", "external_id"): 80,
    ("FillData", "external_id"): 80,
    ("FillData", "broker_order_id"): 64,
    ("CashData", "external_id"): 80,
    ("OrderNews", "broker_order_id"): 64,
    ("OrderNews", "replaced_by"): 64,
    ("Accepted", "broker_order_id"): 64,
    ("BrokerOrder", "broker_order_id"): 64,
}
# The statuses that a refusal of a write may have; an answer of another one proves nothing about an order.
_REFUSING = frozenset({400, 401, 403, 404, 422, 429})


class Wrong(AssertionError):
    """A result that must not be. The text says what is wrong with it."""


def judge_failure(error: BaseException, *, writes: bool) -> None:
    """Writes raise nothing; reads raise what the port names, in one bounded line without control characters."""
    if writes or not isinstance(error, BrokerUnreachable):
        raise Wrong(f"raised {type(error).__name__}: {str(error)[:300]}") from error
    said = str(error)
    if len(said) > LONGEST_MESSAGE:
        raise Wrong(f"the error's text has {len(said)} characters: {said[:200]}")
    if _CONTROL.search(said):
        raise Wrong(f"the error's text has a control character: {said[:300]!r}")
    said.encode()


def judge_result(result: Any, bodies: Iterable[bytes], derived: frozenset[tuple[str, str]], *, writes: bool) -> None:
    """Everything in a result is exact, finite and storable; a write's outcome fits what was answered."""
    known = numbers_in(bodies)
    _walk(result, known, derived, ("", ""))
    if writes:
        if not isinstance(result, Accepted | Refused | Unknown):
            raise Wrong(f"a write came to {type(result).__name__}")
        sent = [each for each in result.evidence if each.method not in ("GET", "HEAD")]
        if isinstance(result, Refused) and sent and sent[-1].status is not None and sent[-1].status not in _REFUSING:
            raise Wrong(f"refused on status {sent[-1].status}")
        if isinstance(result, Accepted) and all(each.error for each in result.evidence):
            raise Wrong("accepted without an answer")
    elif isinstance(result, Absent) and any(each.error for each in result.evidence):
        raise Wrong("absent, though an answer was lost")


def numbers_in(bodies: Iterable[bytes]) -> set[Decimal]:
    """Every number, absolute, that is written anywhere in the bodies: as text or as a JSON number."""
    found: set[Decimal] = set()
    for body in bodies:
        try:
            document = json.loads(
                body.decode("utf-8-sig"), parse_float=_exact, parse_int=_exact, parse_constant=lambda name: None
            )
        except (ValueError, RecursionError):
            if b"," in body[: 1 << 20]:  # a table
                cells = body[: 1 << 20].decode("utf-8", "replace").replace("\n", ",").replace("\r", ",").split(",")
                found |= {_exact(cell.strip('"')) for cell in cells if _NUMBER.fullmatch(cell.strip('"'))}
            continue
        waiting = [document]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                waiting.extend(value.values())
            elif isinstance(value, list):
                waiting.extend(value)
            elif isinstance(value, Decimal):
                found.add(value)
            elif isinstance(value, str) and len(value) < 200 and _NUMBER.fullmatch(value):
                found.add(_exact(value))
    return found


def _exact(text: str) -> Decimal:
    value = _WIDE.create_decimal(text).copy_abs()
    return value if value.is_finite() else Decimal(0)


def _walk(value: Any, known: set[Decimal], derived: frozenset[tuple[str, str]], place: tuple[str, str]) -> None:
    if value is None or isinstance(value, bool | int):
        return
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise Wrong(f"{place}: a text that PostgreSQL cannot keep: {value[:80]!r}")
        if len(value) > _LENGTHS.get(place, 9 << 20):
            raise Wrong(f"{place}: a text of {len(value)} characters, of which the column keeps {_LENGTHS[place]}")
    elif isinstance(value, Decimal):
        if not value.is_finite():
            raise Wrong(f"{place}: {value}")
        if value.copy_abs() not in known and value != 0 and place not in derived:
            raise Wrong(f"{place}: {value} is no number of the answer")
    elif isinstance(value, float):
        raise Wrong(f"{place}: a float {value}")
    elif isinstance(value, datetime):
        if value.utcoffset() is None or value.utcoffset() != UTC.utcoffset(None):
            raise Wrong(f"{place}: {value} is not in UTC")
        if not EARLIEST <= value < LATEST:
            raise Wrong(f"{place}: {value} is no time of a broker")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        for each in dataclasses.fields(value):
            inner = getattr(value, each.name)
            if each.name == "raw":
                _storable(inner, name)
            else:
                _walk(inner, known, derived, (name, each.name))
        _fits(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _walk(key, known, derived, place)
            _walk(inner, known, derived, place)
    elif isinstance(value, list | tuple):
        for inner in value:
            _walk(inner, known, derived, place)
    elif not isinstance(value, Enum) and not hasattr(value, "isoformat"):
        raise Wrong(f"{place}: a {type(value).__name__}")


def _storable(raw: Any, name: str) -> None:
    try:
        text = canonical_json(raw)
        json.dumps(raw, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Wrong(f"the raw body of a {name} cannot be stored: {type(error).__name__} {error}") from error
    if _SURROGATE.search(text) or "\\u0000" in text:
        raise Wrong(f"the raw body of a {name} has text that PostgreSQL cannot keep")


def _fits(value: Any) -> None:
    """What the port promises of its values."""
    if isinstance(value, BrokerEvent) and not -_BIGINT <= value.sequence < _BIGINT:
        raise Wrong(f"sequence {value.sequence} fits no column")
    if isinstance(value, FillData | BrokerPosition):
        price = value.price if isinstance(value, FillData) else value.average_price
        # What shares cost that came from elsewhere is not known; then they have a price of the market.
        unknown = isinstance(value, BrokerPosition) and price == 0 and (value.market_price or 0) > 0
        if value.quantity <= 0 or (price <= 0 and not unknown):
            raise Wrong(f"a {type(value).__name__} of {value.quantity} at {price}")
    if isinstance(value, BrokerOrder) and (
        (value.quantity is not None and value.quantity <= 0)
        or value.filled < 0
        or (value.price is not None and value.price <= 0)
    ):
        raise Wrong(f"an order of {value.quantity}, filled {value.filled}, at {value.price}")
    if isinstance(value, OrderNews) and value.filled is not None and value.filled < 0:
        raise Wrong(f"an order filled by {value.filled}")
    if isinstance(value, BrokerPrice) and not 0 < value.bid <= value.ask:
        raise Wrong(f"a price of {value.bid} to {value.ask}")
    if isinstance(value, BrokerCandle) and not (0 < value.low <= value.high and value.volume >= 0):
        raise Wrong(f"a candle from {value.low} to {value.high}, volume {value.volume}")
    if isinstance(value, CashData) and not _CURRENCY.fullmatch(value.currency):
        raise Wrong(f"cash in {value.currency[:40]!r}")
    if isinstance(value, Found | LookupFailed | Accepted | Refused | Unknown):
        for each in value.evidence:
            if len(each.response_body) > 9 << 20:
                raise Wrong("evidence beyond the cap")
