"""The adapter's reading of a broker event, to JSON and back, so that a stored event can be posted later.

What always holds: the first reading of an event stands in its row for ever. Where the broker said it again in other
words (a busted or corrected execution), each of those readings is a RiskEvent, and the last of them is what the broker
says now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from trading.domain.broker import BrokerEvent as PortEvent
from trading.domain.broker import CashData, EventKind, FillData, Side
from trading.domain.canonical import canonical_json
from trading.domain.money import parse_decimal
from trading.models import Account, BrokerEvent, RiskEvent

BODY_CHANGED = "EVENT_BODY_CHANGED"
DAY_OVER, CORPORATE = "day_over", "corporate"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the broker says of an event now, after it changed its words. `facts` is None where that was not kept."""

    sha256: str
    facts: Mapping[str, Any] | None


def facts_of(event: PortEvent) -> dict[str, Any]:
    """JSON of the event's fills, cash and corporate action, numbers as plain strings; and whether it begins a day."""
    parts = {"fills": event.fills, "cash": event.cash}
    told = {CORPORATE: event.corporate} if event.corporate is not None else {}
    stored: dict[str, Any] = json.loads(canonical_json(parts | told))
    return stored | ({DAY_OVER: True} if event.day_over is not None else {})


def day_was_read(account: Account, moment: datetime) -> bool:
    """Whether the broker, one whose orders are for the day, has told of the beginning of the day of this moment."""
    told = BrokerEvent.objects.filter(account=account, at__gt=moment - timedelta(days=1), kind=EventKind.OTHER)
    return told.filter(**{f"facts__{DAY_OVER}": True}).exists()


def fills_in(row: BrokerEvent) -> list[FillData]:
    """The executions of a stored event, as the broker said them first."""
    return fills_of(row.facts)


def fills_of(facts: Mapping[str, Any]) -> list[FillData]:
    """The executions of a reading."""
    return [
        FillData(
            external_id=f["external_id"],
            broker_order_id=f["broker_order_id"],
            client_id=f["client_id"],
            instrument=f["instrument"],
            side=Side(f["side"]),
            quantity=parse_decimal(f["quantity"]),
            price=parse_decimal(f["price"]),
            realised=parse_decimal(f["realised"]),
            financing=parse_decimal(f["financing"]),
            commission=parse_decimal(f["commission"]),
            reason=f["reason"],
            opened_trade_id=f["opened_trade_id"],
            closed=tuple((trade, parse_decimal(units)) for trade, units in f["closed"]),
            settles_on=date.fromisoformat(f["settles_on"]) if f.get("settles_on") else None,
            margin_closeout=f.get("margin_closeout", False),
        )
        for f in facts.get("fills", [])
    ]


def cash_in(row: BrokerEvent) -> list[CashData]:
    """The cash movements of a stored event, as the broker said them first."""
    return cash_of(row.facts)


def cash_of(facts: Mapping[str, Any]) -> list[CashData]:
    """The cash movements of a reading."""
    return [
        CashData(
            external_id=c["external_id"],
            kind=EventKind(c["kind"]),
            currency=c["currency"],
            amount=parse_decimal(c["amount"]),
            instrument=c["instrument"],
            counter_currency=c.get("counter_currency", ""),
            counter_amount=parse_decimal(c["counter_amount"]) if c.get("counter_amount") else None,
        )
        for c in facts.get("cash", [])
    ]


def said_last(account: Account, external_ids: Sequence[str] | None = None) -> dict[str, Reading]:
    """The last readings of events whose body changed, by the event's id; of all of them without `external_ids`."""
    changes = RiskEvent.objects.filter(account=account, kind=BODY_CHANGED)
    if external_ids is not None:
        changes = changes.filter(numbers__event__in=list(external_ids))
    numbers = changes.order_by("id").values_list("numbers", flat=True)
    return {each["event"]: Reading(each["sha256"], each.get("facts")) for each in numbers}


def facts_now(row: BrokerEvent) -> Mapping[str, Any]:
    """The reading of a stored event that holds now: the last one that was kept."""
    reading = said_last(row.account, [row.external_id]).get(row.external_id)
    facts: Mapping[str, Any] = row.facts
    return reading.facts if reading is not None and reading.facts is not None else facts


def fills_now(row: BrokerEvent) -> list[FillData]:
    """The executions of a stored event, as the broker says them now."""
    return fills_of(facts_now(row))


def cash_now(row: BrokerEvent) -> list[CashData]:
    """The cash movements of a stored event, as the broker says them now."""
    return cash_of(facts_now(row))
