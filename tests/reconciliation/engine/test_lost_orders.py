"""An order that may be at the broker or not: where the broker cannot say, two people who looked there end it."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, transaction

from reconciliation.engine.applications import sweep
from reconciliation.models import Discrepancy
from reconciliation.services.payloads import preview
from tests.reconciliation.conftest import Desk, People
from tests.reconciliation.engine.share_desk import books_hold
from tests.reconciliation.engine.test_own_orders import bracket
from trading.clock import now
from trading.domain.orders import OrderState
from trading.engine.sender import send_order
from trading.models import Application, Order, OrderEvent
from trading.services import orders


@pytest.fixture
def lost(desk: Desk) -> Order:
    """An entry whose request never arrived; nobody knows that."""
    desk.simulator.post(
        "/faults", {"broker": "oanda", "route": "POST *", "when": "before", "action": "drop", "times": 1}
    )
    return bracket(desk, expected="UNKNOWN")


@pytest.fixture
def case(desk: Desk, lost: Order) -> Discrepancy:
    """The open case about it."""
    desk.reconcile()
    desk.reconcile()
    return desk.case(kind="ORDER_UNCONFIRMED", key=f"order:{lost.client_order_id}")


def test_two_people_end_it_and_it_is_never_sent_again(
    desk: Desk, people: People, lost: Order, case: Discrepancy
) -> None:
    assert case.state == "OPEN"
    told = " ".join(preview(case, "accept").sentences)
    assert lost.client_order_id in told and "It is not sent again" in told
    desk.resolve(case, "accept", people)
    lost.refresh_from_db()
    event = OrderEvent.objects.filter(order=lost).latest("sequence")
    assert (lost.state, event.to_state, event.application) == ("CANCELLED", "CANCELLED", Application.objects.get())
    assert send_order(order_id=lost.pk, broker=desk.broker).state == "CANCELLED"
    assert set(Order.objects.filter(rides_on=lost).values_list("state", flat=True)) == {"CANCELLED"}
    assert desk.simulator.truth()["orders"] == [] and desk.agrees()
    books_hold()


def test_nothing_is_ended_that_was_found_before_the_approval(
    desk: Desk, people: People, lost: Order, case: Discrepancy
) -> None:
    proposal = desk.propose(case, "accept", people.ada)
    with transaction.atomic():
        message = lost.messages.latest("id")
        orders.move(orders.locked(lost.pk), OrderState.WORKING, at=now(lost.account), reason="found", message=message)
    desk.approve(proposal, people.bob)

    assert sweep(desk.account) == 0
    lost.refresh_from_db()
    assert lost.state == "WORKING" and not Application.objects.exists()


def test_an_approval_ends_no_other_order(desk: Desk, people: People, lost: Order, case: Discrepancy) -> None:
    desk.resolve(case, "accept", people)
    application = Application.objects.get()
    other = bracket(desk, expected="PLANNED")  # it waits for the next complete run
    with pytest.raises(DatabaseError, match="does not name its order"), transaction.atomic():
        OrderEvent.objects.create(
            order=other, sequence=99, from_state="UNKNOWN", to_state="CANCELLED", at=other.at, application=application
        )
