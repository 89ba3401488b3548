"""The adapter's reading of a broker event, to JSON and back, so that a stored event can be posted later."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from trading.domain.broker import BrokerEvent as PortEvent
from trading.domain.broker import CashData, EventKind, FillData, Side
from trading.domain.canonical import canonical_json
from trading.domain.money import parse_decimal
from trading.models import BrokerEvent


def facts_of(event: PortEvent) -> dict[str, Any]:
    """JSON of the event's fills and cash movements, numbers as plain strings."""
    stored: dict[str, Any] = json.loads(canonical_json({"fills": event.fills, "cash": event.cash}))
    return stored


def fills_in(row: BrokerEvent) -> list[FillData]:
    """The executions of a stored event."""
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
        )
        for f in row.facts.get("fills", [])
    ]


def cash_in(row: BrokerEvent) -> list[CashData]:
    """The cash movements of a stored event."""
    return [
        CashData(
            external_id=c["external_id"],
            kind=EventKind(c["kind"]),
            currency=c["currency"],
            amount=parse_decimal(c["amount"]),
            instrument=c["instrument"],
        )
        for c in row.facts.get("cash", [])
    ]
