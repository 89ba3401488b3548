"""Events made from a broker's lists, put into one order: for brokers that have no log of what happened.

What always holds: pure. The same drafts give the same sequences, and these rise with the broker's time; at one moment
orders begin, then they fill and cash moves, then they end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from trading.domain.broker import BrokerEvent, CashData, CorporateAction, DayOver, EventKind, FillData, OrderNews

# Within one microsecond: beginnings, then executions and cash, then ends; a thousand of each.
BEGIN, ACTIVITY, END = 0, 1, 2
_PLACES = 1000


@dataclass(frozen=True, slots=True)
class Draft:
    """An event whose place among those of the same moment is not known yet."""

    at: datetime
    rank: int
    external_id: str
    kind: EventKind
    raw: dict[str, Any]
    fills: tuple[FillData, ...] = ()
    cash: tuple[CashData, ...] = ()
    orders: tuple[OrderNews, ...] = ()
    day_over: DayOver | None = None
    corporate: CorporateAction | None = None


def numbered(drafts: Iterable[Draft]) -> tuple[BrokerEvent, ...]:
    """The events in the broker's order. Drafts of one moment and kind must come in the order of the broker's lists."""

    def place(draft: Draft) -> tuple[int, int]:
        return _microseconds(draft.at), draft.rank

    found = []
    for (at, rank), group in groupby(sorted(drafts, key=place), key=place):
        for index, draft in enumerate(group):
            found.append(
                BrokerEvent(
                    external_id=draft.external_id,
                    sequence=(at * 3 + rank) * _PLACES + min(index, _PLACES - 1),
                    at=draft.at,
                    kind=draft.kind,
                    raw=draft.raw,
                    fills=draft.fills,
                    cash=draft.cash,
                    orders=draft.orders,
                    day_over=draft.day_over,
                    corporate=draft.corporate,
                )
            )
    return tuple(found)


def _microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
