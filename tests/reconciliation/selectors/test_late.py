"""What came late is asked in every run, under the account's lock: only what came late is read for it."""

from __future__ import annotations

import pytest
from django.db import connection

from reconciliation.selectors.late import late_events
from tests.trading.services import making
from trading.models import Order


@pytest.mark.django_db
def test_late_fills_are_found_by_an_index_of_their_own_however_many_events_there_are() -> None:
    account = making.make_account()
    making.make_entry(account)
    order = Order.objects.get()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO trading_orderevent"
            " (at, recorded_at, order_id, sequence, from_state, to_state, attempt, reason) SELECT"
            " now(), now(), %s, number, 'PLANNED', 'SENDING', 0, '' FROM generate_series(100, 3000) number",
            [order.pk],
        )
    assert list(late_events(account)) == []
    plan = late_events(account).explain()
    assert "late_fills" in plan and "Seq Scan on trading_orderevent" not in plan, plan
