"""Fills whose numbers, words or times cannot be right: never booked, kept for people, and right once they are right."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.standing import damaged, filled, once, read, unread, whole_or_told, wire_of
from tests.faults.world import World
from trading.models import Fill, RiskEvent, Transfer

pytestmark = pytest.mark.faults

NO_NUMBERS: list[Any] = [
    "NaN", "sNaN", "Infinity", "-Infinity", "1e400", "1e999999", "1_000", " 1", "١٢٣", "", None, True, {}, [], "0",
    "-0",
]  # fmt: skip
TOO_EXACT: list[Any] = ["1." + "0" * 39 + "1", "1e-18", "9" * 40, 1.1000000000000003]
NO_TIMES: list[Any] = [
    "2026-01-14T15:00:00", "1970-01-01", "9999-12-31T23:59:59.999999999-12:00", "2016-12-31T23:59:60Z",
    "yesterday", "", None, 0, "2026-02-30T00:00:00Z", "1768402800",
]  # fmt: skip


@pytest.mark.fault("F-021", "F-022", "F-023", "F-025")
def test_a_number_that_is_none_posts_nothing_and_the_right_one_posts_once(any_world: World) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    posted = Transfer.objects.count()
    for member in (wire.price, wire.quantity):
        for value in [*NO_NUMBERS, *TOO_EXACT]:
            with damaged(world, wire.history, f"{wire.fill}.{member}", value):
                read(world)
            assert filled(order) == 0, (member, value)
    assert Transfer.objects.count() == posted
    read(world)
    whole_or_told(world, order)


@pytest.mark.fault("F-037")
def test_a_time_that_is_none_posts_nothing(any_world: World) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    for value in NO_TIMES:
        if value is None and world.place.name == "alpaca":
            continue  # then the id says when it was
        if value in (None, "") and world.place.name == "kite":
            continue  # then the exchange's own time says it
        with damaged(world, wire.history, f"{wire.fill}.{wire.at}", value):
            read(world)
        assert filled(order) == 0, value
    read(world)
    whole_or_told(world, order)


@pytest.mark.fault("F-025")
def test_a_member_of_another_kind_posts_nothing(any_world: World) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    for member in (wire.id, wire.kind, wire.order, wire.instrument):
        for value in (None, 7, {"a": {"b": None}}, ["x"], ""):
            with damaged(world, wire.history, f"{wire.fill}.{member}", value):
                read(world)
            assert filled(order) == 0, (member, value)
    read(world)
    whole_or_told(world, order)


@pytest.mark.fault("F-025")
def test_a_member_that_nobody_knows_is_kept_and_changes_nothing(any_world: World) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    with damaged(world, wire.history, f"{wire.fill}.brandNew", {"a": [None, 7]}):
        read(world)
    once(world, order)
    event = Fill.objects.get(order=order).broker_event
    assert event is not None and event.body["brandNew"] == {"a": [None, 7]}


@pytest.mark.fault("F-028")
@pytest.mark.parametrize("times", ["0.01", "100"])
def test_a_fill_at_a_price_that_cannot_be_waits_for_people(any_world: World, times: str) -> None:
    from decimal import Decimal

    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    absurd = wire.number(str(world.place.ask * Decimal(times)))
    with damaged(world, wire.history, f"{wire.fill}.{wire.price}", absurd):
        read(world)
    assert filled(order) == 0, "a hundred times off: in another unit, or somebody else's"
    assert RiskEvent.objects.filter(
        account=world.account, kind="EVENT_NOT_BOOKED", reason__contains="a fill at"
    ).exists()


@pytest.mark.fault("F-028")
@pytest.mark.parametrize("price", ["0", "-1"])
def test_a_fill_at_no_price_posts_nothing(any_world: World, price: str) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    with damaged(world, wire.history, f"{wire.fill}.{wire.price}", wire.number(price)):
        read(world)
    assert filled(order) == 0
    read(world)
    whole_or_told(world, order)
