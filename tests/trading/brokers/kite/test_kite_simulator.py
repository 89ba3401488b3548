"""Orders at the simulator's Kite, from the committed row to the books: once, whatever becomes of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy
from tests.conftest import CommittedDatabase
from tests.servers import Simulator
from tests.trading.brokers.kite.kite_desk import Desk
from trading.brokers import kite_client
from trading.brokers.registry import Connection, open_broker
from trading.domain.broker import BrokerNeedsLogin, BrokerPrice, StreamNews
from trading.engine.canceller import cancel_order
from trading.engine.resolver import needing_work, resolve_unknown
from trading.engine.sender import build_request, send_order
from trading.models import Fill, Notification, Order, OrderEvent, Restriction
from trading.selectors import books
from trading.services import logins

START = "2026-01-14T05:00:00Z"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One process for all tests of this file; each has an account and books of its own."""
    process = Simulator.start(tmp_path_factory.mktemp("simulator"), ["--always-open", "--speed", "1", "--start", START])
    yield process
    process.stop()


@pytest.fixture
def desk(committed_db: CommittedDatabase, running: Simulator) -> Iterator[Desk]:
    running.delete("/faults")
    made = Desk(running)
    yield made
    made.broker.close()


def send(desk: Desk, order: Order) -> Order:
    return send_order(order_id=order.pk, broker=desk.broker)


def state(order: Order) -> str:
    order.refresh_from_db()
    return str(order.state)


def moves(order: Order) -> list[str]:
    return list(OrderEvent.objects.filter(order=order).order_by("sequence").values_list("to_state", flat=True))


def as_open(stream: Any) -> Any:
    """A stream as what it is beyond an iterator: something to close."""
    return stream


def agrees(desk: Desk) -> None:
    """The books are the broker's own, to the last digit, and reconciliation says so."""
    truth = desk.truth()
    assert books.cash_balances(desk.account) == {"INR": Decimal(truth["cash"]["INR"])}
    result = run_reconciliation(account=desk.account, trigger="MANUAL", broker=desk.broker)
    assert result.completeness == "COMPLETE", result
    assert list(Discrepancy.objects.filter(account=desk.account)) == []


def test_an_order_is_placed_once_fills_once_and_the_books_are_the_brokers(desk: Desk) -> None:
    agrees(desk)
    order = desk.plan()
    send(desk, order)
    desk.wait(lambda: state(order) == "FILLED")
    assert len(desk.copies(order)) == 1
    for _ in range(3):
        desk.catch_up()
    [fill] = Fill.objects.filter(order=order)
    assert (fill.quantity, fill.price, str(fill.settles_on)) == (Decimal(10), Decimal("1500.10"), "2026-01-15")
    assert books.cash_balances(desk.account) == {"INR": Decimal("984999.00")}
    agrees(desk)


LOST: list[tuple[str, dict[str, int]]] = [
    ("drop", {}),
    ("status", {"status": 502}),
    ("status", {"status": 500}),
    ("truncate", {"bytes": 30}),
]


def test_an_answer_that_is_lost_is_found_by_the_label_and_never_sent_again(desk: Desk) -> None:
    for number, (action, arguments) in enumerate(LOST):
        desk.fault(action, **arguments)
        order = desk.plan(number)
        send(desk, order)
        assert state(order) == "UNKNOWN", action
        resolve_unknown(order_id=order.pk, broker=desk.broker)
        desk.wait(lambda order=order: state(order) == "FILLED")
        assert len(desk.copies(order)) == 1 and Fill.objects.filter(order=order).count() == 1, action
    agrees(desk)


def test_an_order_that_never_arrived_stays_unknown_until_a_person_decides(desk: Desk) -> None:
    desk.fault("drop", when="before")
    order = desk.plan()
    send(desk, order)
    assert state(order) == "UNKNOWN"
    for _ in range(3):
        desk.pass_time(order, 60)
        resolve_unknown(order_id=order.pk, broker=desk.broker)
    assert state(order) == "UNKNOWN" and desk.copies(order) == [] and order.attempt == 1
    [told] = Notification.objects.filter(key=f"order-unknown:{order.pk}")
    assert told.level == "CRITICAL" and order.client_order_id in told.text


def test_one_label_on_two_orders_is_an_alarm_and_stops_new_risk(desk: Desk) -> None:
    desk.fault("drop")
    order = desk.plan()
    desk.broker.submit(build_request(order))
    desk.fault("drop")
    send(desk, order)
    assert len(desk.copies(order)) == 2
    desk.pass_time(order, 60)
    if state(order) == "UNKNOWN":
        resolve_unknown(order_id=order.pk, broker=desk.broker)
    order.refresh_from_db()
    assert order.broker_order_id in desk.copies(order)
    assert Fill.objects.filter(account=desk.account).count() <= 1
    assert Restriction.objects.filter(account=desk.account, level="REDUCE_ONLY").exists()
    assert Notification.objects.filter(key=f"order-twice:{order.pk}", level="CRITICAL").exists()


def test_a_copy_that_comes_after_the_answer_is_told_never_booked_and_found_by_reconciliation(desk: Desk) -> None:
    order = desk.plan()
    send(desk, order)
    desk.wait(lambda: state(order) == "FILLED")
    desk.broker.submit(build_request(order))
    desk.wait(lambda: Notification.objects.filter(key=f"order-twice:{order.pk}", level="CRITICAL").exists())
    assert len(desk.copies(order)) == 2 and Fill.objects.filter(account=desk.account).count() == 1
    assert order.broker_order_id == desk.copies(order)[0]
    assert Restriction.objects.filter(account=desk.account, level="REDUCE_ONLY", source="duplicate orders").exists()
    for _ in range(2):
        run_reconciliation(account=desk.account, trigger="MANUAL", broker=desk.broker)
    kinds = set(Discrepancy.objects.filter(account=desk.account).values_list("kind", flat=True))
    assert kinds & {"MISSING_FILL", "QUANTITY_MISMATCH"}, kinds


def test_a_resting_order_is_cancelled_and_its_end_is_known(desk: Desk) -> None:
    order = desk.plan()
    Order.objects.filter(pk=order.pk).update(type="LIMIT", price=Decimal(1400))
    send(desk, order)
    assert state(order) == "WORKING"
    cancel_order(order_id=order.pk, reason="a test", broker=desk.broker)
    desk.wait(lambda: state(order) == "CANCELLED")
    assert desk.truth()["orders"][-1]["status"] == "CANCELLED"
    agrees(desk)


def test_a_dead_token_parks_the_order_and_a_login_lets_it_go(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kite_client, "LOGIN_PAUSE", 0.0)
    order = desk.plan()
    desk.fault("expire_token")
    send(desk, order)
    assert state(order) == "PLANNED" and moves(order) == ["PLANNED", "SENDING", "PLANNED"]
    assert order.reason.startswith("NEEDS_LOGIN: Kite needs a login")
    assert order not in needing_work()
    [told] = Notification.objects.filter(key__startswith="needs-login:")
    assert told.level == "CRITICAL" and "Kite needs a login" in told.text
    assert desk.copies(order) == []
    desk.simulator.delete("/faults")
    desk.pass_time(order, 60)
    assert order in needing_work()
    send(desk, order)
    assert state(order) == "PLANNED" and desk.copies(order) == [], "the account is paused"
    desk.catch_up()
    logins.let_in(desk.account)
    send(desk, order)
    desk.wait(lambda: state(order) == "FILLED")
    assert len(desk.copies(order)) == 1


@pytest.mark.scenario("S-09")
def test_a_refusal_by_the_risk_system_comes_after_the_acceptance_and_is_booked(desk: Desk) -> None:
    order = desk.plan(quantity="100000")
    send(desk, order)
    desk.wait(lambda: state(order) == "REJECTED")
    assert "Insufficient funds" in order.reason
    agrees(desk)


def test_the_ticker_tells_of_orders_and_prices(desk: Desk) -> None:
    with closing(as_open(desk.broker.event_stream(silence_seconds=5))) as heard:
        next(heard)
        order = desk.plan()
        send(desk, order)
        news = next(item for item in heard if isinstance(item, StreamNews))
    assert news.raw["data"]["tag"] == order.client_order_id and news.events == ()
    with closing(as_open(desk.broker.price_stream(["NSE:INFY"], silence_seconds=5))) as prices:
        told = next(item for item in prices if isinstance(item, BrokerPrice))
    assert (told.instrument, told.bid, told.ask) == ("NSE:INFY", Decimal("1500.00"), Decimal("1500.10"))


def test_a_token_that_is_wrong_is_said_by_the_ticker(desk: Desk) -> None:
    wrong = {"key": desk.connection.credentials["key"], "access_token": "of-yesterday"}
    broker = open_broker(Connection("kite", "simulator", desk.connection.url, desk.id, wrong))
    with pytest.raises(BrokerNeedsLogin, match="Kite needs a login"):
        next(broker.event_stream(silence_seconds=5))
