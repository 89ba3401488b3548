"""An order in the database, whoever writes: no move off the table, no state without its event, no guessed end."""

from __future__ import annotations

from itertools import product

import pytest
from django.db import DatabaseError, connection, transaction

from tests.conftest import CommittedDatabase
from tests.trading.services import making
from trading.domain.orders import ALLOWED, OrderState
from trading.models import Order, OrderEvent


@pytest.mark.django_db
def test_the_database_allows_the_moves_of_the_domain_and_no_others() -> None:
    with connection.cursor() as cursor:
        for source, target in product(OrderState, OrderState):
            cursor.execute("SELECT order_may_move(%s, %s)", [source, target])
            assert cursor.fetchone()[0] == ((source, target) in ALLOWED), f"{source} to {target}"


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["PLANNED", "SENDING", "REJECTED"])
def test_an_ended_order_is_not_brought_back_by_an_update(state: str) -> None:
    order = making.make_entry(making.make_account(), state="CANCELLED")
    with pytest.raises(DatabaseError, match=f"cannot go from CANCELLED to {state}"), transaction.atomic():
        Order.objects.filter(pk=order.pk).update(state=state)


@pytest.mark.django_db
def test_an_order_begins_planned() -> None:
    order = making.make_entry(making.make_account())
    order.pk, order.client_order_id, order.sequence, order.state = None, "another", 2, "WORKING"
    with pytest.raises(DatabaseError, match="begins WORKING"), transaction.atomic():
        order.save(force_insert=True)


@pytest.mark.django_db
@pytest.mark.parametrize("to", ["FILLED", "CANCELLED", "REJECTED", "EXPIRED"])
def test_no_end_without_the_brokers_evidence(to: str) -> None:
    order = making.make_entry(making.make_account(), state="WORKING")
    with pytest.raises(DatabaseError, match="names no evidence"), transaction.atomic():
        OrderEvent.objects.create(order=order, sequence=9, from_state="WORKING", to_state=to, at=order.at, reason="so")


def test_a_state_that_no_event_tells_is_not_committed(committed_db: CommittedDatabase) -> None:
    order = making.make_entry(making.make_account())
    with pytest.raises(DatabaseError, match="no event says so"), transaction.atomic():
        Order.objects.filter(pk=order.pk).update(state="UNKNOWN")
    assert Order.objects.get(pk=order.pk).state == "SENDING"
