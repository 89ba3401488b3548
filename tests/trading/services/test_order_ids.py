"""An order that goes on under other ids at its broker is one order, in whatever order that is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import permutations

import pytest
from django.db import IntegrityError, transaction

from tests.trading.services.making import fill_of, make_account, make_entry, moment, receive
from trading.domain.broker import BrokerEvent, BrokerOrderStatus, EventKind, OrderNews
from trading.models import Account, AuditEvent, Fill, Order, OrderAlias, OrderEvent
from trading.services.linking import link

pytestmark = pytest.mark.django_db
WORKING, CANCELLED, REJECTED = BrokerOrderStatus.WORKING, BrokerOrderStatus.CANCELLED, BrokerOrderStatus.REJECTED


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def order(account: Account) -> Order:
    """An entry that the broker knows as A."""
    order = make_entry(account, quantity="1000", state="WORKING")
    receive(account, told(1, OrderNews("A", order.client_order_id, WORKING)))
    order.refresh_from_db()
    return order


def told(number: int, news: OrderNews) -> BrokerEvent:
    """The broker's event with these news; `kind` as an adapter would give it."""
    kind = EventKind.ORDER_CREATED if news.status is WORKING else EventKind.ORDER_CANCELLED
    return BrokerEvent(str(number), number, moment(number), kind, {"id": str(number)}, orders=(news,))


def filled(number: int, order: Order, quantity: str, broker_order_id: str) -> BrokerEvent:
    """A fill that names the broker's id alone."""
    event = fill_of(number, order, quantity, by_broker_id=True)
    return replace(event, fills=(replace(event.fills[0], broker_order_id=broker_order_id),))


def replaced_twice(order: Order) -> list[BrokerEvent]:
    """A became B, and B became C: the ends and the beginnings, with our client id on each."""
    ours = order.client_order_id
    return [
        told(2, OrderNews("A", ours, CANCELLED, replaced_by="B")),
        told(3, OrderNews("B", ours, WORKING, replaces="A")),
        told(4, OrderNews("B", ours, CANCELLED, replaced_by="C")),
        told(5, OrderNews("C", ours, WORKING, replaces="B")),
    ]


def stands(order: Order) -> tuple[str, str, set[str]]:
    order.refresh_from_db()
    former = OrderAlias.objects.filter(order=order).values_list("broker_order_id", flat=True)
    return order.state, order.broker_order_id, set(former)


@pytest.mark.parametrize("under", ["A", "B", "C"])
def test_a_fill_under_any_id_that_an_order_has_had_is_booked_to_it(account: Account, order: Order, under: str) -> None:
    receive(account, *replaced_twice(order))
    assert stands(order) == ("WORKING", "C", {"A", "B"})
    result = receive(account, filled(6, order, "400", under))
    assert (result.posted_fills, result.held) == (1, [])
    assert Fill.objects.get().order == order and stands(order)[0] == "PARTIAL"


def test_each_change_of_the_id_is_told_once_in_the_trail(account: Account, order: Order) -> None:
    for _ in range(2):
        receive(account, *replaced_twice(order))
    events = AuditEvent.objects.filter(kind="order.replaced").order_by("id")
    assert [(row.before, row.after) for row in events] == [
        ({"broker_order_id": "A"}, {"broker_order_id": "B"}),
        ({"broker_order_id": "B"}, {"broker_order_id": "C"}),
    ]


@pytest.mark.parametrize("told_in", list(permutations(range(4))), ids=lambda p: "".join(map(str, p)))
def test_the_last_id_stands_in_whatever_order_the_chain_is_told(
    account: Account, order: Order, told_in: Sequence[int]
) -> None:
    chain = replaced_twice(order)
    for number in told_in:
        receive(account, chain[number])
    assert stands(order) == ("WORKING", "C", {"A", "B"})


def test_a_chain_that_names_only_the_brokers_ids_is_followed(account: Account, order: Order) -> None:
    receive(account, told(3, OrderNews("B", "theirs-1", WORKING, replaces="A")))
    receive(account, told(5, OrderNews("C", "theirs-2", WORKING, replaces="B")))
    receive(account, told(6, OrderNews("B", "theirs-1", CANCELLED, replaces="A", replaced_by="C")))
    assert stands(order) == ("WORKING", "C", {"A", "B"})


def test_the_end_of_what_was_replaced_is_not_the_end_of_the_order(account: Account, order: Order) -> None:
    receive(account, *replaced_twice(order))
    receive(account, told(6, OrderNews("A", order.client_order_id, CANCELLED, "told late")))
    assert stands(order) == ("WORKING", "C", {"A", "B"})
    receive(account, told(7, OrderNews("C", "", CANCELLED)))
    assert stands(order)[0] == "CANCELLED"


def test_an_order_whose_replacement_was_refused_lives_on_as_it_was(account: Account, order: Order) -> None:
    receive(account, told(3, OrderNews("B", "theirs", WORKING, replaces="A")))
    receive(account, told(4, OrderNews("B", "theirs", REJECTED, replaces="A")))
    assert stands(order) == ("WORKING", "A", {"A", "B"})
    receive(account, told(5, OrderNews("B", "theirs", REJECTED, "told again")))
    assert stands(order) == ("WORKING", "A", {"A", "B"})
    receive(account, filled(6, order, "1000", "A"))
    assert stands(order)[0] == "FILLED"
    steps = OrderEvent.objects.filter(order=order).order_by("sequence").values_list("to_state", flat=True)
    assert list(steps) == ["PLANNED", "SENDING", "WORKING", "FILLED"]


def test_an_id_of_one_account_means_nothing_on_another(account: Account, order: Order) -> None:
    receive(account, *replaced_twice(order))
    other = make_account("oanda-other")
    assert link(account, client_id="", broker_order_id="A") == order
    assert link(other, client_id="", broker_order_id="A") is None
    with pytest.raises(IntegrityError), transaction.atomic():
        OrderAlias.objects.create(at=moment(9), account=account, order=order, broker_order_id="A")
    assert Decimal(order.quantity) == 1000
