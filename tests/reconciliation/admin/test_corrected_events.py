"""The page of a case about a busted or corrected event: what would be reversed and posted, to the last line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from django.test import Client

from reconciliation.models import Discrepancy
from reconciliation.services.payloads import preview
from reconciliation.services.preview import draft
from tests.trading.admin.world import World
from trading.domain.broker import BrokerEvent as PortEvent
from trading.domain.broker import EventKind
from trading.models import BrokerEvent, Entry, Fill, RiskEvent
from trading.services import inbox
from trading.services.event_facts import fills_in

SignIn = Callable[[str], Client]


def said_again(world: World, quantity: str) -> None:
    """The broker shows the fill of our entry in other words: with that quantity, or not at all."""
    row = BrokerEvent.objects.get(pk=Fill.objects.get(order=world.entry).broker_event_id)
    (fill,) = fills_in(row)
    now_says = (replace(fill, quantity=Decimal(quantity)),) if Decimal(quantity) else ()
    raw = {**row.body, "said": quantity}
    event = PortEvent(row.external_id, row.sequence, row.at, EventKind.ORDER_FILLED, raw, fills=now_says)
    for _ in range(2):
        inbox.receive(account=world.account, events=[event])
    assert RiskEvent.objects.filter(kind="EVENT_BODY_CHANGED").count() == 1


@pytest.mark.parametrize(("quantity", "held"), [("9000", "9700"), ("0", "700")])
def test_the_page_shows_reversal_and_what_is_booked_instead(
    world: World, compare: Callable[..., None], signed_in: SignIn, quantity: str, held: str
) -> None:
    said_again(world, quantity)
    compare(held, times=2, cash=Decimal("100000" if quantity == "0" else "99999.5"))
    case = Discrepancy.objects.get(kind="FILL_MISMATCH")
    page = signed_in("ada").get(f"/admin/reconciliation/discrepancy/{case.pk}/change/").content.decode()
    entry = Entry.objects.get(fill__order=world.entry)
    assert f"Reverse entry {entry.pk}" in page and ("in its place" in page) == (quantity != "0")


def test_the_lines_of_a_correction_are_the_mirror_and_the_new_entry(world: World, compare: Callable[..., None]) -> None:
    said_again(world, "9000")
    compare("9700", times=2)
    case = Discrepancy.objects.get(kind="FILL_MISMATCH")
    seen = preview(case, "book_fills")
    assert [entry["entry"] for entry in seen.payload["entries"]] == ["REVERSAL", "FILL"]
    drawn = draft(case, seen.payload)
    assert not drawn.refused and {effect.what: effect.change for effect in drawn.effects} == {"EURUSD": -1000}
    assert len(drawn.lines) == 8
