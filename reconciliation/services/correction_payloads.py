"""The entries of resolutions that take something back, or give it another name: busts, corrections, changes of symbol.

What always holds: what is to be reversed is named entry by entry, newest first, with what follows from it (a payment on
its value date); what is booked in its place comes after it and is what the broker says now; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from reconciliation.models import Discrepancy
from trading.domain.broker import CashData, FillData
from trading.domain.money import plain
from trading.domain.settlement import payment
from trading.models import BrokerEvent, CashEvent, Entry, Fill
from trading.services.booking import kind_of_fill
from trading.services.broker_changes import change_of
from trading.services.corrections import taken_back_with, why_not
from trading.services.errors import RuleBroken
from trading.services.linking import link
from trading.services.versions import base_id

REVERSAL = "REVERSAL"


def correction_entries(row: Discrepancy, event: BrokerEvent | None) -> list[dict[str, Any]]:
    """What makes the books hold what the broker says now of its event. Raises RuleBroken when they do already."""
    change = change_of(event) if event is not None else None
    if event is None or change is None or not (change.undone or change.cash_undone):
        raise RuleBroken(f"The books hold what the broker says of {row.key} already. Run a reconciliation again.")
    entries: list[dict[str, Any]] = []
    for fill in change.undone:
        entries += _reversals(fill)
        says = [each for each in change.instead if each.external_id == base_id(fill.external_id)]
        entries += [_fill(event, change.reading.sha256, fill, each) for each in says]
    for moved in change.cash_undone:
        entries += _reversals(moved)
        said = [each for each in change.cash_instead if each.external_id == base_id(moved.external_id)]
        entries += [_cash(event, change.reading.sha256, each) for each in said]
    return entries


def symbol_change_entry(row: Discrepancy, held: Decimal, into: str) -> dict[str, Any]:
    """Units that go on under another name. Raises RuleBroken when the books hold others by now."""
    if row.books_value != held:
        raise RuleBroken(f"Our books hold {plain(held)} {row.key} by now. Run a reconciliation again.")
    return {"entry": "SYMBOL_CHANGE", "instrument": row.key, "into": into, "before": held, "after": held}


def reversal_entry(entry: Entry, *, follows: bool) -> dict[str, Any]:
    """An entry to be reversed, as a payload names it; `follows` says that it goes with the next one."""
    return {"entry": REVERSAL, "reverses": entry.pk, "of": str(entry.kind), "memo": entry.memo, "follows": follows}


def sentence_of(entry: Mapping[str, Any]) -> str:
    """A reversal in words."""
    with_it = ", which goes with it" if entry["follows"] else ""
    return f"Reverse entry {entry['reverses']}, {entry['of']} ({entry['memo']}){with_it}: its exact mirror is posted."


def _reversals(booked: Fill | CashEvent) -> list[dict[str, Any]]:
    entry = own_entry(booked)
    if entry is None:
        return []
    refused = why_not(entry)
    if refused:
        raise RuleBroken(refused)
    return [reversal_entry(each, follows=each != entry) for each in taken_back_with(entry)]


def own_entry(booked: Fill | CashEvent) -> Entry | None:
    """The entry that booked it and stands; None for a movement of nothing."""
    standing = booked.entries.filter(reversals=None).exclude(kind__in=(Entry.Kind.SETTLEMENT, Entry.Kind.REVERSAL))
    found: Entry | None = standing.order_by("id").first()
    return found


def _fill(event: BrokerEvent, sha256: str, undone: Fill, says: FillData) -> dict[str, Any]:
    order = link(event.account, client_id=says.client_id, broker_order_id=says.broker_order_id)
    paid = {}
    if not undone.instrument.is_margin:
        paid = {"paid": payment(says.side, says.quantity, says.price, multiplier=undone.instrument.multiplier)}
    return {
        "entry": kind_of_fill(says, is_ours=order is not None),
        "event": event.pk,
        "event_sha256": sha256,
        "external_id": says.external_id,
        "instrument": says.instrument,
        "side": says.side,
        "quantity": says.quantity,
        "price": says.price,
        "realised": says.realised,
        "financing": says.financing,
        "commission": says.commission,
        "instead_of": undone.pk,
        **paid,
    }


def _cash(event: BrokerEvent, sha256: str, says: CashData) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "entry": says.kind,
        "event": event.pk,
        "event_sha256": sha256,
        "external_id": says.external_id,
        "currency": says.currency,
        "amount": says.amount,
    }
    if says.counter_amount is not None:
        entry |= {"counter_currency": says.counter_currency, "counter_amount": plain(says.counter_amount)}
    return entry
