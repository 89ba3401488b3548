"""What a case hangs together with: orders and fills of ours, and the broker's own words."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from reconciliation.models import Discrepancy
from trading.admin import values
from trading.admin.intent import orders_table
from trading.admin.order_page import FURTHER
from trading.admin.pages import Panel, Raw, Table
from trading.models import BrokerEvent, Fill, Order

UNFINISHED = ("SENDING", "WORKING", "PARTIAL", "CANCELLING", "UNKNOWN")
MOST = 12
FILL_COLUMNS = ("Fill", "At (UTC)", "Side", "Quantity", "Price", "Realised", "Order")


def linked_panels(case: Discrepancy) -> list[Panel]:
    """Orders, fills and raw broker events behind the case; a panel without rows is left out."""
    shown: list[Panel] = []
    orders = _orders(case)
    if orders:
        shown.append(orders_table("Orders of ours it may be about", orders))
    fills = _fills(case)
    if fills:
        rows = [
            (
                values.link(f, values.short_code(f.external_id)), f.at, f.side, f.quantity,
                values.price(f.price, f.instrument.price_decimals), values.profit(f.realised),
                values.link(f.order, values.short_code(f.order.client_order_id)) if f.order else "external",
            )
            for f in fills
        ]  # fmt: skip
        shown.append(Table(f"Newest booked fills of {case.instrument}", FILL_COLUMNS, rows))
    return shown


def broker_words(case: Discrepancy) -> list[Raw]:
    """The broker's events behind the case, word for word."""
    wanted = [identity for identity in case.evidence.get("events", []) if identity]
    events = BrokerEvent.objects.filter(account=case.account, pk__in=wanted).order_by("sequence")
    return [Raw(f"{event.kind} {event.external_id}, {values.moment(event.at)} UTC", event.body) for event in events]


def cases_of(order: Order) -> list[Panel]:
    """The cases that an order is part of, for the order's page."""
    about = Q(evidence__evidence__order=order.pk) | Q(key=f"order:{order.client_order_id}")
    about |= Q(evidence__evidence__fills__contains=[{"client_id": order.client_order_id}])
    if order.application is not None and order.application.proposal.subject_type == Discrepancy._meta.label:
        about |= Q(pk=order.application.proposal.subject_id)
    found = (
        Discrepancy.objects.filter(about, account=order.account).select_related("account", "instrument").order_by("-id")
    )
    rows = [(values.link(c), values.pill(c.severity), values.pill(c.state), c.cause) for c in found[:MOST]]
    return [Table("Discrepancies", ("Case", "Severity", "State", "Cause"), rows, "None: nothing about it differs.")]


FURTHER.append(cases_of)


def _orders(case: Discrepancy) -> list[Order]:
    evidence: dict[str, Any] = case.evidence.get("evidence", {})
    named = {fill.get("client_id") for fill in evidence.get("fills", []) if isinstance(fill, dict)}
    named |= set(evidence.get("stops", []))
    wanted = Q(client_order_id__in=[name for name in named if name])
    if isinstance(evidence.get("order"), int):
        wanted |= Q(pk=evidence["order"])
    if evidence.get("broker_order"):
        wanted |= Q(broker_order_id=evidence["broker_order"])
    if case.instrument_id:
        wanted |= Q(instrument=case.instrument, state__in=UNFINISHED)
    rows = Order.objects.filter(wanted, account=case.account).select_related("instrument", "account")
    return list(rows.order_by("-id")[:MOST])


def _fills(case: Discrepancy) -> list[Fill]:
    if not case.instrument_id:
        return []
    rows = Fill.objects.filter(account=case.account, instrument=case.instrument)
    return list(rows.select_related("instrument", "order__instrument").order_by("-at", "-id")[:6])
