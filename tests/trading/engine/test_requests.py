"""The request of an order: what it was sent with, whatever has become of the order since."""

from __future__ import annotations

import pytest

from tests.trading.services.making import bring_to, make_account, make_entry
from trading.engine.sender import build_request
from trading.models import Order

pytestmark = pytest.mark.django_db


def test_an_orders_request_names_its_legs_also_once_they_have_ended() -> None:
    entry = make_entry(make_account(), legs=True)
    asked = build_request(entry)
    assert asked.stop_loss is not None and asked.take_profit is not None
    for leg in Order.objects.filter(rides_on=entry):
        bring_to(leg, "CANCELLED")
    assert build_request(entry) == asked, "a replay that comes by again gives its book the order as it was sent"
