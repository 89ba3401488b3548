"""Events of the broker that are stored and not in the books."""

from __future__ import annotations

from django.db.models import QuerySet

from trading.models import Account, BrokerEvent, CashEvent, Fill


def unposted(account: Account) -> list[BrokerEvent]:
    """Stored events with a fill or cash movement that is not booked, in the broker's order."""
    candidates = carrying(account)
    fills = set(Fill.objects.filter(account=account).values_list("external_id", flat=True))
    cash = set(CashEvent.objects.filter(account=account).values_list("external_id", flat=True))
    return [
        event
        for event in candidates
        if any(f["external_id"] not in fills for f in event.facts.get("fills", []))
        or any(c["external_id"] not in cash for c in event.facts.get("cash", []))
    ]


def carrying(account: Account) -> QuerySet[BrokerEvent]:
    """Events that carry fills or cash at all."""
    return (
        BrokerEvent.objects.filter(account=account).exclude(facts__fills=[], facts__cash=[]).order_by("sequence", "id")
    )
