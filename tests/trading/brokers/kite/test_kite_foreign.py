"""Answers about another order than ours, and our label on more than one: believed of none, told to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.trading.brokers.kite.kite_wire import (
    BUY,
    NOW,
    ORDER,
    SmallKite,
    as_read,
    broker_at,
    complete,
    order_row,
    success,
    trade_row,
)
from tests.trading.brokers.raw_server import serving
from tests.trading.services.making import START, make_entry
from trading.brokers import kite_parse
from trading.brokers.kite_events import Today, events_of
from trading.domain.broker import (
    Accepted,
    BrokerOrderStatus,
    EventKind,
    OrderNews,
    Side,
    SubmitOutcome,
    Unknown,
)
from trading.models import Account, Fill, Notification, Restriction, RiskEvent
from trading.services.inbox import receive
from trading.services.setup import ensure_account, ensure_policy

POST, PUT, DELETE = "POST /orders/regular", f"PUT /orders/regular/{ORDER}", f"DELETE /orders/regular/{ORDER}"
OTHER = "151220000000009"


def submitted(*orders: dict[str, Any], listing: Any = None) -> SubmitOutcome:
    """What a submit comes to that is answered with ORDER, while these are today's orders."""
    kite = SmallKite(orders=list(orders), routes={POST: (200, success({"order_id": ORDER}))})
    if listing is not None:
        kite.routes["GET /orders"] = listing
    with serving(kite) as server:
        return broker_at(server.url).submit(BUY)


@pytest.mark.parametrize(
    "shown",
    [
        [order_row(tag="somebodyelses")],
        [order_row(tag=None)],
        [order_row(tradingsymbol="TCS")],
        [order_row(transaction_type="SELL")],
        [order_row(OTHER)],
    ],
)
def test_an_acceptance_that_todays_orders_contradict_is_somebody_elses(shown: list[dict[str, Any]]) -> None:
    outcome = submitted(*shown)
    assert isinstance(outcome, Unknown) and outcome.foreign
    assert outcome.evidence[-1].method == "GET", "the list that contradicts is kept"


@pytest.mark.parametrize(
    "shown",
    [
        [order_row()],
        [order_row(), order_row(OTHER)],
        [order_row(price=1500.0, order_type="LIMIT", quantity=7, modified=True)],
        [],
        [order_row(OTHER, "another")],
        [order_row(transaction_type="HOLD")],
    ],
)
def test_an_acceptance_that_nothing_contradicts_stands(shown: list[dict[str, Any]]) -> None:
    outcome = submitted(*shown)
    assert isinstance(outcome, Accepted) and outcome.broker_order_id == ORDER
    assert outcome.evidence[-1].method == "POST", "the whole day's list is not kept with every order"


def test_an_acceptance_stands_where_todays_orders_cannot_be_read() -> None:
    for listing in ((502, "<html>"), (200, success({})), (200, success(None))):
        assert isinstance(submitted(listing=listing), Accepted)


def test_answers_about_another_order_to_a_cancel_or_a_change_are_foreign() -> None:
    kite = SmallKite([order_row()], routes=dict.fromkeys((PUT, DELETE), (200, success({"order_id": OTHER}))))
    with serving(kite) as server:
        broker = broker_at(server.url)
        changed = broker.replace(broker_order_id=ORDER, client_id="", quantity=Decimal(3), price=Decimal(1450))
        cancelled = broker.cancel(broker_order_id=ORDER, client_id="")
    for outcome in (changed, cancelled):
        assert isinstance(outcome, Unknown) and outcome.foreign and OTHER in outcome.reason
    kite.routes[PUT] = kite.routes[DELETE] = (200, success({}))
    with serving(kite) as server:
        broker = broker_at(server.url)
        changed = broker.replace(broker_order_id=ORDER, client_id="", quantity=Decimal(3), price=Decimal(1450))
        cancelled = broker.cancel(broker_order_id=ORDER, client_id="")
    assert isinstance(changed, Unknown) and not changed.foreign
    assert isinstance(cancelled, Accepted) and cancelled.status is BrokerOrderStatus.WORKING


def beginnings(*orders: dict[str, Any]) -> list[OrderNews]:
    read = events_of(Today(date(2026, 1, 14), [as_read(row) for row in orders], []))
    return [each.orders[0] for each in read.events if each.kind is EventKind.ORDER_CREATED]


def test_a_beginning_says_what_was_ordered_and_what_label_it_carries() -> None:
    [news] = beginnings(order_row())
    assert (news.side, news.quantity, news.label, news.client_id) == (
        Side.BUY,
        Decimal(10),
        BUY.client_id,
        BUY.client_id,
    )
    [news] = beginnings(order_row(tag=None))
    assert (news.label, news.client_id) == ("", "")
    [news] = beginnings(order_row(modified=True))
    assert news.quantity is None, "what it was changed to is not what was ordered"
    assert [(news.label, news.client_id) for news in beginnings(order_row(), order_row(OTHER))] == [
        (BUY.client_id, "")
    ] * 2


@pytest.fixture
def account(db: None) -> Account:
    return ensure_account(
        name="kite-foreign",
        broker=Account.Broker.KITE,
        environment=Account.Environment.SIMULATOR,
        external_id="SIMKITE",
        currency="INR",
        opened_at=START,
        policy=ensure_policy(),
        time_zone="Asia/Kolkata",
    )


class Reading:
    """An account whose day at Kite is read again and again; `order` is ours, labelled with its id."""

    def __init__(self, account: Account, state: str = "SENDING") -> None:
        self.account = account
        prices = {"entry": "1500", "stop": "1400", "target": "1600"}
        self.order = make_entry(account, symbol="INFY", quantity="10", state=state, **prices)
        self.label = self.order.client_order_id

    def bind(self, broker_order_id: str) -> None:
        """As the answer to its sending did."""
        self.order.broker_order_id = broker_order_id
        self.order.save()

    def read(self, orders: list[dict[str, Any]], trades: Sequence[dict[str, Any]] = ()) -> None:
        """What Kite lists now goes into the inbox."""
        today = Today(kite_parse.day_of(NOW), [as_read(row) for row in orders], [as_read(row) for row in trades])
        receive(account=self.account, events=events_of(today).events)
        self.order.refresh_from_db()

    @property
    def filled(self) -> list[tuple[str, Decimal]]:
        """The fills that were booked, each with its order's id at the broker."""
        fills = Fill.objects.filter(account=self.account).order_by("id")
        return [(each.broker_event.body["order_id"], each.quantity) for each in fills if each.broker_event is not None]

    @property
    def is_told(self) -> bool:
        """Whether people were told of more than one order, and no new risk is taken."""
        told = Notification.objects.filter(key=f"order-twice:{self.order.pk}", level="CRITICAL").exists()
        stopped = Restriction.objects.filter(account=self.account, level="REDUCE_ONLY", lifted_at=None).exists()
        assert told == stopped
        return told


def test_our_label_on_another_order_than_the_answered_one_is_told_and_never_booked(account: Account) -> None:
    day = Reading(account)
    day.bind(ORDER)
    ours, copy = complete(tag=day.label), complete(id=OTHER, tag=day.label)
    day.read([ours], [trade_row(1)])
    assert (day.order.state, day.filled, day.is_told) == ("FILLED", [(ORDER, Decimal(10))], False)
    day.read([ours, copy], [trade_row(1), trade_row(2, OTHER)])
    assert (day.filled, day.is_told) == ([(ORDER, Decimal(10))], True)
    [kept] = RiskEvent.objects.filter(account=account, kind="FOREIGN_ANSWER")
    assert kept.numbers == {"order": day.order.pk, "broker_order": OTHER}
    day.read([ours, copy], [trade_row(1), trade_row(2, OTHER)])
    assert RiskEvent.objects.filter(account=account).count() == 1, "it is said once"


def test_a_copy_that_is_listed_before_the_answered_order_is_not_taken_for_it(account: Account) -> None:
    day = Reading(account)
    day.bind(ORDER)
    copy, ours = complete(id=OTHER, tag=day.label), complete(tag=day.label)
    day.read([copy], [trade_row(2, OTHER)])
    assert (day.order.broker_order_id, day.filled, day.is_told) == (ORDER, [], True)
    day.read([copy, ours], [trade_row(2, OTHER), trade_row(1)])
    assert (day.order.state, day.filled) == ("FILLED", [(ORDER, Decimal(10))])


def test_two_orders_with_our_label_are_told_also_while_it_is_not_known_which_is_ours(account: Account) -> None:
    day = Reading(account, "UNKNOWN")
    both = [order_row(tag=day.label), order_row(OTHER, tag=day.label)]
    day.read(both)
    assert (day.order.state, day.order.broker_order_id, day.is_told) == ("UNKNOWN", "", True)
    day.bind(OTHER)
    day.read(both, [trade_row(2, OTHER)])
    assert day.filled == [(OTHER, Decimal(10))]


@pytest.mark.parametrize("wrong", [{"quantity": 9}, {"transaction_type": "SELL"}])
def test_an_order_with_our_label_and_other_terms_is_not_bound(account: Account, wrong: dict[str, Any]) -> None:
    day = Reading(account, "UNKNOWN")
    day.read([order_row(tag=day.label, **wrong)])
    assert (day.order.state, day.order.broker_order_id) == ("UNKNOWN", "")
    assert RiskEvent.objects.filter(account=account, kind="FOREIGN_ANSWER").count() == 1


def test_an_order_of_nobodys_label_is_told_to_nobody(account: Account) -> None:
    day = Reading(account)
    day.read([order_row(OTHER, tag=None), order_row("3", tag="another"), order_row("4", tag="another")])
    assert not day.is_told and not RiskEvent.objects.exists()
