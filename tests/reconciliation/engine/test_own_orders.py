"""Orders of our own at a real simulator: no false alarm while all is well, and a loud one when protection is gone."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
import requests

from reconciliation.models import Discrepancy
from tests.reconciliation.conftest import EURUSD, TEST, Desk, People
from trading.clock import now
from trading.domain.orders import Tag
from trading.engine.sender import send_order
from trading.models import Decision, Instrument, Order, Signal
from trading.selectors import books
from trading.selectors.policies import policy_of
from trading.services.errors import RuleBroken
from trading.services.orders import plan_order
from trading.services.setup import ensure_policy, ensure_version

D = Decimal


def oanda(desk: Desk, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
    """A call to the broker by somebody else, with the account's own key."""
    answer = requests.request(
        method,
        f"{desk.simulator.oanda_url}/v3/accounts/{desk.simulator.account}{path}",
        json=body,
        headers={"Authorization": f"Bearer {desk.simulator.token}"},
        timeout=10,
    )
    assert answer.ok, answer.text
    return answer.json()  # type: ignore[no-any-return]


def bracket(desk: Desk, units: str = "1000", expected: str = "FILLED") -> Order:
    """An entry of a decision of ours with a stop and a target, sent and filled."""
    account, at = desk.account, now(desk.account)
    instrument = Instrument.objects.get(symbol="EURUSD")
    version = ensure_policy()
    signal = Signal.objects.create(
        at=at,
        account=account,
        config_version=version,
        strategy="orb",
        instrument=instrument,
        bar_start=at,
        side="BUY",
        order_type="MARKET",
        entry=D("1.1"),
        stop=D("1.09"),
        target=D("1.12"),
    )
    decision = Decision.objects.create(
        at=at,
        signal=signal,
        account=account,
        config_version=version,
        client_plan_id=f"plan-{signal.pk}",
        verdict="APPROVED",
        position_size=D(units),
        trading_day=at.date(),
    )
    common = {"account": account, "intent": decision, "instrument": instrument, "quantity": D(units), "at": at}
    common["actor"] = TEST
    entry = plan_order(**common, tag=Tag.ENTRY, side="BUY", type="MARKET", stop_loss=D("1.09"), take_profit=D("1.12"))  # type: ignore[arg-type]
    for tag, kind, price in ((Tag.STOP, "STOP", "1.09"), (Tag.TP1, "LIMIT", "1.12")):
        plan_order(**common, tag=tag, side="SELL", type=kind, price=D(price), reduce_only=True, rides_on=entry)  # type: ignore[arg-type]
    sent = send_order(order_id=entry.pk, broker=desk.broker)
    assert sent.state == expected, (sent.state, sent.reason)
    return sent


def test_a_filled_bracket_of_ours_is_linked_protected_and_without_a_finding(desk: Desk) -> None:
    bracket(desk)
    result = desk.reconcile()
    assert result.findings is not None
    assert [(f.kind, f.cause) for f in result.findings.findings] == []
    assert (result.findings.linked, result.findings.broker_positions, result.findings.books_positions) == (2, 1, 1)
    assert desk.agrees()


def test_a_stop_that_somebody_cancels_leaves_the_position_naked_and_says_so(desk: Desk) -> None:
    bracket(desk)
    stop = Order.objects.get(tag="STOP")
    oanda(desk, "PUT", f"/orders/{stop.broker_order_id}/cancel")
    desk.reconcile()
    desk.reconcile()
    case = desk.case()
    assert (case.kind, case.severity, case.state) == ("UNPROTECTED_POSITION", "CRITICAL", "OPEN")


def test_a_stop_that_is_hit_closes_our_trade_without_any_case(desk: Desk) -> None:
    bracket(desk)
    desk.simulator.post("/prices", {"instrument": EURUSD, "bid": "1.08900", "ask": "1.08900"})
    assert desk.reconcile().ok
    assert not Discrepancy.objects.exists() and desk.agrees()
    assert books.positions(desk.account) == {}


@pytest.mark.scenario("S-33")
def test_somebody_closing_our_position_is_a_phantom_with_its_fill_and_cash_in_one_case(
    desk: Desk, people: People
) -> None:
    bracket(desk)
    desk.external("closeout", instrument=EURUSD, quantity="1000")
    desk.reconcile()
    desk.reconcile()
    case = desk.case()
    assert (case.kind, case.evidence["actions"]) == ("PHANTOM_POSITION", ["book_fills", "accept"])
    desk.resolve(case, "book_fills", people)
    assert desk.agrees()
    assert desk.reconcile().observed.closed == 1  # type: ignore[union-attr]


def test_somebody_elses_units_are_not_flattened_beside_a_trade_of_ours(desk: Desk, people: People) -> None:
    bracket(desk)
    desk.external("trade", instrument=EURUSD, quantity="700", price="1.1")
    desk.reconcile()
    desk.reconcile()
    with pytest.raises(RuleBroken, match="the oldest units first"):
        desk.resolve(desk.case(kind="QUANTITY_MISMATCH"), "flatten", people)
    assert not Order.objects.filter(tag="FLATTEN").exists()
    desk.resolve(desk.case(kind="QUANTITY_MISMATCH"), "book_fills", people)
    desk.reconcile()
    position = books.positions(desk.account)["EURUSD"]
    assert (position.quantity, position.external_quantity) == (1700, 700)
    assert desk.agrees() and desk.case(kind="QUANTITY_MISMATCH").state == "CLOSED"


def test_a_resting_order_of_somebody_else_is_an_external_order_that_may_be_accepted(desk: Desk, people: People) -> None:
    oanda(
        desk,
        "POST",
        "/orders",
        {"order": {"type": "LIMIT", "instrument": EURUSD, "units": "100", "price": "1.05000", "timeInForce": "GTC"}},
    )
    desk.reconcile()
    desk.reconcile()
    case = desk.case()
    assert (case.kind, case.state) == ("EXTERNAL_ORDER", "OPEN")
    desk.resolve(case, "accept", people)
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "CLOSED"
    assert desk.reconcile().live == 0


def test_a_fill_of_ours_that_the_policy_does_not_book_is_booked_by_two_people(desk: Desk, people: People) -> None:
    policy = replace(policy_of(desk.account), apply_exact_own_fills=False)
    desk.account.policy = ensure_version(kind="POLICY", name="careful", body=policy.canonical)
    desk.account.save()
    entry = bracket(desk, expected="WORKING")
    desk.reconcile()
    desk.reconcile()
    case = desk.case()
    assert case.kind == "MISSING_FILL" and case.evidence["evidence"]["order_is_ours"] is True
    desk.resolve(case, "book_fills", people)
    entry.refresh_from_db()
    assert (entry.state, entry.filled_quantity) == ("FILLED", 1000)
    assert desk.agrees()
    assert desk.reconcile().live == 0
