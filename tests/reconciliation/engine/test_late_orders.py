"""Orders that come late or stay too long, and decisions without an order at the broker, end to end at the simulator."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from backoffice.verification import run_all
from reconciliation.models import Discrepancy
from tests.reconciliation.conftest import EURUSD, TEST, Desk, People
from tests.reconciliation.engine.test_own_orders import bracket, oanda
from trading.clock import now, store_broker_clock
from trading.domain.orders import Tag
from trading.engine.sender import send_order
from trading.models import Order, Restriction
from trading.services.orders import plan_order

D = Decimal


@pytest.fixture
def given_up(desk: Desk, people: People) -> Order:
    """An entry that two people called ended, because nobody could find it."""
    fault = {"broker": "oanda", "route": "POST *", "when": "before", "action": "drop", "times": 1}
    desk.simulator.post("/faults", fault)
    lost = bracket(desk, expected="UNKNOWN")
    case = opened(desk, "ORDER_UNCONFIRMED")
    desk.resolve(case, "accept", people)
    lost.refresh_from_db()
    assert lost.state == "CANCELLED"
    assert found(desk) == []
    return lost


def found(desk: Desk) -> list[tuple[str, str]]:
    """What a run finds: kinds and keys."""
    result = desk.reconcile()
    assert result.ok and result.findings is not None, result.error
    return [(str(finding.kind), finding.key) for finding in result.findings.findings]


def opened(desk: Desk, kind: str) -> Discrepancy:
    """The case of that kind, confirmed."""
    desk.reconcile()
    desk.reconcile()
    return desk.case(kind=kind, state="OPEN")


def passes(desk: Desk, **span: float) -> None:
    """The broker's clock goes on, and we hear of it."""
    desk.simulator.post("/clock", {"now": (now(desk.account) + timedelta(**span)).isoformat()})
    stands(desk)


def stands(desk: Desk) -> None:
    """We know the broker's clock, which stands still."""
    store_broker_clock(account=desk.account, broker_at=desk.broker.now(), speed=D(0))


def arrives(desk: Desk, order: Order, **terms: str) -> None:
    """The request that had been lost arrives at the broker after all."""
    body = {
        "instrument": EURUSD,
        "units": "1000",
        "timeInForce": "FOK" if terms["type"] == "MARKET" else "GTC",
        "positionFill": "DEFAULT",
        "clientExtensions": {"id": order.client_order_id, "tag": "back-office"},
        **terms,
    }
    oanda(desk, "POST", "/orders", {"order": body})


def test_an_order_that_fills_after_two_people_gave_it_up_is_a_late_one_until_people_have_seen_it(
    desk: Desk, people: People, given_up: Order
) -> None:
    arrives(desk, given_up, type="MARKET")
    key = f"order:{given_up.client_order_id}"
    assert ("LATE_ACK", key) in found(desk)
    case = opened(desk, "LATE_ACK")
    assert case.key == key and "had ended CANCELLED here" in case.cause
    given_up.refresh_from_db()
    assert given_up.state == "FILLED" and desk.agrees(), "what happened is booked at once"
    desk.resolve(case, "accept", people)
    desk.reconcile()
    desk.reconcile()
    case.refresh_from_db()
    assert (case.state, case.times_reopened) == ("CLOSED", 0)


def test_an_order_that_rests_after_two_people_gave_it_up_is_a_late_one_and_no_drift(
    desk: Desk, given_up: Order
) -> None:
    arrives(desk, given_up, type="LIMIT", price="1.05")
    assert found(desk) == [("LATE_ACK", f"order:{given_up.client_order_id}")]


def limit_entry(desk: Desk, **more: object) -> Order:
    """A limit entry of ours that rests below the market."""
    decision = bracket(desk).decision
    assert decision is not None
    return plan_order(
        account=desk.account,
        intent=decision,
        tag=Tag.ENTRY,
        instrument=decision.signal.instrument,
        side="BUY",
        quantity=D(1000),
        type="LIMIT",
        price=D("1.05"),
        at=now(desk.account),
        sequence=2,
        actor=TEST,
        **more,  # type: ignore[arg-type]
    )


def test_an_entry_that_rests_for_an_hour_without_news_is_stale(desk: Desk) -> None:
    stands(desk)
    order = send_order(order_id=limit_entry(desk).pk, broker=desk.broker)
    assert order.state == "WORKING", order.reason
    passes(desk, minutes=60)
    assert found(desk) == []
    passes(desk, seconds=1)
    assert found(desk) == [("STALE_ORDER", f"order:{order.client_order_id}")]
    desk.reconcile()
    case = desk.case()
    assert (case.state, case.severity) == ("OPEN", "MEDIUM")
    passes(desk, hours=1)
    desk.reconcile()
    case.refresh_from_db()
    assert (case.state, case.severity, case.version) == ("OPEN", "HIGH", 1), "older, and nothing else"


def test_a_decision_with_an_open_trade_and_an_order_that_never_left_is_unmapped(desk: Desk) -> None:
    stands(desk)
    order = limit_entry(desk)
    assert found(desk) == []
    passes(desk, seconds=61)
    key = f"decision:{order.decision_id}"
    assert found(desk) == [("UNMAPPED_TRADE", key)]
    case = opened(desk, "UNMAPPED_TRADE")
    assert (case.key, case.severity) == (key, "MEDIUM")
    send_order(order_id=order.pk, broker=desk.broker)
    assert found(desk) == []
    case.refresh_from_db()
    assert case.state == "CLEARED"


def test_decisions_that_never_left_are_told_and_keep_no_entry_from_leaving(desk: Desk) -> None:
    stands(desk)
    orders = []
    for _ in range(4):
        orders.append(limit_entry(desk))
        passes(desk, seconds=61)
    for _ in range(2):
        assert desk.reconcile().ok
    cases = Discrepancy.objects.filter(kind="UNMAPPED_TRADE", state="OPEN", severity="HIGH")
    assert cases.count() == 4
    assert not Restriction.objects.filter(account=desk.account, lifted_at=None).exists()
    assert [row.problem for result in run_all().results for row in result.rows if result.invariant.id == "R-11"] == []
    for order in orders:
        assert send_order(order_id=order.pk, broker=desk.broker).state == "WORKING", "a lock would end it for good"
    assert found(desk) == []
