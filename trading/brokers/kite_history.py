"""Reading what happened on a Kite account: the orders and trades of today, which is all that Kite ever lists.

What always holds: a cursor names the day that was read and a fingerprint of what it showed, so the same state gives the
same cursor; the day is read whole each time, since the inbox knows what it has. What happened on an earlier day after
it was last read is not listed any more: positions and cash show it, and reconciliation raises it. Trades are read
before orders are read again: an order that says more than its trades is waited for.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading.brokers.errors import BadData
from trading.brokers.fields import Row, child, flag
from trading.brokers.kite_client import KiteClient
from trading.brokers.kite_events import Today, cash_moved, day_in, events_of
from trading.brokers.kite_parse import day_of, number, optional_number
from trading.domain.broker import BrokerUnreachable, BrokerWentBack, Completeness, EventPage
from trading.domain.money import plain

logger = logging.getLogger(__name__)
DOUBTFUL = "?"
"""Ends the cursor of a reading in doubt: a right one may leave the same fingerprint, and must be taken all the same."""


@dataclass(frozen=True, slots=True)
class Cash:
    """The account's money. `opening` is what it had before today's trades; None when Kite's figures do not agree.

    `doubt` says why `now` is not certain, `doubt_of_opening` why there is no `opening`.
    """

    now: Decimal
    opening: Decimal | None
    doubt: str = ""
    doubt_of_opening: str = ""


def read_today(client: KiteClient, at: datetime) -> Today:
    """Today's orders and trades. Raises `BrokerUnreachable` and its kinds."""
    orders = client.read_list(lambda kite: kite.orders(), "today's orders")
    trades = client.read_list(lambda kite: kite.trades(), "today's trades")
    try:
        return Today(day_of(at), _once(orders, "order_id"), _once(trades, "trade_id"))
    except BadData as error:
        raise BrokerUnreachable(client.sentence("today's orders and trades", str(error))) from error


def _once(listed: Sequence[Row], key: str) -> list[Row]:
    """The rows, each once. Raises `BadData` for two of the same id that differ."""
    found: dict[str, Row] = {}
    for row in listed:
        known = found.setdefault(f"{row.get('exchange')!r} {row.get(key)!r}", row)
        if known != row:
            raise BadData(f"{key} {row.get(key)!r:.40} is listed twice with different content")
    return list(found.values())


def read(client: KiteClient, cursor: str, *, at: datetime) -> EventPage:
    """Everything that today shows and the cursor has not seen ("": an account that is read for the first time).

    Raises `BrokerUnreachable` and its kinds; `BrokerWentBack` when the cursor is of a later day than Kite's.
    """
    known = day_in(cursor)
    if known is not None and known > day_of(at):
        raise BrokerWentBack(
            f"Kite's day is {day_of(at)} for account {client.account_id}, but its history was read up to {known} "
            "before: it shows an older state of the account. Do not trade on it until a person has asked Kite."
        )
    today = read_today(client, at)
    opening = None
    try:
        if not cursor:
            cash = cash_of(client.read_object(lambda kite: kite.margins(), "the balances"), today)
            if cash.opening is None:
                raise BadData(f"what the day began with is not certain: {cash.doubt_of_opening}")
            opening = cash.opening
        found = events_of(today, opening=opening, before=known if known is not None and known < today.day else None)
        reached = today.cursor + (DOUBTFUL if found.doubts else "")
        if opening is not None and found.doubts:
            raise BadData(f"what the day began with is not certain: {'; '.join(found.doubts)[:300]}")
    except BadData as error:
        raise BrokerUnreachable(client.sentence("the history", str(error))) from error
    if known is not None and known < today.day:
        logger.info("Kite's day has rolled from %s to %s for account %s", known, today.day, client.account_id)
    completeness = Completeness.PARTIAL if found.doubts else Completeness.COMPLETE
    # What was seen already need not be told again: the inbox would only find that it has it all.
    events = () if reached == cursor else found.events
    return EventPage(events, completeness, reached, "; ".join(found.doubts)[:500])


def cash_of(margins: Row, today: Today) -> Cash:
    """Trade-date cash: it has moved for every execution, whether that has settled or not. Raises `BadData`.

    Kite writes the balance with which the day began and what was paid in since, and leaves today's trades to its other
    figures, which are reservations; then the trades are counted here. A balance that has moved has them in it, and less
    them it must be what Kite says that the day began with: from figures that do not fit, no books are begun.
    """
    equity = child(margins, "equity")
    available = child(equity, "available")
    if equity.get("enabled") is not None and not flag(equity, "enabled"):
        raise BadData("the equity segment is not enabled")
    cash = number(available, "cash")
    start = optional_number(available, "opening_balance")
    paid_in = optional_number(available, "intraday_payin") or Decimal(0)
    moved, only_shares = cash_moved(today.trades)
    doubt = "" if only_shares else "there are trades of derivatives today, whose cash Kite books later"
    if start is None:
        return Cash(cash, None, doubt, "Kite does not say what it was")
    if cash in (start, start + paid_in):
        return Cash(cash + moved, cash, doubt)
    before = cash - moved
    if doubt or before not in (start, start + paid_in):
        misfit = (
            f"the balance is {plain(cash)} and today's trades moved {plain(moved)}, so that it was {plain(before)}, "
            f"but Kite says {plain(start)}, and {plain(paid_in)} paid in since"
        )
        return Cash(cash, None, doubt, doubt or f"{misfit}. Compare the day's trades and payments with Kite")
    return Cash(cash, before, doubt)
