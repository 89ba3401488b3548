"""What a sweep takes up: orders at brokers that wait for somebody, of accounts that are still asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.trading.services import making
from trading.clock import wall_now
from trading.engine.resolver import needing_work
from trading.models import Order
from trading.services.setup import retire


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["PLANNED", "SENDING", "UNKNOWN"])
def test_nothing_is_asked_any_more_about_orders_of_an_account_that_was_retired(state: str) -> None:
    account, other = making.make_account(), making.make_account("oanda-other")
    kept, left = making.make_entry(other, state=state), making.make_entry(account, state=state)
    Order.objects.update(lease_until=wall_now() - timedelta(seconds=1))
    assert needing_work() == [kept, left]
    retire(name=account.name, reason="another broker", actor=making.TEST)
    assert needing_work() == [kept] and needing_work(account) == []
