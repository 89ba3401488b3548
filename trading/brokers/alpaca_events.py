"""Alpaca's activities and orders as the port's events: it has no log of what happened, so one is made from both.

What always holds: pure, no I/O. The same rows give the same events again: an execution or movement of cash has the id
of its activity, an order has one event for its beginning and one for its end, and a body holds only what never changes.
Sequences rise with the broker's time; at one moment orders begin, then they fill and cash moves, then they end. The end
of an order waits until every execution that its filled quantity speaks of is there to be read.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from trading.brokers.alpaca_parse import (
    ENDED_AT,
    LegOf,
    filled,
    has_ended,
    number,
    optional_number,
    optional_positive,
    positive,
    side_of,
    status_of,
    submitted_at,
)
from trading.brokers.drafts import ACTIVITY, BEGIN, END, Draft
from trading.brokers.errors import BadData
from trading.brokers.fields import Row, currency, identity, moment, optional_identity, optional_text, plausible, text
from trading.brokers.transport import storable
from trading.domain.broker import (
    BrokerOrderStatus,
    CashData,
    CorporateAction,
    EventKind,
    FillData,
    OrderNews,
    Side,
)

logger = logging.getLogger(__name__)

_NEW_YORK = ZoneInfo("America/New_York")
_ZERO = Decimal(0)
# From this trade date on US shares settle one business day after the trade, before it two.
ONE_DAY_SETTLEMENT = date(2024, 5, 28)
_CASH = {
    "CSD": EventKind.TRANSFER,
    "CSW": EventKind.TRANSFER,
    "TRANS": EventKind.TRANSFER,
    "JNLC": EventKind.TRANSFER,
    "ACATC": EventKind.TRANSFER,
    "CGD": EventKind.DIVIDEND,
    "DIV": EventKind.DIVIDEND,
    "DIVCGL": EventKind.DIVIDEND,
    "DIVCGS": EventKind.DIVIDEND,
    "DIVROC": EventKind.DIVIDEND,
    "DIVTXEX": EventKind.DIVIDEND,
    "FEE": EventKind.FEE,
    "DIVFEE": EventKind.FEE,
    "PTC": EventKind.FEE,
    "PTR": EventKind.FEE,
    "INT": EventKind.FINANCING,
    "DIVFT": EventKind.TAX,
    "DIVNRA": EventKind.TAX,
    "DIVTW": EventKind.TAX,
    "INTNRA": EventKind.TAX,
    "INTTW": EventKind.TAX,
    "WH": EventKind.TAX,
}
# What happens to shares without a trade: its units are no execution, and what it makes of ours people decide.
_CORPORATE = {
    "ACATS": "transfer of securities",
    "JNLS": "transfer of securities",
    "MA": "merger",
    "NC": "change of name",
    "REORG": "reorganisation",
    "SC": "change of symbol",
    "SPIN": "spin-off",
    "SPLIT": "split",
    "SSO": "spin-off",
    "SSP": "split",
}
_STOCK_DIVIDEND = "stock dividend"
# An execution that still counts: as it was first, or with what it was corrected to. A busted one is canceled.
_FILLED = frozenset({"", "executed", "correct"})
_ENDS = {
    BrokerOrderStatus.FILLED: EventKind.ORDER_FILLED,
    BrokerOrderStatus.REJECTED: EventKind.ORDER_REJECTED,
}
# What Alpaca may write anew into an execution's row later.
_CHANGING = frozenset({"order_status"})


def activity(row: Row, client_ids: Mapping[str, str], home_currency: str) -> Draft:
    """One row of the account's activities; what is not known or not readable becomes OTHER, with its body kept.

    What is not readable is kept under an id of its own: the row itself, once it can be read, is then news, and not
    another word for something that people would have to decide on. `client_ids` gives the client id of each order by
    its own id. Raises `BadData` for a row that cannot be placed.
    """
    raw = storable({key: value for key, value in row.items() if key not in _CHANGING})
    at, external_id = activity_at(row), identity(row, "id")
    try:
        return _typed(row, at, external_id, raw, client_ids, home_currency)
    except BadData as error:
        # Nothing of it is booked, and the rest of the list is; the difference that it makes is found by comparing.
        logger.warning("Alpaca's activity %s is kept, but cannot be booked. BAD_DATA: %s", external_id, error)
        return Draft(at, ACTIVITY, _unreadable(raw), EventKind.OTHER, raw)


def _unreadable(raw: Mapping[str, Any]) -> str:
    """The same for the same body, whatever is wrong with it."""
    return f"unreadable:{hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:32]}"


def _typed(
    row: Row, at: datetime, external_id: str, raw: dict[str, Any], client_ids: Mapping[str, str], home_currency: str
) -> Draft:
    kind, status = text(row, "activity_type"), optional_text(row, "status")
    if kind == "FILL":
        if status not in _FILLED or optional_text(row, "type") not in ("fill", "partial_fill"):
            return Draft(at, ACTIVITY, external_id, EventKind.OTHER, raw)
        return Draft(at, ACTIVITY, external_id, EventKind.ORDER_FILLED, raw, fills=(_fill(row, at, client_ids),))
    cash_kind = _CASH.get(kind)
    amount = optional_number(row, "net_amount")
    if cash_kind is None or status not in ("", "executed") or not amount:
        corporate = _corporate(row, kind) if status in ("", "executed") else None
        event_kind = EventKind.OTHER if corporate is None else EventKind.CORPORATE_ACTION
        return Draft(at, ACTIVITY, external_id, event_kind, raw, corporate=corporate)
    moved = CashData(
        external_id=external_id,
        kind=cash_kind,
        currency=currency(row, "currency") if optional_text(row, "currency") else home_currency,
        amount=amount,
        instrument=optional_text(row, "symbol"),
    )
    return Draft(at, ACTIVITY, external_id, cash_kind, raw, cash=(moved,))


def _corporate(row: Row, kind: str) -> CorporateAction | None:
    """A dividend of shares and no cash is one, too."""
    units, symbol = optional_number(row, "qty"), optional_text(row, "symbol")
    word = _CORPORATE.get(kind) or (_STOCK_DIVIDEND if kind == "DIV" and units else "")
    return CorporateAction(word, symbol, units) if word and symbol else None


def activity_at(row: Row) -> datetime:
    """When an activity happened: an execution's own time, else when Alpaca wrote it down, else its date."""
    for key in ("transaction_time", "created_at"):
        if row.get(key) is not None:
            return moment(row, key)
    stamp = text(row, "id").partition("::")[0]
    if stamp.isascii() and stamp.isdigit() and len(stamp) == 17 and stamp[8:] != "0" * 9:
        try:
            written = datetime.strptime(stamp[:14], "%Y%m%d%H%M%S").replace(tzinfo=_NEW_YORK)
            at = (written + timedelta(milliseconds=int(stamp[14:]))).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise BadData(f"id does not begin with a time: {stamp}") from error
        return plausible(at, "id")
    day = text(row, "date")
    try:
        return plausible(datetime.combine(date.fromisoformat(day[:10]), time(), UTC), "date")
    except ValueError as error:
        raise BadData(f"date is not a date: {day!r:.40}") from error


def order_begins(row: Row, leg_of: LegOf | None) -> Draft:
    """The beginning of an order. Its body leaves out what may change while it rests, as its quantity."""
    at = moment(row, "created_at") if row.get("created_at") is not None else submitted_at(row)
    news = OrderNews(
        broker_order_id=identity(row, "id"),
        client_id=optional_text(row, "client_order_id"),
        status=BrokerOrderStatus.WORKING,
        reason="leg" if leg_of else "",
        parent_client_id=leg_of.parent_client_id if leg_of else "",
        leg=leg_of.role if leg_of else None,
        replaces=optional_identity(row, "replaces"),
        side=None if leg_of else _side_told(row),
        quantity=None if leg_of else _quantity_told(row),
    )
    raw = {
        "event": "created",
        "id": news.broker_order_id,
        "client_order_id": news.client_id,
        "symbol": optional_text(row, "symbol"),
        "side": optional_text(row, "side"),
        "type": optional_text(row, "type"),
        "created_at": at.isoformat(),
    }
    return Draft(at, BEGIN, f"{news.broker_order_id}:created", EventKind.ORDER_CREATED, raw, orders=(news,))


def _side_told(row: Row) -> Side | None:
    """The side of an order; None for a word that is not known, which stops neither this order nor its list."""
    try:
        return side_of(row)
    except BadData:
        return None


def _quantity_told(row: Row) -> Decimal | None:
    """The quantity of an order; None where there is no readable one, as for an order of an amount of money."""
    try:
        return optional_positive(row, "qty")
    except BadData:
        return None


def order_ends(row: Row, leg_of: LegOf | None) -> Draft:
    """The end of an order that has ended. Raises `BadData` when it does not say when."""
    word, status = text(row, "status"), status_of(row)
    at = ended_at(row)
    replaced_by = optional_identity(row, "replaced_by")
    news = OrderNews(
        broker_order_id=identity(row, "id"),
        client_id=optional_text(row, "client_order_id"),
        status=status,
        reason=f"replaced by {replaced_by}" if word == "replaced" else word,
        parent_client_id=leg_of.parent_client_id if leg_of else "",
        leg=leg_of.role if leg_of else None,
        replaces=optional_identity(row, "replaces"),
        replaced_by=replaced_by if word == "replaced" else "",
        filled=filled(row) if row.get("filled_qty") is not None else None,
    )
    raw = {
        "event": word,
        "id": news.broker_order_id,
        "client_order_id": news.client_id,
        "symbol": optional_text(row, "symbol"),
        "ended_at": at.isoformat(),
        **({"replaced_by": replaced_by} if replaced_by else {}),
    }
    kind = _ENDS.get(status, EventKind.ORDER_CANCELLED)
    return Draft(at, END, f"{news.broker_order_id}:{word}", kind, raw, orders=(news,))


def ended_at(row: Row) -> datetime:
    """When an order that has ended did so."""
    key = ENDED_AT[text(row, "status")]
    return moment(row, key if row.get(key) is not None else "updated_at")


@dataclass(frozen=True, slots=True)
class Executed:
    """What the listed executions of an order come to: their sum, and the most that one says was filled by then."""

    total: Decimal = _ZERO
    reached: Decimal = _ZERO


def executions(activities: Iterable[Row]) -> dict[str, Executed]:
    """What the listed executions of each order come to."""
    found: dict[str, Executed] = {}
    for row in activities:
        if row.get("activity_type") == "FILL":
            known = found.get(text(row, "order_id"), Executed())
            try:
                reached = max(known.reached, optional_number(row, "cum_qty") or _ZERO)
                found[text(row, "order_id")] = Executed(known.total + number(row, "qty"), reached)
            except BadData:
                continue  # kept as it is and not booked, so the execution that it should be is still missing
    return found


def lacks_executions(row: Row, executed: Mapping[str, Executed], *, since: datetime | None) -> bool:
    """Whether more of an order filled than the executions listed since a moment account for, so that some are missing.

    Of an order that is older than that, executions from before it are not listed. Then only its last one is missed,
    and only where the order says that it came since; of another old order nothing is known.
    """
    done, known = filled(row), executed.get(text(row, "id"), Executed())
    if since is None or submitted_at(row) >= since:
        return done > known.total
    return text(row, "status") == "filled" and ended_at(row) >= since and done > max(known.total, known.reached)


def changed_at(row: Row) -> datetime:
    """When an order ended, or changed last while it rests."""
    if has_ended(row):
        return ended_at(row)
    return moment(row, "updated_at") if row.get("updated_at") is not None else submitted_at(row)


def settles_on(at: datetime) -> date:
    """The value date of an execution's payment: one business day after the trade in New York (two before May 2024).

    Saturdays and Sundays are passed over; holidays are not known here.
    """
    day = at.astimezone(_NEW_YORK).date()
    left = 1 if day >= ONE_DAY_SETTLEMENT else 2
    while left:
        day += timedelta(days=1)
        left -= day.weekday() < 5
    return day


def digest(activities: Iterable[Row], orders: Iterable[Row], *, since: datetime) -> str:
    """A short fingerprint of what happened after `since`, and of what is under way: any news changes it."""
    lines = [
        json.dumps(storable(dict(row)), sort_keys=True, default=str) for row in activities if activity_at(row) >= since
    ]
    lines += [
        f"{text(row, 'id')} {text(row, 'status')} {filled(row):f}"
        for row in orders
        if not has_ended(row) or submitted_at(row) >= since
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def _fill(row: Row, at: datetime, client_ids: Mapping[str, str]) -> FillData:
    order_id = identity(row, "order_id")
    return FillData(
        external_id=identity(row, "id"),
        broker_order_id=order_id,
        client_id=client_ids.get(order_id, ""),
        instrument=text(row, "symbol"),
        side=side_of(row),
        quantity=positive(row, "qty"),
        price=positive(row, "price"),
        realised=_ZERO,
        financing=_ZERO,
        commission=_ZERO,
        reason=optional_text(row, "type"),
        settles_on=settles_on(at),
    )
