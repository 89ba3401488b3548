"""What Kite alone can say wrongly: JSON numbers, and words, of orders that are only ever listed whole."""

from __future__ import annotations

import json

import pytest
import requests

from tests.faults.places import KITE
from tests.faults.standing import damaged, filled, once, read, state, unread, whole_or_told, wire_of
from tests.faults.world import World
from trading.domain.broker import OrderType
from trading.engine.sender import send_order
from trading.models import Order, Transfer

pytestmark = pytest.mark.faults
at_kite = pytest.mark.parametrize("any_world", [KITE], indirect=True, ids=["kite"])

NO_NUMBERS = [
    "NaN", "Infinity", "-Infinity", "1e400", "1e999999", "-0", "01", "+1500", "1_500", "1.", '"1500.1"',
]  # fmt: skip
# Numbers, but not of any trade: whoever sends one has reckoned with binary fractions.
BLURRED = ["9" * 40, "1500.1000000000001", "1500.0999999999999", "1e-18", "1499." + "9" * 40, "1500." + "0" * 39 + "1"]


@at_kite
@pytest.mark.fault("F-021", "F-022", "F-023", broker="kite")
@pytest.mark.parametrize("numbers", [NO_NUMBERS, BLURRED], ids=["none", "blurred"])
def test_a_json_number_that_is_none_or_too_exact_posts_nothing(any_world: World, numbers: list[str]) -> None:
    world, wire = any_world, wire_of(any_world)
    order = unread(world)
    right = requests.get(f"{world.simulator.kite_url}/trades", headers=wire.headers, timeout=5).text
    price, posted = f'"{wire.price}":{json.loads(right)["data"][-1][wire.price]}', Transfer.objects.count()
    assert price in right
    for number in numbers:
        world.simulator.delete("/faults")
        text = right.replace(price, f'"{wire.price}":{number}')
        world.fault("body", route=wire.history, times=1000, text=text, content_type="application/json")
        read(world)
        assert filled(order) == 0, number
    assert Transfer.objects.count() == posted
    world.simulator.delete("/faults")
    read(world)
    whole_or_told(world, order)
    if numbers is NO_NUMBERS:
        once(world, order)


@at_kite
@pytest.mark.fault("F-024", broker="kite")
@pytest.mark.parametrize(("member", "word"), [("status", "A BRAND NEW WORD"), ("transaction_type", "HOLD")])
def test_a_word_that_nobody_knows_moves_no_order_and_keeps_no_other_from_moving(
    any_world: World, member: str, word: str
) -> None:
    world = any_world
    first, second = resting(world), resting(world)
    for order in (first, second):
        world.simulator.post(
            f"/accounts/{world.place.account}/external", {"kind": "cancel", "order_id": order.broker_order_id}
        )
    with damaged(world, "GET /orders", f"data.0.{member}", word):
        read(world)
    assert (state(first), state(second)) == ("WORKING", "CANCELLED")
    read(world)
    assert state(first) == "CANCELLED", "once it can be read"


def resting(world: World) -> Order:
    """A limit entry below the market, at the broker."""
    order = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away / 4)
    order = send_order(order_id=order.pk)
    assert order.state == "WORKING"
    return order
